"""A set of places that takes hardly any room, however many there are."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from ..uidset import UIDSet

SETTLE = 10_000  # UIDs of one mailbox held one by one

_UID = re.compile(r"0|[1-9][0-9]{0,9}")


class PlaceSet:
    """Places by their `_id`s. Of those that have a UID, only ranges are held."""

    def __init__(self) -> None:
        self._ranges: defaultdict[str, UIDSet] = defaultdict(UIDSet)
        self._loose: defaultdict[str, list[int]] = defaultdict(list)
        self._others: set[str] = set()  # places without UIDs

    def add(self, id_: str) -> None:
        prefix, mark, number = id_.rpartition(";UID=")
        if not (mark and _UID.fullmatch(number)):
            self._others.add(id_)
            return
        self._loose[prefix].append(int(number))
        if len(self._loose[prefix]) >= SETTLE:
            self._settle(prefix)

    def add_all(self, id_: str, uids: UIDSet) -> None:
        """Add *uids* of the mailbox in which *id_* lies."""
        self._ranges[id_.rpartition(";UID=")[0]] |= uids

    def without(self, other: PlaceSet) -> PlaceSet:
        left = PlaceSet()
        left._others = self._others - other._others
        for prefix in self.prefixes:
            if uids := self.uids(prefix) - other.uids(prefix):
                left._ranges[prefix] = uids
        return left

    @property
    def prefixes(self) -> list[str]:
        return sorted({*self._ranges, *self._loose})

    def uids(self, prefix: str) -> UIDSet:
        self._settle(prefix)
        return self._ranges.get(prefix, UIDSet())

    def __len__(self) -> int:
        return len(self._others) + sum(len(self.uids(prefix)) for prefix in self.prefixes)

    def __iter__(self) -> Iterator[str]:
        for prefix in self.prefixes:
            yield from (f"{prefix};UID={uid}" for uid in self.uids(prefix))
        yield from sorted(self._others)

    def __contains__(self, id_: str) -> bool:
        prefix, mark, number = id_.rpartition(";UID=")
        return id_ in self._others or bool(mark and _UID.fullmatch(number) and int(number) in self.uids(prefix))

    def _settle(self, prefix: str) -> None:
        if loose := self._loose.pop(prefix, None):
            self._ranges[prefix] |= UIDSet.of(loose)
