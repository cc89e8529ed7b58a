"""One writer for each account: a lease in `accounts`, by the server's clock, with a token that only rises.

The token fences what the lease protects: whoever was stopped past its lease and goes on finds its writes refused. All
leases of a process are kept alive by one thread, with one update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from threading import Event, Lock, Thread
from time import CLOCK_BOOTTIME, clock_gettime
from typing import Any

import pymongo
from pymongo import ReturnDocument
from pymongo.database import Database

from ..errors import IngestError, LeaseLost, StoreUnavailable
from . import database as db
from .owner import Owner

__all__ = ["LEASE", "Lease", "Leases", "Owner", "beating", "expiry", "hold", "kept"]

LEASE = timedelta(seconds=60)  # the time within which the accounts of a daemon that died are with another
BEATS = 6  # in that time
LASTS = 3 / 4  # of that time, unless renewed: it is found to have ended at the next beat of somebody else
ENDING = 3.0  # seconds to give everything back
AT_ONCE = 500  # accounts in one command; the embedded store takes the square of it
LONG_AGO = datetime.fromtimestamp(0, UTC)

Document = dict[str, Any]

# As numbers, since the embedded store compares a stored date with $$NOW as if the two were of different types.
EXPIRED: Document = {"$lte": [{"$toLong": "$lease.expires_at"}, {"$toLong": "$$NOW"}]}


def first_contact(token: int = 0) -> Document:
    """What the document of an account begins with; whoever takes the lease has the one after *token*."""
    free = {"owner": None, "token": token, "since": datetime.now(UTC), "expires_at": LONG_AGO, "asked_until": None}
    return {"lease": free, "binding": None, "trouble": None, "login": None}


class Lease:
    """The right to write for one account, as long as `check` does not say otherwise."""

    def __init__(
        self,
        database: Database[Document],
        account: str,
        token: int,
        lasts: timedelta = LEASE * LASTS,
        *,
        taken_over: bool,
    ) -> None:
        self.account, self.token = account, token
        self.taken_over = taken_over  # from one that had not given it back, and may believe that it holds it still
        self._database, self._lasts = database, lasts
        self._held_since = _now()
        self._lost: LeaseLost | None = None

    def check(self) -> None:
        """Raise what ended the lease: LeaseLost when another daemon has it, StoreUnavailable while it has run out."""
        if self._lost:
            raise self._lost
        if _now() - self._held_since >= self._lasts.total_seconds():
            raise StoreUnavailable(f"account {self.account}: the lease ran out before the store renewed it")

    def confirm(self) -> None:
        """Ask the store, and renew: after this, nobody else has the account for as long as a lease lasts.

        For what a token cannot fence, such as a command to the mail server. Raises LeaseLost or StoreUnavailable.
        """
        began = _now()
        with db.translated():
            found = self._database.accounts.update_one(self.mine, [{"$set": {"lease.expires_at": expiry(self._lasts)}}])
        if found.matched_count:
            self.renewed(began)
        else:
            self.lose()
        self.check()

    @property
    def mine(self) -> Document:
        """The filter that matches the account's document only while we hold it."""
        return {"_id": self.account, "lease.token": self.token}

    def renewed(self, began: float) -> None:
        self._held_since = began

    def lose(self) -> None:
        self._lost = LeaseLost(f"account {self.account}: it is another daemon's now")


