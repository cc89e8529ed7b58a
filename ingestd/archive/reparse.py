"""Understand stored messages anew, by the parser of today, from their stored bytes alone.

It goes by `_id` and remembers nothing: a message that is current is not chosen again, so running it again goes on where
it ended. A message is only touched once its bytes were rebuilt and have the digest it is named by; a parse that fails
never replaces one that is stored.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import bson
from bson import json_util
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from pymongo.database import Database
from pymongo.errors import OperationFailure

from ..errors import IngestError, Refused, Unavailable
from ..message import Message
from ..mime.parse import PARSE_VERSION
from ..raw import Content, InMemory, OnDisk
from ..store import documents, messages
from ..store.database import translated
from ..store.messages import Parse, Revision
from . import rebuild
from .rebuild import Damaged

Document = dict[str, Any]
Fate = Literal["changed", "same", "failed", "damaged", "gone"]

PAGE = 500  # messages looked up at a time
BATCH_COUNT = 50  # messages of one task
BATCH_BYTES = 4 << 20  # of one task, unless a message is larger
IN_MEMORY = 1 << 20  # bytes; a larger message is rebuilt in a file
CODE = frozenset({"$where", "$function", "$accumulator"})  # the server would run what stands there
NOT_THE_MESSAGE = frozenset({"parse.version", "parse.parser"})  # differ whenever the parser does

AS_STORED: CodecOptions[Document] = CodecOptions(tz_aware=True)


@dataclass(frozen=True, slots=True)
class Change:
    """A field that comes out otherwise than it is stored: `subject`, `parse.defects`, `originals.html`."""

    field: str
    old: Any = None  # both only when they were asked for: they are mail
    new: Any = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message, or would."""

    message: str
    fate: Fate
    changes: tuple[Change, ...] = ()
    reason: str | None = None  # for an operator; holds no content and no address


@dataclass(frozen=True, slots=True)
class Manner:
    """How messages are parsed again."""

    # By account; `auth` of an account that is not named stays as it is, since nobody says who is to be believed.
    authserv_ids: Mapping[str, Collection[str]]
    write: bool = True
    values: bool = False  # tell the values of what changes


@dataclass(frozen=True, slots=True)
class Batch:
    """The task of parsing some messages again."""

    ids: tuple[str, ...]
    manner: Manner

    def __call__(self, database: Database[Document], parse: Parse, step: Callable[[str], None]) -> list[Outcome]:
        with translated():
            found = {each["_id"]: each for each in database.messages.find({"_id": {"$in": list(self.ids)}})}
        with ExitStack() as opened:
            again = _Again(database, parse, self.manner, opened, [])
            read = [again.read(found[id_]) if id_ in found else Outcome(id_, "gone") for id_ in self.ids]
            if self.manner.write:
                messages.revise(database, again.revisions, step)
        return read


Submit = Callable[[Batch], "Future[list[Outcome]]"]


@dataclass(frozen=True, slots=True)
class Run:
    """Which messages, how, and how many at most."""

    wanted: Document
    manner: Manner
    limit: int | None = None


def reparse(
    database: Database[Document], run: Run, submit: Submit, ahead: int = 0, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Outcome]:
    """Parse messages again; yield what became of each, in the order of their `_id`s.

    Up to *ahead* + 1 batches are under way at a time; once *stopped*, those are finished, and no more is begun. Raises
    StoreUnavailable, and Unavailable when there is no room for a large message; what was yielded is done.
    """
    under_way: deque[tuple[Batch, Future[list[Outcome]]]] = deque()
    for batch in _batches(database, run):
        if stopped():
            break
        under_way.append((batch, submit(batch)))
        if len(under_way) > ahead:
            yield from _finished(*under_way.popleft(), submit)
    while under_way:
        yield from _finished(*under_way.popleft(), submit)


def _finished(batch: Batch, future: Future[list[Outcome]], submit: Submit) -> Iterator[Outcome]:
    try:
        yield from future.result()
        return
    except IngestError:
        raise
    except Exception as error:  # noqa: BLE001 - it lies in one of the messages, and is told there
        reason = f"{type(error).__name__} while parsing or writing"
    if len(batch.ids) == 1:
        yield Outcome(batch.ids[0], "failed", reason=reason)
        return
    for id_ in batch.ids:
        alone = replace(batch, ids=(id_,))
        yield from _finished(alone, submit(alone), submit)


# --- which messages


def wanted(account: str | None = None, where: str | None = None, everything: bool = False) -> Document:
    """The filter on `messages` for what is not current, or for what *where* (JSON) selects, or for *everything*.

    What a newer ingestd has parsed stays as that left it. Raises Refused for a *where* that cannot be used.
    """
    chosen: list[Document] = [{"parse.version": {"$lte": PARSE_VERSION}}]
    if account is not None:
        chosen.append({"account": account})
    if where is not None:
        chosen.append(_filter(where))
    elif not everything:
        chosen.append({"$or": [{"parse.version": {"$lt": PARSE_VERSION}}, {"parse.status": "failed"}]})
    return {"$and": chosen}


def count(database: Database[Document], wanted: Document, after: str | None = None) -> int:
    """How many messages *wanted* selects, of those that come *after*; raise Refused when MongoDB cannot read it."""
    later = {} if after is None else {"_id": {"$gt": after}}
    try:
        return _count(database, {"$and": [*wanted["$and"], later]})
    except (OperationFailure, IngestError) as error:
        if not isinstance(error, OperationFailure) and not isinstance(error.__cause__, OperationFailure):
            raise
        _count(database, {"account": ""})  # a store in trouble fails here too, and says so
        raise Refused("--where: MongoDB refuses this filter; see its manual on query operators") from error


