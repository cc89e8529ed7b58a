"""Accounts that are read over POP3 and nothing else, on a real server, as an operator meets them."""

from __future__ import annotations

import json
import poplib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.demo.mailbox import messages
from tests.e2e.conftest import Site, kill, on_the_wire
from tests.fakes import NOON
from tests.waiting import until

Document = dict[str, Any]

COUNT = 30


@pytest.fixture
def maildrop(site: Site) -> Site:
    """A site with some mail that is read over POP3."""
    site.protocol, site.select = "pop3", "all"
    site.deliver(messages(COUNT))
    site.write()
    return site


def lying(site: Site) -> int:
    client = poplib.POP3("127.0.0.1", site.server.pop3_port)
    client.user(site.user)
    client.pass_(site.server.password)
    count, _ = client.stat()
    client.quit()
    return count


def test_all_of_it_is_stored_and_all_counts_agree(maildrop: Site, database: Database[Document]) -> None:
    checked, tried, done = maildrop.run("check"), maildrop.run("once", "--dry-run"), maildrop.run("once")

    for each in (checked, tried, done):
        assert each.returncode == 0, each.stderr
    assert f"work/INBOX: {COUNT} on the server = {COUNT} selected" in checked.stdout
    assert "mark as read for all mail programs what is fetched over POP3" in checked.stdout
    assert f"work/INBOX: {COUNT} selected = {COUNT} stored" in done.stdout
    assert {place["digest"] for place in database.placements.find({"via": "pop3", "state": "stored"})} == {
        on_the_wire(letter) for letter in messages(COUNT)
    }
    verified = maildrop.run("verify", "--chain", "--deep")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert f"work/INBOX: {COUNT} on the server = {COUNT} stored" in verified.stdout
    assert verified.stdout.splitlines()[-1] == "COMPLETE"
    status = json.loads(maildrop.run("status", "--json").stdout)["accounts"][0]
    assert [(box["mailbox"], box["done"], box["to_do"]) for box in status["mailboxes"]] == [("INBOX (POP3)", COUNT, 0)]


def test_a_second_pass_brings_only_what_is_new(maildrop: Site) -> None:
    maildrop.once()
    maildrop.deliver(list(messages(COUNT + 2))[COUNT:])

    again = maildrop.once()

    assert (again["known_before"], again["stored"] + again["copies"]) == (COUNT, 2)


def test_only_mail_since_a_day_is_taken(maildrop: Site) -> None:
    maildrop.write(account="since = 2100-01-01")

    done = maildrop.once()

    assert (done["stored"] + done["copies"], done["left_out"].get("older_than_since", 0)) == (0, COUNT)
    assert maildrop.run("verify").returncode == 0


def test_what_is_stored_is_deleted_if_that_is_asked_for(maildrop: Site, database: Database[Document]) -> None:
    maildrop.write(account='after_store = "delete"')

    tried, left = maildrop.run("once", "--dry-run"), lying(maildrop)
    done = maildrop.run("once")

    assert f"work/INBOX: {COUNT} messages will be deleted from the server once they are stored" in tried.stdout
    assert left == COUNT
    assert f"work/INBOX: {COUNT} stored messages deleted from the server" in done.stdout
    assert lying(maildrop) == 0
    assert {place["digest"] for place in database.placements.find()} == set(map(on_the_wire, messages(COUNT)))
    verified = maildrop.run("verify", "--chain", "--deep")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert f"work/INBOX: {COUNT} gone from the server = {COUNT} kept" in verified.stdout


def test_a_placement_that_was_removed_is_named(maildrop: Site, database: Database[Document]) -> None:
    maildrop.once()
    removed = database.placements.find_one({}) or {}
    database.placements.delete_one({"_id": removed["_id"], "account": "work"})

    verified = maildrop.run("verify")

    assert verified.returncode == 1
    assert f"unaccounted: {removed['_id']}: on the server, and nothing is known of it" in verified.stdout


def test_a_message_that_the_server_will_not_give_is_quarantined_and_tried_again_when_told(
    maildrop: Site, database: Database[Document]
) -> None:
    broken = sorted((maildrop.server.maildir(maildrop.user) / "cur").iterdir())[3]
    mode = broken.stat().st_mode
    broken.chmod(0)
    for _ in range(5):
        maildrop.run("once")
        database.placements.update_many({"account": "work", "state": "fetching"}, {"$set": {"next_try": NOON}})
    listed, name = maildrop.run("quarantine", "list").stdout, database.placements.find_one({"state": "quarantined"})
    broken.chmod(mode)

    assert name is not None
    shown, retried = maildrop.run("quarantine", "show", name["_id"]), maildrop.run("quarantine", "retry", name["_id"])
    again = maildrop.once()

    assert name["_id"] in listed
    assert f"ingestd quarantine retry '{name['_id']}'" in shown.stdout
    assert retried.returncode == 0, retried.stderr
    assert (again["stored"] + again["copies"], places(database)) == (1, COUNT)


def places(database: Database[Document]) -> int:
    return database.placements.count_documents({"state": "stored"})


def test_a_wrong_password_and_another_mailbox_are_said(maildrop: Site) -> None:
    other = maildrop.run("once", "work/Sent")
    (maildrop.directory / "secret").write_text("wrong\n")
    refused = maildrop.run("once")

    assert (other.returncode, refused.returncode) == (1, 1)
    assert "over POP3 there is only the INBOX" in other.stderr
    assert "account work: login refused by localhost" in refused.stderr


def test_rebinding_is_refused(maildrop: Site) -> None:
    refused = maildrop.run("account", "rebind", "work")

    assert refused.returncode == 2
    assert "give the new one a name of its own" in refused.stderr


@pytest.fixture
def running(maildrop: Site) -> Iterator[subprocess.Popen[str]]:
    maildrop.write(account='every = "1s"')
    process = maildrop.start("run")
    yield process
    if process.poll() is None:
        kill(process)


def test_a_daemon_follows_the_maildrop(
    maildrop: Site, running: subprocess.Popen[str], database: Database[Document]
) -> None:
    until(lambda: database.placements.count_documents({"state": "stored"}) == COUNT)
    maildrop.deliver(list(messages(COUNT + 1))[COUNT:])

    until(lambda: database.placements.count_documents({"state": "stored"}) == COUNT + 1)

    assert running.poll() is None
