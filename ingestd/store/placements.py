"""The ledger: one document for each place a message was seen in, and what became of it.

`stored` is final: no update leaves it. `fetching` is an open attempt that waits for its time, `quarantined` one that
has had all its tries, until a person asks for more. `vanished` stands until the UID is listed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bson import Int64
from pymongo import UpdateOne
from pymongo.database import Database

from ..message import Failed, Metadata, Place, Receipt, Vanished
from ..steps import step
from ..uidset import UIDSet
from . import database as db
from .history import noted

Document = dict[str, Any]

DELAYS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2))
ATTEMPTS = len(DELAYS) + 1  # then the bytes count as not to be had
LOOK_UP = 200  # places in one query; the embedded store takes the square of it


@dataclass(frozen=True, slots=True)
class Epoch:
    """The part of a place that all UIDs of one mailbox share."""

    account: str
    mailbox: str
    number: int
    uidvalidity: int

    def place(self, uid: int) -> Place:
        return Place(self.account, self.mailbox, self.number, self.uidvalidity, uid)

    @property
    def filter(self) -> Document:
        """All places of this epoch."""
        return {"account": self.account, "mailbox": self.mailbox, "epoch": self.number}

    def filters(self, uids: UIDSet) -> Iterator[Document]:
        """The places of *uids*, some with each filter."""
        for chunk in uids.chunks(LOOK_UP, length=LOOK_UP * 22):
            yield {"_id": {"$in": [self.place(uid).id for uid in chunk]}, "account": self.account}


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger has of some UIDs."""

    stored: UIDSet
    quarantined: UIDSet

    @property
    def ended(self) -> UIDSet:
        return self.stored | self.quarantined


def known(database: Database[Document], epoch: Epoch, uids: UIDSet) -> Known:
    """Look *uids* up; what was never tried, or may be tried again, is in none of the sets."""
    found: dict[str, list[int]] = {"stored": [], "quarantined": []}
    for these in epoch.filters(uids):
        with db.translated():
            for document in database.placements.find({**these, "state": {"$in": list(found)}}, {"uid": 1, "state": 1}):
                found[document["state"]].append(int(document["uid"]))
    return Known(UIDSet.of(found["stored"]), UIDSet.of(found["quarantined"]))


def open_attempts(database: Database[Document], epoch: Epoch) -> dict[int, datetime]:
    """Return when each of the UIDs that are to be tried again is due."""
    with db.translated():
        found = database.placements.find({**epoch.filter, "state": "fetching"}, {"uid": 1, "next_try": 1})
        return {int(document["uid"]): document["next_try"] for document in found}


def vanish(database: Database[Document], vanished: Sequence[Vanished], now: datetime) -> list[Place]:
    """Record that messages were gone before we had their bytes; return the places where that was found before too."""
    if not vanished:
        return []
    with db.translated():
        found = {"_id": {"$in": [gone.place.id for gone in vanished]}, "state": "vanished"}
        before = {document["_id"] for document in database.placements.find(found, {"_id": 1})}
    facts = {"state": "vanished", "present": False, "vanished_at": now, "next_try": None}
    fresh = [gone.place for gone in vanished if gone.place.id not in before]
    db.upsert(database.placements, [_record(place, facts, now, attempts=0) for place in fresh])
    return [gone.place for gone in vanished if gone.place.id in before]


def postpone(database: Database[Document], failures: Sequence[Failed], now: datetime) -> list[Place]:
    """Record failed attempts, each with the time of its next try; return the places that are quarantined now.

    What is put off stays an open attempt for ever, the last but one at most.
    """
    if not failures:
        return []
    with db.translated():
        found = database.placements.find({"_id": {"$in": [failed.place.id for failed in failures]}}, {"attempts": 1})
        attempts = {document["_id"]: document["attempts"] + 1 for document in found}
    operations, quarantined = [], []
    for failed in failures:
        count = min(attempts.get(failed.place.id, 1), ATTEMPTS - failed.put_off)
        if count >= ATTEMPTS:
            quarantined.append(failed.place)
        facts = {
            "state": "quarantined" if count >= ATTEMPTS else "fetching",
            "reason": failed.reason,
            "present": True,
            "next_try": None if count >= ATTEMPTS else now + DELAYS[count - 1],
            "attempts": count,
            "last_try": now,
            "internal_date": failed.internal_date,
            "server_size_bytes": None if failed.server_size_bytes is None else Int64(failed.server_size_bytes),
        }
        operations.append(_record(failed.place, facts, now))
    db.upsert(database.placements, operations)
    step("postponed")
    return quarantined


