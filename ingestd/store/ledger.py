"""What one pass over one mailbox reads and writes besides the messages: memory, attempts, seals, acknowledgements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.database import Database

from ..message import Arrival, Failed, LeftOut, Metadata, Numbers, Place, RawMessage, Receipt, Twin, Vanished
from ..steps import step
from ..uidset import UIDSet
from . import accounts, mailboxes, placements, removals, sightings, twins
from .leases import Lease
from .memory import Absent, Doubts, Followed, Looked, Memory
from .removals import Held
from .seals import Seals

Document = dict[str, Any]

SEALED_AT_ONCE = 100  # places in one seal
AGAIN = 100  # messages that are stored and fetched again in one pass, since something else seems to lie there
CHECKPOINT_EVERY = timedelta(seconds=2)  # it may lag: what was stored since is looked up


@dataclass(frozen=True, slots=True)
class Recorded:
    """What of a batch a person may want to know."""

    quarantined: Sequence[Place]  # not tried again
    replaced: Sequence[Place]  # stored before, and now found to hold another message


class Ledger:
    """The ledger of one mailbox, for whoever holds the lease of its account."""

    def __init__(self, database: Database[Document], lease: Lease, seals: Seals, memory: Memory) -> None:
        """Begin a pass from *memory*; at first sight that is saved at once: the baseline must stand before a search."""
        self._database, self._lease, self._seals = database, lease, seals
        self.memory = memory
        self.tried = UIDSet()  # in vain, as of the plan: the server would not give them
        self._saved_at = datetime.fromtimestamp(0, UTC)
        self._sealed: set[tuple[str, str]] = set()  # places and digests, since the checkpoint that the pass began from
        if memory.first_sight:
            self._begin(memory)

    # --- before anything is fetched

    def metadata(self, uids: UIDSet) -> dict[int, Metadata]:
        """What the mailbox said about those of *uids* that are stored."""
        return placements.metadata(self._database, self.memory.epoch, uids)

    def twins(self, wanted: Sequence[Metadata]) -> dict[int, Twin]:
        """The stored messages that are the same as some of *wanted*, by UID. May be called from another thread."""
        return twins.twins(self._database, self.memory.epoch.account, wanted)

    def begin_epoch(self, numbers: Numbers) -> None:
        """Know nothing of any UID from here on, since they stand for other messages than they did."""
        accounts.forget_object_ids(self._database, self._lease)
        self._begin(self.memory.afresh(numbers.uidvalidity, numbers.uidnext))

    def lower_baseline(self, last: int) -> None:
        """Let nothing count as there at first sight whose UID comes after *last*."""
        self.memory = replace(self.memory, baseline=min(self.memory.baseline, last))

    def reckon(self, absent: Absent) -> None:
        """Record which UIDs the server lists no more, and which it lists again."""
        self._lease.check()
        before, now, epoch = self.memory.absent, datetime.now(UTC), self.memory.epoch
        sightings.gone(self._database, epoch.filters(absent.gone - before.gone), now)
        # Also what was only missing: a pass that died may have recorded that it is gone, and not that it had.
        sightings.back(self._database, epoch.filters(before.all - absent.all), now)
        self.memory = replace(self.memory, absent=absent, doubts=self.memory.doubts.without(absent.gone))

    def doubt(self, doubts: Doubts, uidnext: int) -> None:
        """Remember which UIDs may stand for other messages than those that are known, as of *uidnext*."""
        self.memory = replace(self.memory, doubts=doubts, uidnext=uidnext)

    def plan(self, selected: UIDSet, limit: int | None = None) -> UIDSet:
        """Save that *selected* is to do, besides what was left undone; return what of it is due now, up to *limit*.

        What is stored already, but was not sealed before the last pass ended, is sealed here. Some of what is stored
        may be due too, since something else seems to lie there now.
        """
        step("searched")
        again = self.memory.doubts.due(datetime.now(UTC), AGAIN)
        self._sealed = self._seals.named_since(self.memory.sealed) if again else set()
        memory = self.memory = replace(self.memory, selected=(self.memory.selected | selected) - self.memory.done)
        attempts, now = placements.open_attempts(self._database, memory.epoch), datetime.now(UTC)
        waiting, self.tried = UIDSet.of(uid for uid, due in attempts.items() if due > now), UIDSet.of(attempts)
        due = memory.new_first(memory.selected - waiting, limit)
        known = placements.known(self._database, memory.epoch, due | memory.formerly)
        self._seal_again(memory, known.stored)
        self.memory = replace(memory.finished(known.ended), formerly=UIDSet())
        if due == memory.selected - waiting:  # all that may be unsealed was looked up
            self.memory = replace(self.memory, sealed=self._seals.number)
        self._save()
        return (due - known.ended) | again

    def leave_out(self, left_out: Mapping[str, UIDSet], present: UIDSet) -> None:
        """Save which UIDs are not wanted, and why. From now on all that are *present* are accounted for."""
        self.memory = replace(self.memory, left_out=left_out, visited=present.highest)
        self._save()

    def record(self, batch: Sequence[Arrival], receipts: Sequence[Receipt], *, lasting: bool = True) -> Recorded:
        """Write what became of *batch*: attempts, the seal, the checkpoint.

        What turned out too old is left out from now on; unless *lasting*, it stays to do for a later pass.
        """
        self._lease.check()
        now, known = datetime.now(UTC), self.memory.doubts.fetch
        fresh = [each for each in batch if each.place.uid not in known]
        gone = placements.vanish(self._database, [each for each in fresh if isinstance(each, Vanished)], now)
        quarantined = placements.postpone(self._database, [each for each in fresh if isinstance(each, Failed)], now)
        replaced = self._renew([each for each in batch if each.place.uid in known], now)
        self._seal([receipt for receipt in receipts if receipt.place.uid not in known or receipt.place in replaced])
        if lasting:
            self._older(UIDSet.of(each.place.uid for each in batch if isinstance(each, LeftOut)))
        ended = [*(receipt.place for receipt in receipts), *quarantined]
        self.memory = self.memory.finished(UIDSet.of(place.uid for place in ended))
        self.memory = self.memory.dropped(UIDSet.of(place.uid for place in gone))
        if now - self._saved_at >= CHECKPOINT_EVERY:
            self._save()
        return Recorded(quarantined, sorted(replaced))

    def follow(self, said: Mapping[int, Metadata]) -> int:
        """Record the flags and labels that *said* has otherwise than they were; return of how many messages."""
        self._lease.check()
        return sightings.flag(self._database, self.memory.epoch, said, datetime.now(UTC))

    def followed(self, followed: Followed) -> None:
        """Remember how far flags are followed."""
        self.memory = replace(self.memory, followed=followed)

    def looked(self, numbers: Numbers, present: UIDSet) -> None:
        """Remember that all that was *present* was looked at, if that was all when the mailbox had those *numbers*."""
        looked = Looked(numbers.uidnext, numbers.exists, numbers.modseq, datetime.now(UTC))
        self.memory = replace(self.memory, looked=looked if len(present) >= numbers.exists else None)

    def finish(self, summary: Document | None) -> None:
        """Save the checkpoint at the end of a pass, with what it did."""
        self.memory = replace(self.memory, last_pass=summary)
        self._save()

    def unacknowledged(self, action: str | None = None) -> UIDSet:
        """What was stored while *action*, or anything, was asked for, and is not acknowledged on the server yet.

        Without what may be another message by now. When there is any, the store has just said that the account is ours:
        a mail server knows no token.
        """
        pending = placements.unacknowledged(self._database, self.memory.epoch, action) - self.memory.doubts.all
        if pending:
            self._lease.confirm()
        return pending

    def acknowledged(self, uids: UIDSet) -> None:
        """Record that the server marked *uids* as it was asked to."""
        step("told")
        self._lease.confirm()
        placements.acknowledged(self._database, self.memory.epoch, uids)

    # --- what is to be deleted or moved on the server

    def sealed(self, uids: UIDSet) -> UIDSet:
        """Those of *uids* of which the log certainly says that they are stored."""
        return uids & self.memory.done

    def held(self, uids: UIDSet, action: str) -> Iterator[list[Held]]:
        """Yield what is known of those of *uids* that wait for *action*, part by part."""
        yield from removals.held(self._database, self.memory.epoch, uids, action)

    def removals_begun(self) -> list[Held]:
        """What a pass was removing when it died."""
        return removals.begun(self._database, self.memory.epoch)

    def removing(self, uids: UIDSet) -> None:
        """Record that the server is about to be told to remove *uids*. Raises LeaseLost when that is not ours to do."""
        removals.begin(self._database, self.memory.epoch.filters(uids), datetime.now(UTC))
        step("removing")
        self._lease.confirm()

    def removed(self, held: Sequence[Held], action: str, *, again: bool = False) -> None:
        """Seal and record that the server did *action* to *held*; *again* when a pass that died may have sealed it."""
        if not held:
            return
        step("removed")
        self._lease.confirm()
        removals.seal(self._seals, held, action, self.memory.sealed if again else None)
        uids, absent = UIDSet.of(each.uid for each in held), self.memory.absent
        removals.finish(self._database, self.memory.epoch.filters(uids), removals.kind(action), datetime.now(UTC))
        # No need to miss them twice, nor to doubt that so many are gone.
        self.reckon(replace(absent, missing=absent.missing - uids, gone=absent.gone | uids))

    def still_there(self, uids: UIDSet) -> None:
        """Record that *uids* were not removed after all: they wait as before."""
        removals.undo(self._database, self.memory.epoch.filters(uids))

    def missed(self, uids: UIDSet) -> None:
        """Record that *uids* were gone before the server was told to remove them."""
        removals.miss(self._database, self.memory.epoch.filters(uids))

    def suspect(self, uids: UIDSet) -> None:
        """Remember that *uids* may stand for other messages than those that are known."""
        if uids:
            doubts = self.memory.doubts
            self.doubt(replace(doubts, compare=doubts.compare | uids), self.memory.uidnext)

    def _begin(self, memory: Memory) -> None:
        """Begin the epoch of *memory*. What the one before left unsealed is sealed first: nobody comes back to it."""
        if former := memory.former:
            left = former.selected | former.formerly
            self._seal_again(former, placements.known(self._database, former.epoch, left).stored)
        sightings.retire(self._database, memory.epoch, datetime.now(UTC))
        self.memory = replace(memory, sealed=self._seals.number)  # nothing of this epoch can be sealed yet
        self._save()

    def _renew(self, batch: Sequence[Arrival], now: datetime) -> set[Place]:
        """Record what was fetched again; return the places that hold another message than they did."""
        if not batch:
            return set()
        replaced = sightings.renew(self._database, [each for each in batch if isinstance(each, RawMessage)], now)
        doubts = self.memory.doubts.without(_uids(batch, RawMessage, Vanished))
        if _uids(batch, Failed):
            doubts = replace(doubts, fetch_after=now + placements.DELAYS[-1])
        self.memory = replace(self.memory, doubts=replace(doubts, compare=doubts.compare | _uids(batch, Vanished)))
        return replaced

    def _seal(self, receipts: Sequence[Receipt]) -> None:
        """Seal *receipts*, but for those that an interrupted pass had sealed."""
        if unsealed := [each for each in receipts if (each.place.id, each.sha256) not in self._sealed]:
            number = self._seals.append(unsealed)
            if number == self.memory.sealed + 1:  # else a seal between may name places that were not looked up yet
                self.memory = replace(self.memory, sealed=number)
            step("sealed")

    def _older(self, uids: UIDSet) -> None:
        if uids:
            older = self.memory.left_out.get("older_than_since", UIDSet()) | uids
            left_out = {**self.memory.left_out, "older_than_since": older}
            self.memory = replace(self.memory.dropped(uids), left_out=left_out)

    def _seal_again(self, memory: Memory, stored: UIDSet) -> None:
        """Seal what was stored by a pass that ended before its seal."""
        if not stored:
            return
        named = self._seals.named_since(memory.sealed)
        receipts = placements.receipts(self._database, memory.epoch, stored)
        unsealed = [receipt for receipt in receipts if (receipt.place.id, receipt.sha256) not in named]
        for start in range(0, len(unsealed), SEALED_AT_ONCE):
            self._seals.append(unsealed[start : start + SEALED_AT_ONCE])

    def _save(self) -> None:
        step("checkpoint")
        mailboxes.save(self._database, self._lease, self.memory)
        self._saved_at = datetime.now(UTC)


def _uids(batch: Sequence[Arrival], *kinds: type[Arrival]) -> UIDSet:
    return UIDSet.of(each.place.uid for each in batch if isinstance(each, kinds))
