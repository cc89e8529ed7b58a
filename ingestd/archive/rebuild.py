"""Give messages and attachments back, byte for byte, from the database alone."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from pymongo.database import Database

from ..errors import IngestError
from ..mime.transfer import encoded
from ..store.database import translated

Document = dict[str, Any]

CHUNKS_AHEAD = 16  # chunks of a blob asked for at a time: 4 MiB


class Damaged(IngestError):
    """The store does not hold what it should: a piece is missing, or the digest is another."""


def original(database: Database[Document], message: Document) -> Iterator[bytes]:
    """Yield the raw message of *message* (its `messages` document, or its `_id` and `sha256`).

    Raises Damaged, at the end, unless SHA-256 of what was yielded is its `sha256`.
    """
    digest = sha256()
    for piece in _segments(database, message["_id"]):
        digest.update(piece)
        yield piece
    if digest.hexdigest() != message["sha256"]:
        raise Damaged(f"message {message['_id']}: its bytes rebuild to another SHA-256, {digest.hexdigest()}")


def attachment(database: Database[Document], message: Document, attachment: Document) -> Iterator[bytes]:
    """Yield the decoded content of *attachment*, one of `attachments` of *message*; raise Damaged if it is not."""
    start = attachment["offset"]
    pieces = blob(database, attachment["sha256"]) if start is None else _slice(database, message, attachment)
    digest = sha256()
    for piece in pieces:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != attachment["sha256"]:
        raise Damaged(f"message {message['_id']}: attachment {attachment['part']} has another SHA-256")


def blob(database: Database[Document], digest: str) -> Iterator[bytes]:
    """Yield the content of the blob named *digest*, a chunk at a time; raise Damaged when a chunk is missing."""
    with translated():
        file = database["blobs.files"].find_one({"_id": digest})
        if file is None:
            raise Damaged(f"blob {digest} is missing")
        found = 0
        chunks = database["blobs.chunks"].find({"files_id": digest}, {"n": 1, "data": 1}, batch_size=CHUNKS_AHEAD)
        for number, chunk in enumerate(chunks.sort("n", 1)):
            if chunk["n"] != number:
                raise Damaged(f"blob {digest}: chunk {number} is missing")
            found += len(chunk["data"])
            yield bytes(chunk["data"])
    if found != file["length"]:
        raise Damaged(f"blob {digest}: {found:,} of {file['length']:,} bytes are there")


def _segments(database: Database[Document], message_id: str) -> Iterator[bytes]:
    with translated():
        document = database.originals.find_one({"_id": message_id}, {"raw": 1})
    if document is None:
        raise Damaged(f"message {message_id}: its original is missing")
    for segment in document["raw"]:
        if "literal" in segment:
            yield bytes(segment["literal"])
        elif segment["encoding"] == "identity":
            yield from blob(database, segment["blob"])
        else:
            line_end = segment["line_end"].encode("ascii")
            yield from encoded(blob(database, segment["blob"]), segment["line_length"], line_end)


def _slice(database: Database[Document], message: Document, attachment: Document) -> Iterator[bytes]:
    start, end, at = attachment["offset"], attachment["offset"] + attachment["size_bytes"], 0
    for piece in original(database, message):
        if at < end and at + len(piece) > start:
            yield piece[max(start - at, 0) : end - at]
        at += len(piece)
