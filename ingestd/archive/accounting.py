"""Account for every UID of a mailbox: what the server lists is stored, left out for a reason, set aside, or to come.

The server is asked first, then what is remembered of the mailbox, then the ledger. A pass writes the other way round,
the ledger first. So what is stored while we look is found stored, and nothing that is only on its way is called
unaccounted for. Changes nothing, neither here nor there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pymongo.database import Database

from ..candidates import day_before
from ..message import Metadata, Numbers
from ..store.memory import NONE, Memory
from ..uidset import UIDSet
from . import places
from .finding import Finding
from .places import Key, Places

Document = dict[str, Any]

EVERY_UID = UIDSet.span(1, 2**32 - 1)
NAMED = 1000  # placements of one mailbox that are named one by one
SHOWN = 200  # characters of a set that are shown; all of it is in `parts`
# Search keys that may find others today than they did, so that nothing follows from it (RFC 9051, 6.4.4; RFC 5032).
CHANGEABLE = re.compile(
    r"\b((UN)?(ANSWERED|DELETED|DRAFT|FLAGGED|KEYWORD|SEEN)|NEW|OLD|RECENT|OLDER|YOUNGER|MODSEQ|ANNOTATION)\b|X-GM-",
    re.I,
)


class Listed(Protocol):
    """A mailbox on its server, open to be read."""

    @property
    def numbers(self) -> Numbers:
        """What it said about itself when it was opened."""

    def listed(self) -> UIDSet:
        """Return all UIDs."""

    def search(self, program: str, within: UIDSet | None = None) -> UIDSet:
        """Return the UIDs that match *program*."""

    def look(self, uids: UIDSet) -> Mapping[int, Metadata]:
        """Return what it says about each of *uids*, without those that it says nothing about."""


@dataclass(frozen=True, slots=True)
class Server:
    """The server's side of a mailbox."""

    listed: Listed | None  # None: there is no such mailbox any more
    served: bool = True  # whether passes are made over it


@dataclass(frozen=True, slots=True)
class Accounting:
    """Where the UIDs of a mailbox are. `parts` have no UID in common, and `total` is their sum."""

    account: str
    mailbox: str
    asked: bool  # whether `parts` are what the server lists; else they are what the ledger has
    parts: Mapping[str, UIDSet]
    kept: UIDSet  # not on the server any more, and stored
    lost: UIDSet  # gone before they could be stored
    earlier_kept: int  # stored places of earlier epochs, whose UIDs mean nothing now
    earlier_open: int  # other places of earlier epochs: what is still there has another UID
    maildrop: Mapping[str, int]  # places in a POP3 maildrop, by state
    next_try: datetime | None
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def total(self) -> int:
        return sum(map(len, self.parts.values()))


def account_for(database: Database[Document], account: str, mailbox: str, server: Server | None = None) -> Accounting:
    """Account for the UIDs of *mailbox*; without *server*, for those that the ledger has."""
    listed = server.listed if server else None
    present = listed.listed() if listed else NONE
    memory, forgotten = _remembered(database, account, mailbox)
    ledger = places.ledger(database, account, mailbox)
    look = _Look.of(server, present, memory, ledger.epochs)
    wrong = [(uids, why) for uids, why in look.wrong() if uids]
    parts = look.parts(NONE.union(uids for uids, _ in wrong))
    gone = look.gone(parts)
    earlier = [each for each in ledger.epochs.values() if each is not look.places]
    return Accounting(
        account=account,
        mailbox=mailbox,
        asked=server is not None,
        parts=parts,
        kept=gone & look.places["stored"],
        lost=gone - look.places["stored"],
        earlier_kept=sum(len(each["stored"]) for each in earlier),
        earlier_open=sum(len(each.all - each["stored"]) for each in earlier),
        maildrop=ledger.maildrop,
        next_try=look.places.next_try,
        notes=tuple(_notes(server, present, memory)),
        findings=(
            *(Finding("placement_changed", id_, "what it says contradicts its _id") for id_ in ledger.contradictory),
            *([Finding("no_memory", f"{account}/{mailbox}", forgotten)] if forgotten and ledger.any else []),
            *_findings(f"{account}/{mailbox}", look, wrong, parts),
        ),
    )


# --- what follows from it


