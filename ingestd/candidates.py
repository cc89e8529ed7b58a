"""Which messages of a mailbox a pass is to bring, and which it leaves out and why.

What was there when the mailbox was first seen is selected as the operator says (`UNSEEN` by default). What came later
is brought whatever its flags: a person may have opened it before we looked, and UNSEEN alone would lose it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from .uidset import UIDSet

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Searchable(Protocol):
    def search(self, program: str, within: UIDSet | None = None) -> UIDSet:
        """Return the UIDs that match *program*, search keys as in RFC 9051, section 6.4.4."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """All UIDs of a mailbox: those to bring, and the rest by the reason for leaving them out."""

    present: UIDSet
    selected: UIDSet
    left_out: dict[str, UIDSet]


@dataclass(frozen=True, slots=True)
class Choice:
    """What decides which messages are brought."""

    select: str  # "unseen", "all", or a search program, which then holds for new mail too
    since: datetime | None
    baseline: int  # the last UID that was there at first sight
    came_since: datetime | None = None  # what lies there from then on came later, whatever its UID


def candidates(mailbox: Searchable, present: UIDSet, choice: Choice, older: UIDSet) -> Candidates:
    """Search *mailbox*, where *present* are all UIDs, for what *choice* asks for.

    *older* is known to lie before `since`, although the server's day says otherwise.
    """
    recent = _recent(mailbox, present, choice.since, older) if choice.since else present
    if choice.select == "all":
        selected = recent
    elif choice.select == "unseen":
        was_there = _was_there(mailbox, recent, choice)
        unseen = mailbox.search("UNSEEN", within=UIDSet.span(1, choice.baseline)) if was_there else UIDSet()
        selected = (unseen & was_there) | (recent - was_there)
    else:
        selected = mailbox.search(choice.select) & recent
    reason = "seen_at_baseline" if choice.select == "unseen" else "not_in_program"
    left_out = {"older_than_since": present - recent, reason: recent - selected}
    return Candidates(present, selected, {why: uids for why, uids in left_out.items() if uids})


def _recent(mailbox: Searchable, present: UIDSet, since: datetime, older: UIDSet) -> UIDSet:
    """Return what of *present* may lie at or after *since*: not *older*, unless a later day says that it is new."""
    found = mailbox.search(day_before(since)) & present
    if not found & older:
        return found
    # A mailbox that was restored from a backup gives numbers again.
    return (found - older) | (found & mailbox.search(day_after(since)))


def _was_there(mailbox: Searchable, recent: UIDSet, choice: Choice) -> UIDSet:
    """Return what of *recent* was there when the mailbox was first seen: by UID, unless the day says otherwise."""
    there = recent & UIDSet.span(1, choice.baseline)
    return there - mailbox.search(day_before(choice.came_since)) if there and choice.came_since else there


def day_before(since: datetime) -> str:
    """The search key for all that may lie at or after *since*, and some of the day before.

    SINCE goes by the day of the server's zone, which may have begun up to 14 hours before or after ours.
    """
    return _since(since - timedelta(days=1))


def day_after(since: datetime) -> str:
    """The search key for what certainly lies after *since*, the start of a day in UTC, in any zone of a server."""
    return _since(since + timedelta(days=1))


def _since(day: datetime) -> str:
    return f"SINCE {day.day:02}-{MONTHS[day.month - 1]}-{day.year}"
