"""How far the archive is: who serves each account, why one fails, and what the last pass over each mailbox left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pymongo.database import Database

from ..breaker import Breaker
from ..store import fallbacks
from ..store.database import translated
from ..store.indexes import GIVEN
from ..store.maildrop_places import epoch
from ..store.memory import BELIEVED
from ..uidset import UIDSet

Document = dict[str, Any]

NOW = {"$set": {"now": "$$NOW"}}  # by the server's clock, as all of these times are


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """One mailbox. Counts are of places: a message that lies in two mailboxes counts in both."""

    mailbox: str
    done: int  # stored, vanished or quarantined
    to_do: int  # selected, and not finished
    left_out: int
    last_pass: datetime | None  # when it ended
    disappeared: int = 0  # so many at once that the server is doubted
    believed_at: datetime | None = None  # when they count as gone, unless they are listed again
    per_second: float | None = None  # messages that the last pass finished; None when it found nothing to do


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why visits to an account fail now."""

    error: str
    since: datetime
    failures: int  # visits in a row
    failed_at: datetime
    next_try: datetime | None  # None when it was no daemon that failed


@dataclass(frozen=True, slots=True)
class Untold:
    """Mail of which the server should have told by itself, and did not."""

    times: int
    late_seconds: int  # how long it had lain there, the last time
    noted_at: datetime
    doubted: bool  # whether the account is visited more often because of that


@dataclass(frozen=True, slots=True)
class PutOff:
    """Until when an account is left alone, since a limit of its mail server was reached: no fault of the account."""

    provider: str
    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class AccountStatus:
    account: str
    served_by: str | None  # "host (pid 123)", while its lease runs
    served_since: datetime | None
    lease_until: datetime | None  # unless renewed
    unserved_for: timedelta | None  # how long nobody has held it
    daemons: int  # that run and are configured for it
    trouble: Trouble | None
    untold: Untold | None
    put_off: tuple[PutOff, ...]
    fallback: Breaker | None  # None when it was never looked at: without POP3, or without a failure of IMAP
    messages: int  # distinct, without variants of others
    mailboxes: tuple[MailboxStatus, ...]


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """A daemon that runs, or died within the time of a lease."""

    daemon: str  # "host (pid 123)"
    since: datetime
    configured: int  # accounts that it would serve
    serving: int  # accounts that it holds


def daemons(database: Database[Document]) -> list[DaemonStatus]:
    """Return every daemon that runs, the longest first."""
    with translated():
        held = Counter(
            found["lease"]["owner"].get("id")
            for found in database.accounts.aggregate([NOW])
            if found["lease"]["owner"] and found["lease"]["expires_at"] > found["now"]
        )
    living = sorted(_living(database), key=lambda each: each["since"])
    return [DaemonStatus(_named(each), each["since"], len(each["accounts"]), held[each["_id"]]) for each in living]


def accounts(database: Database[Document]) -> Iterator[AccountStatus]:
    """Yield every account that was ever served, by name."""
    configured = Counter(account for daemon in _living(database) for account in daemon["accounts"])
    held = _held(database)
    with translated():
        for found in list(database.accounts.aggregate([NOW, {"$sort": {"_id": 1}}])):
            yield AccountStatus(
                account=found["_id"],
                **_service(found["lease"], found["now"]),
                daemons=configured[found["_id"]],
                trouble=Trouble(**found["trouble"]) if found.get("trouble") else None,
                untold=_untold(found["push"]) if "push" in found else None,
                put_off=tuple(held.get(found["_id"], ())),
                fallback=fallbacks.read(found["fallback"]) if found.get("fallback") else None,
                messages=_messages(database, found["_id"]),
                mailboxes=(
                    *map(_mailbox, database.mailboxes.find({"account": found["_id"]}).sort("_id")),
                    *([_maildrop(database, found)] if found.get("maildrop") else []),
                ),
            )


def _held(database: Database[Document]) -> dict[str, list[PutOff]]:
    held: dict[str, list[PutOff]] = {}
    with translated():
        for found in database.usage.aggregate([NOW]):
            if (hold := found["hold"]) and hold["until"] > found["now"]:
                held.setdefault(found["account"], []).append(PutOff(found["provider"], hold["until"], hold["why"]))
    return held


def _living(database: Database[Document]) -> list[Document]:
    with translated():
        return [each for each in database.daemons.aggregate([NOW]) if each["expires_at"] > each["now"]]


def _service(lease: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Who holds the *lease*, since when and until when; or for how long nobody has."""
    holder, until = lease["owner"], lease["expires_at"]
    if holder and until > now:
        held = {"served_by": _named(holder), "served_since": lease.get("since"), "lease_until": until}
        return {**held, "unserved_for": None}
    free_since = until if holder else lease.get("since", until)
    return {"served_by": None, "served_since": None, "lease_until": None, "unserved_for": now - free_since}


def _untold(push: Mapping[str, Any]) -> Untold:
    return Untold(push["late"], push["late_seconds"], push["noted_at"], push["doubted"])


def _named(process: Mapping[str, Any]) -> str:
    return f"{process['node']} (pid {process['pid']})"


def _mailbox(found: Document) -> MailboxStatus:
    return MailboxStatus(
        mailbox=found["mailbox"],
        done=len(UIDSet.parse(found["done"])),
        to_do=len(UIDSet.parse(found["selected"])),
        left_out=sum(len(UIDSet.parse(uids)) for uids in found["left_out"].values()),
        last_pass=(found["last_pass"] or {}).get("finished_at"),
        per_second=_pace(found["last_pass"] or {}),
        **_disappeared(found.get("absent") or {}),
    )


def _pace(last: Document) -> float | None:
    """How many messages a pass has finished in a second."""
    seconds = (last["finished_at"] - last["started_at"]).total_seconds() if last else 0.0
    done = last.get("selected", 0) - last.get("remaining", 0)
    return round(done / seconds, 1) if done > 0 and seconds > 0 else None


def _disappeared(absent: Document) -> dict[str, Any]:
    since = absent.get("suspended_at")
    believed_at = since + BELIEVED if since else None
    return {"disappeared": len(UIDSet.parse(absent.get("suspended", ""))), "believed_at": believed_at}


def _messages(database: Database[Document], account: str) -> int:
    ours: Document = {"account": account}
    variants = database.messages.count_documents({**ours, "same_as": GIVEN})
    return database.messages.count_documents(ours) - variants


def _maildrop(database: Database[Document], found: Document) -> MailboxStatus:
    last = found["maildrop"]["last_pass"] or {}
    finished = {**epoch(found["_id"]).filter, "state": {"$in": ["stored", "quarantined", "vanished"]}}
    return MailboxStatus(
        mailbox="INBOX (POP3)",
        done=database.placements.count_documents(finished),
        to_do=last.get("remaining", 0),
        left_out=sum(last.get("left_out", {}).values()),
        last_pass=last.get("finished_at"),
    )
