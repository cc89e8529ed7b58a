"""A set of UIDs as IMAP writes it: `1:5,9,12:400` (RFC 9051, section 9, sequence-set, without `*`).

Kept as sorted ranges, so a mailbox of a million messages is usually a handful of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class UIDSet:
    """An immutable set of UIDs. Build it with `of` or `parse`, not from unsorted ranges."""

    ranges: tuple[Range, ...] = ()

    @classmethod
    def of(cls, uids: Iterable[int]) -> UIDSet:
        return cls(_joined(sorted(_runs(uids))))

    @classmethod
    def span(cls, first: int, last: int) -> UIDSet:
        """All of *first* to *last*; empty when *last* lies before *first*."""
        return cls(((first, last),)) if first <= last else cls()

    @classmethod
    def parse(cls, text: str) -> UIDSet:
        """Read a sequence-set; raise ValueError for anything else. The ends of a range may come in either order."""
        ends = (part.partition(":")[::2] for part in text.split(",") if part)
        pairs = ((int(a), int(b or a)) for a, b in ends)
        return cls(_joined(sorted((min(pair), max(pair)) for pair in pairs)))

    def __str__(self) -> str:
        return ",".join(str(a) if a == b else f"{a}:{b}" for a, b in self.ranges)

    def __len__(self) -> int:
        return sum(b - a + 1 for a, b in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __iter__(self) -> Iterator[int]:
        for a, b in self.ranges:
            yield from range(a, b + 1)

    def __contains__(self, uid: int) -> bool:
        return bool(self & UIDSet.span(uid, uid))

    def __or__(self, other: UIDSet) -> UIDSet:
        return UIDSet(_joined(sorted(self.ranges + other.ranges)))

    def __and__(self, other: UIDSet) -> UIDSet:
        return UIDSet(tuple(_common(self.ranges, other.ranges)))

    def __sub__(self, other: UIDSet) -> UIDSet:
        return UIDSet(tuple(_without(self.ranges, other.ranges)))

    def union(self, others: Iterable[UIDSet]) -> UIDSet:
        """What is in this set or in any of *others*."""
        return UIDSet(_joined(sorted(chain(self.ranges, *(other.ranges for other in others)))))

    @property
    def highest(self) -> int:
        """The highest UID; 0 when there is none."""
        return self.ranges[-1][1] if self.ranges else 0

    def first(self, count: int) -> UIDSet:
        """The *count* lowest UIDs."""
        return UIDSet.of(islice(self, count))

    def last(self, count: int) -> UIDSet:
        """The *count* highest UIDs."""
        taken: list[Range] = []
        for a, b in reversed(self.ranges):
            if count <= 0:
                break
            taken.append((max(a, b - count + 1), b))
            count -= b - taken[-1][0] + 1
        return UIDSet(tuple(reversed(taken)))

    def spread(self, count: int) -> UIDSet:
        """At most *count* of the UIDs, at least two: the lowest, the highest, and others evenly between them."""
        size = len(self)
        if size <= count:
            return self
        return UIDSet.of(self._at(number * (size - 1) // (count - 1)) for number in range(count))

    def chunks(self, count: int, length: int = 8000) -> Iterator[UIDSet]:
        """Split into sets of at most *count* UIDs whose text is at most about *length* bytes, lowest first.

        RFC 2683 asks clients to keep command lines under 8,000 bytes; Dovecot refuses one over 64 KiB.
        """
        taken: list[Range] = []
        held = written = 0
        for a, b in self.ranges:
            while a <= b:
                if taken and (held >= count or written + 22 > length):
                    yield UIDSet(tuple(taken))
                    taken, held, written = [], 0, 0
                last = min(b, a + count - held - 1)
                taken.append((a, last))
                held += last - a + 1
                written += 22  # two numbers of 32 bits, a colon and a comma
                a = last + 1
        if taken:
            yield UIDSet(tuple(taken))

    def _at(self, number: int) -> int:
        """The UID before which there are *number* others."""
        for a, b in self.ranges:
            if number <= b - a:
                return a + number
            number -= b - a + 1
        raise IndexError(number)


def _runs(uids: Iterable[int]) -> Iterator[Range]:
    """Ranges of what follows one another in *uids*: of millions that come in order, that leaves few."""
    first = last = None
    for uid in uids:
        if first is None or last is None:
            first = uid
        elif uid != last + 1:
            yield first, last
            first = uid
        last = uid
    if first is not None and last is not None:
        yield first, last


def _joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    joined: list[Range] = []
    for a, b in ranges:
        if joined and a <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(b, joined[-1][1]))
        else:
            joined.append((a, b))
    return tuple(joined)


def _common(left: tuple[Range, ...], right: tuple[Range, ...]) -> Iterator[Range]:
    i = j = 0
    while i < len(left) and j < len(right):
        first, last = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if first <= last:
            yield first, last
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1


def _without(left: tuple[Range, ...], right: tuple[Range, ...]) -> Iterator[Range]:
    j = 0
    for a, b in left:
        while j < len(right) and right[j][1] < a:
            j += 1
        k = j
        while k < len(right) and right[k][0] <= b:
            if a < right[k][0]:
                yield a, right[k][0] - 1
            a = right[k][1] + 1
            k += 1
        if a <= b:
            yield a, b
