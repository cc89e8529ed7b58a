"""Content that is stored once per database: a GridFS bucket named `blobs`, whose `_id`s are SHA-256 digests.

Any driver's GridFS reads it. A file that is `dying` must not be relied on: it is not whole yet, or the sweeper may be
deleting it. This is how writers and the sweeper get along, and no stored message ever misses a blob:

    writer    upload: the file, born dying; its chunks | a message names it | touch: not dying any more, or else again
    sweeper   untouched for 48 hours and not named: dying | not named? | delete chunks as old as that, then the file

Whoever ends the dying of a file has written or touched every chunk since it read by whom it was dying, and only ends
that. So the chunks of a living file are younger than what any sweeper may delete, however long that one was stopped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from bson import Binary, Int64
from pymongo import UpdateMany, UpdateOne
from pymongo.database import Database

from ..errors import IngestError, StoreUnavailable
from ..steps import step
from . import database as db

CHUNK_SIZE = 261_120  # for ever: a chunk's number says which bytes it holds
INSERT_BYTES = 4 << 20  # chunks sent in one command
CHUNKS_AHEAD = 16  # chunks of a blob asked for at a time: 4 MiB
LOOK_UP = 500  # digests in one query; the embedded store takes the square of it
ROUNDS = 3  # times that something is done again because the sweeper or another writer was at it

Contents = Mapping[str, Iterable[bytes]]  # digest -> its bytes; iterating starts anew each time
Needed = Mapping[str, Iterable[bytes] | None]  # the same; None where the bytes are not at hand
Document = dict[str, Any]
ALIVE: Document = {"dying": {"$exists": False}}
TOUCH: Document = {"$currentDate": {"touched_at": True}}


@dataclass(frozen=True, slots=True)
class Upload:
    """Content whose chunks are stored, and that `touch` makes a blob to rely on."""

    by: str  # as whose the file is dying
    length: int


Uploads = Mapping[str, Upload]


class Damaged(IngestError):
    """The store does not hold what it should: a piece is missing, or the digest is another."""


def present(database: Database[Document], digests: Iterable[str]) -> set[str]:
    """Return which of *digests* are stored, whole, and not about to be swept."""
    found: set[str] = set()
    for some in chunked(list(digests)):
        with db.translated():
            found |= {each["_id"] for each in database["blobs.files"].find({"_id": {"$in": some}, **ALIVE}, {"_id": 1})}
    return found


def read(database: Database[Document], digest: str) -> Iterator[bytes]:
    """Yield the content of the blob named *digest*, a chunk at a time; raise Damaged when a chunk is missing."""
    with db.translated():
        file = database["blobs.files"].find_one({"_id": digest})
        if file is None:
            raise Damaged(f"blob {digest} is missing")
        found = 0
        chunks = database["blobs.chunks"].find({"files_id": digest}, {"n": 1, "data": 1}, batch_size=CHUNKS_AHEAD)
        for number, chunk in enumerate(chunks.sort("n", 1)):
            if chunk.get("n") != number or not isinstance(data := chunk.get("data"), bytes):
                raise Damaged(f"blob {digest}: chunk {number} is missing")
            found += len(data)
            yield data
    if found != (length := file.get("length")):
        raise Damaged(f"blob {digest}: {found} of {length} bytes are there")


def upload(database: Database[Document], contents: Contents, now: datetime) -> Uploads:
    """Store the bytes of *contents*, durably. They are not to be relied on before `touch` was given what is returned.

    Uploading what is there already changes nothing.
    """
    claims = _claim(database, list(contents), now)
    claimed_at = db.server_time(database) if claims else now
    lengths: dict[str, int] = {}
    held: list[Document] = []
    size = 0
    for digest in claims:
        for chunk in _chunks(digest, contents[digest], lengths):
            held.append({**chunk, "touched_at": claimed_at})
            size += len(chunk["data"])
            if size >= INSERT_BYTES:
                _insert(database, held)
                step("chunks")
                held, size = [], 0
    _insert(database, held)
    step("chunks")
    return {digest: Upload(by, lengths[digest]) for digest, by in claims.items()}


def touch(database: Database[Document], needed: Needed, uploads: Uploads, now: datetime) -> None:
    """Make sure that *needed*, with the *uploads* among them, can be relied on, and is not swept for 48 hours.

    Call it when the messages that name them are written: from then on the sweeper sees the references, so what is
    there now stays. What is not, or is dying, is uploaded again. Raises StoreUnavailable when its bytes are not at
    hand: the next pass will have them.
    """
    for _ in range(ROUNDS):
        if alive(database, needed, uploads):
            return
        going = set(needed) - present(database, needed)
        contents = {digest: content for digest in going if (content := needed[digest]) is not None}
        if len(contents) < len(going):
            break
        uploads = upload(database, contents, now)
    raise StoreUnavailable("store: blobs are being swept while they are written; try again")


def alive(database: Database[Document], digests: Collection[str], uploads: Uploads) -> bool:
    """Touch what is alive of *digests*, *uploads* among them, which come alive now; return whether that is all."""
    there = [digest for digest in digests if digest not in uploads]
    operations: list[UpdateOne | UpdateMany] = [
        *(_whole(digest, upload) for digest, upload in uploads.items()),
        *(UpdateMany({"_id": {"$in": some}, **ALIVE}, TOUCH) for some in chunked(there)),
    ]
    if not operations:
        return True
    with db.translated():
        result = database["blobs.files"].bulk_write(operations, ordered=False)
    return result.matched_count == len(digests)


def chunked(digests: Sequence[str]) -> Iterator[list[str]]:
    """Cut *digests* into what one query may hold."""
    yield from (list(digests[start : start + LOOK_UP]) for start in range(0, len(digests), LOOK_UP))


def _claim(database: Database[Document], digests: Sequence[str], now: datetime) -> dict[str, str]:
    """Touch the files of *digests* before any chunk is written, so that no chunk is ever without a file.

    Return as whose they are dying, ours or another's; those that are alive meanwhile are left out.
    """
    new = {"length": Int64(0), "chunkSize": CHUNK_SIZE, "uploadDate": now, "dying": {"by": uuid4().hex, "at": now}}
    claims = [UpdateOne({"_id": each}, {"$setOnInsert": {**new, "filename": each}, **TOUCH}, True) for each in digests]
    db.upsert(database["blobs.files"], claims)
    found: dict[str, str] = {}
    for some in chunked(digests):
        dying = {"_id": {"$in": some}, "dying": {"$exists": True}}
        with db.translated():
            found.update(
                (each["_id"], each["dying"]["by"]) for each in database["blobs.files"].find(dying, {"dying": 1})
            )
    return found


def _insert(database: Database[Document], chunks: list[Document]) -> None:
    """Write *chunks*; touch those that are there, whose bytes are the same by their name."""
    for _ in range(ROUNDS):
        there = [chunks[index] for index in db.insert_missing(database["blobs.chunks"], chunks)]
        if not there:
            return
        old = {"_id": {"$in": [chunk["_id"] for chunk in there]}, "files_id": {"$in": [c["files_id"] for c in there]}}
        with db.translated():
            touched = database["blobs.chunks"].update_many(old, TOUCH).matched_count
        if touched == len(there):
            return
        chunks = there
    raise StoreUnavailable("store: blobs are being swept while they are written; try again")


def _whole(digest: str, upload: Upload) -> UpdateOne:
    mine = {"_id": digest, "dying.by": upload.by}
    return UpdateOne(mine, {"$set": {"length": Int64(upload.length)}, "$unset": {"dying": ""}, **TOUCH})


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
