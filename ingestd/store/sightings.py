"""What happens to places after they were written: they are gone, are back, hold another message, lost their meaning.

Each change is noted in the `history` of the place, with what held until then. Every filter demands the state before the
change, so doing it again, after a retry or a crash, changes nothing and notes nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database

from ..message import Metadata, Place, RawMessage
from ..steps import step
from ..uidset import UIDSet
from . import database as db
from . import documents
from .history import noted
from .placements import Epoch

Document = dict[str, Any]


def gone(database: Database[Document], places: Iterable[Document], now: datetime) -> None:
    """Record that the server lists no more what *places*, filters, match."""
    for each in places:
        _vanish(database, each, "gone", now)


def back(database: Database[Document], places: Iterable[Document], now: datetime) -> None:
    """Record that the server lists again what *places*, filters, match."""
    change = {"present": True, "vanished_at": None, "history": noted("back", now)}
    for each in places:
        with db.translated():
            database.placements.update_many({**each, "present": False}, [{"$set": change}])


def miss(database: Database[Document], places: Iterable[Document], now: datetime) -> None:
    """Record that a POP3 server did not list what *places*, filters, match, if it is the first time."""
    for each in places:
        with db.translated():
            first = {**each, "present": True, "missed_at": {"$exists": False}}
            database.placements.update_many(first, {"$set": {"missed_at": now}})


def lose(database: Database[Document], places: Iterable[Document], now: datetime) -> None:
    """Record that those of *places*, filters, that were still to be tried again are gone."""
    lost = {"state": "vanished", "present": False, "vanished_at": now, "next_try": None}
    for each in places:
        with db.translated():
            database.placements.update_many({**each, "state": "fetching"}, {"$set": lost})


def meet(database: Database[Document], places: Iterable[Document], now: datetime) -> None:
    """Record that a POP3 server lists what *places*, filters, match.

    What is stored and was gone is left alone: it may be another message, which is found out first.
    """
    for each in places:
        with db.translated():
            database.placements.update_many({**each, "missed_at": {"$exists": True}}, {"$unset": {"missed_at": ""}})
        back(database, [{**each, "state": "quarantined"}], now)


def flag(database: Database[Document], epoch: Epoch, said: Mapping[int, Metadata], now: datetime) -> int:
    """Record flags and labels where they are not what they were; return in how many places."""
    changed = 0
    for these in epoch.filters(UIDSet.of(said)):
        with db.translated():
            found = list(database.placements.find(these, {"account": 1, "uid": 1, "flags": 1, "labels": 1}))
        changes = list(_flagged(found, said, now))
        db.upsert(database.placements, changes)  # some at a time: somebody may have marked all that there is as read
        changed += len(changes)
    return changed


def _flagged(places: Iterable[Document], said: Mapping[int, Metadata], now: datetime) -> Iterator[UpdateOne]:
    for place in places:
        now_there = said[int(place.pop("uid"))]
        after = {"flags": list(now_there.flags), "labels": list(now_there.labels)}
        if after != {name: place[name] for name in after}:
            change = {name: {"$literal": value} for name, value in after.items()}
            change["history"] = noted("flags", now, *after)
            yield UpdateOne(place, [{"$set": change}])


def retire(database: Database[Document], epoch: Epoch, now: datetime) -> None:
    """Record that the places of epochs before *epoch* are no more; what was stored from there stays."""
    if epoch.number > 1:
        before = {"$gte": 1, "$lt": epoch.number}  # 0: a POP3 maildrop, which knows no epochs
        _vanish(database, {**epoch.filter, "epoch": before}, "retired", now)


def renew(database: Database[Document], arrived: Sequence[RawMessage], now: datetime) -> set[Place]:
    """Record what was found at places that are stored, when it was fetched again.

    Returns the places that hold another message than before, or were found to by a pass that may have died before it
    sealed that.
    """
    places = {"_id": {"$in": [each.place.id for each in arrived]}, "state": "stored"}
    with db.translated():
        found = {each["_id"]: each for each in database.placements.find(places, {"digest": 1, "history.event": 1})}
    there = [each for each in arrived if each.place.id in found]
    db.upsert(database.placements, [_renewed(each, found[each.place.id]["digest"], now) for each in there])
    step("renewed")
    return {each.place for each in there if _replaced(each, found[each.place.id])}


def _replaced(arrived: RawMessage, found: Document) -> bool:
    return found["digest"] != arrived.sha256 or any(event["event"] == "replaced" for event in found["history"])


def _renewed(arrived: RawMessage, digest: str, now: datetime) -> UpdateOne:
    facts = documents.whereabouts(arrived)
    if digest != arrived.sha256:
        facts |= {**documents.held(arrived), "ack": None, "ack_action": None, "asked_at": None}
    # Flags begin with a dollar now and then, which a pipeline would take for fields.
    change: Document = {name: {"$literal": value} for name, value in facts.items()}
    if digest != arrived.sha256:
        change |= {"committed_at": "$$NOW", "history": noted("replaced", now, "message", "digest")}
    return UpdateOne({"_id": arrived.place.id, "account": arrived.place.account, "digest": digest}, [{"$set": change}])


def _vanish(database: Database[Document], places: Document, event: str, now: datetime) -> None:
    change = {"present": False, "vanished_at": now, "history": noted(event, now)}
    with db.translated():
        database.placements.update_many({**places, "present": True}, [{"$set": change}])
