"""Which daemons there are, and who serves what: each writes down that it lives, and what it is configured for.

All by the server's clock: a daemon that has not said so for as long as a lease lasts is no more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pymongo
from pymongo.database import Database

from ..errors import IngestError
from . import database as db
from .leases import ENDING, expiry
from .owner import Owner

Document = dict[str, Any]

GONE: Document = {"$lte": [{"$toLong": "$expires_at"}, {"$toLong": "$$NOW"}]}


@dataclass(frozen=True, slots=True)
class View:
    """Who serves what, as it was found at one moment."""

    me: str
    daemons: Mapping[str, frozenset[str]]  # those that live: the accounts each is configured for
    holders: Mapping[str, str]  # accounts that somebody has, and which process that is
    asked: frozenset[str]  # accounts that a command would like to borrow


def present(database: Database[Document], owner: Owner, accounts: Collection[str], lasts: timedelta) -> None:
    """Write down that the daemon *owner* lives and is configured for *accounts*; forget those that are no more."""
    said = {name: {"$literal": value} for name, value in {**owner.process, "accounts": sorted(accounts)}.items()}
    times = {"since": {"$ifNull": ["$since", "$$NOW"]}, "expires_at": expiry(lasts)}
    with db.translated():
        database.daemons.delete_many({"$expr": GONE})
        database.daemons.update_one({"_id": owner.id}, [{"$set": {**said, **times}}], upsert=True)


def leave(database: Database[Document], owner: Owner) -> None:
    """Let the daemon *owner* be no more, soon; when the store is away, it is forgotten by itself."""
    with suppress(IngestError), pymongo.timeout(ENDING), db.translated():
        database.daemons.delete_one({"_id": owner.id})


def look(database: Database[Document], owner: Owner) -> View:
    """Look who serves what, as *owner*, who knows which processes of this machine are dead."""
    with db.translated():
        living = list(database.daemons.aggregate([{"$set": {"now": "$$NOW"}}]))
        leases = list(database.accounts.aggregate([{"$project": {"lease": 1, "now": "$$NOW"}}]))
    owners = {_id(found): found["lease"]["owner"] for found in leases if found["lease"]["owner"]}
    dead = {id_ for id_, process in owners.items() if owner.knows_dead(process)}
    held = {found["_id"]: _id(found) for found in leases if _held(found)}
    return View(
        me=owner.id,
        daemons={
            found["_id"]: frozenset(found["accounts"])
            for found in living
            if found["_id"] == owner.id or (found["expires_at"] > found["now"] and not owner.knows_dead(found))
        },
        holders={account: by for account, by in held.items() if by not in dead},
        asked=frozenset(found["_id"] for found in leases if _asked(found)),
    )


def _id(found: Document) -> str:
    return str(found["lease"]["owner"].get("id"))  # an earlier version wrote none


def _held(found: Document) -> bool:
    return found["lease"]["owner"] is not None and bool(found["lease"]["expires_at"] > found["now"])


def _asked(found: Document) -> bool:
    until = found["lease"].get("asked_until")
    return until is not None and bool(until > found["now"])
