from __future__ import annotations

from typing import Any

from pymongo.database import Database
from structlog.testing import capture_logs

from ingestd.chores import SWEEP, Chores
from ingestd.scheduler import Queue
from ingestd.store import jobs
from tests.store.test_messages import PDF
from tests.store.test_sweep import age, left, put

Document = dict[str, Any]


class Hour(Queue):
    """A queue on which the sweep comes once, and then no more."""

    def take(self) -> str | None:
        return SWEEP if self.claim(SWEEP) else None

    def done(self, account: str, *, again: bool = False) -> None:
        """It stays taken."""


def work(database: Database[Document]) -> list[str]:
    """Do the chores of an hour; return the events that are logged."""
    with capture_logs() as logged:
        Chores(database, Hour(), lambda: False).work()
    return [event["event"] for event in logged]


def test_blobs_are_swept_once_a_day(database: Database[Document]) -> None:
    put(database, PDF)
    age(database)

    first = work(database)
    (young,) = put(database, PDF)
    age(database)
    second = work(database)

    assert (first, second) == (["swept"], [])
    assert left(database) == {young}


def test_what_another_process_sweeps_is_left_to_it(database: Database[Document]) -> None:
    (unnamed,) = put(database, PDF)
    age(database)

    with jobs.taken(database, SWEEP):
        assert work(database) == []

    assert left(database) == {unnamed}
