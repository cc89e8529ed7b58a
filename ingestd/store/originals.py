"""The raw bytes of a message in segments: written once, and renewed only when the message is parsed again.

Who comes later leaves an original as it is, since somebody may rely on it by now: on its way from a pass that died, or
from another writer of the same message in the same moment. It need not be what we would have written, for one parser
may have given up where another did not. But whoever has the message has the bytes of every blob that it relies on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database

from ..message import Span
from . import database as db

Document = dict[str, Any]
Spans = dict[str, Span]  # digest of a blob -> where in the raw message its content lies

LAYOUT = {"raw.size_bytes": 1, "raw.blob": 1, "raw.encoding": 1}


def add(database: Database[Document], originals: Sequence[Document]) -> dict[str, Spans]:
    """Store those of *originals* that are not there; return, by `_id`, what the others that are there rely on."""
    insertions = [UpdateOne(_where(each), {"$setOnInsert": _rest(each)}, upsert=True) for each in originals]
    added = db.upsert(database.originals, insertions)
    there = [original["_id"] for number, original in enumerate(originals) if number not in added]
    if not there:
        return {}
    with db.translated():
        found = database.originals.find({"_id": {"$in": there}}, LAYOUT)
        return {original["_id"]: dict(_spans(original["raw"])) for original in found}


def renew(database: Database[Document], originals: Sequence[Document]) -> None:
    """Replace *originals*, which are there."""
    db.upsert(database.originals, [UpdateOne(_where(original), {"$set": _rest(original)}) for original in originals])


def _where(original: Document) -> Document:
    return {"_id": original["_id"], "account": original["account"]}


def _rest(original: Document) -> Document:
    return {name: value for name, value in original.items() if name not in ("_id", "account")}


def _spans(segments: Sequence[Document]) -> Iterator[tuple[str, Span]]:
    at = 0
    for segment in segments:
        end = at + segment["size_bytes"]
        if "blob" in segment:
            yield segment["blob"], Span(at, end, segment["encoding"])
        at = end
