"""Worker processes that die, hang or run out of memory cost one message only."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.archive import rebuild
from ingestd.errors import StoreUnavailable, Unavailable
from ingestd.message import Arrival, Failed, Message, Place, RawMessage, Receipt
from ingestd.mime.parse import parse
from ingestd.raw import Raw
from ingestd.store.database import StoreSettings
from ingestd.store.messages import Terms
from ingestd.workers import Sink, Workers, started
from tests.fakes import mail, raw

Document = dict[str, Any]

MEMORY = 512 << 20


@pytest.fixture
def settings(mongodb_uri: str, database: Database[Document]) -> StoreSettings:
    base, _, options = mongodb_uri.partition("?")
    uri = f"{base.rstrip('/')}/{database.name}"
    return StoreSettings(f"{uri}?{options}" if options else uri)


@pytest.fixture
def workers(settings: StoreSettings) -> Iterator[Workers]:
    with started(2, settings, MEMORY) as pool:
        yield pool


def store(workers: Workers, *batches: list[RawMessage]) -> list[Receipt]:
    return [receipt for _, receipts in Sink(workers, Terms()).store([list(b) for b in batches]) for receipt in receipts]


def test_batches_come_back_in_order_from_several_processes(workers: Workers, database: Database[Document]) -> None:
    batches = [[raw(mail(n), n) for n in range(start, start + 10)] for start in range(1, 101, 10)]

    receipts = store(workers, *batches)

    assert [receipt.place.uid for receipt in receipts] == list(range(1, 101))
    assert database.messages.count_documents({}) == 100


def test_what_was_read_before_reading_failed_is_stored_and_told_first(
    workers: Workers, database: Database[Document]
) -> None:
    unread = Failed(Place("work", "INBOX", 1, 9, 2), "the server broke off")
    told: list[Arrival] = []

    def batches() -> Iterator[list[Arrival]]:
        yield [raw(mail(1), 1)]
        yield [unread]
        raise Unavailable("too many broken connections")

    with pytest.raises(Unavailable, match="too many"):  # noqa: PT012 - it comes after everything else
        for batch, _ in Sink(workers, Terms()).store(batches()):
            told += batch

    assert [arrival.place.uid for arrival in told] == [1, 2]
    assert database.messages.count_documents({}) == 1


def deadly(content: Raw) -> Message:
    """Parse, unless the message is one of those that end their parser."""
    text = content.read(0, content.size_bytes)
    if b"kill" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    if b"hang" in text:
        signal.alarm(1)  # sooner than the watchdog would
        re.match(r"(a+)+$", "a" * 64 + "b")  # a loop in C, which no Python handler could end
    if b"devour" in text:
        bytearray(2 * MEMORY)
    if b"raise" in text:
        raise RuntimeError("the parser is broken")
    return parse(content)


@pytest.fixture
def deadly_workers(settings: StoreSettings) -> Iterator[Workers]:
    with started(2, settings, MEMORY, deadly) as pool:
        yield pool


@pytest.mark.parametrize("fate", ["kill", "hang", "devour", "raise"])
def test_a_message_that_ends_its_parser_is_stored_raw_and_its_neighbours_as_usual(
    deadly_workers: Workers, database: Database[Document], fate: str
) -> None:
    batch = [raw(mail(n, fate if n == 3 else "hello"), n) for n in range(1, 6)]

    receipts = store(deadly_workers, batch, [raw(mail(9), 9)])

    assert [receipt.place.uid for receipt in receipts] == [1, 2, 3, 4, 5, 9]
    assert [receipt.status for receipt in receipts] == ["ok", "ok", "failed", "ok", "ok", "ok"]
    failed = database.messages.find_one({"parse.status": "failed"})
    assert failed is not None
    assert b"".join(rebuild.original(database, failed)) == mail(3, fate)


def test_without_processes_a_parser_that_raises_costs_one_message_too(
    settings: StoreSettings, database: Database[Document]
) -> None:
    with started(0, settings, MEMORY, deadly) as here:
        receipts = store(here, [raw(mail(1), 1), raw(mail(2, "raise"), 2)])

    assert [receipt.status for receipt in receipts] == ["ok", "failed"]


def test_a_store_that_is_away_is_told_and_nothing_is_given_up() -> None:
    away = StoreSettings("mongodb://127.0.0.1:9/mail", select_timeout=0.2)

    with started(1, away, MEMORY) as pool, pytest.raises(StoreUnavailable, match=r"no answer"):
        store(pool, [raw(mail(1))])
