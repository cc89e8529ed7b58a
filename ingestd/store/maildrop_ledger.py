"""The ledger of a POP3 maildrop: the places themselves, as epoch 0 of the INBOX, by their unique-ids.

Within a pass messages go by the numbers of its listing, as those of a mailbox go by UIDs; what is not listed any more
gets a number beyond those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from ..message import Arrival, Failed, Listed, Place, RawMessage, Receipt, Vanished
from ..steps import step
from ..uidset import UIDSet
from . import maildrops, placements, removals, sightings
from .leases import Lease
from .ledger import SEALED_AT_ONCE, Recorded
from .maildrop_places import Standing, among, chunks, epoch, look_up, seal_again
from .maildrops import Maildrop
from .placements import DELAYS
from .removals import Held
from .seals import Seals

Document = dict[str, Any]

AT_ONCE = 500  # messages deleted in one session


class MaildropLedger:
    """The ledger of one maildrop, for whoever holds the lease of its account."""

    def __init__(self, database: Database[Document], lease: Lease, seals: Seals, memory: Maildrop) -> None:
        """Begin a pass from *memory*; what the one before stored and did not come to seal is sealed first."""
        self._database, self._lease, self._seals = database, lease, seals
        self.memory = memory
        self._ids: dict[int, str] = {}  # of places, by number
        self._numbers: dict[str, int] = {}  # and the other way round
        self._listed = UIDSet()
        self._again: dict[str, str] = {}  # digests of what is to be fetched again, by place
        self._on_the_way = UIDSet()  # due, and not recorded yet
        seal_again(database, seals, memory)

    # --- before anything is fetched

    def look_up(self, listing: Sequence[Listed]) -> Standing:
        """Find out what is known of *listing*, by whose numbers everything goes from here on."""
        standing = look_up(self._database, self._lease.account, listing, datetime.now(UTC))
        self._ids = {listed.number: Place.of_maildrop(self._lease.account, listed.uidl).id for listed in listing}
        self._numbers = {id_: number for number, id_ in self._ids.items()}
        self._listed = standing.present
        self._again = {self._ids[number]: digest for number, digest in standing.again.items()}
        return standing

    def reckon(self, standing: Standing, gone: Iterable[str]) -> None:
        """Record which places are *gone*, which were found missing for the first time, and which are listed again."""
        self._lease.check()
        now, believed = datetime.now(UTC), list(gone)
        first = [id_ for id_, since in standing.missing.items() if since is None]
        sightings.miss(self._database, self._among(first), now)
        sightings.lose(self._database, self._among(believed), now)
        sightings.gone(self._database, self._among(believed), now)
        sightings.meet(self._database, self._numbered(standing.back), now)

    def plan(self, due: UIDSet) -> UIDSet:
        """Save that a pass begins; return what of *due* it is to fetch.

        That is without what the server would not give again a while ago.
        """
        step("searched")
        self.memory = replace(self.memory, sealed=self._seals.number)
        maildrops.begin(self._database, self._lease, self.memory)
        now, after = datetime.now(UTC), self.memory.fetch_after
        doubtful = UIDSet.of(number for number in due if self._ids[number] in self._again)
        self._on_the_way = due - doubtful if after and now < after else due
        return self._on_the_way

    # --- afterwards

    def record(self, batch: Sequence[Arrival], receipts: Sequence[Receipt]) -> Recorded:
        """Write what became of *batch*: attempts, and the seal."""
        self._lease.check()
        now, known = datetime.now(UTC), frozenset(self._again)
        fresh = [each for each in batch if each.place.id not in known]
        placements.vanish(self._database, [each for each in fresh if isinstance(each, Vanished)], now)
        quarantined = placements.postpone(self._database, [each for each in fresh if isinstance(each, Failed)], now)
        replaced = self._renew([each for each in batch if each.place.id in known], now)
        if unsealed := [each for each in receipts if each.place.id not in known or each.place in replaced]:
            self._seals.append(unsealed)
            step("sealed")
        self._on_the_way -= UIDSet.of(self._numbers[each.place.id] for each in batch)
        return Recorded(quarantined, sorted(replaced))

    def seen(self, listing: Sequence[Listed]) -> None:
        """Remember that everything in *listing* was seen to."""
        self.memory = self.memory.seen(listing)

    def older(self, listing: Sequence[Listed], number: int, since: datetime) -> None:
        """Remember that what is new up to *number* of *listing*, as far as all of it was looked at, is too old."""
        self.memory = self.memory.older(listing, number, since)

    def finish(self, summary: Document) -> None:
        """Save what is remembered at the end of a pass, with what it did."""
        step("checkpoint")
        self.memory = replace(self.memory, sealed=self._seals.number, began_at=None, last_pass=summary)
        maildrops.save(self._database, self._lease, self.memory)

    # --- what is to be deleted on the server

    def unacknowledged(self, action: str) -> UIDSet:
        """What was stored while *action* was asked for, and lies on the server. Without what may be another by now.

        When there is any, the store has just said that the account is ours: a mail server knows no token.
        """
        pending = self._held(removals.asks(action))
        waiting = UIDSet.of(held.uid for held in pending if held.receipt.place.id not in self._again) & self._listed
        if waiting:
            self._lease.confirm()
        return waiting

    def sealed(self, numbers: UIDSet) -> UIDSet:
        """Those of *numbers* of which the log certainly says that they are stored."""
        return numbers - self._on_the_way

    def held(self, numbers: UIDSet, action: str) -> Iterator[list[Held]]:
        """Yield what is known of those of *numbers* that wait for *action*, part by part."""
        yield from chunks((held for held in self._held(removals.asks(action)) if held.uid in numbers), AT_ONCE)

    def removals_begun(self) -> list[Held]:
        """What a pass was deleting when it died."""
        return self._held(removals.is_begun)

    def removing(self, numbers: UIDSet) -> None:
        """Record that the server is about to be told to delete *numbers*. Raises LeaseLost when that is not ours."""
        removals.begin(self._database, self._numbered(numbers), datetime.now(UTC))
        step("removing")
        self._lease.confirm()

    def removed(self, held: Sequence[Held], action: str, *, again: bool = False) -> None:
        """Seal and record that the server deleted *held*; *again* when a pass that died may have sealed it."""
        if not held:
            return
        step("removed")
        self._lease.confirm()
        for part in chunks(held, SEALED_AT_ONCE):
            removals.seal(self._seals, part, action, self.memory.sealed if again else None)
        numbers = UIDSet.of(each.uid for each in held)
        removals.finish(self._database, self._numbered(numbers), removals.kind(action), datetime.now(UTC))

    def still_there(self, numbers: UIDSet) -> None:
        """Record that *numbers* were not deleted after all: they wait as before."""
        removals.undo(self._database, self._numbered(numbers))

    def missed(self, numbers: UIDSet) -> None:
        """Record that *numbers* were gone before the server was told to delete them."""
        removals.miss(self._database, self._numbered(numbers))

    def suspect(self, numbers: UIDSet) -> None:
        """Nothing to remember: their size is another one, by which the next pass knows that they may be others."""

    def acknowledged(self, numbers: UIDSet) -> None:
        raise NotImplementedError("nothing can be marked over POP3")

    # --- the parts

    def _renew(self, batch: Sequence[Arrival], now: datetime) -> set[Place]:
        """Record what was fetched again; return the places that hold another message than they did."""
        arrived = [each for each in batch if isinstance(each, RawMessage)]
        if any(isinstance(each, Failed) for each in batch):
            self.memory = replace(self.memory, fetch_after=now + DELAYS[-1])
        if arrived:
            sightings.back(self._database, self._among(each.place.id for each in arrived), now)
            sightings.renew(self._database, arrived, now)
        return {each.place for each in arrived if each.sha256 != self._again.pop(each.place.id)}

    def _held(self, wanted: Callable[[Document], bool]) -> list[Held]:
        """What waits to be deleted, and is *wanted*; places that are not listed get numbers here."""
        pending = removals.pending(self._database, epoch(self._lease.account))
        found = {each["_id"]: each for each in pending if wanted(each)}
        unlisted = enumerate(sorted(found.keys() - self._numbers.keys()), max(self._ids, default=0) + 1)
        self._ids |= (more := dict(unlisted))
        self._numbers |= {id_: number for number, id_ in more.items()}
        account, of = self._lease.account, self._numbers
        return [removals.read(Place.parsed_maildrop(account, id_), each, of[id_]) for id_, each in found.items()]

    def _numbered(self, numbers: UIDSet) -> Iterator[Document]:
        return self._among(self._ids[number] for number in numbers)

    def _among(self, ids: Iterable[str]) -> Iterator[Document]:
        return among(self._lease.account, ids)
