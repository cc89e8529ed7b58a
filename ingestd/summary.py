"""What a pass over one mailbox did, in counts that add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .acknowledge import Told
from .ingest import Plan, Stored
from .message import Failed, LeftOut, RawMessage, Vanished


@dataclass(slots=True)
class Summary:
    """Counts of messages. on_server = known_before + selected + left out, and selected = all that became of them."""

    account: str
    mailbox: str
    after_store: str | None = None  # what is done on the server with what is stored
    on_server: int = 0
    known_before: int = 0  # stored or quarantined by earlier passes
    selected: int = 0  # chosen, with what earlier passes left undone
    stored: int = 0  # new messages
    copies: int = 0  # places of messages that were stored already
    linked: int = 0  # of the copies: not fetched, since the server says that they are the same
    vanished: int = 0  # expunged before we had the bytes
    failed: int = 0  # the server would not give them; tried again later
    quarantined: int = 0  # of the failed: not tried again
    replaced: int = 0  # of the stored and the copies: where another message was known to lie
    too_old: int = 0  # left out only now: INTERNALDATE lies before `since`
    left_out: Mapping[str, int] = field(default_factory=dict)  # by reason
    parsed_partly: int = 0
    unparsed: int = 0
    removed: int = 0  # deleted or moved on the server, since they are stored
    unproven: int = 0  # not removed, since the store does not give them back as they were
    to_remove: int = 0  # in a preview: what would be removed
    size_bytes: int = 0  # fetched
    doubted: int = 0  # missing from the server, too many at once to be believed gone
    seconds: float = 0.0
    earliest: datetime | None = None  # INTERNALDATE of what was brought

    @property
    def name(self) -> str:
        return f"{self.account}/{self.mailbox}"

    @property
    def remaining(self) -> int:
        """Selected, but not reached: waiting for their next try, beyond the limit, or the pass was stopped."""
        return self.selected - self.stored - self.copies - self.vanished - self.failed - self.too_old

    def begin(self, plan: Plan) -> None:
        """Count what *plan* says; what was selected before and is gone from the server counts as selected too.

        So does what was stored so far, by a pass of the same visit that broke off.
        """
        so_far, known = self.stored + self.copies, len(plan.present & plan.done)
        self.on_server = len(plan.present | plan.selected) + max(so_far - known, 0)
        self.known_before = max(known - so_far, 0)
        self.selected = len(plan.selected) + so_far
        self.too_old = 0  # what was found to be is left out by now
        self.left_out = {why: len(uids) for why, uids in plan.left_out.items()}

    def add(self, done: Stored) -> None:
        kinds = Counter(type(arrival) for arrival in done.batch)
        new = [receipt for receipt in done.receipts if receipt.new]
        self.stored += len(new)
        self.copies += len(done.receipts) - len(new)
        self.vanished += kinds[Vanished]
        self.failed += kinds[Failed]
        self.too_old += kinds[LeftOut]
        self.quarantined += len(done.quarantined)
        self.replaced += len(done.replaced)
        self.parsed_partly += sum(receipt.status == "partial" for receipt in new)
        self.unparsed += sum(receipt.status == "failed" for receipt in new)
        messages = [arrival for arrival in done.batch if isinstance(arrival, RawMessage)]
        self.linked += sum(not message.fetched for message in messages)
        self.earliest = min(
            filter(None, [self.earliest, *(message.internal_date for message in messages)]), default=None
        )
        self.size_bytes += sum(message.content.size_bytes for message in messages if message.fetched)

    def tell(self, told: Told) -> None:
        self.removed += told.removed
        self.unproven += told.unproven

    def document(self, started_at: datetime, finished_at: datetime) -> dict[str, Any]:
        """The form kept in the mailbox's document."""
        counts = ("on_server", "selected", "stored", "copies", "vanished", "failed", "quarantined", "remaining")
        return {
            "started_at": started_at,
            "finished_at": finished_at,
            **{name: getattr(self, name) for name in counts},
            "left_out": dict(self.left_out),
            "size_bytes": self.size_bytes,
        }
