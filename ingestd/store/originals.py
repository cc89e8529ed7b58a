"""The raw bytes of a message in segments: written once, and renewed only when the message is parsed again.

Who comes later leaves an original as it is, since somebody may rely on it by now: on its way from a pass that died, or
from another writer of the same message in the same moment. It need not be what we would have written, for one parser
may have given up where another did not. But whoever has the message has the bytes of every blob that it relies on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database

from ..message import Span
from ..mime.transfer import encoded
from . import blobs
from . import database as db
from .blobs import Damaged

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


def rebuilt(database: Database[Document], message: Document) -> Iterator[bytes]:
    """Yield the raw message of *message* (its `messages` document, or its `_id` and `sha256`).

    Raises Damaged, at the end, unless SHA-256 of what was yielded is its `sha256`.
    """
    digest = sha256()
    for piece in _segments(database, message["_id"]):
        digest.update(piece)
        yield piece
    if digest.hexdigest() != message["sha256"]:
        raise Damaged(f"message {message['_id']}: its bytes rebuild to another SHA-256, {digest.hexdigest()}")


def proven(database: Database[Document], digests: Mapping[str, str]) -> set[str]:
    """Return which messages, by `_id`, are there and rebuild to their SHA-256 in *digests*. Reads all of them."""
    with db.translated():
        there = [each["_id"] for each in database.messages.find({"_id": {"$in": list(digests)}}, {"_id": 1})]
    return {id_ for id_ in there if _is_whole(database, {"_id": id_, "sha256": digests[id_]})}


def _is_whole(database: Database[Document], message: Document) -> bool:
    try:
        deque(rebuilt(database, message), maxlen=0)  # reads all of it and keeps nothing
    except (Damaged, *db.NONSENSE):
        return False
    return True


def _segments(database: Database[Document], message_id: str) -> Iterator[bytes]:
    with db.translated():
        document = database.originals.find_one({"_id": message_id}, {"raw": 1})
    if document is None:
        raise Damaged(f"message {message_id}: its original is missing")
    for segment in document["raw"]:
        if isinstance(literal := segment.get("literal"), bytes):
            yield literal
        elif segment["encoding"] == "identity":
            yield from blobs.read(database, segment["blob"])
        else:
            line_end = segment["line_end"].encode("ascii")
            yield from encoded(blobs.read(database, segment["blob"]), segment["line_length"], line_end)


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
