"""Keeps accounts within what their mail providers allow, together with all other daemons.

Who connects, logs in or fetches for an account says so to its meter, and is stopped (`PutOff`, with the time to come
back) before it is too much, or once the server said that it was. The decisions are in `caps.py`, what they rest on in
the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from time import monotonic
from typing import Any

import structlog
from pymongo.database import Database

from .caps import Caps, Usage, allowed, provider
from .errors import IngestError, PutOff, Refused
from .store.usage import Book, Change

Document = dict[str, Any]

COUNTED_AT_ONCE = 16 << 20  # bytes: what a process that dies leaves uncounted, at most
COUNTED_EVERY = 30.0  # seconds
FOR_A_CONNECTION = timedelta(minutes=1)  # until it is tried whether one of ours has become free
AFTER_FAILURE = 60.0  # seconds without another connection beside that of a visit, after one that failed
AFTER_REFUSAL = 900.0  # and after one that the server did not want: at most 4 logins an hour that it refuses

log = structlog.get_logger(__name__)


class Governor:
    """Gives every account its meters, one for each provider. Safe to use from several threads."""

    def __init__(self, database: Database[Document], *, asked: bool = False) -> None:
        """*asked*: a person wants to know whether it works now, so what is used is counted and nothing is withheld."""
        self._database, self._asked = database, asked
        self._meters: dict[tuple[str, str], Meter] = {}
        self._lock = Lock()

    def meter(self, account: str, host: str, own: Caps) -> Meter:
        """The meter of *account* at *host*, for which the operator said *own* caps."""
        name = provider(host)
        with self._lock:
            if (account, name) not in self._meters:
                book = Book(self._database, account, name)
                self._meters[account, name] = Meter(book, Caps(), self._asked)
            meter = self._meters[account, name]
            meter.said = allowed(host, own)  # the operator may have changed it
            return meter


@dataclass(slots=True)
class Meter:
    """Counts what one account uses of one provider, over all connections of this process."""

    book: Book
    said: Caps
    asked: bool = False
    _caps: Caps = field(default_factory=Caps)
    _open: int = 0
    _beside: int = 0  # of them, those that a visit can do without
    _uncounted: int = 0  # bytes
    _left: float = float("inf")  # bytes of today, when they were last counted
    _counted_at: float = field(default_factory=monotonic)
    _troubled: bool = False  # there is something to forget when all goes well
    _alone_until: float = 0.0
    _lock: Lock = field(default_factory=Lock)
    _counts: Lock = field(default_factory=Lock)  # another, since a connection is closed without waiting for the store

    @property
    def room(self) -> int:
        """How many more connections there may be."""
        bounds = [caps.connections for caps in (self._caps, self.said) if caps.connections is not None]
        return min(bounds, default=1_000) - self._open

    def open(self) -> None:
        """Before a connection and its login; raises PutOff when there are enough of them. Then `close` is owed."""
        self._open_for(lambda usage, now: usage.log_in(self.said, now))

    def open_beside(self) -> None:
        """The same for a connection beside that of a visit, which can do without: it leaves some logins to visits."""
        if monotonic() < self._alone_until:
            raise PutOff(f"account {self.book.account}: one connection for now, since another one failed")
        with self._counts:
            if self.room + self._open - self._beside <= 1:  # one is for the visit, which may be making it anew
                raise PutOff(f"account {self.book.account}: no more connections, the cap is {self.room + self._open}")
            self._beside += 1
        try:
            self._open_for(self._log_in_beside)
        except BaseException:
            with self._counts:
                self._beside -= 1
            raise

    def close_beside(self) -> None:
        """Such a connection is no more."""
        with self._counts:
            self._beside -= 1
        self.close()

    def _log_in_beside(self, usage: Usage, now: datetime) -> Usage:
        if not usage.spares_login(self.said, now):
            raise PutOff(f"account {self.book.account}: one connection for now, to save logins")
        return usage.log_in(self.said, now)

    def _open_for(self, login: Change) -> None:
        with self._counts:
            if self.room <= 0 and not self.asked:
                why = f"{self._open} connections are open, the cap is {self._open + self.room}"
                raise PutOff(f"account {self.book.account}: put off: {why}", wait=FOR_A_CONNECTION)
            self._open += 1
        try:
            with self._lock:
                self._change(login)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """A connection that was opened is no more."""
        with self._counts:
            self._open -= 1

    def refused(self) -> None:
        """The server refused a login."""
        with self._lock, suppress(PutOff):
            self._change(lambda usage, now: usage.refuse(now))

    def fetched(self, size_bytes: int) -> None:
        """So much of a message came."""
        with self._counts:
            self._uncounted += size_bytes

    @property
    def beside(self) -> Beside:
        """The meter of connections beside that of a visit."""
        return Beside(self)

    def failed_beside(self, error: IngestError) -> None:
        """A connection beside that of a visit failed: make none for a while, and learn from what the server said."""
        if isinstance(error, PutOff) and error.throttle is None:
            return  # the server has said nothing: it is ours to say when there is room again
        unwanted = isinstance(error, PutOff | Refused)
        self._alone_until = max(self._alone_until, monotonic() + (AFTER_REFUSAL if unwanted else AFTER_FAILURE))
        log.info("connection not used", account=self.book.account, reason=str(error))
        if isinstance(error, PutOff) and error.throttle:
            throttle, open_ = error.throttle, self._open
            with self._lock, suppress(IngestError):
                self._note(*self.book.change(lambda usage, now: usage.warned(throttle, open_, now)))

    @property
    def more(self) -> bool:
        """Whether more messages may be asked for, as far as is known here."""
        return self._uncounted < self._left

    def check(self) -> None:
        """Before more messages are asked for; raises PutOff when that would be too much for today."""
        late = monotonic() - self._counted_at >= COUNTED_EVERY
        if not self.more or self._uncounted >= COUNTED_AT_ONCE or (late and self._uncounted):
            self._count()

    @contextmanager
    def visit(self) -> Iterator[None]:
        """Learn from what the server says in the block, and say in a `PutOff` how long to wait."""
        try:
            yield
        except PutOff as error:
            if error.throttle is None or error.wait is not None:
                raise
            raise self._put_off(error) from error
        finally:
            with suppress(IngestError):
                self._count()
        if self._troubled:
            with self._lock, suppress(PutOff):
                self._change(lambda usage, now: usage.welcome(now).well())

    def _count(self) -> None:
        with self._lock:
            with self._counts:
                size_bytes, self._uncounted, self._counted_at = self._uncounted, 0, monotonic()
            if size_bytes or not self.more:
                self._change(lambda usage, now: usage.fetch(size_bytes, self.said, now))

    def _put_off(self, error: PutOff) -> PutOff:
        throttle, open_ = error.throttle, self._open
        assert throttle is not None  # it is of the server
        with self._lock:
            usage, now = self.book.change(lambda usage, now: usage.put_off(throttle, open_, now))
            self._note(usage, now)
        held = usage.held(now)
        return PutOff(str(error), throttle, held.until - now if held else FOR_A_CONNECTION)

    def _change(self, change: Change) -> None:
        """Write it down; raise PutOff when the account is held by now."""
        usage, now = self.book.change(change)
        self._note(usage, now)
        if (held := usage.held(now)) and not self.asked:
            until = f"{held.until:%Y-%m-%d %H:%M:%S} UTC"
            raise PutOff(f"account {self.book.account}: put off until {until}: {held.why}", wait=held.until - now)

    def _note(self, usage: Usage, now: datetime) -> None:
        self._caps, most = usage.caps(self.said, now), usage.caps(self.said, now).bytes_a_day
        self._left = float("inf") if most is None else most - usage.fetched.total(now)
        self._troubled = bool(usage.in_a_row or usage.refused.slots)


@dataclass(frozen=True, slots=True)
class Beside:
    """The meter of connections that only make a visit faster: what goes wrong with one does not hold the account."""

    meter: Meter

    def open(self) -> None:
        self.meter.open_beside()

    def close(self) -> None:
        self.meter.close_beside()

    def refused(self) -> None:
        """It is not tried again for so long that this does not count."""

    def fetched(self, size_bytes: int) -> None:
        self.meter.fetched(size_bytes)

    @property
    def more(self) -> bool:
        return self.meter.more

    def check(self) -> None:
        self.meter.check()

    @property
    def beside(self) -> Beside:
        return self

    def failed_beside(self, error: IngestError) -> None:
        self.meter.failed_beside(error)
