"""Whether the bytes are there: each message is rebuilt and each blob read, and must have the SHA-256 it is named by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from pymongo.database import Database

from ..store.blobs import ALIVE, CHUNK_SIZE
from ..store.database import NONSENSE, translated
from ..store.messages import Parse
from . import rebuild
from .finding import Finding, Kind
from .rebuild import Damaged

Document = dict[str, Any]
Collection = Literal["messages", "blobs.files"]


@dataclass(frozen=True, slots=True)
class Read:
    """What came of reading some messages or blobs. Those that are not relied on yet, or are gone, do not count."""

    collection: Collection
    count: int
    size_bytes: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """The task of reading some messages or blobs."""

    collection: Collection
    ids: tuple[str, ...]

    def __call__(self, database: Database[Document], parse: Parse, step: Callable[[str], None]) -> Read:
        """Read them; *parse* and *step* are not needed, since nothing is understood and nothing written."""
        read = _messages if self.collection == "messages" else _blobs
        sizes, findings = [], list[Finding]()
        for size_bytes, finding in read(database, self.ids):
            sizes.append(size_bytes)
            findings += [finding] if finding else []
        return Read(self.collection, len(sizes), sum(sizes), tuple(findings))

    def failed(self, reason: str) -> Read:
        """What came of it when not even reading could be finished."""
        kind: Kind = "message_damaged" if self.collection == "messages" else "blob_damaged"
        findings = tuple(Finding(kind, id_, f"it could not be read ({reason})") for id_ in self.ids)
        return Read(self.collection, len(self.ids), 0, findings)


def joined(reads: Iterable[Read]) -> Read:
    """What came of all of *reads*, which are of one collection."""
    every = list(reads)
    findings = tuple(finding for read in every for finding in read.findings)
    return Read(every[0].collection, sum(r.count for r in every), sum(r.size_bytes for r in every), findings)


def size(said: object) -> int:
    """How many bytes a document says that there are; 0 when that makes no sense."""
    return said if isinstance(said, int) else 0


def blob_damage(database: Database[Document], digest: str) -> str | None:
    """What is wrong with the blob *digest*; None when it is whole."""
    found, length = sha256(), CHUNK_SIZE
    with translated():
        cut = database["blobs.files"].find_one({"_id": digest, "chunkSize": {"$ne": CHUNK_SIZE}}, {"_id": 1})
    if cut:
        return "its chunk size is another one"
    try:
        for piece in rebuild.blob(database, digest):
            if length != CHUNK_SIZE:
                return "a chunk before the last is short"
            found.update(piece)
            length = len(piece)
    except Damaged as error:
        return str(error).replace(f"blob {digest}", "it", 1)
    return None if found.hexdigest() == digest else f"its bytes have another SHA-256, {found.hexdigest()}"


Outcome = tuple[int, Finding | None]  # of one: its size, and what is wrong with it


def _messages(database: Database[Document], ids: tuple[str, ...]) -> Iterator[Outcome]:
    with translated():
        facts = {"account": 1, "size_bytes": 1}
        found = list(database.messages.find({"_id": {"$in": list(ids)}}, facts))
    for message in found:
        damage = _damage(database, message)
        if damage and not _relied_on(database, message):
            continue
        # Looked at again, since it may just have been finished: it is whole from the moment that it is relied on.
        if damage and (damage := _damage(database, message)):
            yield size(message.get("size_bytes")), Finding("message_damaged", message["_id"], damage)
        else:
            yield size(message.get("size_bytes")), None


def _damage(database: Database[Document], message: Document) -> str | None:
    named = {"_id": message["_id"], "sha256": message["_id"].rpartition(":")[2]}
    try:
        size_bytes = sum(len(piece) for piece in rebuild.original(database, named))
    except Damaged as error:
        return str(error).replace(f"message {message['_id']}: ", "", 1)
    except NONSENSE as error:
        return f"its original makes no sense ({type(error).__name__})"
    return None if size_bytes == message.get("size_bytes") else f"it has {size_bytes:,} bytes, and says another number"


def _relied_on(database: Database[Document], message: Document) -> bool:
    """Whether some place holds or held the message; else a pass is at work on it, or ended before it was done."""
    ours = {"account": message.get("account")}
    with translated():
        placed = database.placements.find_one({"message": message["_id"], "state": "stored"}, {"_id": 1})
        return bool(placed or database.placements.find_one({**ours, "history.message": message["_id"]}, {"_id": 1}))


def _blobs(database: Database[Document], ids: tuple[str, ...]) -> Iterator[Outcome]:
    for digest in ids:
        if (length := _length(database, digest)) is None:
            continue
        damage = blob_damage(database, digest)
        # Looked at again, since it may have been deleted just then, and uploaded anew.
        if damage and (length := _length(database, digest)) is None:
            continue
        if damage and (damage := blob_damage(database, digest)):
            yield length, Finding("blob_damaged", digest, damage)
        else:
            yield length, None


def _length(database: Database[Document], digest: str) -> int | None:
    """What a blob says it has; None for one that is dying, or gone: it is being written or deleted."""
    with translated():
        file = database["blobs.files"].find_one({"_id": digest, **ALIVE}, {"length": 1})
    return size(file.get("length")) if file else None
