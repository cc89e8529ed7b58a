"""The connections of accounts: each made for a visit, and kept from one to the next where that is of use.

Between two visits a connection waits in a `WaitingRoom`, which asks for the next visit as soon as the server tells of
news. That is a hint and never the truth: a visit looks for itself, and comes at its time when nobody has told anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from time import monotonic
from typing import TypeVar

import structlog

from .errors import IngestError
from .sources.idle import WaitingRoom, Why
from .sources.imap import ImapAccount
from .sources.imap_idle import Idling, still_there
from .sources.pop3 import Pop3Account
from .sources.wire import Broken

Login = TypeVar("Login", ImapAccount, Pop3Account)

LOGOUT = b"bye LOGOUT\r\n"
GOODBYE = b"DONE\r\n" + LOGOUT

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Stay:
    """How a connection waits for news."""

    mailboxes: tuple[str, ...]  # all that the account has
    told_of: tuple[str, ...]  # those of which its server tells
    since: datetime
    until: datetime | None = None  # when it was told that there is some
    why: Why | None = None

    @property
    def prompted(self) -> bool:
        """Whether its server has told of news."""
        return self.why == "news"


@dataclass(slots=True)
class _Kept:
    imap: ImapAccount
    stay: Stay
    idling: Idling | None  # None where the server does not tell: then it is only there for the next visit
    patience: timedelta
    awaited: bool = False  # a visit is due, and only waits for it


class Connections:
    """All that are open. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._room: WaitingRoom | None = None
        self._ask: Callable[[str], object] = lambda _: None
        self._open: dict[ImapAccount | Pop3Account, float] = {}  # and when each was made
        self._kept: dict[str, _Kept] = {}
        self._lock = Lock()
        self._stopped = False

    @contextmanager
    def kept(self, ask: Callable[[str], object]) -> Iterator[None]:
        """Keep connections until the block ends, and *ask* for a visit to an account when it is worth while.

        *ask* is called on a thread that all of them share, and must not block.
        """
        with WaitingRoom(self._told) as room:
            self._room, self._ask = room, ask
            try:
                yield
            finally:
                with self._lock:
                    self._room = None
        self.leave(list(self._kept))

    @contextmanager
    def visiting(self, name: str, make: Callable[[], ImapAccount]) -> Iterator[ImapAccount]:
        """Give the connection to account *name*: the one that was kept if it still lives, else what *make* makes.

        It is closed at the end, unless it is to be kept (`keep`). Raises Unavailable or Refused.
        """
        imap = self._resumed(name) or self._entered(make())
        try:
            yield imap
        except BaseException:
            imap.drop()
            self._closed(imap)
            raise
        if (kept := self._kept.get(name)) is None or kept.imap is not imap:
            self._closed(imap)

    @contextmanager
    def maildrop(self, pop3: Pop3Account) -> Iterator[Pop3Account]:
        """Give *pop3*, logged in, until the block ends: it is never kept, since it locks others out."""
        self._entered(pop3)
        try:
            yield pop3
        except BaseException:
            pop3.drop()
            raise
        finally:
            self._closed(pop3)

    def keep(
        self, name: str, imap: ImapAccount, mailboxes: Sequence[str], patience: timedelta, *, polled: bool
    ) -> None:
        """Have *imap*, with which the visit to account *name* is over, wait for news of *mailboxes*.

        After *patience* a visit is asked for in any case. Where its server tells nothing it is only kept if the next
        visit comes as soon as that by itself (*polled*). When it cannot be kept, that is no error.
        """
        if self._room is None or not mailboxes:
            return
        try:
            begun = imap.begin_idle(mailboxes)
        except IngestError as error:
            log.info("connection lost", account=name, reason=str(error))
            imap.drop()
            if self._lasted(imap, patience):
                self._ask(name)
            return
        if begun is None and not polled:
            return
        stay = Stay(tuple(mailboxes), begun.mailboxes if begun else (), datetime.now(UTC))
        with self._lock:
            if self._room is None or self._stopped:
                imap.drop()
                return
            self._kept[name] = _Kept(imap, stay, begun.idling if begun else None, patience)
            if begun:
                self._room.park(name, begun.idling, patience.total_seconds())
        if begun and begun.news:
            self._told(name, "news")

    def stay(self, name: str) -> Stay | None:
        """How the connection to account *name* waits, if it does."""
        kept = self._kept.get(name)
        return kept.stay if kept else None

    def wake(self, name: str) -> bool:
        """Have the server stop telling of account *name*, and ask for a visit as soon as it has, or is found dead.

        False when nothing is to be waited for: then the visit can be made now.
        """
        kept = self._kept.get(name)
        if kept is None or self._room is None:
            return False
        kept.awaited = True
        return self._room.hurry(name)

    def leave(self, names: Iterable[str]) -> None:
        """Close what is kept for accounts *names*, at once: they are not ours any more."""
        for name in names:
            if kept := self._claimed(name):
                with suppress(Broken, IngestError):  # nobody waits for the answer
                    kept.imap.session().channel.send(GOODBYE if kept.idling and not kept.idling.ending else LOGOUT)
                kept.imap.drop()
                self._closed(kept.imap)

    def stop(self) -> None:
        """End whatever waits for a server, at once, and let no connection be made."""
        with self._lock:
            self._stopped = True
            opened = list(self._open)
        for each in opened:
            each.abort()

    def __len__(self) -> int:
        """How many wait for news."""
        return len(self._room) if self._room else 0

    # --- from one visit to the next

    def _told(self, name: str, why: Why) -> None:
        """Take note that there is news; on the thread of the room, and so without the lock that is held around it."""
        kept = self._kept.get(name)
        if kept is None:
            return
        kept.stay = replace(kept.stay, until=datetime.now(UTC), why=why)
        if why != "broken" or kept.awaited or self._lasted(kept.imap, kept.patience):
            self._ask(name)

    def _lasted(self, imap: ImapAccount, patience: timedelta) -> bool:
        """Whether it is to be made anew at once: else there would be more logins than without keeping any."""
        return self._clock() - self._open[imap] >= patience.total_seconds()

    def _resumed(self, name: str) -> ImapAccount | None:
        """The connection that was kept, ready for a visit; None when there is none any more."""
        kept = self._claimed(name)
        if kept is None:
            return None
        try:
            if kept.stay.why == "broken":
                raise Broken("it broke, or was dead, while it waited")
            kept.idling.end() if kept.idling else still_there(kept.imap.session())
        except (Broken, IngestError) as error:
            log.info("connection lost", account=name, reason=str(error))
            kept.imap.drop()
            self._closed(kept.imap)
            return None
        return kept.imap

    def _claimed(self, name: str) -> _Kept | None:
        with self._lock:
            kept = self._kept.pop(name, None)
            if kept and self._room:
                self._room.claim(name)
            return kept

    def _entered(self, made: Login) -> Login:
        with self._lock:
            self._open[made] = self._clock()
            if self._stopped:
                made.abort()
        try:
            return made.__enter__()
        except BaseException:
            self._closed(made)
            raise

    def _closed(self, made: ImapAccount | Pop3Account) -> None:
        made.__exit__()
        with self._lock:
            del self._open[made]
