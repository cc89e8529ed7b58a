"""`ingestd verify` as an operator sees it: everything accounted for, and what is amiss called by its name."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.archive.bookmark import Bookmark, Progress
from ingestd.archive.finding import Finding
from ingestd.archive.rereading import Position, stretches
from ingestd.archive.wholeness import Read
from ingestd.demo.mailbox import messages
from tests.e2e.conftest import Site, kill
from tests.waiting import until

Document = dict[str, Any]
Store = Database[Document]

COUNT = 30
NO_SERVER = "port = 9"  # where nothing answers


@pytest.fixture
def kept(site: Site) -> Site:
    """A site whose whole mailbox is stored."""
    site.deliver(itertools.islice(messages(100), COUNT))
    site.select = "all"
    site.write()
    site.once()
    return site


def report(site: Site, *words: str, code: int = 0) -> Document:
    done = site.run("verify", "--json", *words)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def named(found: Document) -> list[tuple[str, str]]:
    return [(finding["kind"], finding["what"]) for finding in found["findings"]]


# --- what is as it should be


def test_a_whole_mailbox_is_complete_in_counts_that_add_up(site: Site) -> None:
    letters = list(itertools.islice(messages(100), COUNT))
    read = sum("\\Seen" in letter.flags for letter in letters)
    site.deliver(letters)
    site.once()
    site.server.transcribe(site.user)

    said = site.run("verify")
    found = report(site)

    assert said.returncode == 0, said.stderr
    assert (
        f"work/INBOX: {COUNT} on the server = {COUNT - read} stored + {read} already read at first sight\n"
        in said.stdout
    )
    assert f"work: {COUNT - read} places = {COUNT - read} distinct messages; " in said.stdout
    assert said.stdout.splitlines()[-1] == "COMPLETE"
    (mailbox,), (account,) = found["mailboxes"], found["accounts"]
    assert found["complete"]
    assert (mailbox["on_server"], mailbox["stored"], mailbox["unaccounted"]) == (COUNT, COUNT - read, 0)
    assert account["messages"] == account["originals"] == COUNT - read
    commands = {line.split()[1] for line in site.server.transcript(site.user).splitlines() if line.startswith(b"x")}
    assert commands <= {b"LIST", b"EXAMINE", b"UID", b"LOGOUT"}


def test_a_site_that_has_seen_nothing_yet_is_complete_but_for_what_is_to_come(site: Site) -> None:
    site.deliver(itertools.islice(messages(100), 3))

    said = site.run("verify")

    lines = said.stdout.splitlines()
    assert lines[0] == "work/INBOX: 3 on the server = 3 not visited yet"
    assert lines[-1] == "COMPLETE but for 3 still to come"


def test_after_a_kill_nothing_is_unaccounted_for_and_the_next_pass_completes_it(site: Site) -> None:
    site.deliver(itertools.islice(messages(100), 8))
    site.write(daemon="workers = 1")
    for step in ("checkpoint:2", "messages"):
        site.run("once", INGESTD_FAIL_AT=step)
        assert report(site)["findings"] == [], step

    site.once()

    assert site.run("verify").stdout.splitlines()[-1] == "COMPLETE"


def test_it_finds_nothing_amiss_while_mail_comes_and_is_stored(site: Site) -> None:
    letters = messages(200)
    site.write(account='every = "1s"')
    process = site.start("run")
    try:
        for _ in range(2):
            site.deliver(itertools.islice(letters, 60))
            assert report(site, "--chain")["findings"] == []
        until(lambda: site.run("verify").stdout.endswith("\nCOMPLETE\n"))
    finally:
        kill(process)


def test_mail_that_is_gone_is_said_to_be_kept(kept: Site) -> None:
    client = kept.client()
    client.select_folder("INBOX")
    client.delete_messages(client.search("1:4"))
    client.expunge()
    client.logout()

    said = kept.run("verify")

    assert f"work/INBOX: {COUNT - 4} on the server = {COUNT - 4} stored\n" in said.stdout
    assert "work/INBOX: 4 gone from the server = 4 kept\n" in said.stdout
    assert said.stdout.splitlines()[-1] == "COMPLETE"


def test_mailboxes_that_are_served_no_more_are_accounted_for_too(site: Site) -> None:
    client = site.client()
    for name in ("Old", "Gone"):
        client.create_folder(name)
        client.append(name, f"Subject: in {name}\r\n\r\nhello\r\n".encode())
    site.write(account='mailboxes = ["INBOX", "Old", "Gone"]')
    assert site.run("once").returncode == 0
    client.append("Old", b"Subject: more\r\n\r\nhello\r\n")
    client.delete_folder("Gone")
    client.logout()
    site.write()

    said = site.run("verify")

    assert said.returncode == 0
    assert "work/Old: 2 on the server = 1 stored + 1 not taken in any more\n" in said.stdout
    assert "work/Gone: 1 gone from the server = 1 kept\nwork/Gone: not on the server any more\n" in said.stdout


def test_the_database_alone_can_be_checked_without_any_mail_server(kept: Site) -> None:
    kept.write(imap=NO_SERVER)

    offline = kept.run("verify", "--offline", "work")
    online = kept.run("verify")

    assert offline.returncode == 0
    assert f"work/INBOX: {COUNT} in the ledger = {COUNT} stored\n" in offline.stdout
    assert online.returncode == 1
    assert "not_compared: work: its server could not be asked: " in online.stdout
    assert online.stdout.splitlines()[-1] == "NOT COMPLETE: 1 not compared"


# --- what is not


def remove_placement(database: Store) -> tuple[str, str]:
    found = database.placements.find_one({"uid": 7}) or {}
    database.placements.delete_one({"_id": found["_id"], "account": "work"})
    return "placement_missing", found["_id"]


def remove_message(database: Store) -> tuple[str, str]:
    found = (database.placements.find_one({"uid": 8}) or {})["message"]
    database.messages.delete_one({"_id": found, "account": "work"})
    return "message_missing", found


def remove_blob(database: Store) -> tuple[str, str]:
    found = database.messages.find_one({"blobs": {"$size": 1}}) or {}
    database["blobs.files"].delete_one({"_id": found["blobs"][0]})
    return "blob_missing", found["blobs"][0]


def misplace_uid(database: Store) -> tuple[str, str]:
    """As if a bug had left out, as too old, what is not."""
    placement = database.placements.find_one({"uid": COUNT}) or {}
    database.placements.delete_one({"_id": placement["_id"], "account": "work"})
    sets = {
        "done": f"1:{COUNT - 1}",
        "left_out": {"older_than_since": str(COUNT)},
        "since": datetime(2000, 1, 1, tzinfo=UTC),
    }
    database.mailboxes.update_one({"_id": "work/INBOX"}, {"$set": sets})
    return "wrong_set", "work/INBOX"


def test_what_is_amiss_is_called_by_its_name(kept: Site, database: Store) -> None:
    amiss = [tamper(database) for tamper in (remove_placement, remove_message, remove_blob, misplace_uid)]

    found, said = report(kept, code=1), kept.run("verify")

    assert set(amiss) <= set(named(found))
    assert not found["complete"]
    assert all(f"{kind}: {what}: " in said.stdout for kind, what in amiss)
    assert said.stdout.splitlines()[-1].startswith("NOT COMPLETE: 1 blob missing + 1 message missing")


def test_what_a_pass_should_have_seen_and_nobody_knows_is_unaccounted_for(kept: Site, database: Store) -> None:
    database.mailboxes.update_one({"_id": "work/INBOX"}, {"$set": {"done": f"1:10,13:{COUNT}"}})
    gone = [found["_id"] for found in database.placements.find({"uid": {"$in": [11, 12]}})]
    database.placements.delete_many({"_id": {"$in": gone}})

    found = report(kept, code=1)

    assert found["mailboxes"][0]["uids"]["unaccounted"] == "11:12"
    assert ("unaccounted", "work/INBOX") in named(found)


# --- the log


def store_uri(site: Site) -> str:
    return site.store.partition('"')[2].partition('"')[0]


def test_a_log_that_was_changed_is_found_out_in_a_dump_restored_elsewhere(
    kept: Site, database: Store, tmp_path: Path
) -> None:
    elsewhere = f"{database.name}_dump"
    password = (tmp_path / "store-secret").read_text()
    try:
        for name in database.list_collection_names():
            if documents := list(database[name].find()):
                database.client[elsewhere][name].insert_many(documents)
        kept.config.unlink()
        words = ("--chain", "--store", store_uri(kept).replace(f"/{database.name}", f"/{elsewhere}"))

        whole = kept.run("verify", *words, INGESTD_STORE_PASSWORD=password)
        database.client[elsewhere].seals.update_one({"_id": "work/00000001"}, {"$set": {"token": 0}})
        changed = kept.run("verify", *words, INGESTD_STORE_PASSWORD=password)
    finally:
        database.client.drop_database(elsewhere)

    assert whole.returncode == 0, whole.stderr
    assert f"work: 1 seals name {COUNT} places, the last one at " in whole.stdout
    assert whole.stdout.splitlines()[-1] == "COMPLETE"
    assert changed.returncode == 1
    assert "\nseal_changed: work/00000001: what it says does not give its hash\n" in changed.stdout


# --- the bytes


def test_every_byte_is_read_again_and_what_is_damaged_is_named(kept: Site, database: Store, tmp_path: Path) -> None:
    whole = kept.run("verify", "--deep", "--offline")
    message = database.messages.find_one({"blobs": {"$size": 1}}) or {}
    (blob,) = message["blobs"]
    database["blobs.chunks"].update_one({"_id": f"{blob}:0"}, {"$set": {"data": b"other"}})
    damaged = report(kept, "--deep", "--offline", code=1)
    part = report(kept, "--deep", "--offline", "--sample", "0.001%", "--seed", "a")

    blobs = database["blobs.files"].count_documents({})
    assert whole.returncode == 0, whole.stderr
    assert f"\n{COUNT} messages and {blobs} blobs read again, " in whole.stdout
    assert whole.stdout.splitlines()[-1] == "COMPLETE"
    assert {("message_damaged", message["_id"]), ("blob_damaged", blob)} <= set(named(damaged))
    assert damaged["read_again"]["messages"] == COUNT
    assert part["read_again"]["messages"] == 0
    assert part["read_again"]["sample"] == "0.001 %, chosen by the seed 'a'"


def test_an_interrupted_check_goes_on_and_tells_what_it_had_found(kept: Site, database: Store, tmp_path: Path) -> None:
    file = tmp_path / "progress"
    ids = sorted(found["_id"] for found in database.messages.find({}, {"_id": 1}))
    asked = {"accounts": None, "sample": None, "seed": None}
    begun = Progress(asked, tuple(stretches(database, ["work"], None)))
    before = Read("messages", 10, 1000, (Finding("message_damaged", ids[3], "found before"),))
    Bookmark(file).save(begun.after(Position(0, ids[9]), before), now=True)

    found = report(kept, "--deep", "--offline", "--resume", str(file), code=1)

    assert found["read_again"]["messages"] == COUNT
    assert named(found) == [("message_damaged", ids[3])]
    assert not file.exists()


# --- how it ends


def test_what_cannot_be_started_is_refused(site: Site) -> None:
    unknown = site.run("verify", "wrk")
    site.write(store='uri = "mongodb://127.0.0.1:9/mail?serverSelectionTimeoutMS=200"')
    away = site.run("verify")

    assert (unknown.returncode, away.returncode) == (2, 3)
    assert 'did you mean "work"?' in unknown.stderr
    assert "no answer" in away.stderr
