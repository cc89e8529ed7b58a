"""One visit to one account: a pass over each of its mailboxes, with the lease held and the connection open."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from math import inf
from time import monotonic
from typing import Any, Protocol

import structlog
from pymongo.database import Database

from .abreast import Abreast
from .acknowledge import Told
from .config import Account
from .errors import IngestError, Refused
from .ingest import Plan, Source, Stored, Wanted, choose, ingest, planned
from .reconcile import reconcile_with_none
from .sources.imap import ImapAccount, ImapMailbox
from .sources.imap_shared import WORTH, Doubtful
from .spool import Spool
from .store import mailboxes, placements
from .store.leases import Lease
from .store.ledger import Ledger
from .store.memory import Memory
from .store.messages import Terms
from .store.removals import removes
from .store.seals import Seals
from .summary import Summary
from .uidset import UIDSet
from .workers import Sink, Workers

Document = dict[str, Any]

log = structlog.get_logger(__name__)


class Watch(Protocol):
    """Whoever wants to see the work go on: passes over several accounts at the same time."""

    def began(self, mailbox: str, due: int) -> None:
        """A pass over *mailbox*, such as work/INBOX, has found *due* messages to bring."""

    def advanced(self, mailbox: str, messages: int, size_bytes: int) -> None:
        """So many more of them are done with."""

    def ended(self, summary: Summary) -> None:
        """The pass is over."""

    def broke_off(self, mailbox: str) -> None:
        """It ended by an error, which is told elsewhere."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of a visit, beyond the configuration."""

    mailbox: str | None = None  # only this one
    since: date | timedelta | None = None
    limit: int | None = None  # messages of one mailbox
    wait: timedelta | None = None  # afterwards, keep the connection and wait for news on it, at most so long


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a visit came to."""

    account: str
    summaries: list[Summary] = field(default_factory=list)
    errors: list[IngestError] = field(default_factory=list)
    over_pop3: list[IngestError] = field(default_factory=list)  # why it was not IMAP, where it was not

    def add(self, summary: Summary) -> None:
        """Note how a pass went, and what a person has to look into after it."""
        self.summaries.append(summary)
        self.errors.extend(unproven(summary))

    def in_order_of(self, mailboxes: Sequence[str]) -> None:
        """Put what passes came to in the order of *mailboxes*, in whatever order they ended."""
        rank = {name: place for place, name in enumerate(mailboxes)}
        self.summaries.sort(key=lambda summary: rank.get(summary.mailbox, len(rank)))


@dataclass(frozen=True, slots=True)
class Visit:
    """Serves the mailboxes of one account."""

    database: Database[Document]
    spool: Spool
    workers: Workers
    account: Account
    lease: Lease
    seals: Seals
    refused: set[str]  # mailboxes that the server would not open, as far as is known

    def all_mailboxes(self, imap: ImapAccount, order: Order, watch: Watch, outcome: Outcome) -> None:
        """Make a pass over each mailbox. One that is refused is noted in *outcome*, and the others are served.

        Those that are new to us are served over all connections that *imap* may have, each over one, unless they are
        large: these come sooner when all connections have a share of them.
        """
        names = matched(imap, self.account, order)
        passes = _Passes(self, imap, order, watch, outcome, {name: self.summary(name) for name in names})
        passes.make(imap, names[0])
        if imap.beside and (order.limit is None or order.limit >= WORTH):  # a lower one is for trying out
            visited = mailboxes.names(self.database, self.account.name) | self.refused
            Abreast([name for name in passes.left if name not in visited], passes.make_small).run(imap)
        for name in list(passes.left):
            passes.make(imap, name)
        passes.note(passes.left.values())
        outcome.in_order_of(names)
        if order.mailbox is None and not self.spool.stopped:
            self._without_mailbox(imap, {summary.mailbox for summary in outcome.summaries})

    def one_mailbox(self, mailbox: Source, order: Order, watch: Watch, summary: Summary | None = None) -> Summary:
        """Make a pass over *mailbox*, and remember how it went, as *summary* goes on to say if there is one."""
        ledger = Ledger(self.database, self.lease, self.seals, remembered(self.database, self.account, mailbox))
        sink = Sink(self.workers, terms(self.account))
        steps = ingest(mailbox, ledger, sink, self.spool, wanted(self.account, order))
        summary = self.watched(summary or self.summary(mailbox.name), steps, watch, ledger.finish)
        summary.doubted = len(ledger.memory.absent.suspended)
        return summary

    def watched(
        self,
        summary: Summary,
        steps: Generator[Plan | Stored | Told],
        watch: Watch,
        finish: Callable[[Document], None],
    ) -> Summary:
        """Go through the *steps* of a pass, telling *watch*; *finish* it with its *summary*, and return that."""
        started_at, started = datetime.now(UTC), monotonic()
        summary.unproven = 0  # they are tried again
        try:
            with closing(steps):
                for step in steps:
                    take_note(step, summary, watch)
        except BaseException:
            watch.broke_off(summary.name)
            raise
        summary.seconds += monotonic() - started
        finish(summary.document(started_at, datetime.now(UTC)))
        watch.ended(summary)
        return summary

    def summary(self, mailbox: str) -> Summary:
        """Nothing done yet."""
        return Summary(self.account.name, mailbox, after_store(self.account))

    def _without_mailbox(self, imap: ImapAccount, visited: set[str]) -> None:
        """Note that what lay in mailboxes that the server has no more is gone: they were renamed, or deleted."""
        unvisited = mailboxes.names(self.database, self.account.name) - visited
        for name in imap.unlisted(unvisited) if unvisited else ():
            memory = mailboxes.last(self.database, self.account.name, name)
            if memory and memory.expected and not imap.has(name):
                reconcile_with_none(Ledger(self.database, self.lease, self.seals, memory))

    def opened(self, imap: ImapAccount, name: str) -> ImapMailbox:
        """Open a mailbox; raise Refused when the server cannot do there what is to be done after storing."""
        mailbox = imap.open(name, writable=after_store(self.account) is not None)
        if action := after_store(self.account):
            mailbox.check_action(action)
        return mailbox


@dataclass(frozen=True, slots=True)
class _Passes:
    """The passes of one visit over the mailboxes of an account. May be made from several threads."""

    visit: Visit
    imap: ImapAccount  # the first connection
    order: Order
    watch: Watch
    outcome: Outcome
    left: dict[str, Summary]  # mailboxes that are still to be served, and what was done so far

    def make(self, over: ImapAccount, name: str, most: float = inf) -> None:
        """Make the pass over a mailbox, unless it holds more than *most* messages.

        What goes wrong with a mailbox, or is in doubt, over another connection than the first is left to that one.
        """
        if self.visit.spool.stopped:
            return
        try:
            mailbox = self.visit.opened(over, name)
        except Refused as error:
            self._refused(over, name, error)
            return
        if mailbox.numbers.exists > most:
            return
        with suppress(Doubtful):
            self.visit.one_mailbox(mailbox, self.order, self.watch, self.left[name])
            self.visit.refused.discard(name)
            self.imap.seen[name] = mailbox.numbers
            self.outcome.add(self.left.pop(name))

    def make_small(self, over: ImapAccount, name: str) -> None:
        """Make the pass over a mailbox that is not worth a fetch over several connections."""
        self.make(over, name, WORTH)

    def _refused(self, over: ImapAccount, name: str, error: Refused) -> None:
        if not over.connected:
            raise error
        if over is self.imap:
            self.outcome.errors.append(error)
            self.visit.refused.add(name)
            self.note([self.left.pop(name)])

    def note(self, unfinished: Iterable[Summary]) -> None:
        """Note what was stored of mailboxes all the same."""
        self.outcome.summaries.extend(summary for summary in unfinished if summary.stored or summary.copies)


def take_note(step: Plan | Stored | Told, summary: Summary, watch: Watch) -> None:
    """Count what a pass has done in *summary*, and tell *watch*."""
    if isinstance(step, Plan):
        summary.begin(step)
        watch.began(summary.name, len(step.due))
    elif isinstance(step, Told):
        summary.tell(step)
        log.info("removed", mailbox=summary.name, action=step.action, messages=step.removed)
    else:
        for place in step.replaced:
            log.warning("message replaced", place=place.id)
        summary.add(step)
        watch.advanced(summary.name, len(step.batch), sum(receipt.size_bytes for receipt in step.receipts))


def unproven(summary: Summary) -> Iterator[Refused]:
    """Yield what a person has to look into after a pass."""
    if summary.unproven:
        yield Refused(
            f"mailbox {summary.name}: {summary.unproven:,} of its messages stay on the server, since the store does not"
            " give them back as they were; run: ingestd verify --deep"
        )


def preview(database: Database[Document], account: Account, imap: ImapAccount, order: Order) -> Iterator[Summary]:
    """Yield what a pass over each mailbox would select. Changes nothing, neither here nor there."""
    for name in matched(imap, account, order):
        mailbox = imap.open(name)
        memory = remembered(database, account, mailbox)
        summary = Summary(account.name, name, action := after_store(account))
        summary.begin(planned(choose(mailbox, mailbox.listed(), memory, wanted(account, order)), memory, UIDSet()))
        if removes(action):
            waiting = placements.unacknowledged(database, memory.epoch, action)
            summary.to_remove = summary.selected + len(waiting)
        yield summary


def matched(imap: ImapAccount, account: Account, order: Order) -> list[str]:
    """Return the mailboxes to serve; raise Refused when they are not what they should be."""
    names = imap.mailboxes(account.mailboxes)
    kind, _, target = account.after_store.partition(":")
    if kind == "move" and _is_among(names, target, imap):
        raise Refused(
            f"account {account.name}: after_store moves to {target!r}, which is one of account.mailboxes, so mail would"
            " be taken in again and again; move it elsewhere, or narrow account.mailboxes"
        )
    if order.mailbox is None:
        return names
    if order.mailbox not in names:
        raise Refused(f"mailbox {account.name}/{order.mailbox}: not among account.mailboxes: {', '.join(names)}")
    return [order.mailbox]


def _is_among(names: list[str], target: str, imap: ImapAccount) -> bool:
    """Whether *target* is one of *names*, as the server spells it: another delimiter, another case of INBOX."""
    try:
        return not set(names).isdisjoint(imap.mailboxes([target]))
    except Refused:  # there is no such mailbox, which is told for each one that is served
        return False


def remembered(database: Database[Document], account: Account, mailbox: Source) -> Memory:
    """What the last pass left of *mailbox*. Changes nothing."""
    since, now = account.since, datetime.now(UTC)
    return mailboxes.recall(database, account.name, mailbox.name, mailbox.numbers, account.select, since, now)


def wanted(account: Account, order: Order) -> Wanted:
    """What a pass over a mailbox of *account* is to bring, and to do there."""
    since = mailboxes.resolved(order.since, datetime.now(UTC))
    return Wanted(account.select, since, order.limit, after_store(account))


def terms(account: Account) -> Terms:
    """What holds for every message of *account*."""
    return Terms(after_store(account), frozenset(account.authserv_ids), over_pop3=account.pop3 is not None)


def after_store(account: Account) -> str | None:
    """What to do on the server with a message that is stored, if anything."""
    return None if account.after_store == "none" else account.after_store
