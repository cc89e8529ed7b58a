"""Borrow an account from the daemon that serves it, for a command that has to write for a moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event
from time import monotonic
from typing import Any

from pymongo.database import Database

from ..errors import LeaseLost
from . import database as db
from .leases import LEASE, Lease, Leases, Owner, expiry, kept

ASKING = 1.0  # seconds between two attempts

Document = dict[str, Any]


@contextmanager
def borrow(
    database: Database[Document], account: str, owner: Owner, patience: timedelta = 2 * LEASE
) -> Iterator[Lease]:
    """Hold *account* until the block ends, as soon as the daemon that serves it has given it back.

    A daemon does so at its next beat, or when its visit to the account is over, and takes it again afterwards. Raises
    LeaseLost, naming the holder, when *patience* was not enough.
    """
    deadline = monotonic() + patience.total_seconds()
    with kept(Leases(database, owner)) as leases:
        yield _lent(database, leases, account, deadline)


def _lent(database: Database[Document], leases: Leases, account: str, deadline: float) -> Lease:
    while True:
        try:
            return leases.take(account)
        except LeaseLost:
            if monotonic() >= deadline:
                _ask(database, account, None)
                raise
        _ask(database, account, expiry(LEASE))
        Event().wait(ASKING)


def _ask(database: Database[Document], account: str, until: Document | None) -> None:
    with db.translated():
        database.accounts.update_one({"_id": account}, [{"$set": {"lease.asked_until": until}}])
