"""The documents that remember a mailbox from pass to pass: its epoch, what is still to do, what is left out and why."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from bson import Int64
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from ..errors import LeaseLost
from ..message import Numbers
from ..uidset import UIDSet
from . import database as db
from . import placements
from .leases import Lease
from .memory import Absent, Doubts, Followed, Looked, Memory
from .placements import Epoch

Document = dict[str, Any]
UNKNOWN: Document = {  # what a document lacks that an earlier version wrote
    "rebound": False,
    "visited": 0,
    "absent": Absent().document,
    "doubts": Doubts().document,
    "uidnext": 0,
    "followed": Followed().document,
    "looked": None,
}
Since = date | timedelta | None  # a day, or so long before the day the mailbox is first seen; None: everything


def recall(
    database: Database[Document],
    account: str,
    mailbox: str,
    numbers: Numbers,
    select: str,
    since: Since,
    now: datetime,
) -> Memory:
    """Return what is known of *mailbox*, which was opened with *numbers*. Changes nothing.

    A UIDVALIDITY that is not the remembered one begins a new epoch: nothing is known of its UIDs.
    """
    before = last(database, account, mailbox)
    settings = f"{select} since {since}"
    if before is None:
        epoch = Epoch(account, mailbox, 1, numbers.uidvalidity)
        return Memory(
            epoch=epoch,
            baseline=numbers.uidnext - 1,
            since=resolved(since, now),
            settings=settings,
            met_at=now,
            uidnext=numbers.uidnext,
            first_sight=True,
        )
    memory = before if before.settings == settings else before.under(settings, resolved(since, now))
    if before.rebound or memory.epoch.uidvalidity != numbers.uidvalidity:
        return memory.afresh(numbers.uidvalidity, numbers.uidnext)
    # What a person took out of quarantine is open again. The checkpoint cannot say so, since only passes write it.
    return memory.reopened(UIDSet.of(placements.open_attempts(database, memory.epoch)))


def last(database: Database[Document], account: str, mailbox: str) -> Memory | None:
    """Return *mailbox* as the last pass left it, whatever is configured now; None when there was none."""
    with db.translated():
        found = database.mailboxes.find_one({"_id": f"{account}/{mailbox}"})
    return _read({**UNKNOWN, "met_at": found["modified_at"], **found}) if found else None


def names(database: Database[Document], account: str) -> set[str]:
    """The mailboxes of *account* that were ever visited."""
    with db.translated():
        return {found["mailbox"] for found in database.mailboxes.find({"account": account}, {"mailbox": 1})}


def _read(found: Document) -> Memory:
    return Memory(
        epoch=Epoch(found["account"], found["mailbox"], found["epoch"], int(found["uidvalidity"])),
        baseline=int(found["baseline"]),
        since=found["since"],
        settings=found["settings"],
        met_at=found["met_at"],
        selected=UIDSet.parse(found["selected"]),
        done=UIDSet.parse(found["done"]),
        left_out={reason: UIDSet.parse(uids) for reason, uids in found["left_out"].items()},
        visited=int(found["visited"]),
        absent=Absent.read(found["absent"]),
        doubts=Doubts.read(found["doubts"]),
        uidnext=int(found["uidnext"]),
        followed=Followed.read(found["followed"]),
        looked=Looked.read(found["looked"]) if found["looked"] else None,
        sealed=found["sealed"],
        last_pass=found["last_pass"],
        rebound=found["rebound"],
    )


def save(database: Database[Document], lease: Lease, memory: Memory) -> None:
    """Write *memory*; raise LeaseLost when a later holder of the account has written."""
    epoch = memory.epoch
    fields = {
        "account": epoch.account,
        "mailbox": epoch.mailbox,
        "epoch": epoch.number,
        "uidvalidity": Int64(epoch.uidvalidity),
        "rebound": False,
        "baseline": Int64(memory.baseline),
        "visited": Int64(memory.visited),
        "since": memory.since,
        "settings": memory.settings,
        "met_at": memory.met_at,
        "selected": str(memory.selected),
        "done": str(memory.done),
        "left_out": {reason: str(uids) for reason, uids in memory.left_out.items()},
        "absent": memory.absent.document,
        "doubts": memory.doubts.document,
        "uidnext": Int64(memory.uidnext),
        "followed": memory.followed.document,
        "looked": memory.looked.document if memory.looked else None,
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


def look_again(database: Database[Document], lease: Lease) -> None:
    """Have the next pass over each mailbox of the account look at everything, however unchanged it seems to be."""
    ours = {"account": lease.account, "token": {"$lte": lease.token}}
    with db.translated():
        database.mailboxes.update_many(ours, {"$set": {"looked": None, "token": lease.token}})


def resolved(since: Since, now: datetime) -> datetime | None:
    """Return the start, in UTC, of the day that *since* means when it is first seen at *now*."""
    if since is None:
        return None
    day = (now - since).date() if isinstance(since, timedelta) else since
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
