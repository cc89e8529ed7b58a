"""Writers and sweepers in every order of their commands: no stored message ever misses a blob.

`interleavings` draws the orders. The time at the server stands still, except where a test lets days pass.
"""

from __future__ import annotations

import os
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any

import mongomock
import pytest

from ingestd.archive import rebuild, reparse
from ingestd.message import Message, RawMessage
from ingestd.mime.parse import parse, unparsed
from ingestd.raw import InMemory, Raw
from ingestd.store import messages
from ingestd.store.messages import Parse, Terms
from ingestd.store.sweep import AGE, sweep
from tests import mongomock_shim
from tests.fakes import raw
from tests.store.interleavings import Actor, Stepped, drawn, every, mortal, stopped
from tests.store.test_messages import PDF, with_attachment

Document = dict[str, Any]

LONG = AGE + timedelta(hours=1)
# All orders would take hours. Each test draws about so many; with 0 it goes through all of them.
DRAWN = int(os.environ.get("INGESTD_TEST_ORDERS", "50"))

COLLECTIONS = ("messages", "originals", "placements", "blobs.files", "blobs.chunks")
FIRST = raw(with_attachment(1, PDF), 1)
SECOND = raw(with_attachment(2, PDF), 2, account="home")  # with the same file
LARGE = with_attachment(3, bytes(range(256)) * 1500)  # two chunks


@cache
def read(content: bytes, gave_up: bool) -> Message:
    return unparsed(InMemory(content), "the parser died") if gave_up else parse(InMemory(content))


def usual(content: Raw) -> Message:
    return read(content.read(0, content.size_bytes), False)


def gave_up(content: Raw) -> Message:
    return read(content.read(0, content.size_bytes), True)


class Stage:
    """A store, and the time at its server. Every run begins as it was left by `happened`."""

    def __init__(self) -> None:
        self.now = self._began = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self._documents: dict[str, list[Document]] = {}

    def utcnow(self) -> datetime:
        return self.now.replace(tzinfo=None)

    def write(self, arrived: RawMessage, parse: Parse = usual) -> Actor:
        return lambda database: messages.write(database, [arrived], parse, Terms(), lambda step: None)

    def sweep(self, database: Any) -> None:
        for _ in sweep(database, self.now):
            pass

    def overslept(self, actor: Actor, commands: int) -> Actor:
        """*actor*, which did so many commands, and then nothing for days."""

        def go(database: Stepped) -> None:
            left = iter(range(commands))

            def turn(command: Any) -> None:
                if next(left, None) is None:
                    self.now = max(self.now, self._began + LONG)
                    database.turn(command)

            actor(Stepped(database.real, turn))

        return go

    def happened(self, *actors: Actor, lost: tuple[str, ...] = ()) -> None:
        """Let *actors* act, one after the other and days apart, and delete the collections that are *lost*."""
        database = self.begin()
        for actor in actors:
            actor(database)
            self.now += LONG
        self._documents = {name: list(database[name].find()) for name in COLLECTIONS if name not in lost}
        self._began = self.now

    def begin(self) -> Any:
        self.now = self._began
        database = mongomock.MongoClient(tz_aware=True)["test"]
        for name, documents in self._documents.items():
            if documents:
                database[name].insert_many(deepcopy(documents))
        return database

    def end(self, database: Any) -> None:
        """Assert that days later a sweep leaves what is needed, and nothing else."""
        self.now += LONG
        self.sweep(database)
        whole(database)
        named = {digest for message in database.messages.find() for digest in message["blobs"]}
        assert {file["_id"] for file in database["blobs.files"].find()} == named
        assert {chunk["files_id"] for chunk in database["blobs.chunks"].find()} == named


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    mongomock_shim.install()
    stage = Stage()
    monkeypatch.setattr(mongomock, "utcnow", stage.utcnow)
    return stage


def whole(database: Any) -> None:
    """Assert that all that is stored can be had back, and may be relied on."""
    for place in database.placements.find({"state": "stored"}):
        message = database.messages.find_one({"_id": place["message"]})
        original = database.originals.find_one({"_id": place["message"]})
        needed = {segment["blob"] for segment in original["raw"] if "blob" in segment}
        needed |= {message["text_blob"]} - {None}
        needed |= {attachment["sha256"] for attachment in message["attachments"] if attachment["offset"] is None}
        assert needed <= set(message["blobs"])
        for digest in needed:
            file = database["blobs.files"].find_one({"_id": digest})
            chunks = database["blobs.chunks"].find({"files_id": digest}).sort("n", 1)
            content = b"".join(chunk["data"] for chunk in chunks)
            assert file is not None
            assert "dying" not in file
            assert (file["length"], digest) == (len(content), sha256(content).hexdigest())


MAIL = ("messages", "originals", "placements")
DEATHS = range(1, 18)  # commands before a death; a writer of one message has about so many, a sweeper fewer


def test_a_blob_that_nobody_names_any_more_is_kept_for_whoever_comes_for_it(stage: Stage) -> None:
    stage.happened(stage.write(FIRST), lost=MAIL)

    for run in every(stage.begin, {"writer": stage.write(SECOND), "sweeper": stage.sweep}, whole):
        assert not run.errors
        assert run.database.placements.count_documents({}) == 1
        stage.end(run.database)


