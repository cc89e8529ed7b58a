"""When an account whose IMAP server is away is read over POP3, and when over IMAP again. Pure; nothing is asked here.

A circuit breaker: it opens when IMAP has failed often enough for long enough, in a way that says that the server is
away (`errors.Unreachable`), and closes when two probes in a row went well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

HISTORY = 50  # switches that are remembered
PROBES = 2  # that have to go well in a row

Protocol = Literal["imap", "pop3"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for IMAP."""

    attempts: int
    time: timedelta


@dataclass(frozen=True, slots=True)
class Switch:
    """A change from one protocol to the other."""

    at: datetime
    to: Protocol
    reason: str  # for an operator; holds no address


@dataclass(frozen=True, slots=True)
class Breaker:
    """How it stands with IMAP for one account."""

    open: bool = False  # its mail is read over POP3
    failures: int = 0  # of IMAP, in a row
    since: datetime | None = None  # the first of them
    probes: int = 0  # that went well in a row, while open
    reason: str | None = None  # why IMAP failed last
    history: tuple[Switch, ...] = ()

    def failed(self, reason: str, now: datetime, patience: Patience) -> Breaker:
        """The same after IMAP has failed once more, since its server is away."""
        since, failures = self.since or now, self.failures + 1
        failed = replace(self, failures=failures, since=since, probes=0, reason=reason)
        if self.open or failures < patience.attempts or now - since < patience.time:
            return failed
        return replace(failed, open=True, history=self._and(Switch(now, "pop3", reason)))

    def answered(self, now: datetime) -> Breaker:
        """The same after a probe, while open, has gone well."""
        if self.probes + 1 < PROBES:
            return replace(self, probes=self.probes + 1)
        return Breaker(history=self._and(Switch(now, "imap", "it answers again")))

    def worked(self) -> Breaker:
        """The same after IMAP has done what it should."""
        return Breaker(history=self.history)

    def _and(self, switch: Switch) -> tuple[Switch, ...]:
        return (*self.history, switch)[-HISTORY:]
