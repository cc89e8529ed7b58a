"""One pass over one mailbox: the whole trip of a message, in order. Start reading here.

    source.fetch -> spool -> parse -> write -> seal -> checkpoint -> acknowledge

First what the mailbox lists is held against what is known of it (`reconcile`), and what is new in it is chosen
(`candidates`). A message is fetched, spooled, parsed and written by a worker, and sealed; then the checkpoint moves,
and last the server is told. At the end, the flags of what is known follow (`flags`).

Interrupted anywhere, the next pass begins at the checkpoint, looks up what was stored since, and writes the same
documents again, so nothing is lost and nothing is stored twice. Nothing here retries.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from .acknowledge import Proof, Server, Told, acknowledge, settle
from .candidates import Candidates, Choice, Searchable, candidates
from .flags import Flagged, follow
from .message import Arrival, Place, Receipt, Twins
from .reconcile import Listing, reconcile, unchanged
from .spool import Lane, Spool
from .store.ledger import Ledger
from .store.memory import NONE, Memory
from .store.removals import removes
from .uidset import UIDSet

BATCH_BYTES = 4 << 20
BATCH_COUNT = 100


class Source(Listing, Searchable, Flagged, Server, Protocol):
    """One open mailbox. It does one thing at a time; `fetch` has it until its iterator ends."""

    def fetch(
        self, uids: UIDSet, lane: Lane, *, epoch: int, since: datetime | None = None, twins: Twins | None = None
    ) -> Iterator[Arrival]:
        """Yield what became of each of *uids*, once, in any order; bytes go to *lane*. Changes nothing there.

        What has a twin among *twins* comes without its bytes; they may be asked for from another thread.
        """

    def abort(self) -> None:
        """End a `fetch` that runs in another thread, even while it waits for the server. Nothing works after it."""


class Sink(Proof, Protocol):
    """Where messages end up."""

    def store(self, batches: Iterable[list[Arrival]]) -> Iterator[tuple[list[Arrival], list[Receipt]]]:
        """Store the messages of *batches*; yield each batch, in order, when its messages survive any crash."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator wants of a mailbox."""

    select: str = "unseen"
    since: datetime | None = None  # instead of the remembered one, for this pass alone
    limit: int | None = None  # messages of this pass
    after_store: str | None = None  # what to do on the server with what is stored


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pass is about to do. Every UID that is present is done, selected, or left out for a reason."""

    present: UIDSet
    done: UIDSet
    selected: UIDSet
    left_out: Mapping[str, UIDSet]
    due: UIDSet  # what of the selected this pass will try


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch that is safe: what arrived, what it became, and what will not be tried again."""

    batch: Sequence[Arrival]
    receipts: Sequence[Receipt]
    quarantined: Sequence[Place]
    replaced: Sequence[Place]  # places that held another message until now


def ingest(
    mailbox: Source, ledger: Ledger, sink: Sink, spool: Spool, wanted: Wanted
) -> Generator[Plan | Stored | Told]:
    """Bring what is wanted of *mailbox* to *sink*: yield the plan, then each batch once it is safe.

    Between two batches nothing is half done, so that is where a caller may stop.
    """
    if quiet(mailbox, ledger, wanted):
        yield Plan(ledger.memory.accounted, ledger.memory.done, NONE, ledger.memory.left_out, NONE)
        return
    present = reconcile(mailbox, ledger)
    yield from settle(mailbox, ledger, present)
    tried = yield from acknowledge(mailbox, ledger, sink, wanted.after_store)
    lasting = wanted.since is None
    found = choose(mailbox, present, ledger.memory, wanted)
    due = ledger.plan(found.selected, wanted.limit)
    plan = planned(found, ledger.memory, due)
    if lasting:
        ledger.leave_out(plan.left_out, plan.present)
    yield plan
    fetch = partial(arrivals, mailbox, ledger, due, wanted)
    with spool.lane(mailbox.abort) as lane:
        for batch, receipts in sink.store(lane.batches(fetch, BATCH_BYTES, BATCH_COUNT)):
            recorded = ledger.record(batch, receipts, lasting=lasting)
            lane.release(batch)
            yield Stored(batch, receipts, recorded.quarantined, recorded.replaced)
    if not spool.stopped:
        yield from acknowledge(mailbox, ledger, sink, wanted.after_store, tried)
        follow(mailbox, ledger)
        if lasting:
            ledger.looked(mailbox.numbers, present)


def quiet(mailbox: Source, ledger: Ledger, wanted: Wanted) -> bool:
    """Whether there is nothing to do, neither there nor here, without a look at any message."""
    pending = wanted.after_store and ledger.unacknowledged(wanted.after_store)
    return not wanted.since and not pending and unchanged(ledger.memory, mailbox.numbers, datetime.now(UTC))


def choose(mailbox: Searchable, present: UIDSet, memory: Memory, wanted: Wanted) -> Candidates:
    """Search *mailbox*, which lists *present*, for what is wanted of it; changes nothing."""
    older = UIDSet() if wanted.since else memory.left_out.get("older_than_since", UIDSet())
    choice = Choice(wanted.select, wanted.since or memory.since, memory.baseline, memory.came_since)
    return candidates(mailbox, present, choice, older)


def planned(found: Candidates, memory: Memory, due: UIDSet) -> Plan:
    """Set out what becomes of every UID; changes nothing."""
    again = memory.doubts.fetch & due
    done = memory.done - again
    selected = (found.selected | memory.selected | again) - done
    rest = {why: uids - done - selected for why, uids in found.left_out.items()}
    return Plan(found.present, done, selected, {why: uids for why, uids in rest.items() if uids}, due)


def arrivals(mailbox: Source, ledger: Ledger, due: UIDSet, wanted: Wanted, lane: Lane) -> Iterator[Arrival]:
    """Fetch what is *due*: new mail from *since* on, and whatever lies now where something else is known to lie.

    What the server would not give before comes after the rest: it may end the pass.
    """
    epoch, again = ledger.memory.epoch.number, ledger.memory.doubts.fetch & due
    # What is to be removed has to have come from its very place, whatever ids the server has for it.
    twins = None if removes(wanted.after_store) else ledger.twins
    since = wanted.since or ledger.memory.since
    for uids in (due - again - ledger.tried, (due & ledger.tried) - again):
        yield from mailbox.fetch(uids, lane, epoch=epoch, since=since, twins=twins)
    yield from mailbox.fetch(again, lane, epoch=epoch)
