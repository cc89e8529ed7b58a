"""One writer for each account: a lease in `accounts`, by the server's clock, with a token that only rises.

The token fences what the lease protects: whoever was stopped past its lease and goes on finds its writes refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

from pymongo import ReturnDocument
from pymongo.database import Database

from ..errors import LeaseLost, StoreUnavailable
from . import database as db

TTL = timedelta(seconds=60)
RENEW = timedelta(seconds=20)

Document = dict[str, Any]

# As numbers, since the embedded store compares a stored date with $$NOW as if the two were of different types.
EXPIRED: Document = {"$lte": [{"$toLong": "$lease.expires_at"}, {"$toLong": "$$NOW"}]}


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, told apart from every other one of this or any other machine."""

    host: str  # the boot and the process namespace: a pid means nothing outside them
    pid: int
    started: str  # clock ticks since boot: pids are used again

    @classmethod
    def current(cls) -> Owner:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
        return cls(f"{boot} {namespace}", os.getpid(), _started(os.getpid()) or "")

    @property
    def document(self) -> Document:
        return {"host": self.host, "node": os.uname().nodename, "pid": self.pid, "started": self.started}

    def knows_dead(self, other: Document) -> bool:
        """Whether *other* certainly lives no more: it ran here, and its process is gone or has become another."""
        if other["host"] != self.host:
            return False
        return _gone(other["pid"]) or _started(other["pid"]) not in (other["started"], None)


class Lease:
    """The right to write for one account. Kept alive by a thread until its `with` ends."""

    def __init__(self, database: Database[Document], account: str, token: int, *, taken_over: bool) -> None:
        self.account, self.token, self.taken_over = account, token, taken_over
        self._database = database
        self._held_since = monotonic()
        self._lost: Exception | None = None

    def check(self) -> None:
        """Raise what ended the lease: LeaseLost when another daemon has it, StoreUnavailable when it ran out."""
        if self._lost:
            raise self._lost
        if monotonic() - self._held_since >= TTL.total_seconds():
            raise StoreUnavailable(f"account {self.account}: the lease ran out before the store renewed it")

    @property
    def mine(self) -> Document:
        """The filter that matches the account's document only while we hold it."""
        return {"_id": self.account, "lease.token": self.token}

    def keep(self, ended: Event) -> None:
        while not ended.wait(RENEW.total_seconds()):
            began = monotonic()
            try:
                self._renew()
            except Exception as error:  # noqa: BLE001 - whatever it is, `check` raises it
                self._lost = error
                return
            self._held_since = began

    def _renew(self) -> None:
        with db.translated():
            found = self._database.accounts.update_one(self.mine, [{"$set": {"lease.expires_at": _expiry()}}])
        if not found.matched_count:
            raise LeaseLost(f"account {self.account}: another daemon took it over")


@contextmanager
def hold(database: Database[Document], account: str, owner: Owner) -> Iterator[Lease]:
    """Hold *account* until the block ends; raise LeaseLost, naming the holder, while another process has it."""
    lease = _take(database, account, owner)
    ended = Event()
    keeper = Thread(target=lease.keep, args=(ended,), name=f"lease {account}", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        ended.set()
        keeper.join()
        _release(database, lease)


def _take(database: Database[Document], account: str, owner: Owner) -> Lease:
    free = {"owner": None, "token": 0, "expires_at": datetime.fromtimestamp(0, UTC)}
    with db.translated():
        # In two steps, since MongoDB refuses $expr in the filter of an upsert.
        database.accounts.update_one({"_id": account}, {"$setOnInsert": {"lease": free, "binding": None}}, upsert=True)
        found = database.accounts.find_one({"_id": account}) or {}
        held_by = found["lease"]["owner"]
        takeable: list[Document] = [{"$expr": EXPIRED}]
        if held_by and owner.knows_dead(held_by):
            takeable.append({"lease.token": found["lease"]["token"]})
        taken = database.accounts.find_one_and_update(
            {"_id": account, "$or": takeable},
            [
                {
                    "$set": {
                        "lease.owner": {"$literal": owner.document},
                        "lease.token": {"$add": ["$lease.token", 1]},
                        "lease.expires_at": _expiry(),
                    }
                }
            ],
            return_document=ReturnDocument.AFTER,
        )
    if taken is None:
        holder = f"{held_by['node']} (pid {held_by['pid']})" if held_by else "another daemon"
        until = found["lease"]["expires_at"]
        raise LeaseLost(f"account {account}: served by {holder}, its lease runs until {until:%H:%M:%S} UTC")
    return Lease(database, account, taken["lease"]["token"], taken_over=held_by is not None)


def _release(database: Database[Document], lease: Lease) -> None:
    """Let the next one in at once. When the store is away, the lease expires by itself."""
    free = {"lease.owner": None, "lease.expires_at": datetime.fromtimestamp(0, UTC)}
    try:
        with db.translated():
            database.accounts.update_one(lease.mine, {"$set": free})
    except StoreUnavailable:
        return


def _expiry() -> Document:
    return {"$add": ["$$NOW", int(TTL.total_seconds() * 1000)]}


def _gone(pid: int) -> bool:
    """Whether there is certainly no process *pid*; /proc alone may hide the processes of others."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _started(pid: int) -> str | None:
    """When process *pid* was started (field 22 of /proc/PID/stat), or None when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
