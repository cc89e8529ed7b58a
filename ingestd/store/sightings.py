"""What happens to places after they were written: they are gone, are back, or lost their meaning.

Each change is noted in the `history` of the place, with what held until then. Every filter demands the state before the
change, so doing it again, after a retry or a crash, changes nothing and notes nothing twice.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pymongo.database import Database

from ..uidset import UIDSet
from . import database as db
from .history import noted
from .placements import LOOK_UP, Epoch

Document = dict[str, Any]


def gone(database: Database[Document], epoch: Epoch, uids: UIDSet, now: datetime) -> None:
    """Record that the server lists *uids* no more."""
    for chunk in uids.chunks(LOOK_UP, length=LOOK_UP * 22):
        _vanish(database, {**epoch.filter, "uid": {"$in": list(chunk)}}, "gone", now)


def back(database: Database[Document], epoch: Epoch, uids: UIDSet, now: datetime) -> None:
    """Record that the server lists *uids* again."""
    change = {"present": True, "vanished_at": None, "history": noted("back", now)}
    for chunk in uids.chunks(LOOK_UP, length=LOOK_UP * 22):
        with db.translated():
            absent = {**epoch.filter, "uid": {"$in": list(chunk)}, "present": False}
            database.placements.update_many(absent, [{"$set": change}])


def retire(database: Database[Document], epoch: Epoch, now: datetime) -> None:
    """Record that the places of epochs before *epoch* are no more; what was stored from there stays."""
    _vanish(database, {**epoch.filter, "epoch": {"$lt": epoch.number}}, "retired", now)


def _vanish(database: Database[Document], places: Document, event: str, now: datetime) -> None:
    change = {"present": False, "vanished_at": now, "history": noted(event, now)}
    with db.translated():
        database.placements.update_many({**places, "present": True}, [{"$set": change}])
