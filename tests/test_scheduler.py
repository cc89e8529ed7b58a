from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest

from ingestd.cron import Cron
from ingestd.errors import IngestError, LeaseLost, PutOff, Refused, StoreUnavailable, Unavailable
from ingestd.scheduler import Queue, Regularly, scheduled
from ingestd.watcher import AFTER_REFUSAL, FIRST, LONGEST, Reserve, Watcher, delay


def test_an_account_that_waits_is_not_added_again() -> None:
    queue = Queue()
    for name in ("work", "home", "work"):
        queue.put(name)

    assert [queue.take(), queue.take()] == ["work", "home"]
    queue.close()
    assert queue.take() is None


def test_an_account_is_with_one_taker_at_a_time_and_no_turn_is_lost() -> None:
    queue = Queue()
    queue.put("work")
    queue.take()

    queue.put("work")
    queue.put("home")
    assert queue.take() == "home"
    queue.done("work")
    assert queue.take() == "work"


def test_an_account_out_of_its_turn_is_taken_by_nobody_until_it_is_done() -> None:
    queue = Queue()
    for name in ("work", "home"):
        queue.put(name)

    assert queue.claim("work")
    assert queue.take() == "home"
    assert not queue.claim("home")
    queue.put("work")
    queue.done("work")
    assert queue.take() == "work"


def test_closing_lets_a_taker_go() -> None:
    queue = Queue()
    taken: list[str | None] = []
    taker = Thread(target=lambda: taken.append(queue.take()))
    taker.start()

    queue.close()
    taker.join(10)

    assert taken == [None]


def test_a_chore_comes_when_its_time_has_passed_and_not_at_once() -> None:
    queue, chores = Queue(), Queue()
    often = {"sweep": timedelta(seconds=0.05)}

    with scheduled({"work": timedelta(hours=1)}, queue, Regularly({"report": timedelta(hours=1), **often}, chores)):
        assert chores.take() == "sweep"

    assert queue.take() == "work"


def test_every_account_comes_at_once_and_then_again() -> None:
    queue = Queue()

    with scheduled({"work": timedelta(seconds=0.05), "home": timedelta(hours=1)}, queue):
        first = {queue.take(), queue.take()}
        queue.done("work")
        again = queue.take()

    assert first == {"work", "home"}
    assert again == "work"


def test_the_delay_after_an_outage_doubles_up_to_its_bound() -> None:
    away: list[IngestError] = [Unavailable("away")]

    assert [delay(away, n, lambda: 1.0) for n in (1, 2, 3)] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert delay(away, 50, lambda: 1.0) == LONGEST
    assert delay(away, 3, lambda: 0.0) == timedelta()


def test_a_refusal_is_not_tried_more_than_four_times_an_hour() -> None:
    assert delay([Refused("wrong password")], 1) == AFTER_REFUSAL == timedelta(minutes=15)


def test_an_account_is_ready_again_when_its_delay_is_over() -> None:
    now = 100.0
    watcher = Watcher(clock=lambda: now)

    wait = watcher.note("work", [Refused("wrong password")])

    assert not watcher.ready("work")
    assert watcher.ready("home")
    now += wait.total_seconds()
    assert watcher.ready("work")


def test_an_account_that_another_daemon_took_waits_for_nothing_but_its_lease() -> None:
    watcher = Watcher()

    watcher.note("work", [LeaseLost("taken")])

    assert watcher.ready("work")


def test_when_the_store_is_back_only_those_wait_on_that_did_not_wait_for_it() -> None:
    watcher = Watcher(clock=lambda: 100.0)
    for name, error in (("work", StoreUnavailable("away")), ("home", Refused("wrong password"))):
        watcher.note(name, [error])

    assert watcher.store_is_back() == ["work"]

    assert watcher.ready("work")
    assert not watcher.ready("home")
    assert watcher.store_is_back() == []


def test_an_account_that_is_put_off_comes_back_when_it_was_told_to_and_a_little_later() -> None:
    errors = [PutOff("too much", wait=timedelta(hours=6)), Unavailable("away")]

    assert delay(errors, 1, lambda: 0.0) == timedelta(hours=6)
    assert delay(errors, 50, lambda: 1.0) == timedelta(hours=6, minutes=36)


def test_what_has_times_of_the_day_comes_then_and_not_before() -> None:
    queue, minute = Queue(), datetime.now(UTC) + timedelta(hours=2)

    with scheduled({"work": Cron(f"{minute.minute} {minute.hour} * * *")}, queue) as schedule:
        schedule.add("home", timedelta(hours=1))
        assert queue.take() == "home"
        (job,) = [job for job in schedule.scheduler.get_jobs() if job.id == "work"]

    assert job.next_run_time == minute.replace(second=0, microsecond=0)


def test_an_account_can_be_added_changed_and_removed() -> None:
    queue = Queue()

    with scheduled({"work": timedelta(hours=1)}, queue) as schedule:
        assert queue.take() == "work"
        queue.done("work")
        schedule.add("work", timedelta(seconds=0.05))
        assert [queue.take(), queue.done("work"), queue.take(), queue.done("work")] == ["work", None, "work", None]
        schedule.again("work", timedelta(hours=1))
        schedule.remove("work")
        schedule.remove("nobody")

        assert schedule.scheduler.get_jobs() == []


def test_times_of_the_day_are_named_by_the_clock_of_their_zone() -> None:
    now = datetime(2026, 3, 10, 3, tzinfo=UTC)  # a Tuesday

    due = Cron("0 7 * * mon", "Europe/Berlin").trigger.get_next_fire_time(None, now)

    assert due == datetime(2026, 3, 16, 6, tzinfo=UTC)
    with pytest.raises(ValueError, match="name the days"):
        _ = Cron("0 7 * * 1").trigger


def test_a_server_that_does_not_answer_is_visited_by_some_at_a_time_only() -> None:
    reserve, away, busy = Reserve(2), [Unavailable("away")], [PutOff("too much"), StoreUnavailable("away")]

    assert [reserve.enter(server) for server in "aaabb"] == [True, True, False, True, True]
    reserve.leave("a", [])
    assert [reserve.enter(server) for server in "aaa"] == [True, True, True]
    reserve.leave("a", away)
    assert not reserve.enter("a")
    reserve.leave("b", busy)
    assert [reserve.enter(server) for server in "bbb"] == [True, True, True]
