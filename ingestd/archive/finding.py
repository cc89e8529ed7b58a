"""What a check has found to be other than it should be. Finding it changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "not_compared",  # a mail server could not be asked
    # the server and the ledger
    "unaccounted",
    "wrong_set",
    "no_memory",
    "placement_missing",
    "placement_changed",
    # the ledger and the messages
    "message_missing",
    "message_changed",
    "message_unplaced",
    "original_missing",
    "blob_missing",
    # the bytes
    "message_damaged",
    "blob_damaged",
    # the log
    "placement_unsealed",
    "seal_missing",
    "seal_changed",
    "anchor_broken",
    "anchor_unsigned",
]

MANY = ("wrong_set",)  # of which there may be several for one name
NAMED = 1000  # findings of one kind that are kept; the others are counted


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; `docs/operations.md` says for each kind what to do."""

    kind: Kind
    what: str  # its `_id`, or a mailbox
    text: str  # what is wrong with it, for an operator; holds no content and no address

    def __str__(self) -> str:
        return f"{self.what}: {self.text}"


@dataclass(slots=True)
class Findings:
    """A list of findings that does not outgrow memory when everything is wrong."""

    named: list[Finding] = field(default_factory=list)
    counts: Counter[Kind] = field(default_factory=Counter)  # of all of them
    _seen: set[tuple[str, ...]] = field(default_factory=set)  # those that are named

    def add(self, kind: Kind, what: str, text: str) -> None:
        self.extend([Finding(kind, what, text)])

    def extend(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            key = (finding.kind, finding.what, finding.text if finding.kind in MANY else "")
            if key in self._seen:
                continue  # what several checks find out counts once
            self.counts[finding.kind] += 1
            if self.counts[finding.kind] <= NAMED:
                self._seen.add(key)
                self.named.append(finding)

    def merge(self, others: Findings) -> None:
        """Take in what *others* has, with what it has only counted."""
        unnamed = others.counts - Counter(finding.kind for finding in others)
        self.extend(others)
        self.counts.update(unnamed)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.named)

    def __len__(self) -> int:
        return self.counts.total()
