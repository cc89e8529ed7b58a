"""What a running daemon holds: its share of the accounts that it and others are configured for, kept between visits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from math import ceil

import structlog

from .errors import IngestError, LeaseLost
from .scheduler import Queue
from .shares import Shares
from .store import daemons
from .store.leases import Lease, Leases, beating

MOVES = 300  # accounts given to other daemons in a minute: for a moment, nobody serves them
TAKES = 100  # accounts taken between two renewals

log = structlog.get_logger(__name__)


class Holding:
    """The accounts of one daemon. `beat` is for one thread, the rest for any."""

    def __init__(
        self,
        leases: Leases,
        accounts: Iterable[str],
        queue: Queue,
        store_is_back: Callable[[], Iterable[str]],
        left: Callable[[Iterable[str]], object] = lambda _: None,
    ) -> None:
        """Accounts go on *queue* when they are taken, and those of *store_is_back* when the store was away.

        *left* is told of those that are ours no more.
        """
        self._leases, self._accounts, self._queue = leases, frozenset(accounts), queue
        self._store_is_back, self._left = store_is_back, left
        self._leaving: frozenset[str] = frozenset()  # to be given back when the visit to them is over
        self._away = self._stopped = False

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Hold what is our share, on one thread, until the block ends; then give it back."""
        try:
            with beating(self._leases, self.beat):
                yield
        finally:
            daemons.leave(self._leases.database, self._leases.owner)
            self._leases.end()

    def serve(self, accounts: Iterable[str]) -> None:
        """Serve *accounts*, and no others, from the next beat on."""
        self._accounts = frozenset(accounts)

    def stop(self) -> None:
        """Renew and take nothing more: what is held outlasts the end of what is under way."""
        self._stopped = True

    @property
    def held(self) -> int:
        """How many accounts are ours right now."""
        return len(self._leases.held)

    def lease(self, account: str) -> Lease | None:
        """The lease of *account*, if it is ours to visit."""
        return self._leases.held.get(account)

    def visited(self, account: str, errors: Iterable[IngestError]) -> None:
        """A visit to *account*, by whoever has it from the queue, came to an end."""
        if any(isinstance(error, LeaseLost) for error in errors):
            self._leases.forget([account])
        elif account in self._leaving and not self._stopped:
            self._left([account])
            with suppress(IngestError):  # then it expires
                self._leases.give_back([account])

    def beat(self) -> None:
        """Renew what is held, give back what is not for us to hold, take what is. What goes wrong is logged."""
        try:
            while not self._stopped and self._round():
                continue
        except IngestError as error:
            self._away = True
            log.warning("leases not renewed", error=str(error))
        except Exception:  # without this thread, nobody would serve any of our accounts
            log.exception("leases not renewed")
        else:
            self._back()

    def _round(self) -> bool:
        """Do it once; return whether there is more to take."""
        leases = self._leases
        if lost := leases.renew():
            self._left(lost)
            log.warning("lost leases", accounts=len(lost), names=", ".join(sorted(lost)))
        daemons.present(leases.database, leases.owner, self._accounts, leases.lasts)
        shares = Shares(daemons.look(leases.database, leases.owner))
        self._give(shares.to_give(ceil(MOVES * leases.beat.total_seconds() / 60)))
        return self._take(shares.to_take())

    def _give(self, accounts: list[str]) -> None:
        idle = [account for account in accounts if self._queue.claim(account)]
        self._leaving = frozenset(accounts) - frozenset(idle)
        self._left(idle)
        try:
            self._leases.give_back(idle)
        finally:
            for account in idle:
                self._queue.done(account)
        if idle:
            log.info("gave leases back", accounts=len(idle), held=len(self._leases.held))

    def _take(self, accounts: list[str]) -> bool:
        taken = list(filter(self._took, islice(accounts, TAKES)))
        if taken:
            log.info("took leases", accounts=len(taken), held=len(self._leases.held))
        return len(accounts) > TAKES

    def _took(self, account: str) -> bool:
        try:
            self._leases.take(account)
        except LeaseLost:  # somebody else was quicker
            return False
        self._queue.put(account)
        return True

    def _back(self) -> None:
        if self._away:
            self._away = False
            log.info("store is back")
            for account in self._store_is_back():
                self._queue.put(account)
