"""What a mailbox lists, held against what the ledger knows of it, before anything is fetched.

Is it still the mailbox that we know? Which of its messages are gone, which are back, and which are others now? A UID
means something only as long as the mailbox keeps its promises, and servers are restored, replaced and broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from .message import Metadata, Numbers
from .store.ledger import Ledger
from .store.memory import BELIEVED, NONE, Absent, Memory
from .uidset import UIDSet

SAMPLE = 8  # known messages that are looked at in each pass
PENDING = 500  # besides those that are to be marked or moved on the server, at most
COMPARED = 5000  # doubted messages that are compared in each pass
BULK = 20  # messages, and one in
SHARE = 10  # of them: when more than both disappear at once, the server is doubted rather than believed
LOOK_EVERY = timedelta(hours=1)  # at everything, even where nothing seems to have happened

log = structlog.get_logger(__name__)


class Listing(Protocol):
    """A mailbox that says what there is."""

    @property
    def account(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def numbers(self) -> Numbers:
        """What it said about itself when it was opened."""

    def listed(self) -> UIDSet:
        """Return all UIDs; raise Unavailable when there are none although the server says that it has messages."""

    def look(self, uids: UIDSet) -> dict[int, Metadata]:
        """Return what it says about each of *uids*, without those that it says nothing about."""


def unchanged(memory: Memory, numbers: Numbers, now: datetime) -> bool:
    """Whether nothing happened since everything was looked at, as far as the *numbers* of the mailbox tell.

    Believed for an hour, and only where nothing is left to do, and there are as many messages as are accounted for.
    Where changes are not counted (no CONDSTORE), flags may have changed: that must not matter to what is selected.
    """
    looked = memory.looked
    if looked is None or memory.open or not timedelta() <= now - looked.at < LOOK_EVERY:
        return False
    if looked.modseq is None and memory.select not in ("unseen", "all"):
        return False
    same = (looked.uidnext, looked.exists, looked.modseq) == (numbers.uidnext, numbers.exists, numbers.modseq)
    return same and len(memory.accounted) == numbers.exists


def reconcile(mailbox: Listing, ledger: Ledger) -> UIDSet:
    """Bring the ledger up to what *mailbox* lists, and return that. A mailbox that is another one begins an epoch."""
    present = mailbox.listed()
    if ledger.memory.first_sight and ledger.memory.former:
        log.warning("mailbox renumbered", mailbox=_name(mailbox), epoch=ledger.memory.epoch.number)
    whole = len(present) >= mailbox.numbers.exists  # else it was searched halfway, or something is just being deleted
    if not ledger.memory.first_sight:
        _recognise(mailbox, ledger, present)
    if not ledger.memory.first_sight:
        _account(_name(mailbox), ledger, present, whole=whole)
        _compare(mailbox, ledger, present)
    elif whole:
        ledger.lower_baseline(present.highest)  # should the server have announced a UIDNEXT too high
    return present


def reconcile_with_none(ledger: Ledger) -> None:
    """Bring the ledger of a mailbox up to its server having no such mailbox any more: what lay there is gone."""
    memory = ledger.memory
    # One that was given up with its server must not be forgotten to be.
    if not memory.rebound:
        _account(f"{memory.epoch.account}/{memory.epoch.mailbox}", ledger, NONE, whole=True)
        if ledger.memory != memory:
            ledger.finish(memory.last_pass)


def _recognise(mailbox: Listing, ledger: Ledger, present: UIDSet) -> None:
    """Look at some of the messages that are known: begin a new epoch when most of them are others, else doubt some."""
    memory, uidnext = ledger.memory, mailbox.numbers.uidnext
    known = (memory.done & present) - memory.doubts.all
    sample = known.spread(SAMPLE) | (ledger.unacknowledged() & known).last(PENDING)
    found = compared(mailbox.look(sample) if sample else {}, ledger.metadata(sample))
    if found.another_mailbox:
        ledger.begin_epoch(mailbox.numbers)
        epoch, other = ledger.memory.epoch.number, len(found.other)
        log.warning("mailbox replaced", mailbox=_name(mailbox), epoch=epoch, compared=len(found.compared), other=other)
        return
    doubts = memory.doubts.compared(sample, found.changed)
    if found.other or uidnext < memory.uidnext:
        log.warning("mailbox restored", mailbox=_name(mailbox), other=len(found.other), to_compare=len(known - sample))
        doubts = replace(doubts, compare=doubts.compare | (known - sample))
    if uidnext < memory.uidnext:  # what comes now has numbers from before
        ledger.lower_baseline(max(uidnext - 1, present.highest))
    ledger.doubt(doubts, uidnext)


def _account(name: str, ledger: Ledger, present: UIDSet, *, whole: bool) -> None:
    """Record which messages are gone, and which are back."""
    before, now = ledger.memory.absent, datetime.now(UTC)
    absent = absences(before, ledger.memory.done, present, now, whole=whole)
    if absent == before:
        return
    ledger.reckon(absent)
    gone, back = absent.gone - before.gone, before.gone - absent.gone
    if gone or back:
        log.info("reconciled", mailbox=name, gone=len(gone), back=len(back))
        doubts = ledger.memory.doubts
        ledger.doubt(replace(doubts, compare=doubts.compare | back), ledger.memory.uidnext)
    if absent.suspended - before.suspended and absent.suspended_at:
        log.warning(
            "disappearance doubted",
            mailbox=name,
            missing=len(absent.suspended),
            known=len(ledger.memory.done - before.gone),
            believed_at=absent.suspended_at + BELIEVED,
        )


def _compare(mailbox: Listing, ledger: Ledger, present: UIDSet) -> None:
    """Compare a part of what is doubted with what is known of it; what is not what it was is to be fetched again."""
    part = (ledger.memory.doubts.compare & present).last(COMPARED)
    if part:
        said = mailbox.look(part)
        found = compared(said, ledger.metadata(part))
        ledger.doubt(ledger.memory.doubts.compared(UIDSet.of(said), found.changed), ledger.memory.uidnext)


def _name(mailbox: Listing) -> str:
    return f"{mailbox.account}/{mailbox.name}"


# --- decisions


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing messages with what is known of them."""

    compared: UIDSet
    changed: UIDSet  # INTERNALDATE, size or object id is not what it was
    other: UIDSet  # nothing is what it was, as far as the mailbox tells

    @property
    def another_mailbox(self) -> bool:
        return 2 * len(self.other) > len(self.compared)


