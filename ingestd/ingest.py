"""One pass over one mailbox: the whole trip of a message, in order. Start reading here.

    source.fetch -> spool -> parse -> write -> seal -> checkpoint -> acknowledge

A message is fetched, spooled, parsed and written by a worker, and sealed; then the checkpoint moves, and last the
server is told. Interrupted anywhere, the next pass begins at the checkpoint, looks up what was stored since, and writes
the same documents again, so nothing is lost and nothing is stored twice. Nothing here retries.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from .candidates import Candidates, Searchable, candidates
from .message import Arrival, Place, Receipt
from .spool import Lane, Spool
from .store.ledger import Ledger
from .store.mailboxes import Memory
from .uidset import UIDSet

BATCH_BYTES = 4 << 20
BATCH_COUNT = 100


class Source(Searchable, Protocol):
    """One open mailbox. It does one thing at a time; `fetch` has it until its iterator ends."""

    def fetch(self, uids: UIDSet, lane: Lane, *, epoch: int, since: datetime | None = None) -> Iterator[Arrival]:
        """Yield what became of each of *uids*, once, lowest first; bytes go to *lane*. Changes nothing there."""

    def acknowledge(self, uids: UIDSet, action: str) -> None:
        """Do *action* to the messages on the server; those that are gone are no error."""

    def abort(self) -> None:
        """End a `fetch` that runs in another thread, even while it waits for the server. Nothing works after it."""


class Sink(Protocol):
    """Where messages end up."""

    def store(self, batches: Iterable[list[Arrival]]) -> Iterator[tuple[list[Arrival], list[Receipt]]]:
        """Store the messages of *batches*; yield each batch, in order, when its messages survive any crash."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the operator wants of a mailbox."""

    select: str = "unseen"
    since: datetime | None = None  # instead of the remembered one, for this pass alone
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pass is about to do."""

    present: UIDSet
    due: UIDSet
    memory: Memory


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch that is safe: what arrived, what it became, and what will not be tried again."""

    batch: Sequence[Arrival]
    receipts: Sequence[Receipt]
    quarantined: Sequence[Place]


def ingest(mailbox: Source, ledger: Ledger, sink: Sink, spool: Spool, wanted: Selection) -> Generator[Plan | Stored]:
    """Bring what is wanted of *mailbox* to *sink*: yield the plan, then each batch once it is safe.

    Between two batches nothing is half done, so that is where a caller may stop.
    """
    acknowledge(mailbox, ledger)
    found = choose(mailbox, ledger.memory, wanted)
    due = ledger.plan(found.present, found.selected, found.left_out if wanted.since is None else ledger.memory.left_out)
    due = new_first(due, ledger.memory.baseline, wanted.limit)
    yield Plan(found.present, due, ledger.memory)
    since = wanted.since or ledger.memory.since
    fetch = partial(mailbox.fetch, due, epoch=ledger.memory.epoch.number, since=since)
    with spool.lane(mailbox.abort) as lane:
        for batch, receipts in sink.store(lane.batches(fetch, BATCH_BYTES, BATCH_COUNT)):
            quarantined = ledger.record(batch, receipts)
            lane.release(batch)
            yield Stored(batch, receipts, quarantined)
    if not spool.stopped:
        acknowledge(mailbox, ledger)


def choose(mailbox: Searchable, memory: Memory, wanted: Selection) -> Candidates:
    """Search *mailbox* for what is wanted of it; changes nothing."""
    older = UIDSet() if wanted.since else memory.left_out.get("older_than_since", UIDSet())
    return candidates(mailbox, wanted.select, wanted.since or memory.since, memory.baseline, older)


def new_first(due: UIDSet, baseline: int, limit: int | None) -> UIDSet:
    """Cut *due* to *limit*: today's mail must not wait for a backlog of a million."""
    if limit is None or len(due) <= limit:
        return due
    new = (due - UIDSet.span(1, baseline)).first(limit)
    return new | (due - new).first(limit - len(new))


def acknowledge(mailbox: Source, ledger: Ledger) -> None:
    """Tell the server what is stored, as far as that was asked for and not yet done."""
    for action, uids in ledger.unacknowledged().items():
        mailbox.acknowledge(uids, action)
        ledger.acknowledged(uids)
