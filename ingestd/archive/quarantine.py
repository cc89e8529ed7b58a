"""What a mail server would not give: the places, what is known of each, and what a person can do about it.

Only the ledger is read; no mail server is asked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from shlex import quote
from typing import Any

from pymongo.database import Database

from ..message import Place
from ..store.database import translated
from .search import NotFound

Document = dict[str, Any]

GIVEN_UP, OPEN = "quarantined", "fetching"
_PLACE = re.compile(r"([^/]+)/(.+)/(\d{1,10})")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A place, and the attempts to get its bytes."""

    place: str  # its `_id`
    account: str
    mailbox: str
    epoch: int
    uid: int
    state: str
    reason: str | None  # why the last attempt failed
    attempts: int  # since a person last asked for more
    attempts_before: int
    first_seen_at: datetime
    last_try: datetime | None
    next_try: datetime | None
    present: bool  # as far as is known, it is still there
    retired: bool  # no: its mailbox was renumbered
    internal_date: datetime | None
    server_size_bytes: int | None
    message: str | None  # what is stored from there

    @property
    def can_be_retried(self) -> bool:
        return self.state == GIVEN_UP and self.present

    @property
    def name(self) -> str:
        """The place as a person would type it; the current epoch is meant, and over POP3 there is only its `_id`."""
        return f"{self.account}/{self.mailbox}/{self.uid}" if self.epoch else self.place


@dataclass(frozen=True, slots=True)
class Advice:
    """What a reason means, and what to do next."""

    means: str
    next_step: str


def attempts(
    database: Database[Document], account: str | None, mailbox: str | None, states: Collection[str], limit: int | None
) -> tuple[list[Attempt], int]:
    """Return at most *limit* places in one of *states*, by mailbox and UID, and how many there are of them."""
    where = {key: value for key, value in (("account", account), ("mailbox", mailbox)) if value is not None}
    found: list[Document] = []
    total = 0
    order = [("account", 1), ("mailbox", 1), ("epoch", 1), ("uid", 1)]
    # One state after the other, since each has a partial index of its own.
    for state in states:
        query = {**where, "state": state}
        with translated():
            total += database.placements.count_documents(query)
            found += database.placements.find(query).sort(order).limit(limit or 0)
    found.sort(key=lambda each: tuple(each[key] for key, _ in order))
    return [_attempt(each) for each in found[:limit]], total


def one(database: Database[Document], wanted: str) -> Attempt:
    """Return the place that *wanted* names: an `_id`, or `ACCOUNT/MAILBOX/UID` in its current epoch; raise NotFound."""
    with translated():
        if found := database.placements.find_one({"_id": _id(database, wanted.strip())}):
            return _attempt(found)
    raise NotFound(f"no place {wanted!r} was ever tried; give one of: ingestd quarantine list --open")


def documents(database: Database[Document], places: Collection[str]) -> Iterator[Document]:
    """Yield the documents of those *places* that are in quarantine and still on their server."""
    for place in places:
        with translated():
            found = database.placements.find_one({"_id": place, "state": GIVEN_UP, "present": True})
        if found:
            yield found


def advice(attempt: Attempt) -> Advice:
    """What the state of *attempt* and its reason mean to a person."""
    if attempt.state == "stored":
        return Advice("its bytes are stored", f"nothing; ingestd show {attempt.message}")
    if attempt.state == "vanished":
        return Advice("it was deleted on the server before its bytes could be had", "nothing, unless a backup has it")
    if not attempt.present and not attempt.retired:
        return Advice(
            "the server lists it no more: it was deleted or moved before its bytes could be had",
            "nothing; if it was moved into a mailbox that is served, it is found there",
        )
    if attempt.retired:
        return Advice(
            "the mailbox was renumbered since (another UIDVALIDITY), and this UID means nothing any more",
            "nothing; if the message is still there, it was found again under its new UID",
        )
    means, mend = next((said for pattern, *said in _REASONS if re.search(pattern, attempt.reason or "")), _BROKEN)
    if attempt.state == OPEN:
        return Advice(means, "nothing yet: it is tried again at its next try; if it fails again and again, " + mend)
    return Advice(means, f"{mend}; then: ingestd quarantine retry {quote(attempt.name)}")


def _id(database: Database[Document], wanted: str) -> str:
    """The `_id` that *wanted* means."""
    match = None if "://" in wanted else _PLACE.fullmatch(wanted)
    if not match:
        return wanted
    account, mailbox, uid = match.groups()
    mailbox = "INBOX" if mailbox.upper() == "INBOX" else mailbox
    found = database.mailboxes.find_one({"_id": f"{account}/{mailbox}"}, {"epoch": 1, "uidvalidity": 1})
    return Place(account, mailbox, found["epoch"], int(found["uidvalidity"]), int(uid)).id if found else wanted


def _attempt(found: Document) -> Attempt:
    size = found["server_size_bytes"]
    return Attempt(
        place=found["_id"],
        account=found["account"],
        mailbox=found["mailbox"],
        epoch=int(found["epoch"]),
        uid=int(found["uid"]),
        state=found["state"],
        reason=found["reason"],
        attempts=int(found["attempts"]),
        attempts_before=sum(int(each["attempts"]) for each in found["history"] if each["event"] == "retried"),
        first_seen_at=found["first_seen_at"],
        last_try=found.get("last_try"),  # places written by earlier versions have none
        next_try=found["next_try"],
        present=found["present"],
        retired=any(each["event"] == "retired" for each in found["history"]),
        internal_date=found["internal_date"],
        server_size_bytes=None if size is None else int(size),
        message=found["message"],
    )


_ANOTHER_WAY = "open the message there in a mail program; if that fails too, have the operator of the server mend it"
_REASONS = (
    (
        "larger than the spool",
        "the message is larger than all that daemon.spool_disk allows, so it was not even begun",
        "raise daemon.spool_disk above its size",
    ),
    (
        "without giving the message",
        "the server lists the message and, asked for it alone, does not give it: mostly its own copy is damaged",
        _ANOTHER_WAY,
    ),
    (
        "too slowly|in time|closed the connection|ended the session|connection failed",
        "the connection ends or stalls at this message every time: the server, or a proxy or virus scanner before it,"
        " gives up on it",
        "look into the server's log at the time of the last try",
    ),
)
_BROKEN = (
    "what the server says at this message is no valid answer, every time, so its bytes cannot be trusted",
    "have the operator of the server look into its log at the time of the last try",
)
