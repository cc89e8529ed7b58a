"""Content that is stored once per database: a GridFS bucket named `blobs`, whose `_id`s are SHA-256 digests.

Any driver's GridFS reads it. Chunks are written before the file document, so a file that can be found is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from bson import Binary, Int64
from pymongo import UpdateOne
from pymongo.database import Database

from ..errors import StoreUnavailable
from ..steps import step
from . import database as db

CHUNK_SIZE = 261_120  # for ever: a chunk's number says which bytes it holds
INSERT_BYTES = 4 << 20  # chunks sent in one command
ROUNDS = 3  # times a blob is uploaded again because the sweeper was about to delete it

Contents = Mapping[str, Iterable[bytes]]  # digest -> its bytes; iterating starts anew each time
Needed = Mapping[str, Iterable[bytes] | None]  # the same; None where the bytes are not at hand
Document = dict[str, Any]


def present(database: Database[Document], digests: Iterable[str]) -> set[str]:
    """Return which of *digests* are stored, whole, and not about to be swept."""
    wanted = list(digests)
    if not wanted:
        return set()
    with db.translated():
        found = database["blobs.files"].find({"_id": {"$in": wanted}, "dying": {"$exists": False}}, {"_id": 1})
        return {document["_id"] for document in found}


def upload(database: Database[Document], contents: Contents, now: datetime) -> None:
    """Store *contents*: durable when this returns. Uploading what is there already changes nothing."""
    lengths: dict[str, int] = {}
    held: list[Document] = []
    size = 0
    for digest, content in contents.items():
        for chunk in _chunks(digest, content, lengths):
            held.append(chunk)
            size += len(chunk["data"])
            if size >= INSERT_BYTES:
                db.insert_missing(database["blobs.chunks"], held)
                step("chunks")
                held, size = [], 0
    db.insert_missing(database["blobs.chunks"], held)
    step("chunks")
    db.upsert(database["blobs.files"], [_file(digest, length, now) for digest, length in lengths.items()])


def touch(database: Database[Document], needed: Needed, now: datetime) -> None:
    """Keep the sweeper away from *needed* for another 48 hours; upload again what it was about to delete.

    Call it when the messages that name them are written: from then on the sweeper sees the references. Raises
    StoreUnavailable when a blob is going whose bytes are not at hand: the next pass will have them.
    """
    digests = list(needed)
    if not digests:
        return
    for _ in range(ROUNDS):
        alive = {"_id": {"$in": digests}, "dying": {"$exists": False}}
        with db.translated():
            result = database["blobs.files"].update_many(alive, {"$currentDate": {"touched_at": True}})
        if result.matched_count == len(digests):
            return
        going = set(digests) - present(database, digests)
        contents = {digest: content for digest in going if (content := needed[digest]) is not None}
        if len(contents) < len(going):
            break
        upload(database, contents, now)
    raise StoreUnavailable("store: blobs are being swept while they are written; try again")


def _file(digest: str, length: int, now: datetime) -> UpdateOne:
    new = {"length": Int64(length), "chunkSize": CHUNK_SIZE, "uploadDate": now, "filename": digest}
    return UpdateOne(
        {"_id": digest, "dying": {"$exists": False}},
        {"$setOnInsert": new, "$currentDate": {"touched_at": True}},
        upsert=True,
    )


def _chunks(digest: str, content: Iterable[bytes], lengths: dict[str, int]) -> Iterator[Document]:
    """Cut *content* into chunk documents; leave its length in *lengths* at the end."""
    buffer = bytearray()
    number = 0
    for piece in content:
        buffer += piece
        while len(buffer) >= CHUNK_SIZE:
            yield _chunk(digest, number, buffer[:CHUNK_SIZE])
            del buffer[:CHUNK_SIZE]
            number += 1
    lengths[digest] = number * CHUNK_SIZE + len(buffer)
    if buffer:
        yield _chunk(digest, number, buffer)


def _chunk(digest: str, number: int, data: bytes | bytearray) -> Document:
    return {"_id": f"{digest}:{number}", "files_id": digest, "n": number, "data": Binary(bytes(data))}
