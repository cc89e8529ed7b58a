"""One pass over a POP3 maildrop: the trip of `ingest.py` for a mailbox that has no UIDs, no flags and no search.

    UIDL -> what is known? -> TOP, where only mail since some time is wanted -> RETR -> spool -> parse -> write -> seal

All of it is wanted that is not known yet and not too old. Nothing is told to the server but, if that was asked for, to
delete what is stored.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

import structlog

from .acknowledge import Server, Told, acknowledge, settle
from .ingest import BATCH_BYTES, BATCH_COUNT, Plan, Sink, Stored, Wanted
from .message import Ages, Arrival, Listed
from .reconcile import BULK, SHARE
from .spool import Lane, Spool
from .store.maildrop_ledger import MaildropLedger
from .store.maildrop_places import Standing
from .store.maildrops import Maildrop as Memory
from .store.memory import BELIEVED
from .uidset import UIDSet

NAME = "INBOX"  # what a maildrop holds, as IMAP calls it

log = structlog.get_logger(__name__)


class Maildrop(Server, Protocol):
    """A maildrop, and what it listed when it was opened. It does one thing at a time."""

    @property
    def listing(self) -> Sequence[Listed]:
        """The messages, by the numbers that everything goes by."""

    def ages(self, among: UIDSet, since: datetime, limit: int | None = None) -> Ages:
        """Tell those of *among* that came after *since* from those that are older; look no further than *limit*."""

    def fetch(self, numbers: UIDSet, lane: Lane) -> Iterator[Arrival]:
        """Yield what became of each of *numbers*, once; bytes go to *lane*. Deletes nothing."""

    def abort(self) -> None:
        """End a `fetch` that runs in another thread. Nothing works after it."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a pass is to bring."""

    due: UIDSet
    older: UIDSet
    whole: bool  # whether nothing is left for another pass
    older_up_to: int  # a number: what is new and listed up to here is older


def ingest(
    maildrop: Maildrop, ledger: MaildropLedger, sink: Sink, spool: Spool, wanted: Wanted
) -> Generator[Plan | Stored | Told]:
    """Bring what is wanted of *maildrop* to *sink*: yield the plan, then each batch once it is safe."""
    standing = ledger.look_up(maildrop.listing)
    reconcile(ledger, standing)
    yield from settle(maildrop, ledger, standing.present)
    tried = yield from acknowledge(maildrop, ledger, sink, wanted.after_store)
    chosen = choose(maildrop, standing, ledger.memory, wanted)
    due = ledger.plan(chosen.due)
    yield planned(standing, chosen, due)
    with spool.lane(maildrop.abort) as lane:
        for batch, receipts in sink.store(lane.batches(partial(maildrop.fetch, due), BATCH_BYTES, BATCH_COUNT)):
            recorded = ledger.record(batch, receipts)
            lane.release(batch)
            yield Stored(batch, receipts, recorded.quarantined, recorded.replaced)
    if not spool.stopped:
        yield from acknowledge(maildrop, ledger, sink, wanted.after_store, tried)
        if chosen.whole:
            _remember(maildrop, ledger, chosen, wanted)


def reconcile(ledger: MaildropLedger, standing: Standing) -> None:
    """Bring the ledger up to what is listed."""
    now = datetime.now(UTC)
    gone = believed(standing.missing, standing.expected, now)
    ledger.reckon(standing, gone)
    doubted = sum(since is not None for since in standing.missing.values()) - len(gone)
    if gone:
        log.info("reconciled", mailbox=f"{ledger.memory.account}/{NAME}", gone=len(gone))
    if doubted:
        log.warning("disappearance doubted", mailbox=f"{ledger.memory.account}/{NAME}", missing=doubted)


def choose(maildrop: Maildrop, standing: Standing, memory: Memory, wanted: Wanted) -> Chosen:
    """Decide what to fetch: new mail first, and of that only what is not too old, as its headers say."""
    since, again = _since(memory, wanted), standing.tried | UIDSet.of(standing.again)
    if since is None:
        due = standing.new | again
        return _limited(Chosen(due, UIDSet(), whole=True, older_up_to=0), wanted.limit)
    known_older = memory.known_older(maildrop.listing, since)
    older = standing.new & UIDSet.span(1, known_older)
    ages = maildrop.ages(standing.new - older, since, wanted.limit)
    looked_at = len(ages.recent | ages.older | older) == len(standing.new)
    older_up_to = max(known_older, ages.older.highest)
    return _limited(Chosen(ages.recent | again, older | ages.older, looked_at, older_up_to), wanted.limit)


def planned(standing: Standing, chosen: Chosen, due: UIDSet) -> Plan:
    """Set out what becomes of every number; changes nothing."""
    done = standing.done - (UIDSet.of(standing.again) & due)
    selected = standing.present - done - chosen.older
    left_out = {"older_than_since": chosen.older} if chosen.older else {}
    return Plan(standing.present, done, selected, left_out, due)


def believed(missing: Mapping[str, datetime | None], expected: int, now: datetime) -> set[str]:
    """Decide which of the places that are *missing*, some for the first time, are gone.

    What is missing twice is. When that would be very many of those *expected*, only what is missing for a day is.
    """
    again = {id_: since for id_, since in missing.items() if since is not None}
    if len(again) <= BULK or SHARE * len(again) <= expected:
        return set(again)
    return {id_ for id_, since in again.items() if now - since >= BELIEVED}


def _remember(maildrop: Maildrop, ledger: MaildropLedger, chosen: Chosen, wanted: Wanted) -> None:
    if since := _since(ledger.memory, wanted):
        ledger.older(maildrop.listing, chosen.older_up_to, since)
    if wanted.since is None:  # else more than this is wanted, by other passes
        ledger.seen(maildrop.listing)


def _since(memory: Memory, wanted: Wanted) -> datetime | None:
    return wanted.since or memory.since


def _limited(chosen: Chosen, limit: int | None) -> Chosen:
    if limit is None or len(chosen.due) <= limit:
        return chosen
    return Chosen(chosen.due.last(limit), chosen.older, whole=False, older_up_to=chosen.older_up_to)
