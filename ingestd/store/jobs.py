"""Work on the whole database that one process does at a time: who is at it, how far it is, and when it was last done.

Nothing may depend on there being only one; that is only to spare the store. So whoever is at it tells so whenever it
has got on, and is believed dead when it has not for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from pymongo.database import Database

from ..errors import LeaseLost
from . import database as db

Document = dict[str, Any]

PATIENCE = timedelta(minutes=5)  # with a holder that does not get on


@dataclass(frozen=True, slots=True)
class Job:
    """A job that is ours for now."""

    database: Database[Document]
    name: str
    by: str
    after: str  # what the one before us had reached; "" to begin anew

    def reached(self, after: str) -> None:
        """Note how far it is; raise LeaseLost when another process has gone on with it."""
        self._set({"after": after, "until": db.server_time(self.database) + PATIENCE})

    def done(self, counts: Document) -> None:
        """Note that it is done; the next one begins anew."""
        self._set({"after": "", "done_at": db.server_time(self.database), "counts": counts})

    def leave(self) -> None:
        """Let the next one in at once."""
        with db.translated():
            self.database.jobs.update_one({"_id": self.name, "by": self.by}, {"$set": {"by": None, "until": None}})

    def _set(self, fields: Document) -> None:
        with db.translated():
            found = self.database.jobs.update_one({"_id": self.name, "by": self.by}, {"$set": fields})
        if not found.matched_count:
            raise LeaseLost(f"{self.name}: another process goes on with it")


@contextmanager
def taken(database: Database[Document], name: str) -> Iterator[Job]:
    """Do the job *name* in the block; raise LeaseLost while another process is at it."""
    job = _take(database, name)
    try:
        yield job
    finally:
        job.leave()


def due(database: Database[Document], name: str, every: timedelta) -> bool:
    """Whether the job *name* is to be done, once in *every*, and nobody is at it."""
    now = db.server_time(database)
    with db.translated():
        found = database.jobs.find_one({"_id": name}) or {"done_at": None, "until": None}
    return (found["done_at"] is None or found["done_at"] + every <= now) and not _held(found, now)


def _take(database: Database[Document], name: str) -> Job:
    first: Document = {"by": None, "until": None, "after": "", "done_at": None, "counts": None}
    by, now = uuid4().hex, db.server_time(database)
    with db.translated():
        database.jobs.update_one({"_id": name}, {"$setOnInsert": first}, upsert=True)
        found = database.jobs.find_one({"_id": name}) or first
        if not _held(found, now):
            unchanged = {"_id": name, "by": found["by"], "until": found["until"]}
            ours = {"$set": {"by": by, "until": now + PATIENCE}}
            if database.jobs.update_one(unchanged, ours).matched_count:
                return Job(database, name, by, found["after"])
    raise LeaseLost(f"{name}: another process is at it; it is believed dead if it does not get on for 5 minutes")


def _held(found: Document, now: datetime) -> bool:
    return found["until"] is not None and found["until"] > now