@dataclass(frozen=True, slots=True)
class _Look:
    """All sides of a mailbox as they were found. `memory` and `places` are of the epoch that the server is in."""

    server: Server | None
    present: UIDSet
    memory: Memory | None
    places: Places

    @classmethod
    def of(cls, server: Server | None, present: UIDSet, memory: Memory | None, epochs: Mapping[Key, Places]) -> _Look:
        listed = server.listed if server else None
        if memory is None or _another(memory, listed):
            return cls(server, present, None, Places())
        return cls(server, present, memory, epochs.get((memory.epoch.number, memory.epoch.uidvalidity), Places()))

    def parts(self, wrong: UIDSet) -> dict[str, UIDSet]:
        """Sort the UIDs out, each to the first part that has it."""
        memory, places = self.memory, self.places
        rest = self.present if self.server else self._in_the_ledger()
        claims: list[tuple[str, UIDSet]] = [
            ("stored", places["stored"]),
            ("quarantined", places["quarantined"]),
            ("waiting", places["fetching"]),
            ("missing", self.missing),
            ("wrong", wrong),
            ("chosen", memory.selected if memory else NONE),
            ("listed_again", places["vanished"]),
            *(memory.left_out.items() if memory else ()),
            ("not_visited", EVERY_UID - UIDSet.span(1, self._visited)),
            ("unaccounted", EVERY_UID),
        ]
        parts: dict[str, UIDSet] = {}
        for name, claimed in claims:
            parts[name], rest = parts.get(name, NONE) | (rest & claimed), rest - claimed
        if self.server and not self.server.served:
            parts["not_served"] = NONE.union(parts.pop(name) for name in ("waiting", "chosen", "not_visited"))
        return {name: uids for name, uids in parts.items() if uids}

    @property
    def _visited(self) -> int:
        """Up to here, a UID that is in no set was overlooked."""
        listed = self.server.listed if self.server else None
        if self.memory is None or (listed and listed.numbers.uidnext < self.memory.uidnext):
            return 0  # a mailbox that was restored gives numbers again that were never listed
        return self.memory.visited

    def gone(self, parts: Mapping[str, UIDSet]) -> UIDSet:
        """What the ledger has or wanted, and is not there. What came while we looked is not said to be gone."""
        memory, listed = self.memory, self.server.listed if self.server else None
        wanted = self.places.all | (memory.selected if memory else NONE)
        seen = UIDSet.span(1, max(self.present.highest, listed.numbers.uidnext - 1)) if listed else EVERY_UID
        return (wanted & seen) - NONE.union(parts.values())

    @property
    def missing(self) -> UIDSet:
        """What is said to be done, and has no placement: one is written first, and never removed."""
        return self.memory.done - self.places.all if self.memory else NONE

    def wrong(self) -> Iterator[tuple[UIDSet, str]]:
        """Yield UIDs that are in a set they cannot be in, and why not."""
        memory, places = self.memory, self.places
        if memory is None:
            return
        done = memory.done & self.present if self.server else memory.done
        yield done & places["vanished"], "said to be done, but its placement says that it vanished"
        settled = places.all | memory.selected
        for reason, uids in memory.left_out.items():
            uids = (uids & self.present if self.server else uids) - settled
            yield from self._wrongly_left_out(memory, reason, uids)

    def _wrongly_left_out(self, memory: Memory, reason: str, uids: UIDSet) -> Iterator[tuple[UIDSet, str]]:
        select, listed = memory.select, self.server.listed if self.server else None
        program = select not in ("unseen", "all")
        if reason == "seen_at_baseline" and select == "unseen":
            yield uids - UIDSet.span(1, memory.baseline), f"{reason}, but it came after UID {memory.baseline}"
        elif reason == "older_than_since" and memory.since:
            yield self._not_older(memory.since, uids), f"{reason}, but its INTERNALDATE is not"
        elif reason == "not_in_program" and program:
            if listed and uids and not CHANGEABLE.search(select):
                yield uids & listed.search(select), f"{reason}, but the program finds it"
        else:
            yield uids, f"{reason}, which nothing asks for"

    def _not_older(self, since: datetime, uids: UIDSet) -> UIDSet:
        listed = self.server.listed if self.server else None
        if listed is None or not uids:
            return NONE
        said = listed.look(uids & listed.search(day_before(since)))
        return UIDSet.of(uid for uid, each in said.items() if each.internal_date and each.internal_date >= since)

    def _in_the_ledger(self) -> UIDSet:
        known = self.places.all - self.places["vanished"]
        if self.memory:
            known = known.union((self.memory.selected, self.memory.done, *self.memory.left_out.values()))
        return known


# --- in words


def _findings(
    name: str, look: _Look, wrong: Sequence[tuple[UIDSet, str]], parts: Mapping[str, UIDSet]
) -> Iterator[Finding]:
    for uids, why in wrong:
        yield Finding("wrong_set", name, f"UID {_brief(uids)}: {why}")
    if unknown := parts.get("unaccounted"):
        yield Finding("unaccounted", name, f"UID {_brief(unknown)}: on the server, and nothing is known of it")
    if look.memory:
        for uid in look.missing.first(NAMED):
            yield Finding("placement_missing", look.memory.epoch.place(uid).id, "said to be done, but it is not there")
        if (more := len(look.missing) - NAMED) > 0:
            yield Finding("placement_missing", name, f"{more:,} more are said to be done, but are not there")


def _remembered(database: Database[Document], account: str, mailbox: str) -> tuple[Memory | None, str]:
    """What is remembered of a mailbox; or, if nothing is, what to say of it should anything be stored from there."""
    try:
        found = places.memory(database, account, mailbox)
    except places.Unreadable:
        return None, "what is remembered of it cannot be read, so no pass can be made; remove it, and it is seen anew"
    missing = "what is remembered of it is missing, so the next pass takes it for one that was never seen"
    return found, "" if found else missing


def _notes(server: Server | None, present: UIDSet, memory: Memory | None) -> Iterator[str]:
    if server is None:
        return
    if server.listed is None:
        yield "not on the server any more"
        return
    if memory and _another(memory, server.listed):
        yield f"its UIDs have lost their meaning (UIDVALIDITY): the next pass begins epoch {memory.epoch.number + 1}"
    elif memory and memory.doubts.all:
        yield f"{len(memory.doubts.all):,} may stand for other messages than they did: the next passes compare them"
    if len(present) < server.listed.numbers.exists:
        yield f"the server lists {len(present):,} of the {server.listed.numbers.exists:,} messages it says it has"
    if not server.served:
        yield "not among account.mailboxes any more, so nothing new is taken in"


def _another(memory: Memory, listed: Listed | None) -> bool:
    """Whether UIDs mean something else now than in the epoch of *memory*."""
    return listed is not None and (memory.rebound or memory.epoch.uidvalidity != listed.numbers.uidvalidity)


def _brief(uids: UIDSet) -> str:
    text = str(uids)
    return text if len(text) <= SHOWN else f"{text[:SHOWN].rpartition(',')[0]} and more, {len(uids):,} in all"
