"""Anchors: what the log of an account ended with at some time, kept where the database's writers cannot reach.

Whoever can write to the database can cut the end off a log, or write all of it anew. An anchor tells: the seal that it
names must still be there, with the same hash. In a file an anchor is a line of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import Refused

Document = dict[str, Any]

AT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Anchor:
    """The last seal of an account at a time."""

    account: str
    seal: int
    hash: str
    places: int  # that the log named until then, as often as it did
    at: datetime

    def __str__(self) -> str:
        return f"the anchor of {self.at:%Y-%m-%d %H:%M} UTC"

    @property
    def data(self) -> Document:
        return {**asdict(self), "at": self.at.strftime(AT)}

    @property
    def line(self) -> str:
        return json.dumps(self.data)


def read(content: bytes, where: Path) -> Iterator[Anchor]:
    """Yield the anchors in *content*, which was read from *where*; raise Refused for anything else."""
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            try:
                yield _anchor(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise Refused(
                    f"{where}, line {number}: not an anchor; name a file that `ingestd anchor` wrote"
                ) from error


def _anchor(found: Document) -> Anchor:
    at = datetime.strptime(found["at"], AT).replace(tzinfo=UTC)
    return Anchor(str(found["account"]), int(found["seal"]), str(found["hash"]), int(found["places"]), at)