def compared(said: Mapping[int, Metadata], known: Mapping[int, Metadata]) -> Comparison:
    """Compare what a mailbox has said with what it said before."""
    differences = {uid: differs for uid in said.keys() & known.keys() if (differs := _differs(said[uid], known[uid]))}
    return Comparison(
        UIDSet.of(differences),
        UIDSet.of(uid for uid, differs in differences.items() if any(differs)),
        UIDSet.of(uid for uid, differs in differences.items() if all(differs)),
    )


def _differs(said: Metadata, known: Metadata) -> list[bool]:
    """For each fact that both tell, whether it differs. One alone may: some servers estimate sizes or move dates."""
    facts = ((said.internal_date, known.internal_date), (said.size_bytes, known.size_bytes))
    ids = {said.object_id, known.object_id} - {None}  # the same id is no proof: another server may have given it
    return [a != b for a, b in facts if a is not None and b is not None] + [True] * (len(ids) == 2)


def absences(before: Absent, done: UIDSet, present: UIDSet, now: datetime, *, whole: bool) -> Absent:
    """Decide which of the *done* are gone, after a listing of what is *present* that may be *whole* or not.

    What is missing twice is gone. When that would be very many, they are only believed gone after missing for a day.
    """
    gone = before.gone - present
    expected = done - gone
    missing = expected - present
    if not whole:
        return Absent(before.missing & missing, gone, before.suspended & missing, before.suspended_at)
    suspended, again = before.suspended & missing, (before.missing & missing) - before.suspended
    since = before.suspended_at if suspended else None
    if len(again) > BULK and SHARE * len(again) > len(expected):
        suspended, again, since = suspended | again, NONE, now
    elif since and now - since >= BELIEVED:
        suspended, again, since = NONE, again | suspended, None
    return Absent(missing - again - suspended, gone | again, suspended, since)
