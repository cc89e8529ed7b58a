"""The sweeper on a real server: what it deletes, what it leaves, and what it says about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import Any

from pymongo.database import Database

from ingestd.archive import rebuild
from ingestd.mime.parse import parse
from ingestd.store import blobs, messages
from ingestd.store.database import server_time
from ingestd.store.messages import Terms
from ingestd.store.sweep import AGE, PAGE, Swept, sweep
from tests.fakes import raw
from tests.store.interleavings import Actor, Running, drawn
from tests.store.test_messages import LARGE, PDF, with_attachment

Document = dict[str, Any]
Store = Database[Document]

NOW = datetime.now(UTC)
OLD = AGE + timedelta(hours=1)


def put(database: Store, *contents: bytes) -> list[str]:
    """Store blobs that no message names; return their digests."""
    held = {sha256(content).hexdigest(): [content] for content in contents}
    blobs.touch(database, held, blobs.upload(database, held, NOW), NOW)
    return list(held)


def write(number: int, content: bytes = PDF) -> Actor:
    arrived = raw(with_attachment(number, content), number)
    return lambda database: messages.write(database, [arrived], parse, Terms(), lambda step: None)


def age(database: Store) -> None:
    """Let days pass."""
    for name in ("blobs.files", "blobs.chunks"):
        database[name].update_many({}, {"$set": {"touched_at": server_time(database) - OLD}})


def swept(database: Store, **options: Any) -> Swept:
    return sum((page.swept for page in sweep(database, server_time(database), **options)), Swept())


def left(database: Store) -> set[str]:
    files = {file["_id"] for file in database["blobs.files"].find()}
    assert {chunk["files_id"] for chunk in database["blobs.chunks"].find()} <= files
    return files


def test_a_blob_that_no_message_names_is_deleted_after_two_days(database: Store) -> None:
    (unnamed,) = put(database, LARGE)

    young = swept(database)
    age(database)
    old = swept(database)

    assert unnamed not in left(database)
    assert young == Swept(seen=1, recent=1)
    assert old == Swept(seen=1, deleted=1, deleted_bytes=len(LARGE))


def test_a_blob_that_a_message_names_stays(database: Store) -> None:
    write(1)(database)
    age(database)

    assert swept(database) == Swept(seen=1, named=1)
    assert len(left(database)) == 1


def test_a_dry_run_says_what_it_would_do_and_does_nothing(database: Store) -> None:
    write(1)(database)
    put(database, LARGE)
    age(database)

    would = swept(database, dry_run=True)

    assert would == Swept(seen=2, named=1, deleted=1, deleted_bytes=len(LARGE))
    assert database["blobs.files"].count_documents({"dying": {"$exists": False}}) == 2


def test_a_sweep_goes_on_after_the_page_it_ended_with(database: Store) -> None:
    digests = [f"{n:064x}" for n in range(PAGE + 10)]
    files = [{"_id": each, "length": 5, "touched_at": server_time(database) - OLD} for each in digests]
    database["blobs.files"].insert_many(files)
    first = next(sweep(database, server_time(database)))

    rest = swept(database, after=first.last)

    assert (first.swept.deleted, rest.deleted) == (PAGE, 10)
    assert left(database) == set()


def test_a_popular_blob_is_found_to_be_named_among_many(database: Store) -> None:
    everybodys = {"blobs": ["f" * 64]}
    database.messages.insert_many([{"_id": f"work:{n}", "account": "work", **everybodys} for n in range(PAGE + 10)])
    database.messages.insert_one({"_id": "work:last", "account": "work", "blobs": ["a" * 64, "f" * 64]})
    long_ago = {"length": 5, "touched_at": server_time(database) - OLD}
    database["blobs.files"].insert_many([{"_id": letter * 64, **long_ago} for letter in "abf"])

    assert swept(database) == Swept(seen=3, named=2, deleted=1, deleted_bytes=5)


def test_what_a_sweeper_left_that_died_is_ended_one_way_or_the_other(database: Store) -> None:
    write(1)(database)
    put(database, LARGE)
    age(database)
    database["blobs.files"].update_many({}, {"$set": {"dying": {"by": "who died", "at": NOW}}})

    assert swept(database) == Swept(seen=2, named=1, deleted=1, deleted_bytes=len(LARGE))
    assert database["blobs.files"].count_documents({"dying": {"$exists": False}}) == 1


def test_a_blob_that_is_named_and_not_whole_is_told_and_left_alone(database: Store) -> None:
    write(1, LARGE)(database)
    age(database)
    database["blobs.files"].update_many({}, {"$set": {"dying": {"by": "who died", "at": NOW}}})
    database["blobs.chunks"].delete_many({"n": 1})

    assert swept(database) == Swept(seen=1, broken=1)
    assert database["blobs.chunks"].count_documents({}) == 3


def test_a_message_that_comes_while_its_blob_is_marked_keeps_it(database: Store) -> None:
    put(database, PDF)
    age(database)
    sweeper = Running(swept, database)
    go_on_until(sweeper, lambda: database["blobs.files"].count_documents({"dying": {"$exists": True}}))
    database.messages.insert_one({"_id": "work:1", "account": "work", "blobs": [sha256(PDF).hexdigest()]})

    go_on_until(sweeper, lambda: not sweeper.next)

    assert blobs.present(database, [sha256(PDF).hexdigest()])


def test_a_sweeper_that_was_stopped_deletes_nothing_that_another_one_has_left_alive(database: Store) -> None:
    digest = put(database, PDF)[0]
    age(database)
    stale = Running(swept, database)
    go_on_until(stale, lambda: stale.next and stale.next.method == "delete_many")
    database.messages.insert_one({"_id": "work:1", "account": "work", "blobs": [digest]})
    swept(database)

    go_on_until(stale, lambda: not stale.next)

    assert b"".join(rebuild.blob(database, digest)) == PDF


def test_a_writer_and_the_sweeper_get_along_on_a_real_server(database: Store) -> None:
    number = count(1)

    def begin() -> Store:
        for name in ("messages", "originals", "placements"):
            database[name].delete_many({})
        put(database, PDF)
        age(database)
        return database

    actors = {"writer": lambda store: write(next(number))(store), "sweeper": swept}
    for run in drawn(begin, actors, lambda store: None, 10):
        assert not run.errors
        message = database.messages.find_one({}) or {}
        assert b"".join(rebuild.blob(database, message["blobs"][0])) == PDF


def go_on_until(running: Running, true: Callable[[], object]) -> None:
    for _ in range(50):
        if true() or not running.next:
            break
        running.go_on()
    assert true()
