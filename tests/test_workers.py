"""Worker processes that die, hang or run out of memory cost one message only."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
from pymongo.database import Database

from ingestd.archive import rebuild
from ingestd.errors import StoreUnavailable, Unavailable
from ingestd.message import Arrival, Failed, Message, Place, RawMessage, Receipt
from ingestd.mime.parse import parse
from ingestd.raw import Raw
from ingestd.store.database import StoreSettings
from ingestd.store.messages import Parse, Terms
from ingestd.workers import InProcess, Sink, Step, Workers, started
from tests.fakes import mail, raw
from tests.waiting import until

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


HELD: list[bytearray] = []


def hungry(content: Raw) -> Message:
    """Parse, and never give back what that took: half of what a process has."""
    HELD.append(bytearray(MEMORY * 2 // 5))
    return parse(content)


def test_a_batch_that_needs_too_much_memory_is_parsed_message_by_message(
    settings: StoreSettings, database: Database[Document]
) -> None:
    with started(1, settings, MEMORY, hungry) as pool:
        receipts = store(pool, [raw(mail(n), n) for n in range(1, 6)], [raw(mail(n), n) for n in range(6, 8)])

    assert [receipt.place.uid for receipt in receipts] == [1, 2, 3, 4, 5, 6, 7]
    assert {receipt.status for receipt in receipts} == {"ok"}


@dataclass(frozen=True)
class Whereabouts:
    """A task that tells which process does it, and which one that came from."""

    def __call__(self, database: Database[Document], parse: Parse, step: Step) -> tuple[int, int]:
        return os.getpid(), os.getppid()


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: dead(pids[0]))


def dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_worker_that_dies_between_two_batches_is_replaced(workers: Workers) -> None:
    worker, _ = workers.submit(Whereabouts()).result()
    kill(worker)

    receipts = [*store(workers, [raw(mail(1), 1)]), *store(workers, [raw(mail(2), 2)])]

    assert [receipt.status for receipt in receipts] == ["ok", "ok"]


def test_workers_outlive_their_nursery(workers: Workers) -> None:
    worker, nursery = workers.submit(Whereabouts()).result()
    kill(worker, nursery)

    receipts = [*store(workers, [raw(mail(1), 1)]), *store(workers, [raw(mail(2), 2)])]

    assert [receipt.status for receipt in receipts] == ["ok", "ok"]


def test_where_no_process_can_be_had_at_first_workers_come_with_the_first_batch(
    settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "too many processes")

    with ExitStack() as stack:
        with monkeypatch.context() as full:
            full.setattr(os, "fork", refuse)
            full.setattr(os, "posix_spawn", refuse)
            pool = stack.enter_context(started(1, settings, MEMORY))

        receipts = store(pool, [raw(mail(1), 1)])

    assert [receipt.status for receipt in receipts] == ["ok"]


def test_batches_under_way_when_all_processes_are_killed_are_stored_all_the_same(
    workers: Workers, database: Database[Document]
) -> None:
    whereabouts = workers.submit(Whereabouts()).result()

    def batches() -> Iterator[list[Arrival]]:
        for uid in range(1, 31):
            if uid == 10:
                kill(*whereabouts)
            yield [raw(mail(uid), uid)]

    receipts = [receipt for _, stored in Sink(workers, Terms()).store(batches()) for receipt in stored]

    assert [receipt.place.uid for receipt in receipts] == list(range(1, 31))
    assert database.messages.count_documents({}) == 30


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


def test_several_processes_read_messages_back_and_prove_what_is_whole(
    workers: Workers, database: Database[Document]
) -> None:
    receipts = store(workers, [raw(mail(n), n) for n in range(1, 8)])
    digests = {receipt.message: receipt.sha256 for receipt in receipts}
    damaged, missing, *whole = digests
    database.originals.update_one({"_id": damaged, "account": "work"}, {"$set": {"raw.0.literal": b"changed"}})

    proven = Sink(workers, Terms()).proven({**digests, missing: "0" * 64, "work:unknown": "0" * 64})

    assert proven == set(whole)


def test_a_worker_that_dies_has_proven_nothing() -> None:
    def die(task: Any) -> None:
        raise RuntimeError("died")

    assert Sink(InProcess(die), Terms()).proven({"work:1": "0" * 64}) == set()
