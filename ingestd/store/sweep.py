"""Delete the blobs that no message names, 48 hours after somebody last wrote or used them.

`blobs` says how that gets along with those who write. Nothing here relies on being the only sweeper, or on being quick.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from pymongo.database import Database

from . import blobs, jobs
from . import database as db
from .blobs import Upload

Document = dict[str, Any]

JOB = "sweep"
EVERY = timedelta(days=1)
AGE = timedelta(hours=48)
PAGE = 500  # files looked at, and messages that may name them, at a time
DELETED_AT_ONCE = 64 << 20  # bytes in one command
CHUNKS_AHEAD = 16  # chunks of a blob asked for at a time: 4 MiB


@dataclass(frozen=True, slots=True)
class Swept:
    """What became of blobs: seen = recent + named + deleted + spared + broken."""

    seen: int = 0
    recent: int = 0  # written or used within 48 hours
    named: int = 0  # by a message
    deleted: int = 0  # or would be
    spared: int = 0  # somebody came to use it while we were at it
    broken: int = 0  # a message names it, and it is not whole: left alone
    deleted_bytes: int = 0

    def __add__(self, other: Swept) -> Swept:
        return Swept(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of all blobs that is done with."""

    last: str  # the digest to go on after
    swept: Swept


def due(database: Database[Document]) -> bool:
    """Whether the daily sweep is to be made, and nobody is at it."""
    return jobs.due(database, JOB, EVERY)


def count(database: Database[Document]) -> int:
    """How many blobs there are."""
    with db.translated():
        return database["blobs.files"].count_documents({})


def daily(database: Database[Document], stopped: Callable[[], bool]) -> Iterator[Swept]:
    """Sweep all blobs, from where the last sweep was *stopped*; yield what became of those of each page.

    Raises LeaseLost while another process is at it, and StoreUnavailable.
    """
    with jobs.taken(database, JOB) as job:
        total = Swept()
        for page in sweep(database, db.server_time(database), job.after):
            job.reached(page.last)
            total += page.swept
            yield page.swept
            if stopped():
                return
        job.done(asdict(total))


def sweep(database: Database[Document], now: datetime, after: str = "", *, dry_run: bool = False) -> Iterator[Page]:
    """Sweep the blobs whose digests come after *after*, in order; yield each page when it is done.

    *now* is by the clock of the server. It may end anywhere and be done again. Raises StoreUnavailable.
    """
    while page := _page(database, after):
        after = page[-1]["_id"]
        old = [file for file in page if file["touched_at"] < now - AGE]
        named = _named(database, [file["_id"] for file in old])
        doomed = [file for file in old if file["_id"] not in named]
        stuck = [file for file in old if file["_id"] in named and "dying" in file]  # somebody died who was at it
        swept = Swept(len(page), len(page) - len(old), len(named) - len(stuck))
        if dry_run:
            would = Swept(named=len(stuck), deleted=len(doomed), deleted_bytes=sum(file["length"] for file in doomed))
            yield Page(after, swept + would)
        else:
            yield Page(after, swept + _decide(database, [*doomed, *stuck], now))


def _page(database: Database[Document], after: str) -> list[Document]:
    facts = {"touched_at": 1, "length": 1, "dying": 1}
    with db.translated():
        return list(database["blobs.files"].find({"_id": {"$gt": after}}, facts).sort("_id", 1).limit(PAGE))


def _named(database: Database[Document], digests: Collection[str]) -> set[str]:
    """Return which of *digests* some message names, without asking for all messages that have a popular one."""
    left, named = set(digests), set[str]()
    while left:
        with db.translated():
            found = list(database.messages.find({"blobs": {"$in": list(left)}}, {"blobs": 1}).limit(PAGE))
        named |= left.intersection(digest for message in found for digest in message["blobs"])
        left -= named
        if len(found) < PAGE:
            break
    return named


def _decide(database: Database[Document], files: Sequence[Document], now: datetime) -> Swept:
    """Mark *files*, look again, and end the dying of each one way or the other."""
    by = uuid4().hex
    marked = _mark(database, files, by, now)
    named = _named(database, [file["_id"] for file in marked])
    revived = sum(_revived(database, digest, by) for digest in sorted(named))
    doomed = [file for file in marked if file["_id"] not in named]
    gone = [file for some in _portions(doomed) for file in _deleted(database, some, by, now)]
    return Swept(
        named=revived,
        deleted=len(gone),
        spared=len(files) - len(named) - len(gone),
        broken=len(named) - revived,
        deleted_bytes=sum(file["length"] for file in gone),
    )


def _mark(database: Database[Document], files: Sequence[Document], by: str, now: datetime) -> list[Document]:
    """Let *files* be dying as ours, but for those that somebody has touched meanwhile; return which are."""
    if not files:
        return []
    digests = [file["_id"] for file in files]
    old = {"_id": {"$in": digests}, "touched_at": {"$lt": now - AGE}}
    with db.translated():
        database["blobs.files"].update_many(old, {"$set": {"dying": {"by": by, "at": now}}})
        found = database["blobs.files"].find({"_id": {"$in": digests}, "dying.by": by}, {"_id": 1})
        ours = {file["_id"] for file in found}
    return [file for file in files if file["_id"] in ours]


def _revived(database: Database[Document], digest: str, by: str) -> bool:
    """Let a blob live that a message names; return False when it is not whole.

    Its chunks are touched first: a sweeper before us, which was stopped, may still be about to delete them.
    """
    chunks, found, length = database["blobs.chunks"], sha256(), 0
    with db.translated():
        chunks.update_many({"files_id": digest}, blobs.TOUCH)
        for chunk in chunks.find({"files_id": digest}, {"data": 1}, batch_size=CHUNKS_AHEAD).sort("n", 1):
            found.update(chunk["data"])
            length += len(chunk["data"])
    if found.hexdigest() != digest:
        return False
    blobs.alive(database, [digest], {digest: Upload(by, length)})
    return True


def _portions(files: Sequence[Document]) -> Iterator[list[Document]]:
    portion: list[Document] = []
    size = 0
    for file in files:
        if portion and size + file["length"] > DELETED_AT_ONCE:
            yield portion
            portion, size = [], 0
        portion.append(file)
        size += file["length"]
    if portion:
        yield portion


def _deleted(database: Database[Document], files: Sequence[Document], by: str, now: datetime) -> list[Document]:
    """Delete *files*, but for those that somebody has come for; return those that are gone."""
    digests = {"$in": [file["_id"] for file in files]}
    untouched = {"touched_at": {"$lt": now - AGE}}
    with db.translated():
        database["blobs.chunks"].delete_many({"files_id": digests, **untouched})
        database["blobs.files"].delete_many({"_id": digests, "dying.by": by, **untouched})
        left = {file["_id"] for file in database["blobs.files"].find({"_id": digests}, {"_id": 1})}
    return [file for file in files if file["_id"] not in left]
