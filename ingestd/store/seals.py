"""The log of an account: one seal for each batch that was stored, or removed from its server, chained by hashes.

It is only ever appended to: inserting number n + 1 is the compare-and-swap that keeps it in order. A placement that is
changed, removed or put in later no longer agrees with the seal that names it, and a seal that is changed breaks the
chain.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from threading import Lock
from typing import Any, Literal

from bson import Int64
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from ..errors import LeaseLost, StoreUnavailable
from ..message import Receipt
from . import database as db
from .leases import Lease

Document = dict[str, Any]
Kind = Literal["stored", "deleted", "moved", "taken_over"]

PAGE = 50  # seals read at a time; each names up to a hundred places
AHEAD = 64  # entries that may have been written since a mailbox last remembered how far it was sealed
LINK = {"n": 1, "token": 1, "hash": 1}  # what the next entry needs to know of one
ATTEMPTS = 3  # each one further behind a late seal of a holder before us


class Seals:
    """The log of one account, for whoever holds its *lease*. Safe to use from several threads."""

    def __init__(self, database: Database[Document], lease: Lease) -> None:
        """Open the log. A lease that was taken over is written there first: its old holder can seal nothing more."""
        self._database, self._account, self._token = database, lease.account, lease.token
        self._order = Lock()  # of what is appended
        self._away: StoreUnavailable | None = None
        self._tail = self._near() or self._last()
        if lease.taken_over:
            self.append([], "taken_over")
            lease.taken_over = False

    @property
    def number(self) -> int:
        """The number of the newest seal; 0 when there is none."""
        return self._tail["n"] if self._tail else 0

    def append(self, receipts: Sequence[Receipt], kind: Kind = "stored") -> int:
        """Seal what *kind* says of *receipts*; return the number of the seal.

        Raises LeaseLost when a later holder has written, and StoreUnavailable at once when it was raised before: those
        who wait for each other do not wait for the store one after the other.
        """
        facts = [{"_id": r.place.id, "digest": r.sha256, "size_bytes": Int64(r.size_bytes)} for r in receipts]
        with self._order:
            if self._away:
                raise StoreUnavailable(str(self._away)) from self._away
            try:
                return self._appended(facts, kind)
            except StoreUnavailable as error:
                self._away = error
                raise

    def _appended(self, facts: list[Document], kind: Kind) -> int:
        for _ in range(ATTEMPTS):
            if self._tail and self._tail["token"] > self._token:
                raise LeaseLost(f"account {self._account}: another daemon took it over")
            if written := self._insert(self._next(facts, kind)):
                self._tail = written
                return self.number
            self._tail = self._last()
        raise StoreUnavailable(f"account {self._account}: seal {self.number + 1} could not be written; try again")

    def named_since(self, number: int, kind: Kind = "stored") -> set[tuple[str, str]]:
        """Return `_id` and digest of all placements named by the seals of that *kind* after *number*."""
        after = {"_id": {"$gt": id_of(self._account, number), "$lt": f"{self._account}0"}, "kind": kind}
        with db.translated():
            found = self._database.seals.find(after, {"places._id": 1, "places.digest": 1})
            return {(place["_id"], place["digest"]) for seal in found for place in seal["places"]}

    def _near(self) -> Document | None:
        """The newest entry, if it follows soon after the newest that a mailbox remembers.

        The embedded store has no use of an index for the question for the last of all, and would read the whole log.
        """
        with db.translated():
            mailboxes = self._database.mailboxes.find({"account": self._account}, {"sealed": 1})
            known = max((each["sealed"] for each in mailboxes), default=0)
            ids = [id_of(self._account, number) for number in range(known, known + AHEAD)]
            found = self._database.seals.find({"_id": {"$in": ids}}, LINK)
            newest: Document | None = max(found, key=lambda seal: seal["n"], default=None)
        return newest if newest and newest["_id"] != ids[-1] else None

    def _last(self) -> Document | None:
        ours = {"_id": {"$gte": f"{self._account}/", "$lt": f"{self._account}0"}}  # "0" is what follows "/"
        with db.translated():
            return self._database.seals.find_one(ours, LINK, sort=[("_id", -1)])

    def _next(self, facts: list[Document], kind: Kind) -> Document:
        number = self.number + 1
        seal = {
            "_id": id_of(self._account, number),
            "account": self._account,
            "n": number,
            "kind": kind,
            "token": self._token,
            "sealed_at": datetime.now(UTC).replace(microsecond=0),
            "previous": self._tail["hash"] if self._tail else None,
            "places": facts,
        }
        return {**seal, "hash": chained(seal)}

    def _insert(self, seal: Document) -> Document | None:
        """The entry of that number, if it is *seal* or says the same: it had been there, and the answer was lost."""
        try:
            with db.translated():
                self._database.seals.insert_one(seal)
        except DuplicateKeyError:
            with db.translated():
                there = self._database.seals.find_one({"_id": seal["_id"]})
            same = there and all(there[key] == seal[key] for key in ("kind", "token", "previous", "places"))
            return there if same else None
        return seal


def accounts(database: Database[Document]) -> Iterator[str]:
    """Yield the names of all accounts that have a log."""
    after = ""
    while True:
        with db.translated():
            found = database.seals.find_one({"_id": {"$gt": after}}, {"_id": 1}, sort=[("_id", 1)])
        if found is None:
            return
        account = found["_id"].partition("/")[0]
        yield account
        after = f"{account}0"  # "0" is what follows "/"


def entries(database: Database[Document], account: str, after: str = "") -> Iterator[Document]:
    """Yield the seals of *account* in order, those after the `_id` *after*, as they are stored. Changes nothing."""
    after = after or f"{account}/"
    while True:
        with db.translated():
            ours = {"_id": {"$gt": after, "$lt": f"{account}0"}}
            page = list(database.seals.find(ours).sort("_id", 1).limit(PAGE))
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1]["_id"]


def chained(seal: Document) -> str:
    """The hash that *seal* must have: SHA-256 of all it says and of the seal before, as compact JSON in this order."""
    facts = [[place["_id"], place["digest"], int(place["size_bytes"])] for place in seal["places"]]
    sealed_at = f"{seal['sealed_at']:%Y-%m-%dT%H:%M:%SZ}"
    said = [seal["account"], seal["n"], seal["kind"], seal["token"], sealed_at, seal["previous"], facts]
    return sha256(json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def id_of(account: str, number: int) -> str:
    """The `_id` of a seal: `work/00000042`."""
    return f"{account}/{number:08}"
