"""The ledger: one document for each place a message was seen in, and what became of it.

`stored` and `vanished` are final; no update leaves `stored`. `fetching` is an open attempt that waits for its time,
`quarantined` one that has had all its tries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bson import Int64
from pymongo import UpdateOne
from pymongo.database import Database

from ..message import Failed, Place, Receipt, Vanished
from ..uidset import UIDSet
from . import database as db

Document = dict[str, Any]

DELAYS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2))
ATTEMPTS = len(DELAYS) + 1  # then the bytes count as not to be had
LOOK_UP = 5_000  # UIDs in one query


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
        return {"account": self.account, "mailbox": self.mailbox, "epoch": self.number}


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger has of some UIDs."""

    stored: UIDSet
    ended: UIDSet  # vanished or quarantined
    waiting: UIDSet  # an attempt is open, and not due yet

    @property
    def all(self) -> UIDSet:
        return self.stored | self.ended | self.waiting


def known(database: Database[Document], epoch: Epoch, uids: UIDSet, now: datetime) -> Known:
    """Look *uids* up; what was never tried, or is due again, is in none of the sets."""
    found: dict[str, list[int]] = {"stored": [], "ended": [], "waiting": [], "due": []}
    for chunk in uids.chunks(LOOK_UP, length=LOOK_UP * 22):
        with db.translated():
            documents = database.placements.find(
                {**epoch.filter, "uid": {"$in": list(chunk)}}, {"uid": 1, "state": 1, "next_try": 1}
            )
            for document in documents:
                found[_standing(document, now)].append(int(document["uid"]))
    return Known(UIDSet.of(found["stored"]), UIDSet.of(found["ended"]), UIDSet.of(found["waiting"]))


def _standing(document: Document, now: datetime) -> str:
    state, next_try = document["state"], document.get("next_try")
    if state == "stored":
        return "stored"
    if state in ("vanished", "quarantined"):
        return "ended"
    return "waiting" if next_try and next_try > now else "due"


def vanish(database: Database[Document], vanished: Sequence[Vanished], now: datetime) -> None:
    """Record that messages were expunged before we had their bytes."""
    facts = {"state": "vanished", "present": False, "vanished_at": now, "next_try": None}
    db.upsert(database.placements, [_record(gone.place, facts, now, attempts=0) for gone in vanished])


def postpone(database: Database[Document], failures: Sequence[Failed], now: datetime) -> list[Place]:
    """Record failed attempts, each with the time of its next try; return the places that are quarantined now."""
    with db.translated():
        found = database.placements.find({"_id": {"$in": [failed.place.id for failed in failures]}}, {"attempts": 1})
        attempts = {document["_id"]: document["attempts"] + 1 for document in found}
    operations, quarantined = [], []
    for failed in failures:
        count = attempts.get(failed.place.id, 1)
        if count >= ATTEMPTS:
            quarantined.append(failed.place)
        facts = {
            "state": "quarantined" if count >= ATTEMPTS else "fetching",
            "reason": failed.reason,
            "present": True,
            "next_try": None if count >= ATTEMPTS else now + DELAYS[count - 1],
            "attempts": count,
        }
        operations.append(_record(failed.place, facts, now))
    db.upsert(database.placements, operations)
    return quarantined


def _record(place: Place, facts: Document, now: datetime, **first: Any) -> UpdateOne:
    where = {"mailbox": place.mailbox, "epoch": place.epoch, "uid": Int64(place.uid)}
    nothing = {"message": None, "digest": None, "size_bytes": None, "server_size_bytes": None, "internal_date": None}
    unknown: Document = {
        "flags": [],
        "labels": [],
        "via": "imap",
        "ack": None,
        "ack_action": None,
        "committed_at": None,
    }
    new = {**where, **nothing, **unknown, "first_seen_at": now, "history": [], **first}
    always = {"reason": None, "vanished_at": None, **facts}
    return UpdateOne(
        {"_id": place.id, "account": place.account, "state": {"$ne": "stored"}},
        {"$set": always, "$setOnInsert": new},
        upsert=True,
    )


def retire(database: Database[Document], epoch: Epoch) -> None:
    """Record that the places of earlier epochs are no more; what was stored from there stays."""
    earlier = {"account": epoch.account, "mailbox": epoch.mailbox, "epoch": {"$lt": epoch.number}, "present": True}
    with db.translated():
        database.placements.update_many(earlier, {"$set": {"present": False}})


def receipts(database: Database[Document], epoch: Epoch, uids: UIDSet) -> Iterator[Receipt]:
    """Yield the receipts of *uids*, which are stored, again."""
    for chunk in uids.chunks(LOOK_UP, length=LOOK_UP * 22):
        with db.translated():
            stored = {**epoch.filter, "uid": {"$in": list(chunk)}, "state": "stored"}
            for found in database.placements.find(stored, {"uid": 1, "message": 1, "digest": 1, "size_bytes": 1}):
                place = epoch.place(int(found["uid"]))
                yield Receipt(place, found["message"], found["digest"], int(found["size_bytes"]), False, "known")


def unacknowledged(database: Database[Document], epoch: Epoch) -> dict[str, UIDSet]:
    """Return what is stored but not yet acknowledged on the server, by the action that was asked for."""
    pending: dict[str, list[int]] = {}
    with db.translated():
        for found in database.placements.find({**epoch.filter, "ack": "pending"}, {"uid": 1, "ack_action": 1}):
            pending.setdefault(found["ack_action"], []).append(int(found["uid"]))
    return {action: UIDSet.of(uids) for action, uids in pending.items()}


def acknowledged(database: Database[Document], epoch: Epoch, uids: UIDSet) -> None:
    """Record that the server did what was asked for *uids*."""
    for chunk in uids.chunks(LOOK_UP, length=LOOK_UP * 22):
        with db.translated():
            database.placements.update_many(
                {**epoch.filter, "uid": {"$in": list(chunk)}, "ack": "pending"}, {"$set": {"ack": "done"}}
            )