def retry(database: Database[Document], quarantined: Sequence[Document], now: datetime) -> None:
    """Put *quarantined* places (their documents) back among the open attempts: due *now*, with all tries before them.

    Needs no lease: no pass writes a quarantined place, and what is stored, open or put back meanwhile is left alone. A
    pass that is under way still counts it as done; the next one goes by its state (`mailboxes.recall`).
    """
    history = noted("retried", now, "attempts", "reason")
    change = [{"$set": {"state": "fetching", "attempts": 0, "next_try": now, "history": history}}]
    ours = [{"_id": found["_id"], "account": found["account"], "state": "quarantined"} for found in quarantined]
    db.upsert(database.placements, [UpdateOne(each, change) for each in ours])


def _record(place: Place, facts: Document, now: datetime, **first: Any) -> UpdateOne:
    where = {"mailbox": place.mailbox, "epoch": place.epoch, "uid": Int64(place.uid)}
    nothing = {"message": None, "digest": None, "size_bytes": None, "server_size_bytes": None, "internal_date": None}
    unknown: Document = {
        "object_id": None,
        "flags": [],
        "labels": [],
        "via": "imap" if place.uidl is None else "pop3",
        "ack": None,
        "ack_action": None,
        "asked_at": None,
        "committed_at": None,
    }
    always = {"reason": None, "vanished_at": None, **facts}
    new = {**where, **nothing, **unknown, "first_seen_at": now, "last_try": None, "history": [], **first}
    return UpdateOne(
        {"_id": place.id, "account": place.account, "state": {"$ne": "stored"}},
        {"$set": always, "$setOnInsert": {name: value for name, value in new.items() if name not in always}},
        upsert=True,
    )


def metadata(database: Database[Document], epoch: Epoch, uids: UIDSet) -> dict[int, Metadata]:
    """Return what the mailbox said about those of *uids* that are stored."""
    fields = {"uid": 1, "internal_date": 1, "server_size_bytes": 1, "object_id": 1}
    return {
        int(found["uid"]): Metadata(
            int(found["uid"]),
            internal_date=found["internal_date"],
            size_bytes=found["server_size_bytes"],
            object_id=found.get("object_id"),  # an earlier version wrote none
        )
        for found in _stored(database, epoch, uids, fields)
    }


def receipts(database: Database[Document], epoch: Epoch, uids: UIDSet) -> Iterator[Receipt]:
    """Yield the receipts of *uids*, which are stored, again."""
    for found in _stored(database, epoch, uids, {"uid": 1, "message": 1, "digest": 1, "size_bytes": 1}):
        place = epoch.place(int(found["uid"]))
        yield Receipt(place, found["message"], found["digest"], int(found["size_bytes"]), False, "known")


def _stored(database: Database[Document], epoch: Epoch, uids: UIDSet, fields: Document) -> Iterator[Document]:
    for these in epoch.filters(uids):
        with db.translated():
            yield from database.placements.find({**these, "state": "stored"}, fields)


def unacknowledged(database: Database[Document], epoch: Epoch, action: str | None = None) -> UIDSet:
    """Return what was stored while *action*, or anything, was asked for, and is not acknowledged on the server yet."""
    pending = {**epoch.filter, "ack": "pending"}  # and no more, so that an index has just that
    with db.translated():
        found = database.placements.find(pending, {"uid": 1, "ack_action": 1})
        return UIDSet.of(int(each["uid"]) for each in found if action in (None, each["ack_action"]))


def acknowledged(database: Database[Document], epoch: Epoch, uids: UIDSet) -> None:
    """Record that the server did what was asked for *uids*."""
    for these in epoch.filters(uids):
        with db.translated():
            database.placements.update_many({**these, "ack": "pending"}, {"$set": {"ack": "done"}})
