"""The log of an account, seal by seal: numbered without a gap, each bound to the one before by its hash.

What is wrong is named; from there it is followed on, so that one changed seal does not make all later ones suspect.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ..store import seals
from ..store.database import NONSENSE
from .anchors import Anchor
from .finding import Findings, Kind

Document = dict[str, Any]


class Chain:
    """Follows a log from its first seal on, and holds it against *anchors* that were taken of it."""

    def __init__(self, account: str, anchors: Iterable[Anchor] = ()) -> None:
        self.account = account
        self.findings = Findings()
        self.seals = self.places = self.number = 0  # entries, what they name, and the number of the last
        self.sealed_at: datetime | None = None
        self.hash: str | None = None
        self._token = 0
        self._anchors: defaultdict[int, list[Anchor]] = defaultdict(list)
        for anchor in anchors:
            self._anchors[anchor.seal].append(anchor)

    def follow(self, seal: Document) -> bool:
        """Take the next entry; return whether it can be believed."""
        before, expected = len(self.findings), self.number + 1
        number = _number(seal["_id"], self.account)
        if number is None or number < expected:
            self._found("seal_changed", seal["_id"], "it is no seal of this log")
            return False
        self.seals += 1
        self.places += len(named(seal))
        if number > expected:
            self._missing(expected, number - 1)
        elif seal.get("previous") != self.hash:
            self._found("seal_changed", seal["_id"], "it does not follow the one before: one of the two was changed")
        self._itself(seal, number)
        self._hold(seal, number)
        self.number, self.hash, self.sealed_at = number, seal.get("hash"), seal.get("sealed_at")
        return len(self.findings) == before

    def end(self) -> None:
        """The last entry was taken: what anchors name beyond it is missing."""
        for number in sorted(self._anchors):
            for anchor in self._anchors[number]:
                text = f"{anchor} names it, but the log ends at {self.number:,}: its end was cut off"
                self._found("anchor_broken", seals.id_of(self.account, number), text)

    def _missing(self, first: int, last: int) -> None:
        more = f", and so are those up to {last:,}" if last > first else ""
        self._found("seal_missing", seals.id_of(self.account, first), f"it is missing{more}")
        for number in sorted(number for number in self._anchors if first <= number <= last):
            for anchor in self._anchors.pop(number):
                self._found("anchor_broken", seals.id_of(self.account, number), f"{anchor} names it, and it is missing")

    def _itself(self, seal: Document, number: int) -> None:
        """Whether an entry says what it did when it was written, and as who may write."""
        if (seal.get("account"), seal.get("n")) != (self.account, number) or _chained(seal) != seal.get("hash"):
            self._found("seal_changed", seal["_id"], "what it says does not give its hash")
        token = seal.get("token")
        if not isinstance(token, int) or token < self._token:
            self._found("seal_changed", seal["_id"], "its token is lower than the one before")
        else:
            self._token = token

    def _hold(self, seal: Document, number: int) -> None:
        for anchor in self._anchors.pop(number, ()):
            if seal.get("hash") != anchor.hash:
                self._found("anchor_broken", seal["_id"], f"{anchor} has another hash: the log was written anew")

    def _found(self, kind: Kind, what: str, text: str) -> None:
        self.findings.add(kind, what, text)


def named(seal: Document) -> list[Document]:
    """The places that *seal* names, as far as it makes sense."""
    places = seal.get("places")
    every = places if isinstance(places, list) else []
    return [place for place in every if isinstance(place, dict) and isinstance(place.get("_id"), str)]


def _number(id_: str, account: str) -> int | None:
    digits = id_.removeprefix(f"{account}/")
    number = int(digits) if digits.isdecimal() and digits.isascii() and len(digits) < 20 else 0
    return number if number and id_ == seals.id_of(account, number) else None


def _chained(seal: Document) -> str | None:
    try:
        return seals.chained(seal)
    except NONSENSE:
        return None