@pytest.mark.parametrize("commands", DEATHS)
@pytest.mark.parametrize("arrived", [FIRST, SECOND], ids=["the same mail", "other mail"])
def test_what_a_writer_left_that_died_is_swept_or_used(stage: Stage, arrived: RawMessage, commands: int) -> None:
    stage.happened(stopped(stage.write(FIRST), commands))

    for run in drawn(stage.begin, {"writer": stage.write(arrived), "sweeper": stage.sweep}, whole, DRAWN // 8):
        assert not run.errors
        stage.end(run.database)


@pytest.mark.parametrize("commands", DEATHS[:9])
def test_what_a_sweeper_left_that_died_is_swept_or_used(stage: Stage, commands: int) -> None:
    stage.happened(stage.write(FIRST), lost=MAIL)
    stage.happened(stopped(stage.sweep, commands))

    for run in drawn(stage.begin, {"writer": stage.write(SECOND), "sweeper": stage.sweep}, whole, DRAWN // 8):
        assert not run.errors
        stage.end(run.database)


@pytest.mark.parametrize("commands", DEATHS)
def test_a_writer_that_dies_while_the_sweeper_is_at_it_leaves_no_chunk_without_a_file(
    stage: Stage, commands: int
) -> None:
    stage.happened(stage.write(FIRST), lost=MAIL)
    actors = {"writer": mortal(stage.write(SECOND), commands), "sweeper": stage.sweep}

    for run in drawn(stage.begin, actors, whole, DRAWN // 2):
        files = {file["_id"] for file in run.database["blobs.files"].find()}
        assert {chunk["files_id"] for chunk in run.database["blobs.chunks"].find()} <= files


@pytest.mark.parametrize("commands", DEATHS)
def test_a_writer_that_overslept_relies_on_nothing_that_was_swept_meanwhile(stage: Stage, commands: int) -> None:
    late = stage.overslept(stage.write(FIRST), commands)

    for run in drawn(stage.begin, {"writer": late, "sweeper": stage.sweep}, whole, DRAWN // 2):
        assert not run.errors
        stage.end(run.database)


def test_two_writers_of_one_blob_and_a_sweeper_get_along(stage: Stage) -> None:
    stage.happened(stage.write(FIRST), lost=MAIL)
    actors = {"one": stage.write(FIRST), "other": stage.write(SECOND), "sweeper": stage.sweep}

    for run in drawn(stage.begin, actors, whole, DRAWN):
        assert not run.errors
        assert run.database.placements.count_documents({}) == 2
        assert run.database["blobs.files"].count_documents({}) == 1
        stage.end(run.database)


def test_a_sweeper_that_lost_its_lease_can_take_nothing_that_is_used_again(stage: Stage) -> None:
    stage.happened(stage.write(FIRST), lost=MAIL)
    actors = {"stale": stage.sweep, "writer": stage.write(SECOND), "sweeper": stage.sweep}

    for run in drawn(stage.begin, actors, whole, DRAWN):
        assert not run.errors
        stage.end(run.database)


@pytest.mark.parametrize("commands", DEATHS[:9])
def test_a_sweeper_that_overslept_can_take_nothing_that_is_used_again(stage: Stage, commands: int) -> None:
    stage.happened(stage.write(FIRST), lost=MAIL)
    late = stage.overslept(stage.sweep, commands)
    actors = {"late": late, "writer": stage.write(SECOND), "sweeper": stage.sweep}

    for run in drawn(stage.begin, actors, whole, DRAWN // 4):
        assert not run.errors
        stage.end(run.database)


def test_two_writers_whose_parsers_disagree_about_a_message_keep_what_it_relies_on(stage: Stage) -> None:
    large = raw(LARGE)
    actors = {"one": stage.write(large), "other": stage.write(large, gave_up), "sweeper": stage.sweep}

    for run in drawn(stage.begin, actors, whole, DRAWN):
        assert not run.errors
        assert run.database.messages.count_documents({}) == 1
        stage.end(run.database)


@pytest.mark.parametrize("commands", DEATHS)
def test_what_a_parser_left_that_disagrees_is_kept_or_replaced(stage: Stage, commands: int) -> None:
    large = raw(LARGE)
    stage.happened(stopped(stage.write(large, gave_up), commands))

    for run in drawn(stage.begin, {"writer": stage.write(large), "sweeper": stage.sweep}, whole, DRAWN // 8):
        assert not run.errors
        stage.end(run.database)


@pytest.mark.parametrize("commands", DEATHS)
def test_a_message_that_names_what_is_gone_is_replaced_by_one_that_does_not(stage: Stage, commands: int) -> None:
    large = raw(LARGE)
    stage.happened(stage.write(large), lost=("placements", "originals", "blobs.files", "blobs.chunks"))
    late = stage.overslept(stage.write(large, gave_up), commands)

    for run in drawn(stage.begin, {"writer": late, "sweeper": stage.sweep}, whole, DRAWN // 8):
        assert not run.errors
        assert run.database.placements.count_documents({}) == 1
        stage.end(run.database)


def test_a_message_that_is_parsed_again_keeps_what_it_relies_on(stage: Stage) -> None:
    stage.happened(stage.write(SECOND), lost=MAIL)
    stage.happened(stage.write(FIRST, gave_up))
    again = reparse.Batch((FIRST.id,), reparse.Manner({}))
    actors = {"reparse": lambda database: again(database, usual, lambda step: None), "sweeper": stage.sweep}

    for run in drawn(stage.begin, actors, whole, DRAWN):
        assert not run.errors
        message = run.database.messages.find_one({})
        assert b"".join(rebuild.original(run.database, message)) == with_attachment(1, PDF)
        stage.end(run.database)
