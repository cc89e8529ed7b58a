"""Write a batch of messages: blobs, originals, messages, touch, placements, in this order.

The placement with `state: "stored"` is the commit point: when it is there, everything it needs is. Killed before it,
the next pass writes the same documents under the same `_id`s again: nothing is lost and nothing is stored twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database

from ..message import Blob, Message, Place, RawMessage, Receipt
from ..mime import transfer
from ..raw import Content, Raw
from . import blobs, documents
from . import database as db

Document = dict[str, Any]
Parse = Callable[[Raw], Message]

BLOBS = {"blobs": 1}


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every message of a mailbox."""

    ack: str | None = None  # what to do on the server once stored: "seen", "flag:$Archived", "move:Done"
    authserv_ids: Collection[str] = ()  # servers whose Authentication-Results are believed


def write(
    database: Database[Document], batch: Sequence[RawMessage], parse: Parse, terms: Terms, step: Callable[[str], None]
) -> list[Receipt]:
    """Store *batch*; when this returns it survives any crash. Messages that are known are not parsed again.

    *step* is told the name of each thing done, so that a test can stop there. Raises StoreUnavailable.
    """
    now = datetime.now(UTC)
    distinct = {raw.id: raw for raw in reversed(batch)}  # the first of each
    known = _known(database, distinct)
    with ExitStack() as opened:
        new = [
            _Opened.of(raw, opened.enter_context(raw.content.open()), parse)
            for raw in distinct.values()
            if raw.id not in known
        ]
        step("parsed")
        contents = {blob.sha256: _Decoded(item.raw.content, blob) for item in new for blob in item.parsed.blobs}
        there = blobs.present(database, contents)
        blobs.upload(database, {name: content for name, content in contents.items() if name not in there}, now)
        step("blobs")
        db.upsert(database.originals, [item.original() for item in new])
        step("originals")
    inserted = _insert(database, new, now, terms)
    _note(database, [raw for raw in batch if raw.place not in inserted])
    step("messages")
    needed = {name: contents.get(name) for name in there.union(*known.values())}
    blobs.touch(database, needed, now)
    fresh = inserted | _first_places(database, batch, known)
    db.upsert(database.placements, [_placement(raw, now, terms.ack) for raw in batch])
    step("placements")
    status = {item.raw.id: item.parsed.parse.status for item in new}
    return [
        Receipt(raw.place, raw.id, raw.sha256, raw.content.size_bytes, raw.place in fresh, status.get(raw.id, "known"))
        for raw in batch
    ]


@dataclass(frozen=True, slots=True)
class Revision:
    """A stored message that was parsed again, with the fields that came out otherwise than they are stored."""

    id: str
    account: str
    version: int  # of the parse that is stored
    content: Content
    blobs: tuple[Blob, ...]  # every blob that the message needs now
    named: frozenset[str]  # the blobs that it is known to need so far
    message: Document  # fields of `messages`
    original: Document  # fields of `originals`

    @property
    def unnamed(self) -> list[str]:
        return [blob.sha256 for blob in self.blobs if blob.sha256 not in self.named]

    def naming(self) -> UpdateOne:
        return self._update({"$addToSet": {"blobs": {"$each": self.unnamed}}})

    def renewed(self) -> UpdateOne:
        return self._update({"$set": self.message})

    def renewed_original(self) -> UpdateOne:
        return UpdateOne({"_id": self.id, "account": self.account}, {"$set": self.original})

    def _update(self, change: Document) -> UpdateOne:
        # The version keeps apart two that parse the same message again: what one of them renewed the other leaves.
        unrevised = {"_id": self.id, "account": self.account, "parse.version": self.version}
        return UpdateOne(unrevised, {**change, "$currentDate": {"modified_at": True}})


def revise(database: Database[Document], revisions: Sequence[Revision], step: Callable[[str], None]) -> None:
    """Renew the stored messages that *revisions* are about; when this returns it survives any crash.

    It may end anywhere and be done again: a blob is named by its message before an original relies on it, and as long
    as one does. Never creates a message or brings one back. Raises StoreUnavailable.
    """
    now = datetime.now(UTC)
    contents = {blob.sha256: _Decoded(each.content, blob) for each in revisions for blob in each.blobs}
    there = blobs.present(database, contents)
    blobs.upload(database, {name: content for name, content in contents.items() if name not in there}, now)
    step("blobs")
    db.upsert(database.messages, [each.naming() for each in revisions if each.unnamed])
    blobs.touch(database, {name: contents[name] for each in revisions for name in each.unnamed}, now)
    step("named")
    db.upsert(database.originals, [each.renewed_original() for each in revisions if each.original])
    step("originals")
    db.upsert(database.messages, [each.renewed() for each in revisions if each.message])
    step("messages")


