"""Note what needs a person, to be told by mail: once, and once more when it is over.

Whoever notices something says so to `Alerts`, which never fails: it waits in the store until a `Postman`, of whichever
daemon, has sent it. What is told names an account or a mailbox, and nothing of anybody's mail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from pymongo.database import Database

from .errors import IngestError, NeedsLogin, Refused
from .store import outbox
from .summary import Summary

Document = dict[str, Any]
Kind = Literal["refused", "login", "disappeared", "fallback"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Alerts:
    """Notes what people are to be told, if anybody is. Safe to use from several threads; blocks as the store does."""

    database: Database[Document]
    wanted: bool = True

    def raised(self, kind: Kind, subject: str, text: str) -> None:
        """*kind* holds for *subject* (an account, or a mailbox as `account/mailbox`), as *text* says in a line.

        Told once, however often and by however many daemons it is said, until it is `over`.
        """
        self._note(lambda: outbox.raise_(self.database, kind, subject, text))

    def over(self, kinds: Sequence[Kind], *subjects: str) -> None:
        """None of *kinds* holds for *subjects* any more; that is told of those of which people know."""
        self._note(lambda: outbox.over(self.database, kinds, subjects))

    def visited(
        self,
        account: str,
        errors: Sequence[IngestError],
        summaries: Sequence[Summary],
        over_pop3: Sequence[IngestError] = (),
    ) -> None:
        """Conclude from a visit what is amiss with *account* and its mailboxes, and what no more.

        *over_pop3* says why it was not over IMAP, if it was not.
        """
        refused = [error for error in errors if isinstance(error, Refused)]
        if refused:
            kind: Kind = "login" if isinstance(refused[0], NeedsLogin) else "refused"
            self.raised(kind, account, str(refused[0]))
        elif not errors:
            self.over(("refused", "login") if over_pop3 else ("refused", "login", "fallback"), account)
        if over_pop3:
            self.raised("fallback", account, str(over_pop3[0]))
        for summary in summaries:
            if summary.doubted:
                said = f"mailbox {summary.name}: {summary.doubted:,} messages are not listed any more; it may be broken"
                self.raised("disappeared", summary.name, said)
        self.over(("disappeared",), *(summary.name for summary in summaries if not summary.doubted))

    def _note(self, note: Callable[[], None]) -> None:
        if not self.wanted:
            return
        try:
            note()
        except IngestError as error:
            log.warning("alert not noted", error=str(error))
