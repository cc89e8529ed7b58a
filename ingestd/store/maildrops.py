"""What is remembered of a POP3 maildrop from pass to pass, beside its places: in the document of the account.

There are no UIDs to make sets of. Which messages are known is looked up anew in each pass, by the unique-ids that the
server gives; so what is kept here is little, and may be lost without losing or doubling mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from pymongo.database import Database

from ..errors import LeaseLost, Refused
from ..message import Listed
from . import database as db
from .leases import Lease
from .mailboxes import Since, resolved

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Maildrop:
    """A maildrop as the last pass left it."""

    account: str
    host: str  # whose unique-ids are known
    user: str
    settings: str  # `since` as configured
    since: datetime | None  # the start of a day in UTC, resolved when the setting was first seen
    older_up_to: str | None = None  # a unique-id: what is listed before it, and is not known, is too old
    older_than: datetime | None = None  # for this time
    listing: str | None = None  # the digest of all unique-ids, when everything in it was last seen to
    fetch_after: datetime | None = None  # what is fetched again is not before, since the server would not give some
    sealed: int = 0  # the account's newest seal when the last pass began
    began_at: datetime | None = None  # when a pass began that did not come to its end
    last_pass: Document | None = None

    def is_as_seen(self, listing: Sequence[Listed]) -> bool:
        """Whether *listing* is the one in which everything was seen to."""
        return self.listing == digest(listing)

    def known_older(self, listing: Sequence[Listed], since: datetime) -> int:
        """Up to which number what is not known of *listing* is certainly from before *since*."""
        if self.older_than is None or self.older_than > since:
            return 0
        return next((listed.number for listed in listing if listed.uidl == self.older_up_to), 0)

    def seen(self, listing: Sequence[Listed]) -> Maildrop:
        """The same when everything in *listing* was seen to."""
        return replace(self, listing=digest(listing))

    def older(self, listing: Sequence[Listed], number: int, since: datetime) -> Maildrop:
        """The same when what is new in *listing* up to *number* is from before *since*."""
        marker = next((listed.uidl for listed in listing if listed.number == number), None)
        return replace(self, older_up_to=marker, older_than=since if marker else None)


def recall(database: Database[Document], account: str, host: str, user: str, since: Since, now: datetime) -> Maildrop:
    """Return what is known of the maildrop of *account*. Changes nothing; raises Refused for another server's."""
    found = last(database, account)
    settings = f"since {since}"
    if found is None:
        return Maildrop(account, host, user, settings, resolved(since, now))
    if (found.host, found.user) != (host, user):
        raise Refused(
            f"account {account}: its unique-ids are those of {found.host}, and mean nothing at {host} or to another"
            " user; put account.pop3.host and user back, or, if there is IMAP too, run:"
            f" ingestd account rebind {account}"
        )
    return found if found.settings == settings else replace(found, settings=settings, since=resolved(since, now))


def last(database: Database[Document], account: str) -> Maildrop | None:
    """Return the maildrop of *account* as the last pass left it; None when there was none."""
    with db.translated():
        found = database.accounts.find_one({"_id": account}, {"maildrop": 1}) or {}
    return Maildrop(account, **found["maildrop"]) if found.get("maildrop") else None


def is_elsewhere(database: Database[Document], account: str, host: str, user: str) -> bool:
    """Return whether what is known of the maildrop of *account* is of another server or user. Changes nothing."""
    found = last(database, account)
    return found is not None and (found.host, found.user) != (host, user)


def begin(database: Database[Document], lease: Lease, memory: Maildrop) -> None:
    """Save *memory*, and that a pass begins now."""
    fields = {f"maildrop.{name}": value for name, value in _document(memory).items() if name != "began_at"}
    _update(database, lease, {"$set": fields, "$currentDate": {"maildrop.began_at": True}})


def save(database: Database[Document], lease: Lease, memory: Maildrop) -> None:
    """Write *memory*; raise LeaseLost when another daemon has the account."""
    _update(database, lease, {"$set": {"maildrop": _document(memory)}})


def digest(listing: Sequence[Listed]) -> str:
    return sha256("\n".join(listed.uidl for listed in listing).encode()).hexdigest()


def _document(memory: Maildrop) -> Document:
    return {name: getattr(memory, name) for name in Maildrop.__slots__ if name != "account"}


def _update(database: Database[Document], lease: Lease, change: Document) -> None:
    with db.translated():
        found = database.accounts.update_one(lease.mine, change)
    if not found.matched_count:
        raise LeaseLost(f"account {lease.account}: another daemon took it over")
