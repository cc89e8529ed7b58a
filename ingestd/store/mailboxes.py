"""What is remembered of one mailbox: its epoch, its baseline, what is still to do, and what is left out and why.

UIDs are kept as sets, never as documents. The document is a checkpoint, not the truth: it may lag behind the ledger by
what was stored since, and a pass that starts from it looks those places up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from bson import Int64
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from ..errors import LeaseLost
from ..uidset import UIDSet
from . import database as db
from . import placements
from .leases import Lease
from .placements import Epoch

Document = dict[str, Any]
Since = date | timedelta | None  # a day, or so long before the day the mailbox is first seen; None: everything


@dataclass(frozen=True, slots=True)
class Memory:
    """A mailbox as the last pass left it."""

    epoch: Epoch
    baseline: int  # the last UID that was there at first sight; 0 when there was none
    since: datetime | None  # the start of a day in UTC, resolved when the setting was first seen
    settings: str  # `select` and `since` as configured; when they change, what was selected is chosen anew
    selected: UIDSet = field(default_factory=UIDSet)  # chosen, and not finished yet
    formerly: UIDSet = field(default_factory=UIDSet)  # chosen under other settings: some may be stored, and not sealed
    done: UIDSet = field(default_factory=UIDSet)  # stored or quarantined
    left_out: Mapping[str, UIDSet] = field(default_factory=dict)  # by reason
    sealed: int = 0  # the account's newest seal at that time
    last_pass: Document | None = None
    first_sight: bool = False  # this epoch was never seen before

    def finished(self, uids: UIDSet) -> Memory:
        return replace(self, selected=self.selected - uids, done=self.done | uids)

    def dropped(self, uids: UIDSet) -> Memory:
        return replace(self, selected=self.selected - uids)

    def new_first(self, uids: UIDSet, limit: int | None) -> UIDSet:
        """Cut *uids* to *limit*: today's mail must not wait for a backlog of a million."""
        if limit is None or len(uids) <= limit:
            return uids
        new = (uids - UIDSet.span(1, self.baseline)).first(limit)
        return new | (uids - new).first(limit - len(new))


def recall(
    database: Database[Document],
    account: str,
    mailbox: str,
    server: tuple[int, int],
    select: str,
    since: Since,
    now: datetime,
) -> Memory:
    """Return what is known of *mailbox*, whose UIDVALIDITY and UIDNEXT are *server*. Changes nothing.

    A UIDVALIDITY that is not the remembered one begins a new epoch: nothing is known of its UIDs.
    """
    uidvalidity, uidnext = server
    with db.translated():
        found = database.mailboxes.find_one({"_id": f"{account}/{mailbox}"})
    settings = f"{select} since {since}"
    if found is None or found["uidvalidity"] != uidvalidity:
        epoch = Epoch(account, mailbox, found["epoch"] + 1 if found else 1, uidvalidity)
        return Memory(epoch, uidnext - 1, resolved(since, now), settings, first_sight=True)
    same = found["settings"] == settings
    epoch = Epoch(account, mailbox, found["epoch"], uidvalidity)
    done = UIDSet.parse(found["done"])
    # What a person took out of quarantine is open again. The checkpoint cannot say so, since only passes write it.
    retried = placements.open_attempts(database, epoch) & done
    return Memory(
        epoch=epoch,
        baseline=int(found["baseline"]),
        since=found["since"] if same else resolved(since, now),
        settings=settings,
        selected=UIDSet.parse(found["selected"]) | retried if same else retried,
        formerly=UIDSet() if same else UIDSet.parse(found["selected"]),
        done=done - retried,
        left_out={reason: UIDSet.parse(uids) for reason, uids in found["left_out"].items()} if same else {},
        sealed=found["sealed"],
        last_pass=found["last_pass"],
    )


def save(database: Database[Document], lease: Lease, memory: Memory) -> None:
    """Write *memory*; raise LeaseLost when a later holder of the account has written."""
    epoch = memory.epoch
    fields = {
        "account": epoch.account,
        "mailbox": epoch.mailbox,
        "epoch": epoch.number,
        "uidvalidity": Int64(epoch.uidvalidity),
        "baseline": Int64(memory.baseline),
        "since": memory.since,
        "settings": memory.settings,
        "selected": str(memory.selected),
        "done": str(memory.done),
        "left_out": {reason: str(uids) for reason, uids in memory.left_out.items()},
        "sealed": memory.sealed,
        "last_pass": memory.last_pass,
        "token": lease.token,
    }
    ours = {"_id": f"{epoch.account}/{epoch.mailbox}", "token": {"$lte": lease.token}}
    try:
        with db.translated():
            database.mailboxes.update_one(ours, {"$set": fields, "$currentDate": {"modified_at": True}}, upsert=True)
    except DuplicateKeyError as error:  # it is there, with a higher token
        raise LeaseLost(f"account {epoch.account}: another daemon took it over") from error


def resolved(since: Since, now: datetime) -> datetime | None:
    """Return the start, in UTC, of the day that *since* means when it is first seen at *now*."""
    if since is None:
        return None
    day = (now - since).date() if isinstance(since, timedelta) else since
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
