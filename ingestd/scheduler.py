"""When to visit which account: APScheduler decides the moment and puts the account on a queue, each at most once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Condition, Event, Thread

from apscheduler.job import Job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from .cron import Cron

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


Rhythm = timedelta | Cron  # an interval, or times of the day


@dataclass(frozen=True, slots=True)
class Regularly:
    """What comes regularly, and where it is put when it does."""

    every: Mapping[str, timedelta]
    queue: Queue


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the time of each account comes, and it is put on a queue. Safe to use from several threads."""

    scheduler: BackgroundScheduler
    queue: Queue

    def add(self, account: str, rhythm: Rhythm) -> None:
        """Let *account* come now, and then by *rhythm*, whatever it came by before."""
        now = {"next_run_time": datetime.now(UTC)} if isinstance(rhythm, timedelta) else {}
        self.scheduler.add_job(self.queue.put, _at(rhythm), (account,), id=account, replace_existing=True, **now)

    def remove(self, account: str) -> None:
        """Let *account* come no more."""
        for job in (account, _again(account)):
            with suppress(JobLookupError):
                self.scheduler.remove_job(job)

    def again(self, account: str, after: timedelta) -> None:
        """Let *account* come once more, after so long."""
        # Not by its name: APScheduler would import the trigger only now, when there may be no file descriptor for that.
        due = DateTrigger(datetime.now(UTC) + after, timezone=UTC)
        self.scheduler.add_job(self.queue.put, due, (account,), id=_again(account), replace_existing=True)


@contextmanager
def scheduled(rhythms: Mapping[str, Rhythm], queue: Queue, chores: Regularly | None = None) -> Iterator[Schedule]:
    """Put each account on *queue* now, and then again by its rhythm, until the block ends; *chores* only then.

    What has times of the day comes only then.
    """
    # Without a grace time APScheduler drops a job that is a second late: an account would silently miss its turn. Its
    # "debug" executor runs jobs on its own thread: names are put on a queue in no time.
    scheduler = BackgroundScheduler(
        timezone=UTC,
        executors={"default": {"type": "debug"}},
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    schedule = Schedule(scheduler, queue)
    for account, rhythm in rhythms.items():
        schedule.add(account, rhythm)
    if chores:
        for name, interval in chores.every.items():
            scheduler.add_job(chores.queue.put, _at(interval), (name,), id=f"chore {name}")
    scheduler.start()
    ended = Event()
    watch = Thread(target=_watch_clock, args=(scheduler, ended), name="clock", daemon=True)
    watch.start()
    try:
        yield schedule
    finally:
        ended.set()
        watch.join()
        scheduler.shutdown(wait=True)


def _watch_clock(scheduler: BackgroundScheduler, ended: Event) -> None:
    """Keep what is planned right when the clock jumps; it also does while the machine is suspended.

    When it was set back, APScheduler would wait for the hour to come again; when it jumped ahead, for what was left.
    """
    ahead = _ahead()
    while not ended.wait(CLOCK_EVERY):
        back = ahead - _ahead()
        if back > CLOCK_DRIFT:
            for job in scheduler.get_jobs():
                with suppress(JobLookupError):  # its time came meanwhile, and it was to come once
                    _bring_forward(job, timedelta(seconds=back))
        elif back < -CLOCK_DRIFT:
            scheduler.wakeup()
        ahead -= back


def _bring_forward(job: Job, back: timedelta) -> None:
    if isinstance(job.trigger, CronTrigger):
        job.reschedule(job.trigger)
    else:
        job.modify(next_run_time=job.next_run_time - back)


def _ahead() -> float:
    """How far the clock is ahead of one that cannot be set."""
    return time.time() - time.monotonic()


def _again(account: str) -> str:
    return f"{account} again"


def _at(rhythm: Rhythm) -> BaseTrigger:
    if isinstance(rhythm, Cron):
        return rhythm.trigger
    return IntervalTrigger(seconds=rhythm.total_seconds(), jitter=rhythm.total_seconds() * JITTER, timezone=UTC)
