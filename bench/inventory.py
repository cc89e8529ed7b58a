"""What lies on the mail server, and what a program has made of it, held against each other when its time is over."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pymongo.database import Database

from ingestd.store.originals import rebuilt

Document = dict[str, Any]
By = Literal["SHA-256", "Message-ID"]

MESSAGE_ID = re.compile(rb"(?mi)^Message-ID: <([^>]*)>")
TUID = re.compile(rb"(?m)^X-TUID: .*\n")  # mbsync's own, until the next run
REBUILT = 50  # messages of each run, spread evenly


@dataclass(frozen=True, slots=True)
class Inventory:
    """Messages, by a name that each of them has."""

    digests: Counter[str] = field(default_factory=Counter)
    message_ids: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)

    @property
    def size_bytes(self) -> int:
        return sum(size * count for size, count in self.sizes.items())

    def noting(self, messages: Iterable[bytes]) -> Iterator[bytes]:
        """Yield *messages*, and take them down."""
        for content in messages:
            self.digests[sha256(content).hexdigest()] += 1
            self.message_ids[_message_id(content)] += 1
            self.sizes[len(content)] += 1
            yield content

    def named(self, by: By) -> Counter[str]:
        return self.digests if by == "SHA-256" else self.message_ids


@dataclass(frozen=True, slots=True)
class Kept:
    """What a program has kept."""

    by: By
    names: Counter[str]

    def wrong(self, there: Inventory) -> str | None:
        """Say what is missing or too much of what was *there*, if anything."""
        wanted = there.named(self.by)
        missing, more = (wanted - self.names).total(), (self.names - wanted).total()
        return f"by {self.by}, {missing} are missing and {more} too many" if missing or more else None


def in_database(database: Database[Document]) -> Kept:
    """By the digests in the ledger; some messages are rebuilt. Raises Damaged when one is not what it was."""
    places = list(database.placements.find({"state": "stored"}, {"digest": 1, "message": 1}))
    digests = {each["_id"]: each["sha256"] for each in database.messages.find({}, {"sha256": 1})}
    for place in places[:: max(len(places) // REBUILT, 1)]:
        for _ in rebuilt(database, {"_id": place["message"], "sha256": place["digest"]}):
            pass
    return Kept("SHA-256", Counter(each["digest"] for each in places if digests.get(each["message"]) == each["digest"]))


def in_maildir(path: Path) -> Kept:
    """Lines end there as Unix ends them, and mbsync has put in one of its own."""
    files = (file for folder in ("new", "cur") for file in (path / folder).iterdir())
    contents = (TUID.sub(b"", file.read_bytes(), count=1).replace(b"\n", b"\r\n") for file in files)
    return Kept("SHA-256", Counter(sha256(content).hexdigest() for content in contents))


def in_lines(path: Path) -> Kept:
    """What was parsed away cannot be had back, so by the header that names a message."""
    with path.open("rb") as lines:
        named = (str(json.loads(line)["headers"].get("message-id", "")) for line in lines)
        return Kept("Message-ID", Counter(each.strip("<>") for each in named))


def _message_id(content: bytes) -> str:
    found = MESSAGE_ID.search(content)
    return found[1].decode() if found else ""
