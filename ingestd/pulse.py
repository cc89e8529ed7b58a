"""Whether the work goes on: what a watchdog is fed by, since a timer would run in a daemon that is stuck, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock
from time import monotonic

STUCK = timedelta(minutes=10)  # every wait of a visit is bounded by a minute or less, so that it ends or gets somewhere


class Pulse:
    """Counts visits, and knows when each last got somewhere. Safe to use from several threads."""

    def __init__(
        self, moved_at: Callable[[], float] = lambda: float("-inf"), clock: Callable[[], float] = monotonic
    ) -> None:
        """*moved_at* says when bytes last came from any mail server: one message may take hours, and is progress."""
        self._moved_at, self._clock = moved_at, clock
        self._visits: dict[str, float] = {}
        self._lock = Lock()

    @contextmanager
    def visit(self, account: str) -> Iterator[None]:
        """A visit to *account* is under way until the block ends."""
        self.beat(account)
        try:
            yield
        finally:
            with self._lock:
                del self._visits[account]

    def beat(self, account: str) -> None:
        """The visit to *account* got somewhere."""
        with self._lock:
            self._visits[account] = self._clock()

    @property
    def visits(self) -> int:
        """How many are under way."""
        return len(self._visits)

    def stuck(self) -> list[str]:
        """The accounts whose visits get nowhere any more."""
        with self._lock:
            moved = self._moved_at()
            late = self._clock() - STUCK.total_seconds()
            return sorted(account for account, beat in self._visits.items() if max(beat, moved) < late)
