"""Visits to an account that has POP3 beside IMAP: over POP3 for as long as its IMAP server is away, and no longer.

Only a server that cannot be reached counts as away. One that does not like our password or how often we come, or whose
certificate we do not like, is left in peace, over POP3 too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from pymongo.database import Database

from .breaker import Breaker, Patience
from .errors import IngestError, Unavailable, Unreachable
from .store import fallbacks, mailboxes
from .store.leases import Lease

Document = dict[str, Any]
Do = Callable[[], None]
OverPop3 = Callable[[datetime, IngestError], None]  # mail from when on, and why not over IMAP

BEFORE = timedelta(days=1)  # the last good pass over IMAP: mail may have been on its way, and clocks differ

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fallback:
    """Decides for one account whose *lease* is held, and remembers."""

    database: Database[Document]
    lease: Lease
    patience: Patience
    stopped: Callable[[], bool]

    def serve(self, over_imap: Do, probe: Do, over_pop3: OverPop3) -> None:
        """Do *over_imap*; or, where IMAP is away, *over_pop3*. Raises what is raised by them.

        *probe* connects and logs in over IMAP, and does nothing else.
        """
        breaker = fallbacks.recall(self.database, self.lease.account)
        try:
            if breaker.open:
                probe()
                breaker = self._switched(breaker, breaker.answered(datetime.now(UTC)))
            if not breaker.open:
                over_imap()
                self._remember(breaker, breaker.worked())
                return
            why: IngestError = Unavailable(f"account {self.lease.account}: IMAP answers again; once more will do")
        except Unreachable as error:
            if self.stopped() or recent(self.database, self.lease.account) is None:
                raise
            breaker = self._switched(breaker, breaker.failed(str(error), datetime.now(UTC), self.patience))
            if not breaker.open:
                raise
            why = error
        over_pop3(recent(self.database, self.lease.account) or datetime.now(UTC) - BEFORE, why)

    def _switched(self, before: Breaker, after: Breaker) -> Breaker:
        self._remember(before, after)
        if after.open and not before.open:
            log.warning("fell back to POP3", account=self.lease.account, failures=after.failures, reason=after.reason)
        elif before.open and not after.open:
            # Numbers of mailboxes may be the same as they were; the hour in which that is believed is over.
            mailboxes.look_again(self.database, self.lease)
            seconds = round((datetime.now(UTC) - before.history[-1].at).total_seconds())
            log.warning("back to IMAP", account=self.lease.account, seconds=seconds)
        return after

    def _remember(self, before: Breaker, after: Breaker) -> None:
        if after != before:
            fallbacks.save(self.database, self.lease, after)


def recent(database: Database[Document], account: str) -> datetime | None:
    """From when on mail may be missing: a day before the last good pass over the INBOX; None without one."""
    inbox = mailboxes.last(database, account, "INBOX")
    if inbox is None or inbox.last_pass is None:
        return None
    since: datetime = inbox.last_pass["started_at"] - BEFORE
    return max(since, inbox.since) if inbox.since else since
