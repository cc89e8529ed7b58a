"""What MongoDB would need for many messages, by the size of those that were measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.tables import table

MESSAGES = 100_000_000
# Where the next key goes anywhere, since it is a digest or a name: all of such an index has to be in memory, or each
# message waits for the disk. Of the others the newest end is enough.
ANYWHERE: Mapping[str, frozenset[str]] = {
    "messages": frozenset({"_id_", "thread_id_date", "message_id", "attachments_sha256", "blobs"})
    | {"from_address_date", "from_domain_date", "recipients_date"},
    "originals": frozenset({"_id_"}),
    "placements": frozenset({"message", "account_digest"}),
    "blobs.files": frozenset({"_id_"}),
    "blobs.chunks": frozenset({"_id_", "files_id_n"}),
}


@dataclass(frozen=True, slots=True)
class Collection:
    """Of one message: documents, bytes, and bytes of keys, with those of them that go anywhere."""

    name: str
    documents: float
    data: float
    keys: float
    anywhere: float
    pages: float  # of indexes that one message changes anywhere


def collections(stored: Mapping[str, Any], messages: int) -> Iterator[Collection]:
    """Take apart what `bench.sizes` found of so many *messages*."""
    for name, found in stored.items():
        anywhere = [index for each, index in found["indexes"].items() if each in ANYWHERE.get(name, ())]
        yield Collection(
            name,
            found["documents"] / messages,
            found["bytes"] / messages,
            sum(index["bytes"] for index in found["indexes"].values()) / messages,
            sum(index["bytes"] for index in anywhere) / messages,
            sum(index["keys"] for index in anywhere) / messages,
        )


def estimate(stored: Mapping[str, Any], messages: int) -> str:
    """Collection by collection, what one message takes and what so many would."""
    found = list(collections(stored, messages))
    heads = ("collection", "documents of a message", "their bytes", "bytes of keys", f"{MESSAGES:,}: data", "keys")
    rows = [_row(each.name, f"{each.documents:.2f}", each.data, each.keys) for each in found]
    total = _row("all", "", sum(each.data for each in found), sum(each.keys for each in found))
    return table((*heads, "of them where keys go anywhere"), [*_with(rows, found), [*total, _large(_anywhere(found))]])


def in_memory(stored: Mapping[str, Any], messages: int) -> tuple[str, float]:
    """What has to be in memory for all keys of so many to be found there; and how many pages a message changes."""
    found = list(collections(stored, messages))
    return _large(_anywhere(found)), sum(each.pages for each in found)


def _with(rows: list[list[str]], found: list[Collection]) -> Iterator[list[str]]:
    for row, each in zip(rows, found, strict=True):
        yield [*row, _large(each.anywhere)]


def _anywhere(found: list[Collection]) -> float:
    return sum(each.anywhere for each in found)


def _row(name: str, documents: str, data: float, keys: float) -> list[str]:
    return [name, documents, f"{data:,.0f}", f"{keys:,.0f}", _large(data), _large(keys)]


def _large(of_one: float) -> str:
    size = of_one * MESSAGES
    return f"{size / 1e12:.1f} TB" if size >= 1e12 else f"{size / 1e9:.1f} GB"