def _count(database: Database[Document], query: Document) -> int:
    with translated():
        return database.messages.count_documents(query)


def _filter(text: str) -> Document:
    try:
        found = json_util.loads(text)
    except (ValueError, TypeError, KeyError, RecursionError, BSONError) as error:
        raise Refused(f'--where: must be JSON, such as {{"kind": "list"}} ({type(error).__name__})') from error
    if not isinstance(found, dict) or not found:
        raise Refused('--where: must be a JSON object, such as {"kind": "list"}; for all messages say --all')
    if code := CODE & set(_keys(found)):
        raise Refused(f"--where: {', '.join(sorted(code))} would run code in the store; use other operators")
    return found


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(inner)


def _batches(database: Database[Document], run: Run) -> Iterator[Batch]:
    ids: list[str] = []
    size = 0
    for id_, size_bytes in _chosen(database, run):
        if ids and (len(ids) == BATCH_COUNT or size + size_bytes > BATCH_BYTES):
            yield Batch(tuple(ids), run.manner)
            ids, size = [], 0
        ids.append(id_)
        size += size_bytes
    if ids:
        yield Batch(tuple(ids), run.manner)


def _chosen(database: Database[Document], run: Run) -> Iterator[tuple[str, int]]:
    """Page by page, since a cursor that is held for hours may be dropped by the server."""
    after, left = "", run.limit
    while left is None or left > 0:
        page = _page(database, run.wanted, after, PAGE if left is None else min(PAGE, left))
        if not page:
            return
        yield from ((each["_id"], each["size_bytes"]) for each in page)
        after, left = page[-1]["_id"], None if left is None else left - len(page)


def _page(database: Database[Document], wanted: Document, after: str, limit: int) -> list[Document]:
    later = {"$and": [{"_id": {"$gt": after}}, *wanted["$and"]]}
    with translated():
        return list(database.messages.find(later, {"size_bytes": 1}).sort("_id", 1).limit(limit))


# --- one message


@dataclass(frozen=True, slots=True)
class _Again:
    """Parses messages again and gathers what that changes. Their bytes are at hand until *opened* ends."""

    database: Database[Document]
    parse: Parse
    manner: Manner
    opened: ExitStack
    revisions: list[Revision]

    def read(self, stored: Document) -> Outcome:
        id_ = stored["_id"]
        try:
            content = _rebuilt(self.database, stored, self.opened)
        except Damaged as error:
            return Outcome(id_, "damaged", reason=str(error))
        with content.open() as raw:
            parsed = self.parse(raw)
            if parsed.parse.status == "failed":
                return Outcome(id_, "failed", reason=", ".join(parsed.parse.defects))
            original = documents.taken_apart(parsed, raw)
        return self._compared(stored, content, parsed, original)

    def _compared(self, stored: Document, content: Content, parsed: Message, new_original: Document) -> Outcome:
        new = documents.understood(parsed, stored["sha256"], self.manner.authserv_ids.get(stored["account"], ()))
        if stored["account"] not in self.manner.authserv_ids:
            del new["auth"]
        with translated():
            stored_original = self.database.originals.find_one({"_id": stored["_id"]}) or {}
        message, original = _differing(stored, new), _differing(stored_original, new_original)
        if message or original:
            self.revisions.append(_revision(stored, content, parsed, message, original))
        changes = (*_changes(stored, message), *_changes(stored_original, original, "originals."))
        told = changes if self.manner.values else tuple(Change(change.field) for change in changes)
        news = {change.field for change in changes} - NOT_THE_MESSAGE
        return Outcome(stored["_id"], "changed" if news else "same", told)


def _revision(stored: Document, content: Content, parsed: Message, message: Document, original: Document) -> Revision:
    version, named = stored["parse"]["version"], frozenset(stored["blobs"])
    return Revision(stored["_id"], stored["account"], version, content, parsed.blobs, named, message, original)


def _rebuilt(database: Database[Document], stored: Document, opened: ExitStack) -> Content:
    """The bytes of a message, proven: in memory, or in a file that has no name, so that nothing of it can be left."""
    file = opened.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115 - *opened* closes it
    size_bytes = 0
    for piece in rebuild.original(database, stored):
        size_bytes += len(piece)
        try:
            file.write(piece)
            file.flush()
        except OSError as error:
            where = tempfile.gettempdir()
            raise Unavailable(f"{where}: {error.strerror}; free some space there, or name another $TMPDIR") from error
    if size_bytes > IN_MEMORY:
        return OnDisk(Path(f"/proc/self/fd/{file.fileno()}"), size_bytes)
    file.seek(0)
    return InMemory(file.read())


def _differing(stored: Document, new: Document) -> Document:
    """Those fields of *new* that are stored otherwise, in the form in which they would be read again."""
    read: Document = bson.decode(bson.encode(new), AS_STORED)
    return {name: value for name, value in read.items() if name not in stored or stored[name] != value}


def _changes(stored: Document, new: Document, prefix: str = "") -> Iterator[Change]:
    for name, value in new.items():
        old = stored.get(name)
        if name == "parse" and isinstance(old, dict):
            yield from _changes(old, _differing(old, value), "parse.")
        elif name == "raw":
            yield Change(prefix + name, _without_bytes(old or ()), _without_bytes(value))
        else:
            yield Change(prefix + name, old, value)


def _without_bytes(segments: Sequence[Document]) -> list[Document]:
    return [{name: value for name, value in each.items() if name != "literal"} for each in segments]
