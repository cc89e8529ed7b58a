"""What is remembered of an account: the server and user it is bound to since first contact, and why it fails, if so.

UIDs mean nothing on another server, so another server under the same name must not be taken for known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo.database import Database

from ..errors import IngestError, LeaseLost, Refused
from . import database as db
from .leases import Lease, expiry

Document = dict[str, Any]

ERROR_LENGTH = 500  # characters of an error that are kept


def check_binding(database: Database[Document], account: str, host: str, user: str) -> bool:
    """Return whether *account* is bound; raise Refused when it is bound to something else. Changes nothing."""
    bound = _binding(database, account)
    if bound not in (None, {"host": host, "user": user}):
        what = f"host (then {bound['host']}, now {host})" if bound["host"] != host else "user"
        raise Refused(
            f"account {account}: bound to another {what} at first contact;"
            " give the new one a name of its own, or, if it is the same mail moved, run:"
            f" ingestd account rebind {account}"
        )
    return bound is not None


def is_bound_elsewhere(database: Database[Document], account: str, host: str, user: str) -> bool:
    """Return whether *account* is bound to another server or user. Changes nothing."""
    return _binding(database, account) not in (None, {"host": host, "user": user})


def bind(database: Database[Document], lease: Lease, host: str, user: str) -> None:
    """Bind the account of *lease* to *host* and *user* at first contact; raise Refused when it is bound to another."""
    if not check_binding(database, lease.account, host, user):
        _set(database, lease, {"$set": {"binding": {"host": host, "user": user}}})


def rebind(database: Database[Document], lease: Lease, host: str, user: str) -> None:
    """Bind the account of *lease* anew. Every mailbox starts a new epoch, since the old UIDs mean nothing now."""
    lease.confirm()
    ours = {"account": lease.account, "token": {"$lte": lease.token}}
    with db.translated():
        database.mailboxes.update_many(ours, {"$set": {"rebound": True, "token": lease.token}})
    binding = {"binding": {"host": host, "user": user}}
    forgotten = {"$unset": {"maildrop": ""}}  # its unique-ids were those of another server
    _set(database, lease, {"$set": binding, "$currentDate": {"object_ids_since": True}, **forgotten})


def forget_object_ids(database: Database[Document], lease: Lease) -> None:
    """Take no object id that was stored until now for one of the server from here on. Raises LeaseLost."""
    _set(database, lease, {"$currentDate": {"object_ids_since": True}})


def object_ids_since(database: Database[Document], account: str) -> datetime | None:
    """Since when the object ids of what is stored are those of the server; None: always."""
    with db.translated():
        found = database.accounts.find_one({"_id": account}, {"object_ids_since": 1}) or {}
    return found.get("object_ids_since")


def note(
    database: Database[Document], lease: Lease, errors: Sequence[IngestError], next_try: timedelta | None = None
) -> None:
    """Keep why a visit failed, and when the next one is due, or that it went well. Raises LeaseLost."""
    if not errors:
        with db.translated():
            database.accounts.update_one({**lease.mine, "trouble": {"$ne": None}}, {"$set": {"trouble": None}})
        return
    trouble = {
        "error": {"$literal": safe(str(errors[0]))},
        "since": {"$ifNull": ["$trouble.since", "$$NOW"]},
        "failures": {"$add": [{"$ifNull": ["$trouble.failures", 0]}, 1]},
        "failed_at": "$$NOW",
        "next_try": expiry(next_try) if next_try is not None else None,
    }
    _set(database, lease, [{"$set": {"trouble": trouble}}])


def note_push(database: Database[Document], lease: Lease, late: int, lateness: timedelta, *, doubted: bool) -> None:
    """Keep how often mail came of which the server should have told and did not. Raises LeaseLost."""
    if not late:
        with db.translated():
            database.accounts.update_one({**lease.mine, "push": {"$exists": True}}, {"$unset": {"push": ""}})
        return
    push = {"late": late, "late_seconds": round(lateness.total_seconds()), "doubted": doubted, "noted_at": "$$NOW"}
    _set(database, lease, [{"$set": {"push": push}}])


def safe(text: str) -> str:
    """*text* without anything that looks like an address, on one line of bounded length: servers say what they like."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return re.sub(r"[^\s<>\"',;]+@[^\s<>\"',;]+", "…@…", line)[:ERROR_LENGTH]


def _binding(database: Database[Document], account: str) -> Document | None:
    with db.translated():
        found = database.accounts.find_one({"_id": account}, {"binding": 1}) or {}
    return found.get("binding")


def _set(database: Database[Document], lease: Lease, change: Document | list[Document]) -> None:
    with db.translated():
        found = database.accounts.update_one(lease.mine, change)
    if not found.matched_count:
        raise LeaseLost(f"account {lease.account}: another daemon took it over")
