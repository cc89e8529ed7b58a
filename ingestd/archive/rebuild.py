"""Give messages and attachments back, byte for byte, from the database alone."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from pymongo.database import Database

from ..store.blobs import Damaged
from ..store.blobs import read as blob
from ..store.originals import rebuilt as original

__all__ = ["Damaged", "attachment", "blob", "original"]

Document = dict[str, Any]


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


def _slice(database: Database[Document], message: Document, attachment: Document) -> Iterator[bytes]:
    start, end, at = attachment["offset"], attachment["offset"] + attachment["size_bytes"], 0
    for piece in original(database, message):
        if at < end and at + len(piece) > start:
            yield piece[max(start - at, 0) : end - at]
        at += len(piece)
