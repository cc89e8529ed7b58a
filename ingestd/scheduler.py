"""When to visit which account: APScheduler decides the moment and puts the account on a queue, each at most once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Condition, Event, Thread

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

CLOCK_EVERY = 5.0  # seconds between two looks at the clock
CLOCK_DRIFT = 1.0  # seconds: less is no jump
JITTER = 0.1  # of the interval, so that accounts do not all come at the same second


class Queue:
    """Accounts whose time has come, first in first out. Each waits once at most, and is with one taker at a time."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._taken: dict[str, bool] = {}  # whether its time came again in the meantime
        self._changed = Condition()
        self._closed = False

    def put(self, account: str) -> None:
        """Add *account*, unless it waits already. One that is taken is added when it is done."""
        with self._changed:
            if account in self._taken:
                self._taken[account] = True
            elif account not in self._waiting:
                self._waiting.append(account)
                self._changed.notify()

    def take(self) -> str | None:
        """Return the next account, as soon as there is one, until `done`; None when the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            account = self._waiting.popleft()
            self._taken[account] = False
            return account

    def claim(self, account: str) -> bool:
        """Take *account* out of its turn, until `done`; return False, and do nothing, while somebody has it."""
        with self._changed:
            if account in self._taken:
                return False
            with suppress(ValueError):
                self._waiting.remove(account)
            self._taken[account] = False
            return True

    def done(self, account: str, *, again: bool = False) -> None:
        """Give *account* back; it is added at once when its time came meanwhile, or when *again* says so."""
        with self._changed:
            came = self._taken.pop(account)
        if came or again:
            self.put(account)

    def close(self) -> None:
        """Let everybody go who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


Again = Callable[[str, timedelta], object]  # puts an account on the queue once more, after so long


@dataclass(frozen=True, slots=True)
class Regularly:
    """What comes regularly, and where it is put when it does."""

    every: Mapping[str, timedelta]
    queue: Queue


@contextmanager
def scheduled(every: Mapping[str, timedelta], queue: Queue, chores: Regularly | None = None) -> Iterator[Again]:
    """Put each account on *queue* now, and then again at its interval, until the block ends; *chores* only then."""
    # Without a grace time APScheduler drops a job that is a second late: an account would silently miss its turn. One
    # thread is enough to put names on a queue.
    scheduler = BackgroundScheduler(
        timezone=UTC,
        executors={"default": {"type": "threadpool", "max_workers": 1}},
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    for account, interval in every.items():
        scheduler.add_job(queue.put, _at(interval), (account,), id=account, next_run_time=datetime.now(UTC))
    if chores:
        for name, interval in chores.every.items():
            scheduler.add_job(chores.queue.put, _at(interval), (name,), id=f"chore {name}")
    scheduler.start()

    def again(account: str, after: timedelta) -> None:
        # Not by its name: APScheduler would import the trigger only now, when there may be no file descriptor for that.
        due = DateTrigger(datetime.now(UTC) + after, timezone=UTC)
        scheduler.add_job(queue.put, due, (account,), id=f"{account} again", replace_existing=True)

    ended = Event()
    watch = Thread(target=_watch_clock, args=(scheduler, ended), name="clock", daemon=True)
    watch.start()
    try:
        yield again
    finally:
        ended.set()
        watch.join()
        scheduler.shutdown(wait=True)


def _watch_clock(scheduler: BackgroundScheduler, ended: Event) -> None:
    """Bring everything forward when the clock was set back: APScheduler would wait for the hour to come again."""
    ahead = _ahead()
    while not ended.wait(CLOCK_EVERY):
        back = ahead - _ahead()
        if back > CLOCK_DRIFT:
            for job in scheduler.get_jobs():
                with suppress(JobLookupError):  # its time came meanwhile, and it was to come once
                    job.modify(next_run_time=job.next_run_time - timedelta(seconds=back))
        ahead -= back


def _ahead() -> float:
    """How far the clock is ahead of one that cannot be set."""
    return time.time() - time.monotonic()


def _at(interval: timedelta) -> IntervalTrigger:
    return IntervalTrigger(seconds=interval.total_seconds(), jitter=interval.total_seconds() * JITTER, timezone=UTC)
