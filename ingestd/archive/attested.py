"""Whether the log and the ledger say the same: every stored place is named by a seal, with its digest and size.

A place may be named again, with another digest, when another message was found there: then the last seal counts.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from ..store.database import translated
from . import places
from .chain import named
from .finding import Finding, Findings
from .placeset import PlaceSet

Document = dict[str, Any]

FACTS = dict.fromkeys(("account", "state", "message", "digest", "size_bytes", "history.digest"), 1)


class Attested:
    """Compares the placements of an account with what seals say of them."""

    def __init__(self, database: Database[Document], account: str) -> None:
        self._database, self._account = database, account
        self.named = PlaceSet()
        self._doubts: dict[str, _Doubt] = {}  # by place; a later seal may settle one

    def compare(self, seal: Document, *, believed: bool) -> None:
        """Look at the places that *seal* names. One that was changed says nothing about them but that it named them."""
        if seal.get("kind") != "stored":
            return
        facts = {place["_id"]: place for place in named(seal)}
        with translated():
            found = {each["_id"]: each for each in self._database.placements.find({"_id": {"$in": list(facts)}}, FACTS)}
        for id_, said in facts.items():
            self.named.add(id_)
            if doubt := _compared(self._account, seal["_id"], said, found.get(id_)) if believed else None:
                self._doubts[id_] = doubt
            else:
                self._doubts.pop(id_, None)

    def stored(self) -> PlaceSet:
        """All places of the account that are stored now."""
        there = PlaceSet()
        with translated():
            for found in self._database.placements.find({"account": self._account, "state": "stored"}, {"_id": 1}):
                there.add(found["_id"])
        return there

    def pending(self) -> PlaceSet:
        """The places that a pass has under way: what it stores there is sealed by it, or by the next one."""
        under_way = PlaceSet()
        for name in places.mailboxes(self._database, self._account):
            with suppress(places.Unreadable):
                if memory := places.memory(self._database, self._account, name):
                    under_way.add_all(memory.epoch.place(0).id, memory.selected | memory.doubts.fetch)
        return under_way

    def findings(self, unsealed: PlaceSet, pending: PlaceSet) -> Findings:
        """What is wrong, when *unsealed* are stored and named by no seal. What is *pending* may still be sealed."""
        found = Findings()
        found.extend(doubt.finding for id_, doubt in self._doubts.items() if not (doubt.replaced and id_ in pending))
        for place in unsealed.without(pending):
            found.add(
                "placement_unsealed", place, "no seal names it: it was put in by someone else, or its seal is gone"
            )
        return found


@dataclass(frozen=True, slots=True)
class _Doubt:
    finding: Finding
    replaced: bool  # another message was found there, as the history says: the seal that says so may be on its way


def _compared(account: str, seal: str, said: Document, found: Document | None) -> _Doubt | None:
    """How a placement differs from what *seal* has *said* of it, if it does."""
    place, digest = said["_id"], said.get("digest")
    if found is None:
        return _Doubt(Finding("placement_missing", place, f"seal {seal} names it, and it is not there"), False)
    facts = (account, "stored", f"{account}:{digest}", digest, said.get("size_bytes"))
    if tuple(found.get(name) for name in ("account", "state", "message", "digest", "size_bytes")) == facts:
        return None
    replaced = any(event.get("digest") == digest for event in found.get("history", ()))
    text = f"its state, message, digest or size is not what seal {seal} says"
    return _Doubt(Finding("placement_changed", place, text), replaced)
