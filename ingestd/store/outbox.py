"""What people are to be told, kept until they were: one document for each thing that can be amiss, whoever notices it.

All daemons note into it and send from it. What is noted again while it lasts changes nothing, and one of them sends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bson import Binary
from pymongo import UpdateOne
from pymongo.database import Database

from . import database as db
from .accounts import safe

Document = dict[str, Any]

LOGIN = "login"  # the `_id` of what is needed to log in to the mail server: no notice
AT_ONCE = 500  # ids in one command
CLAIMED_FOR = timedelta(minutes=5)  # by whoever sends: then another one does
FIRST_RETRY, LAST_RETRY = timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Notice:
    """What is amiss, or was, and nobody was told yet."""

    id: str  # kind and subject
    kind: str
    subject: str
    text: str
    raised: bool  # False: it is over
    since: datetime
    changes: int
    attempts: int  # to tell of it that failed
    told: bool  # whether people know it as amiss


def raise_(database: Database[Document], kind: str, subject: str, text: str) -> None:
    """Note that *kind* holds for *subject*; without effect while that is noted. Raises StoreUnavailable."""
    begun = {"kind": kind, "subject": subject, "text": safe(text), "raised": True, "to_tell": True, "attempts": 0}
    change = {
        "$set": begun,
        "$setOnInsert": {"told": False},
        "$inc": {"changes": 1},
        "$currentDate": {"since": True, "next_try": True},
    }
    db.upsert(database.alerts, [UpdateOne({"_id": f"{kind}/{subject}", "raised": {"$ne": True}}, change, upsert=True)])


def over(database: Database[Document], kinds: Sequence[str], subjects: Sequence[str]) -> None:
    """Note that none of *kinds* holds for *subjects* any more; without effect where it did not.

    Raises StoreUnavailable.
    """
    ended = {"$set": {"raised": False, "to_tell": True, "attempts": 0}, "$inc": {"changes": 1}}
    moment = {"$currentDate": {"since": True, "next_try": True}}
    ids = [f"{kind}/{subject}" for kind in kinds for subject in subjects]
    for start in range(0, len(ids), AT_ONCE):
        these = {"_id": {"$in": ids[start : start + AT_ONCE]}, "raised": True}
        with db.translated():
            database.alerts.update_many(these, {**ended, **moment})


def claim(database: Database[Document], most: int) -> list[Notice]:
    """Take up to *most* notices to tell of, oldest first; nobody else does meanwhile. Raises StoreUnavailable."""
    now = db.server_time(database)
    with db.translated():
        due = database.alerts.find({"to_tell": True, "next_try": {"$lte": now}}).sort("since").limit(most)
        return [_notice(found) for found in list(due) if _claimed(database, found, now)]


def told(database: Database[Document], notices: list[Notice]) -> None:
    """Note that people know of *notices*, unless they have changed since. Raises StoreUnavailable."""
    for notice in notices:
        with db.translated():
            database.alerts.update_one(_as_it_was(notice), {"$set": {"to_tell": False, "told": notice.raised}})


def failed(database: Database[Document], notices: list[Notice]) -> timedelta:
    """Note that *notices* could not be told; return when that is tried again, at the earliest."""
    now, soonest = db.server_time(database), LAST_RETRY
    for notice in notices:
        wait: timedelta = min(LAST_RETRY, FIRST_RETRY * 2 ** min(notice.attempts, 10))
        soonest = min(soonest, wait)
        again = {"next_try": now + wait, "attempts": notice.attempts + 1}
        with db.translated():
            database.alerts.update_one(_as_it_was(notice), {"$set": again})
    return soonest


def raised(database: Database[Document]) -> Iterator[Notice]:
    """Yield what is amiss now, the longest first."""
    with db.translated():
        yield from map(_notice, list(database.alerts.find({"raised": True}).sort("since")))


@dataclass(frozen=True, slots=True)
class LoginShelf:
    """Where the login to the mail server that sends is kept, as ciphertext."""

    database: Database[Document]

    def read(self) -> bytes | None:
        """Raises StoreUnavailable."""
        with db.translated():
            found = self.database.alerts.find_one({"_id": LOGIN}) or {}
        return bytes(found["refresh_token"]) if "refresh_token" in found else None

    def write(self, new: bytes) -> None:
        """Durable when this returns. Raises StoreUnavailable."""
        with db.translated():
            kept = {"$set": {"refresh_token": Binary(new)}}
            self.database.alerts.update_one({"_id": LOGIN}, kept, upsert=True)


def _claimed(database: Database[Document], found: Mapping[str, Any], now: datetime) -> bool:
    unchanged = {name: found[name] for name in ("_id", "changes", "next_try")}
    ours = {"$set": {"next_try": now + CLAIMED_FOR}}
    return database.alerts.update_one({**unchanged, "to_tell": True}, ours).matched_count > 0


def _as_it_was(notice: Notice) -> Document:
    return {"_id": notice.id, "changes": notice.changes}


def _notice(found: Mapping[str, Any]) -> Notice:
    same = {name: found[name] for name in ("kind", "subject", "text", "raised", "since", "attempts", "told")}
    return Notice(id=found["_id"], changes=int(found["changes"]), **same)
