"""What is remembered of one mailbox from pass to pass, as values; `mailboxes` reads and writes them.

UIDs are kept as sets, never as documents. It is a checkpoint, not the truth: it may lag behind the ledger by what was
stored since, and a pass that starts from it looks those places up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

from bson import Int64

from ..uidset import UIDSet
from .placements import Epoch

Document = dict[str, Any]

NONE = UIDSet()
CERTAINLY_LATER = timedelta(days=3)  # in any time zone, by any clock
BELIEVED = timedelta(days=1)  # after so long, a server that lists very many messages no more is believed


@dataclass(frozen=True, slots=True)
class Absent:
    """UIDs that are done and that the server does not list, by how far it is believed that they are gone."""

    missing: UIDSet = NONE  # not listed the last time; believed when they are missing again
    gone: UIDSet = NONE  # believed, and written to their placements
    suspended: UIDSet = NONE  # missing again, but too many at once to be believed before a day is over
    suspended_at: datetime | None = None  # when the last of them were

    @classmethod
    def read(cls, found: Document) -> Self:
        sets = {name: UIDSet.parse(found[name]) for name in ("missing", "gone", "suspended")}
        return cls(**sets, suspended_at=found["suspended_at"])

    @property
    def all(self) -> UIDSet:
        return self.missing | self.gone | self.suspended

    @property
    def document(self) -> Document:
        sets = {name: str(getattr(self, name)) for name in ("missing", "gone", "suspended")}
        return {**sets, "suspended_at": self.suspended_at}


@dataclass(frozen=True, slots=True)
class Doubts:
    """UIDs that are done, and that may stand for another message than the one that is known."""

    compare: UIDSet = NONE  # date and size are to be compared with what is known
    fetch: UIDSet = NONE  # they are not what they were: the bytes are to be fetched again
    fetch_after: datetime | None = None  # not before, since the server would not give some of them

    @classmethod
    def read(cls, found: Document) -> Self:
        return cls(UIDSet.parse(found["compare"]), UIDSet.parse(found["fetch"]), found["fetch_after"])

    @property
    def document(self) -> Document:
        return {"compare": str(self.compare), "fetch": str(self.fetch), "fetch_after": self.fetch_after}

    @property
    def all(self) -> UIDSet:
        return self.compare | self.fetch

    def due(self, now: datetime, count: int) -> UIDSet:
        """What may be fetched again now: the newest, at most *count*."""
        return NONE if self.fetch_after and now < self.fetch_after else self.fetch.last(count)

    def without(self, uids: UIDSet) -> Doubts:
        fetch = self.fetch - uids
        return Doubts(self.compare - uids, fetch, self.fetch_after if fetch else None)

    def compared(self, uids: UIDSet, changed: UIDSet) -> Doubts:
        """The doubts that are left when *uids* were compared, of which *changed* are not what they were."""
        return replace(self, compare=self.compare - uids, fetch=self.fetch | changed)


@dataclass(frozen=True, slots=True)
class Followed:
    """How far flags and labels are followed."""

    modseq: int | None = None  # they are as of this MODSEQ or newer; None: nobody counts
    left: UIDSet = NONE  # to look at in the round that is under way
    target: int | None = None  # the MODSEQ that they are as of when it is over
    at: datetime | None = None  # when the last round began

    @classmethod
    def read(cls, found: Document) -> Self:
        modseq, target = (found[name] if found[name] is None else int(found[name]) for name in ("modseq", "target"))
        return cls(modseq, UIDSet.parse(found["left"]), target, found["at"])

    @property
    def document(self) -> Document:
        return {"modseq": _int64(self.modseq), "left": str(self.left), "target": _int64(self.target), "at": self.at}

    @property
    def since(self) -> int | None:
        """The MODSEQ after which changes are of interest; None when all flags are: a count that fell begins anew."""
        return self.modseq if self.modseq and self.target and self.modseq < self.target else None


@dataclass(frozen=True, slots=True)
class Looked:
    """The mailbox when everything in it was last looked at."""

    uidnext: int
    exists: int
    modseq: int | None
    at: datetime

    @classmethod
    def read(cls, found: Document) -> Self:
        modseq = found["modseq"]
        return cls(int(found["uidnext"]), int(found["exists"]), None if modseq is None else int(modseq), found["at"])

    @property
    def document(self) -> Document:
        numbers = {"uidnext": Int64(self.uidnext), "exists": Int64(self.exists), "modseq": _int64(self.modseq)}
        return {**numbers, "at": self.at}


@dataclass(frozen=True, slots=True)
class Memory:
    """A mailbox as the last pass left it."""

    epoch: Epoch
    baseline: int  # the last UID that was there at first sight; 0 when there was none
    since: datetime | None  # the start of a day in UTC, resolved when the setting was first seen
    settings: str  # `select` and `since` as configured; when they change, what was selected is chosen anew
    met_at: datetime  # when the mailbox was first seen, in its first epoch
    selected: UIDSet = NONE  # chosen, and not finished yet
    formerly: UIDSet = NONE  # chosen under other settings: some may be stored, and not sealed
    done: UIDSet = NONE  # stored or quarantined
    left_out: Mapping[str, UIDSet] = field(default_factory=dict)  # by reason
    visited: int = 0  # the highest UID that was listed when these sets were made; 0: they are still to be made
    absent: Absent = field(default_factory=Absent)
    doubts: Doubts = field(default_factory=Doubts)
    uidnext: int = 0  # as the last pass found it
    followed: Followed = field(default_factory=Followed)
    looked: Looked | None = None  # under the settings of now
    sealed: int = 0  # the account's newest seal at that time
    last_pass: Document | None = None
    first_sight: bool = False  # this epoch was never seen before
    former: Memory | None = None  # at first sight, that of the epoch before, if there was one
    rebound: bool = False  # the account moved to another server since, so the next pass begins a new epoch

    @property
    def select(self) -> str:
        """What was selected by: "unseen", "all", or a search program."""
        return self.settings.rpartition(" since ")[0]

    @property
    def came_since(self) -> datetime:
        """What lies there from then on came after first sight, whatever its UID: numbers may be given again."""
        return self.met_at if self.epoch.number > 1 else self.met_at + CERTAINLY_LATER

    @property
    def expected(self) -> UIDSet:
        """What is done and not known to be gone from the server."""
        return self.done - self.absent.gone

    @property
    def accounted(self) -> UIDSet:
        """What the server lists when nothing has changed."""
        return (self.expected - self.absent.suspended).union(self.left_out.values())

    @property
    def open(self) -> UIDSet:
        """What there is still to do something about."""
        undone = (self.formerly, self.absent.missing, self.doubts.compare, self.doubts.fetch, self.followed.left)
        return self.selected.union(undone)

    def finished(self, uids: UIDSet) -> Memory:
        return replace(self, selected=self.selected - uids, done=self.done | uids)

    def dropped(self, uids: UIDSet) -> Memory:
        return replace(self, selected=self.selected - uids)

    def reopened(self, uids: UIDSet) -> Memory:
        """Have those of *uids* that are done to do again."""
        again = uids & self.done
        return replace(self, selected=self.selected | again, done=self.done - again)

    def under(self, settings: str, since: datetime | None) -> Memory:
        """The same under other *settings*, by which what is not done is to be chosen anew."""
        chosen = replace(self, selected=NONE, formerly=self.selected, left_out={}, visited=0, looked=None)
        return replace(chosen, settings=settings, since=since)

    def afresh(self, uidvalidity: int, uidnext: int) -> Memory:
        """The next epoch of the same mailbox: nothing is known of its UIDs."""
        last = self.epoch
        return Memory(
            epoch=Epoch(last.account, last.mailbox, last.number + 1, uidvalidity),
            baseline=uidnext - 1,
            since=self.since,
            settings=self.settings,
            met_at=self.met_at,
            uidnext=uidnext,
            first_sight=True,
            former=self,
        )

    def new_first(self, uids: UIDSet, limit: int | None) -> UIDSet:
        """Cut *uids* to *limit*: today's mail must not wait for a backlog of a million."""
        if limit is None or len(uids) <= limit:
            return uids
        new = (uids - UIDSet.span(1, self.baseline)).first(limit)
        return new | (uids - new).first(limit - len(new))


def _int64(number: int | None) -> Int64 | None:
    return None if number is None else Int64(number)
