"""UIDs that lose their meaning at a real server: nothing lost, nothing doubled, nothing taken for known."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.config import load
from ingestd.daemon import reading
from ingestd.demo.mailbox import messages
from tests.dovecot import renumber
from tests.e2e.conftest import Site, kill, on_the_wire
from tests.fakes import NOON
from tests.waiting import until

Document = dict[str, Any]

LETTERS = list(itertools.islice(messages(60), 50))
UIDLIST = "dovecot-uidlist"


@pytest.fixture
def full(site: Site) -> Site:
    site.select = "all"
    site.write()
    site.deliver(LETTERS[:30])
    site.once()
    return site


def delete(site: Site, *patterns: str) -> None:
    """Delete what lies in the INBOX of the server, behind its back."""
    for pattern in patterns:
        for file in site.server.maildir(site.user).glob(pattern):
            file.unlink()


def epochs(site: Site) -> set[tuple[int, bool, int]]:
    """Epoch, whether its places are present, and how many there are."""
    with reading(load(site.config)) as database:
        places = list(database.placements.find({"state": "stored"}))
    groups = itertools.groupby(sorted((place["epoch"], place["present"]) for place in places))
    return {(*group, len(list(each))) for group, each in groups}


def test_a_server_that_numbers_its_messages_anew_doubles_none(full: Site) -> None:
    delete(full, UIDLIST, "dovecot.index*")
    full.deliver(LETTERS[30:40])

    summary = full.once()

    assert (summary["stored"] + summary["copies"], summary["known_before"]) == (40, 0)
    assert full.state()["messages"] == sorted({on_the_wire(letter) for letter in LETTERS[:40]})
    assert epochs(full) == {(1, False, 30), (2, True, 40)}


@pytest.fixture
def running(site: Site) -> Iterator[subprocess.Popen[str]]:
    """A daemon that keeps its connection while it waits for news."""
    site.select = "all"
    site.write(account='every = "2s"')
    site.deliver(LETTERS[:30])
    process = site.start("run")
    yield process
    if process.poll() is None:
        kill(process)


def test_a_mailbox_that_is_numbered_anew_under_a_running_daemon_loses_and_doubles_nothing(
    site: Site, running: subprocess.Popen[str], database: Database[Document]
) -> None:
    until(lambda: database.mailboxes.find_one({"looked": {"$ne": None}}))

    renumber(site.server, site.user)
    site.deliver(LETTERS[30:40])
    until(lambda: database.mailboxes.find_one({"epoch": 2, "looked": {"$ne": None}}))
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=30)

    assert running.returncode == 0
    assert epochs(site) == {(1, False, 30), (2, True, 40)}
    assert site.state()["messages"] == sorted({on_the_wire(letter) for letter in LETTERS[:40]})
    assert site.run("verify", "--chain").returncode == 0


def test_another_mailbox_under_the_same_uidvalidity_is_not_taken_for_known(full: Site) -> None:
    uidlist = full.server.maildir(full.user) / UIDLIST
    version, uidvalidity, _, guid = uidlist.read_text().splitlines()[0].split()
    uidlist.write_text(f"{version} {uidvalidity} N1 {guid}\n")
    delete(full, "dovecot.index*", "cur/*", "new/*")
    full.deliver(LETTERS[25:50])

    summary = full.once()

    assert (summary["stored"] + summary["copies"], summary["known_before"]) == (25, 0)
    assert full.state()["messages"] == sorted({on_the_wire(letter) for letter in LETTERS})
    assert epochs(full) == {(1, False, 30), (2, True, 25)}
    with reading(load(full.config)) as database:
        (mailbox,) = database.mailboxes.find()
    assert f"V{mailbox['uidvalidity']}" == uidvalidity


def test_another_mailbox_that_says_all_the_same_numbers_is_found_out_within_an_hour(full: Site) -> None:
    uidlist = full.server.maildir(full.user) / UIDLIST
    header = uidlist.read_text().splitlines()[0].split()
    uidlist.write_text(" ".join([*header[:2], "N1", header[3]]) + "\n")
    delete(full, "dovecot.index*", "cur/*", "new/*")
    full.deliver(LETTERS[20:50])
    with reading(load(full.config)) as database:
        database.mailboxes.update_one({}, {"$set": {"looked.at": NOON}})

    full.once()

    assert full.state()["messages"] == sorted({on_the_wire(letter) for letter in LETTERS})


def test_messages_that_a_person_deletes_are_gone_and_stay_in_the_archive(full: Site) -> None:
    client = full.client()
    client.select_folder("INBOX")
    client.delete_messages([3, 5])
    client.expunge()
    client.logout()

    full.once()
    full.once()

    assert epochs(full) == {(1, True, 28), (1, False, 2)}
    assert len(full.state()["places"]) == 30


def test_a_mailbox_that_is_emptied_at_once_is_doubted_and_that_is_shown(full: Site) -> None:
    client = full.client()
    client.select_folder("INBOX")
    client.delete_messages(range(1, 26))
    client.expunge()
    client.logout()

    full.once()
    full.once()
    shown = full.run("status").stdout

    assert epochs(full) == {(1, True, 30)}
    assert "INBOX: 25 messages disappeared at once" in shown


def test_a_message_that_is_moved_to_another_mailbox_stays_one_message_with_two_places(full: Site) -> None:
    client = full.client()
    client.create_folder("Done")
    client.select_folder("INBOX")
    client.move([7], "Done")
    client.logout()
    full.write(account='mailboxes = ["INBOX", "Done"]')

    for _ in range(2):
        assert full.run("once").returncode == 0

    with reading(load(full.config)) as database:
        digest = on_the_wire(LETTERS[6])
        places = database.placements.find({"account": "work", "digest": digest}).sort("_id")
        assert [(place["mailbox"], place["present"]) for place in places] == [("Done", True), ("INBOX", False)]
        (message,) = database.messages.find({"sha256": digest})
    assert sorted(message["mailboxes"]) == ["Done", "INBOX"]


def test_what_lay_in_a_mailbox_that_is_renamed_is_gone_from_there_and_back_when_it_is(site: Site) -> None:
    site.deliver(LETTERS[:5], "Old")
    site.select = "all"
    site.write(account='mailboxes = ["*"]')
    found = []

    for before, after in (("Old", "New"), ("New", "Old")):
        assert site.run("once").returncode == 0
        client = site.client()
        client.rename_folder(before, after)
        client.logout()
        assert [site.run("once").returncode for _ in range(3)] == [0, 0, 0]
        with reading(load(site.config)) as database:
            found.append({(place["mailbox"], place["present"]) for place in database.placements.find()})

    assert found == [{("Old", False), ("New", True)}, {("Old", True), ("New", False)}]
    assert len(site.state()["messages"]) == 5
    assert site.run("verify", "--chain").returncode == 0


@pytest.mark.parametrize("moment", ["none", "renewed", "sealed"])
def test_a_mailbox_that_is_restored_from_a_backup_and_goes_on_gives_every_message(full: Site, moment: str) -> None:
    maildir, backup = full.server.maildir(full.user), full.directory / "backup"
    shutil.copytree(maildir, backup, copy_function=owned_copy)
    full.deliver(LETTERS[30:40])
    full.once()
    delete(full, UIDLIST, "dovecot.index*", "cur/*", "new/*")
    shutil.copytree(backup, maildir, dirs_exist_ok=True, copy_function=owned_copy)
    full.deliver(LETTERS[40:45])

    ended = full.run("once", INGESTD_FAIL_AT=moment).returncode
    full.once()

    state = full.state()
    assert ended == (0 if moment == "none" else -signal.SIGKILL)
    assert state["messages"] == sorted({on_the_wire(letter) for letter in LETTERS[:45]})
    with reading(load(full.config)) as database:
        replaced = list(database.placements.find({"history.event": "replaced"}).sort("uid"))
    assert [place["digest"] for place in replaced] == [on_the_wire(letter) for letter in LETTERS[40:45]]
    assert [place["history"][0]["digest"] for place in replaced] == [on_the_wire(letter) for letter in LETTERS[30:35]]
    assert len(state["sealed"]) == 45


def owned_copy(source: str, target: str) -> None:
    """Copy a file with whom it belongs to, which the server may demand."""
    shutil.copy2(source, target)
    status = Path(source).stat()
    os.chown(target, status.st_uid, status.st_gid)