@dataclass(frozen=True, slots=True)
class _Opened:
    """A message of the batch whose bytes are at hand."""

    raw: RawMessage
    content: Raw
    parsed: Message

    @classmethod
    def of(cls, raw: RawMessage, content: Raw, parse: Parse) -> _Opened:
        return cls(raw, content, parse(content))

    def message(self, now: datetime, terms: Terms) -> UpdateOne:
        new = documents.message(self.parsed, self.raw, now, terms.authserv_ids)
        account = new.pop("account")
        if self.raw.internal_date is None:
            new["first_internal_date"] = None
        return UpdateOne(
            {"_id": self.raw.id, "account": account}, {"$setOnInsert": new, **_sighting(self.raw)}, upsert=True
        )

    def original(self) -> UpdateOne:
        new = documents.original(self.parsed, self.raw, self.content)
        # Replaces what a pass left that died before its message: blobs and segments must be of one and the same parse.
        return UpdateOne({"_id": self.raw.id, "account": new.pop("account")}, {"$set": new}, upsert=True)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """The bytes of a blob, decoded again from its message each time it is iterated; never held as a whole."""

    content: Content
    blob: Blob

    def __iter__(self) -> Iterator[bytes]:
        with self.content.open() as raw:
            yield from transfer.decoded(raw, self.blob.span)


def _known(database: Database[Document], ids: Collection[str]) -> dict[str, set[str]]:
    """Return the blobs of those messages of *ids* that are stored. One whose blobs are not all there is not known."""
    with db.translated():
        found = {each["_id"]: set(each["blobs"]) for each in database.messages.find({"_id": {"$in": list(ids)}}, BLOBS)}
    there = blobs.present(database, set().union(*found.values()))
    return {message: needed for message, needed in found.items() if needed <= there}


def _first_places(database: Database[Document], batch: Sequence[RawMessage], known: Collection[str]) -> set[Place]:
    """Return the places that are the first of a message which a pass that died had written without any place."""
    with db.translated():
        stored = {"message": {"$in": list(known)}, "state": "stored"}
        placed = {each["message"] for each in database.placements.find(stored, {"message": 1})} if known else set()
    first = {raw.id: raw.place for raw in reversed(batch)}
    return {place for message, place in first.items() if message in known and message not in placed}


def _insert(database: Database[Document], new: Sequence[_Opened], now: datetime, terms: Terms) -> set[Place]:
    """Write the new messages; return the places of those that nobody else had written in the meantime."""
    inserted = db.upsert(database.messages, [item.message(now, terms) for item in new])
    return {new[index].raw.place for index in inserted}


def _note(database: Database[Document], seen: Sequence[RawMessage]) -> None:
    """Note that stored messages lie here too. Without effect, and so no new `modified_at`, where that is known."""
    db.upsert(database.messages, [UpdateOne(_unnoted(raw), _sighting(raw)) for raw in seen])


def _unnoted(raw: RawMessage) -> Document:
    news: list[Document] = [{"mailboxes": {"$ne": raw.place.mailbox}}]
    if raw.internal_date is not None:
        news.append({"first_internal_date": {"$gt": raw.internal_date}})
    return {"_id": raw.id, "account": raw.place.account, "$or": news}


def _sighting(raw: RawMessage) -> Document:
    date = {"$min": {"first_internal_date": raw.internal_date}}
    return {
        "$addToSet": {"mailboxes": raw.place.mailbox},
        "$currentDate": {"modified_at": True},
        **(date if raw.internal_date is not None else {}),
    }


def _placement(raw: RawMessage, now: datetime, ack: str | None) -> UpdateOne:
    """Commit a place. The filter keeps a place that is stored from ever being written again."""
    return UpdateOne(
        {"_id": raw.place.id, "account": raw.place.account, "state": {"$ne": "stored"}},
        {
            "$set": documents.placement(raw, ack),
            "$setOnInsert": {"attempts": 0, "first_seen_at": now, "last_try": None, "history": []},
            "$currentDate": {"committed_at": True},
        },
        upsert=True,
    )
