"""What an account is bound to: the server and the user that its name stood for at first contact.

UIDs mean nothing on another server, so another server under the same name must not be taken for known.
"""

from __future__ import annotations

from typing import Any

from pymongo.database import Database

from ..errors import LeaseLost, Refused
from . import database as db
from .leases import Lease

Document = dict[str, Any]


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
        _set(database, lease, {"binding": {"host": host, "user": user}})


def rebind(database: Database[Document], lease: Lease, host: str, user: str) -> None:
    """Bind the account of *lease* anew. Every mailbox starts a new epoch, since the old UIDs mean nothing now."""
    with db.translated():
        database.mailboxes.update_many({"account": lease.account}, {"$set": {"rebound": True}})
    _set(database, lease, {"binding": {"host": host, "user": user}})


def _binding(database: Database[Document], account: str) -> Document | None:
    with db.translated():
        found = database.accounts.find_one({"_id": account}, {"binding": 1}) or {}
    return found.get("binding")


def _set(database: Database[Document], lease: Lease, fields: Document) -> None:
    with db.translated():
        found = database.accounts.update_one(lease.mine, {"$set": fields})
    if not found.matched_count:
        raise LeaseLost(f"account {lease.account}: another daemon took it over")
