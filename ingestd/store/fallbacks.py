"""What is remembered of an account that has POP3 beside IMAP: which of them serves, and since when IMAP fails."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pymongo.database import Database

from ..breaker import Breaker, Switch
from ..errors import LeaseLost
from . import database as db
from .accounts import safe
from .leases import Lease

Document = dict[str, Any]


def recall(database: Database[Document], account: str) -> Breaker:
    """Return how it stands with IMAP for *account*. Changes nothing."""
    with db.translated():
        found = database.accounts.find_one({"_id": account}, {"fallback": 1}) or {}
    return read(found["fallback"]) if found.get("fallback") else Breaker()


def save(database: Database[Document], lease: Lease, breaker: Breaker) -> None:
    """Write *breaker*; raise LeaseLost when another daemon has the account."""
    history = [{**asdict(switch), "reason": safe(switch.reason)} for switch in breaker.history]
    reason = None if breaker.reason is None else safe(breaker.reason)
    document = {**asdict(breaker), "reason": reason, "history": history}
    with db.translated():
        found = database.accounts.update_one(lease.mine, {"$set": {"fallback": document}})
    if not found.matched_count:
        raise LeaseLost(f"account {lease.account}: another daemon took it over")


def read(document: Document) -> Breaker:
    """The breaker that *document* is about."""
    return Breaker(**{**document, "history": tuple(Switch(**each) for each in document["history"])})
