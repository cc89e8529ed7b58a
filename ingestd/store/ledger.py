"""What one pass over one mailbox reads and writes besides the messages: memory, attempts, seals, acknowledgements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.database import Database

from ..message import Arrival, Failed, LeftOut, Place, Receipt, Vanished
from ..uidset import UIDSet
from . import mailboxes, placements
from .leases import Lease
from .mailboxes import Memory
from .placements import Known
from .seals import Seals

Document = dict[str, Any]

CHECKPOINT_EVERY = timedelta(seconds=2)  # it may lag: what was stored since is looked up


class Ledger:
    """The ledger of one mailbox, for whoever holds the lease of its account."""

    def __init__(self, database: Database[Document], lease: Lease, seals: Seals, memory: Memory) -> None:
        """Begin a pass from *memory*, which is saved before anything is searched: the baseline must stand first."""
        self._database, self._lease, self._seals = database, lease, seals
        self.memory = memory
        self._saved_at = datetime.fromtimestamp(0, UTC)
        self._save()
        if memory.last_pass is None:
            placements.retire(database, memory.epoch)

    def plan(self, present: UIDSet, selected: UIDSet, left_out: Mapping[str, UIDSet]) -> UIDSet:
        """Save what this mailbox has to do; return what of it is due now.

        What was selected before and is not *present* any more has vanished. What is stored already, but was not sealed
        before the last pass ended, is sealed here.
        """
        now = datetime.now(UTC)
        selected = (selected | self.memory.selected) - self.memory.done
        gone = selected - present
        known = placements.known(self._database, self.memory.epoch, selected, now)
        self._seal_again(known)
        lost = gone - known.stored - known.ended
        placements.vanish(self._database, [Vanished(self._place(uid)) for uid in lost], now)
        self.memory = replace(self.memory, selected=selected).finished(known.stored | known.ended | lost)
        rest = {why: uids - self.memory.done - self.memory.selected for why, uids in left_out.items()}
        self.memory = replace(self.memory, left_out={why: uids for why, uids in rest.items() if uids})
        self._save()
        return self.memory.selected - known.waiting

    def record(self, batch: Sequence[Arrival], receipts: Sequence[Receipt]) -> list[Place]:
        """Write what became of *batch*: attempts, the seal, the checkpoint. Return what is quarantined now."""
        self._lease.check()
        now = datetime.now(UTC)
        vanished = [arrival for arrival in batch if isinstance(arrival, Vanished)]
        failed = [arrival for arrival in batch if isinstance(arrival, Failed)]
        placements.vanish(self._database, vanished, now)
        quarantined = placements.postpone(self._database, failed, now)
        if receipts:
            sealed = self._seals.append(receipts)
            self.memory = replace(self.memory, sealed=sealed)
        self._leave_out(UIDSet.of(arrival.place.uid for arrival in batch if isinstance(arrival, LeftOut)))
        places = [arrival.place for arrival in vanished] + [receipt.place for receipt in receipts] + quarantined
        self.memory = self.memory.finished(UIDSet.of(place.uid for place in places))
        if now - self._saved_at >= CHECKPOINT_EVERY:
            self._save()
        return quarantined

    def finish(self, summary: Document) -> None:
        """Save the checkpoint at the end of a pass, with what it did."""
        self.memory = replace(self.memory, last_pass=summary)
        self._save()

    def unacknowledged(self) -> dict[str, UIDSet]:
        """What is stored but not yet acknowledged on the server, by action."""
        self._lease.check()
        return placements.unacknowledged(self._database, self.memory.epoch)

    def acknowledged(self, uids: UIDSet) -> None:
        """Record that the server did what was asked for *uids*."""
        placements.acknowledged(self._database, self.memory.epoch, uids)

    def _place(self, uid: int) -> Place:
        return self.memory.epoch.place(uid)

    def _leave_out(self, uids: UIDSet) -> None:
        if uids:
            older = self.memory.left_out.get("older_than_since", UIDSet()) | uids
            left_out = {**self.memory.left_out, "older_than_since": older}
            self.memory = replace(self.memory, selected=self.memory.selected - uids, left_out=left_out)

    def _seal_again(self, known: Known) -> None:
        """Seal what was stored by a pass that ended before its seal."""
        if not known.stored:
            return
        named = self._seals.named_since(self.memory.sealed)
        stored = placements.receipts(self._database, self.memory.epoch, known.stored)
        unsealed = [receipt for receipt in stored if receipt.place.id not in named]
        for start in range(0, len(unsealed), 100):
            self._seals.append(unsealed[start : start + 100])

    def _save(self) -> None:
        mailboxes.save(self._database, self._lease, self.memory)
        self._saved_at = datetime.now(UTC)
