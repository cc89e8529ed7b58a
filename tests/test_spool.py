from __future__ import annotations

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread

import pytest

from ingestd.errors import Refused
from ingestd.message import Arrival, RawMessage, Vanished
from ingestd.raw import OnDisk
from ingestd.spool import AHEAD, ANOTHERS_END, IN_MEMORY, Lane, Spool
from tests.fakes import raw
from tests.waiting import until

DEADLINE = 10


def arriving(lane: Lane, *sizes: int) -> Iterator[Arrival]:
    for uid, size in enumerate(sizes, 1):
        writer = lane.reserve(size)
        assert writer is not None
        writer.write(b"x" * size)
        content, digest = writer.keep()
        yield RawMessage(raw(b"", uid).place, content, digest, None)


def test_messages_come_out_in_order_and_in_bounded_batches(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool, spool.lane() as lane:
        batches = [
            [a.place.uid for a in batch] for batch in lane.batches(lambda lane: arriving(lane, *[10] * 25), 80, 10)
        ]

    assert [uid for batch in batches for uid in batch] == list(range(1, 26))
    assert max(map(len, batches)) <= 8


def test_a_small_message_stays_in_memory_and_a_large_one_becomes_a_private_file(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool, spool.lane() as lane:
        small, large = arriving(lane, IN_MEMORY, IN_MEMORY + 1)

        assert isinstance(small, RawMessage)
        assert isinstance(large, RawMessage)
        assert not isinstance(small.content, OnDisk)
        assert isinstance(large.content, OnDisk)
        assert stat.S_IMODE(large.content.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
        assert large.sha256 == sha256(b"x" * (IN_MEMORY + 1)).hexdigest()


def test_a_message_larger_than_announced_spills_to_disk(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool, spool.lane() as lane:
        writer = lane.reserve(10)
        assert writer is not None
        for _ in range(3):
            writer.write(b"y" * IN_MEMORY)
        content, digest = writer.keep()

        with content.open() as opened:
            assert sha256(opened.read(0, 4 * IN_MEMORY)).hexdigest() == digest
        assert spool.used.disk == 3 * IN_MEMORY


def test_messages_larger_than_announced_do_not_overdraw_the_memory(tmp_path: Path) -> None:
    with Spool(tmp_path, memory_bytes=IN_MEMORY) as spool, spool.lane() as lane:
        writers = [lane.reserve(0) for _ in range(16)]
        for writer in filter(None, writers):
            for _ in range(4):
                writer.write(b"y" * (IN_MEMORY // 8))
        kept = [writer.keep()[0] for writer in writers if writer is not None]

        assert (spool.used.memory, spool.used.disk) == (IN_MEMORY, 7 * IN_MEMORY)
        assert [content.size_bytes for content in kept] == [IN_MEMORY // 2] * 16


def test_no_more_than_some_messages_wait_however_small_they_are(tmp_path: Path) -> None:
    brought = 0

    def endless(lane: Lane) -> Iterator[Arrival]:
        nonlocal brought
        for uid in range(1, 4 * AHEAD):
            brought += 1
            yield Vanished(raw(b"", uid).place)

    with Spool(tmp_path) as spool, spool.lane() as lane:
        batches = lane.batches(endless, 1000, 100)
        taken = len(next(batches))
        until(lambda: brought >= AHEAD)
        taken += len(next(batches))
        until(lambda: brought == AHEAD + 200)

        assert taken == 200
        assert sum(map(len, batches)) == 4 * AHEAD - 1 - taken


def test_released_messages_give_their_room_back(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool, spool.lane() as lane:
        arrivals = list(arriving(lane, 100, IN_MEMORY + 1))

        lane.release(arrivals)

        assert (spool.used.memory, spool.used.disk) == (0, 0)
        assert list(tmp_path.glob("*.spooled")) == []


def test_a_discarded_message_leaves_nothing(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool, spool.lane() as lane:
        writer = lane.reserve(2 * IN_MEMORY)
        assert writer is not None
        writer.write(b"z" * 2 * IN_MEMORY)

        writer.discard()

        assert (spool.used.memory, spool.used.disk) == (0, 0)
        assert list(tmp_path.glob("*.spooled")) == []


def test_reading_ahead_pauses_when_the_budget_is_spent_and_says_so_with_an_empty_batch(tmp_path: Path) -> None:
    with Spool(tmp_path, memory_bytes=100) as spool, spool.lane() as lane:
        batches = lane.batches(lambda lane: arriving(lane, 60, 60, 60), 1000, 10)
        first = next(batches)

        waiting = next(batches)
        lane.release(first)
        rest = [a for batch in batches for a in batch if lane.release(batch) is None]

    assert (len(first), waiting, len(rest)) == (1, [], 2)


def test_no_empty_batch_is_given_to_who_holds_nothing_while_one_of_several_readers_waits_for_room(
    tmp_path: Path,
) -> None:
    waits, brought = Event(), Event()

    def two_readers(lane: Lane) -> Iterator[Arrival]:
        first = lane.reserve(60)
        assert first is not None
        with ThreadPoolExecutor(1) as thread:
            second = thread.submit(lambda: (waits.set(), lane.reserve(60))[1])
            assert brought.wait(DEADLINE)
            first.write(b"x")
            content, digest = first.keep()
            yield RawMessage(raw(b"", 1).place, content, digest, None)
            assert second.result(DEADLINE) is not None

    with Spool(tmp_path, memory_bytes=100) as spool, spool.lane() as lane, ThreadPoolExecutor(1) as storing:
        batches = lane.batches(two_readers, 1000, 10)
        first = storing.submit(lambda: next(batches))
        assert waits.wait(DEADLINE)
        early = wait([first], timeout=0.2).done
        brought.set()

        assert [len(first.result(DEADLINE)), len(early)] == [1, 0]
        assert not any(batches)  # until the other one has noticed that there is room, it is said to wait


def test_an_empty_lane_is_admitted_however_full_the_spool_is(tmp_path: Path) -> None:
    with Spool(tmp_path, memory_bytes=100) as spool, spool.lane() as one, spool.lane() as other:
        assert one.reserve(100) is not None

        assert one.reserve(1, block=False) is None
        assert other.reserve(5000, block=False) is not None


def test_an_error_of_the_reader_reaches_the_storing_side_after_what_it_gave(tmp_path: Path) -> None:
    def failing(lane: Lane) -> Iterator[Arrival]:
        yield from arriving(lane, 10)
        raise ValueError("broke off")

    with Spool(tmp_path) as spool, spool.lane() as lane:
        batches = lane.batches(failing, 1000, 10)

        assert len(next(batches)) == 1
        with pytest.raises(ValueError, match="broke off"):
            next(batches)


def test_a_lane_that_ends_early_aborts_its_reader_and_gives_everything_back(tmp_path: Path) -> None:
    aborted = Event()

    def stuck(lane: Lane) -> Iterator[Arrival]:
        yield from arriving(lane, 10, IN_MEMORY + 1)
        assert aborted.wait(DEADLINE)

    with Spool(tmp_path) as spool:
        with spool.lane(aborted.set) as lane:
            next(lane.batches(stuck, 1, 1))

        assert aborted.is_set()
        assert (spool.used.memory, spool.used.disk) == (0, 0)
        assert list(tmp_path.glob("*.spooled")) == []


def test_a_stopped_spool_lets_go_of_a_storing_side_that_waits(tmp_path: Path) -> None:
    aborted, done = Event(), Event()

    def silent(lane: Lane) -> Iterator[Arrival]:
        assert aborted.wait(DEADLINE)
        yield from ()

    with Spool(tmp_path) as spool:

        def store() -> None:
            with spool.lane(aborted.set) as lane:
                assert list(lane.batches(silent, 1, 1)) == []
            done.set()

        thread = Thread(target=store)
        thread.start()
        spool.stop()
        thread.join(DEADLINE)

    assert done.is_set()


def test_the_spool_is_emptied_at_start_and_belongs_to_one_process(tmp_path: Path) -> None:
    (tmp_path / "leftover.spooled").write_bytes(b"from a crash")

    with Spool(tmp_path):
        assert list(tmp_path.glob("*.spooled")) == []
        with pytest.raises(Refused, match="another ingestd uses it"), Spool(tmp_path):
            pass


def test_the_spool_of_a_process_that_is_just_ending_is_waited_for(tmp_path: Path) -> None:
    with Spool(tmp_path) as ending, ThreadPoolExecutor(1) as beside:
        next_one = beside.submit(Spool(tmp_path).__enter__)
        wait([next_one], timeout=ANOTHERS_END / 10)
        ending.__exit__()

        next_one.result(DEADLINE).__exit__()
