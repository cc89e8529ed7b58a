"""When to try an account again after a pass went wrong. Nothing else retries.

The delay grows with every failure in a row and is drawn at random up to its bound (full jitter), so that a server that
comes back is not met by everyone at once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Lock
from time import monotonic

from .errors import IngestError, LeaseLost, PutOff, Refused, StoreUnavailable, Unavailable

FIRST = timedelta(seconds=5)
LONGEST = timedelta(minutes=15)
LATER = 0.1  # of the time that an account is put off for, at most, so that not all come back at once
AVAILABLE = (StoreUnavailable, PutOff)  # what says nothing against the mail server
AFTER_REFUSAL = timedelta(minutes=15)  # at most 4 logins an hour with a wrong password


def delay(errors: Sequence[IngestError], failures: int, draw: Callable[[], float] = random.random) -> timedelta:
    """How long to leave an account alone after *failures* failed visits in a row, the last with *errors*."""
    if not errors:
        return timedelta()
    if waits := [error.wait for error in errors if isinstance(error, PutOff) and error.wait is not None]:
        # Not drawn from the whole of it: what comes sooner is only put off again.
        return max(waits) * (1 + LATER * draw())
    if any(isinstance(error, Unavailable) for error in errors):
        bound: timedelta = min(LONGEST, FIRST * 2 ** min(failures - 1, 10))
        return bound * draw()
    if any(isinstance(error, LeaseLost) for error in errors):
        return timedelta()  # it is visited again once it is ours again, and then at once
    return AFTER_REFUSAL if all(isinstance(error, Refused) for error in errors) else LONGEST


class Reserve:
    """Keeps visitors free of a mail server that does not answer: each could wait there for a minute.

    Safe to use from several threads.
    """

    def __init__(self, most: int) -> None:
        """At *most* so many visits at a time go to a server that did not answer the last time, or was never asked."""
        self._most = most
        self._answering: set[str] = set()
        self._visits: Counter[str] = Counter()
        self._lock = Lock()

    def enter(self, server: str) -> bool:
        """Whether *server* may be visited now, once more; then `leave` is owed."""
        with self._lock:
            if server not in self._answering and self._visits[server] >= self._most:
                return False
            self._visits[server] += 1
            return True

    def leave(self, server: str, errors: Sequence[IngestError]) -> None:
        """A visit to *server* ended with *errors*."""
        away = any(isinstance(error, Unavailable) and not isinstance(error, AVAILABLE) for error in errors)
        with self._lock:
            self._visits[server] -= 1
            (self._answering.discard if away else self._answering.add)(server)


@dataclass(slots=True)
class Watcher:
    """Remembers which accounts have to wait. Safe to use from several threads."""

    clock: Callable[[], float] = monotonic
    _failures: dict[str, int] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    _for_the_store: set[str] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def ready(self, account: str) -> bool:
        """Whether *account* may be visited now."""
        with self._lock:
            return self.clock() >= self._not_before.get(account, 0.0)

    def note(self, account: str, errors: Sequence[IngestError]) -> timedelta:
        """Take note of how a visit ended; return how long the account waits."""
        with self._lock:
            failures = self._failures.get(account, 0) + 1 if errors else 0
            self._failures[account] = failures
            wait = delay(errors, failures)
            self._not_before[account] = self.clock() + wait.total_seconds()
            self._for_the_store.discard(account)
            if any(isinstance(error, StoreUnavailable) for error in errors):
                self._for_the_store.add(account)
            return wait

    def forget(self, account: str) -> None:
        """Let *account* wait for nothing: it is another one now."""
        with self._lock:
            self._failures.pop(account, None)
            self._not_before.pop(account, None)
            self._for_the_store.discard(account)

    def store_is_back(self) -> list[str]:
        """Let nobody wait any longer who only waited for the store; return the accounts that did."""
        with self._lock:
            waited = sorted(self._for_the_store)
            self._for_the_store.clear()
            for account in waited:
                self._failures[account], self._not_before[account] = 0, 0.0
            return waited