class Leases:
    """The leases of one process. Safe to use from several threads; `kept` keeps them alive."""

    def __init__(self, database: Database[Document], owner: Owner, lease: timedelta = LEASE) -> None:
        self.database, self.owner, self.lease = database, owner, lease
        self.lasts, self.beat = lease * LASTS, lease / BEATS
        self._held: dict[str, Lease] = {}
        self._lock = Lock()

    @property
    def held(self) -> dict[str, Lease]:
        with self._lock:
            return dict(self._held)

    def take(self, account: str) -> Lease:
        """Take *account*; raise LeaseLost, naming the holder, while another process has it."""
        lease = self._taken(account)
        if lease.taken_over:
            self._fence(lease)
        with self._lock:
            self._held[account] = lease
        return lease

    def renew(self) -> list[str]:
        """Renew all of them; return the accounts that another daemon has taken, and which are held no more."""
        held, began = self.held, _now()
        self._update(held, {"lease.expires_at": expiry(self.lasts)})
        with db.translated():
            found = self.database.accounts.find({"lease.owner.id": self.owner.id}, {"lease.token": 1})
            tokens = {each["_id"]: each["lease"]["token"] for each in found}
        lost = [account for account, lease in held.items() if tokens.get(account) != lease.token]
        for account in held.keys() - lost:
            held[account].renewed(began)
        self.forget(lost)
        return lost

    def give_back(self, accounts: Iterable[str]) -> None:
        """Let the next ones in at once. Nobody may be writing for *accounts* any more."""
        given = list(accounts)
        self.forget(given)
        self._update(given, {"lease.owner": None, "lease.since": "$$NOW", "lease.expires_at": LONG_AGO})

    def end(self) -> None:
        """Give all of them back, soon; when the store is away, they expire by themselves."""
        with suppress(IngestError), pymongo.timeout(ENDING):
            self.give_back(self.held)

    def _update(self, accounts: Iterable[str], fields: Document) -> None:
        """Set *fields* where we are still the owner."""
        names = list(accounts)
        for start in range(0, len(names), AT_ONCE):
            ours = {"_id": {"$in": names[start : start + AT_ONCE]}, "lease.owner.id": self.owner.id}
            with db.translated():
                self.database.accounts.update_many(ours, [{"$set": fields}])

    def _taken(self, account: str) -> Lease:
        began = _now()
        with db.translated():
            # In two steps, since MongoDB refuses $expr in the filter of an upsert.
            found = self.database.accounts.find_one({"_id": account}, {"lease": 1}) or self._met(account)
            lease = found["lease"]
            taken = self.database.accounts.find_one_and_update(
                {"_id": account, "$or": self._takeable(lease)},
                [{"$set": self._taking()}],
                return_document=ReturnDocument.AFTER,
            )
        if taken is None:
            raise LeaseLost(_served_by(account, lease))
        token, taken_over = taken["lease"]["token"], lease["owner"] is not None
        ours = Lease(self.database, account, token, self.lasts, taken_over=taken_over)
        ours.renewed(began)
        return ours

    def _met(self, account: str) -> Document:
        """The document of an account that had none. It may have lost it, so no token comes again that was once used."""
        ours, seals = {"_id": account}, {"_id": {"$gte": f"{account}/", "$lt": f"{account}0"}}
        tokens = [each.get("token", 0) for each in self.database.mailboxes.find({"account": account}, {"token": 1})]
        tokens += [seal["token"] for seal in self.database.seals.find(seals, {"token": 1}).sort("_id", -1).limit(1)]
        self.database.accounts.update_one(ours, {"$setOnInsert": first_contact(max(tokens, default=0))}, upsert=True)
        return self.database.accounts.find_one(ours, {"lease": 1}) or {}

    def _takeable(self, lease: Document) -> list[Document]:
        takeable: list[Document] = [{"$expr": EXPIRED}]
        if lease["owner"] and self.owner.knows_dead(lease["owner"]):
            takeable.append({"lease.token": lease["token"]})
        return takeable

    def _taking(self) -> Document:
        return {
            "lease.owner": {"$literal": self.owner.document},
            "lease.token": {"$add": ["$lease.token", 1]},
            "lease.since": "$$NOW",
            "lease.expires_at": expiry(self.lasts),
            "lease.asked_until": None,
        }

    def forget(self, accounts: Iterable[str]) -> None:
        """Hold *accounts* no longer, without giving them back: others have them, or will when they expire."""
        with self._lock:
            for lease in filter(None, [self._held.pop(account, None) for account in accounts]):
                lease.lose()

    def _fence(self, lease: Lease) -> None:
        """Close every checkpoint to the holder before us; the log of seals is closed when it is next opened."""
        with db.translated():
            self.database.mailboxes.update_many({"account": lease.account}, {"$max": {"token": lease.token}})


@contextmanager
def beating(leases: Leases, beat: Callable[[], object]) -> Iterator[None]:
    """Call *beat*, which is to renew *leases*, on one thread until the block ends, at once and then in good time.

    One that fails is made up for by the next; leases that nobody could renew run out by themselves, and say so.
    """
    ended = Event()
    keeper = Thread(target=_keep, args=(leases, beat, ended), name="leases", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()


def _keep(leases: Leases, beat: Callable[[], object], ended: Event) -> None:
    while True:
        with suppress(IngestError):
            beat()
        if ended.wait(leases.beat.total_seconds()):
            return


@contextmanager
def kept(leases: Leases, stopped: Callable[[], bool] = lambda: False) -> Iterator[Leases]:
    """Keep *leases* alive until the block ends, and give them back; once *stopped*, renew them no more."""
    try:
        with beating(leases, lambda: None if stopped() else leases.renew()):
            yield leases
    finally:
        leases.end()


@contextmanager
def hold(
    database: Database[Document],
    account: str,
    owner: Owner,
    lease: timedelta = LEASE,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Lease]:
    """Hold *account* until the block ends; raise LeaseLost, naming the holder, while another process has it.

    Once *stopped*, it is renewed no more: it outlasts what is to be finished.
    """
    with kept(Leases(database, owner, lease), stopped) as leases:
        yield leases.take(account)


def expiry(lasts: timedelta) -> Document:
    """The expression for so long from now, by the server's clock."""
    return {"$add": ["$$NOW", int(lasts.total_seconds() * 1000)]}


def _served_by(account: str, lease: Document) -> str:
    held_by = lease["owner"]
    holder = f"{held_by['node']} (pid {held_by['pid']})" if held_by else "another daemon"
    until = f"until {lease['expires_at']:%H:%M:%S} UTC"
    return f"account {account}: served by {holder}, its lease runs {until}; leave it to that one, or stop it first"


def _now() -> float:
    return clock_gettime(CLOCK_BOOTTIME)  # unlike monotonic, it goes on while the machine sleeps
