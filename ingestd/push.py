"""What is made of what servers tell, and of their silence: which visit it asks for, and how far it is trusted.

A server that tells nothing may have nothing to tell, or be blind: behind a proxy, after a fail-over, by a fault. That
shows when a visit that came by itself finds mail that lay there untold. Then the account is visited more often, until
its server has told of mail again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from time import monotonic

import structlog

from .config import Account
from .connections import Stay
from .summary import Summary
from .visit import Order

SLICE = 1000  # messages of a mailbox in one visit: a backlog lets new mail and other accounts through in between
ALLOWANCE = timedelta(seconds=10)  # clocks differ, and telling takes a moment
SHORTEST = timedelta(seconds=30)  # between visits to an account whose server is not trusted
MOST_DOUBT = 4  # times the interval is halved
RESTLESS = 2.0  # seconds at most between visits that news ask for, and that find nothing to store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Trust:
    """How far the silence of a server is believed."""

    late: int = 0  # visits that found mail of which it had not told
    lateness: timedelta = timedelta()  # how long that had lain there, the last time
    doubt: int = 0

    def patience(self, longest: timedelta) -> timedelta:
        """How long to wait for it, instead of *longest*."""
        doubted: timedelta = longest / 2**self.doubt
        return max(doubted, min(longest, SHORTEST))

    def after(self, stay: Stay | None, summaries: Sequence[Summary], now: datetime) -> Trust:
        """What is made of a visit that ended at *now*, before which the connection waited like *stay*."""
        if stay is None:
            return self
        told_of = [summary for summary in summaries if summary.mailbox in stay.told_of]
        late = max((untold(stay, summary.earliest, now) for summary in told_of), default=timedelta())
        if late:
            return Trust(self.late + 1, late, min(self.doubt + 1, MOST_DOUBT))
        if stay.prompted and any(summary.earliest for summary in told_of):
            return replace(self, doubt=max(self.doubt - 1, 0))
        return self


def untold(stay: Stay, arrived: datetime | None, now: datetime) -> timedelta:
    """How long what *arrived* lay there although its server should have told of it."""
    listened = stay.until if stay.why == "broken" and stay.until else now
    if stay.prompted or arrived is None or not stay.since + ALLOWANCE <= arrived <= listened - ALLOWANCE:
        return timedelta()
    return now - arrived


@dataclass(slots=True)
class _Known:
    trust: Trust = field(default_factory=Trust)
    said: bool = False  # what is thought was told to whoever asks
    in_vain: int = 0  # visits in a row that news asked for, and that found nothing to store
    visited: float = float("-inf")
    whole: float = float("-inf")  # when all mailboxes were last visited


class Push:
    """Remembers it of each account. Safe to use from several threads, each with an account of its own."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._lock = Lock()

    def rest(self, account: Account, stay: Stay | None) -> timedelta:
        """How long to leave *account* alone, although its time has come: news that are none must not fill the day."""
        known = self._of(account)
        if stay is None or not stay.prompted or not known.in_vain:
            return timedelta()
        due = known.visited + min(RESTLESS, 0.1 * 2 ** min(known.in_vain, 10))
        return timedelta(seconds=max(0.0, due - monotonic()))

    def order(self, account: Account, stay: Stay | None) -> Order:
        """What a visit is to do now: after news from a server that tells of one mailbox only, look at that alone."""
        known = self._of(account)
        lately = monotonic() - known.whole < account.every.total_seconds()
        narrow = stay and stay.prompted and len(stay.told_of) == 1 < len(stay.mailboxes) and lately
        return Order(
            mailbox=stay.told_of[0] if stay and narrow else None,
            limit=SLICE,
            wait=known.trust.patience(account.patience) if account.idle else None,
        )

    def visited(self, account: Account, stay: Stay | None, order: Order, summaries: Sequence[Summary]) -> Trust | None:
        """A visit has gone well: return what is thought of the server now, if that may have changed."""
        known, now = self._of(account), datetime.now(UTC)
        known.visited = monotonic()
        if order.mailbox is None:
            known.whole = known.visited
        found = any(summary.earliest for summary in summaries)
        known.in_vain = known.in_vain + 1 if stay and stay.prompted and not found else 0
        before, known.trust = known.trust, known.trust.after(stay, summaries, now)
        if known.trust.late > before.late:
            seconds = round(known.trust.lateness.total_seconds())
            level = "warning" if not before.doubt else "debug"
            getattr(log, level)("mail came untold", account=account.name, late_seconds=seconds, times=known.trust.late)
        news, known.said = known.trust != before or not known.said, True
        return known.trust if news else None

    def forget(self, account: str) -> None:
        """*account* is another one now."""
        with self._lock:
            self._known.pop(account, None)

    def _of(self, account: Account) -> _Known:
        with self._lock:
            return self._known.setdefault(account.name, _Known())
