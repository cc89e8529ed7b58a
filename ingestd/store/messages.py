"""Write a batch of messages: blobs, originals, messages, touch, placements, in this order.

The placement with `state: "stored"` is the commit point: when it is there, everything it needs is. Killed before it,
the next pass writes the same documents under the same `_id`s again: nothing is lost and nothing is stored twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database

from ..errors import StoreUnavailable
from ..message import Blob, Message, Place, RawMessage, Receipt, Span
from ..mime import transfer
from ..mime.canonical import canonical
from ..raw import Content, Raw
from . import blobs, documents, originals, variants
from . import database as db
from .originals import Spans

Document = dict[str, Any]
Parse = Callable[[Raw], Message]

BLOBS = {"blobs": 1}


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every message of a mailbox."""

    ack: str | None = None  # what to do on the server once stored: "seen", "flag:$Archived", "move:Done", "delete"
    authserv_ids: Collection[str] = ()  # servers whose Authentication-Results are believed
    over_pop3: bool = False  # whether some may come over POP3, with other bytes than over IMAP


def write(
    database: Database[Document], batch: Sequence[RawMessage], parse: Parse, terms: Terms, step: Callable[[str], None]
) -> list[Receipt]:
    """Store *batch*; when this returns it survives any crash. Messages that are known are not parsed again.

    *step* is told the name of each thing done, so that a test can stop there. Raises StoreUnavailable.
    """
    now = datetime.now(UTC)
    distinct = {raw.id: raw for raw in reversed(batch)}  # the first of each
    known = whole(database, distinct)
    with ExitStack() as opened:
        new = [
            _Opened.of(raw, opened.enter_context(raw.content.open()), parse)
            for raw in distinct.values()
            if raw.id not in known
        ]
        step("parsed")
        uploads = blobs.upload(database, _absent(database, _contents(new)), now)
        step("blobs")
        new = _add_originals(database, new)
        step("originals")
    inserted = _insert(database, new, now, terms)
    _note(database, [raw for raw in batch if raw.place not in inserted])
    step("messages")
    if terms.over_pop3:
        variants.link(database, batch)
    contents = _contents(new)
    blobs.touch(database, {name: contents.get(name) for name in set(contents).union(*known.values())}, uploads, now)
    _agree(database, [item for item in new if item.raw.place not in inserted], terms)
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
    contents = {blob.sha256: _Decoded(each.content, blob.span) for each in revisions for blob in each.blobs}
    uploads = blobs.upload(database, _absent(database, contents), now)
    step("blobs")
    db.upsert(database.messages, [each.naming() for each in revisions if each.unnamed])
    blobs.touch(database, contents, uploads, now)
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
    canonical: str | None
    spans: Spans  # of the blobs that it relies on

    @classmethod
    def of(cls, raw: RawMessage, content: Raw, parse: Parse) -> _Opened:
        parsed = parse(content)
        return cls(raw, content, parsed, canonical(content), {blob.sha256: blob.span for blob in parsed.blobs})

    def holds(self, spans: Spans) -> bool:
        """Whether the blobs named in *spans* are where they say."""
        return all(name in self.spans or self._digest(span) == name for name, span in spans.items())

    def message(self, now: datetime, terms: Terms) -> UpdateOne:
        new = documents.message(self.parsed, self.raw, self.canonical, now, terms.authserv_ids)
        del new["account"]
        if self.raw.internal_date is None:
            new["first_internal_date"] = None
        new["blobs"] = sorted(self.spans)
        return UpdateOne(self._where, {"$setOnInsert": new, **_sighting(self.raw)}, upsert=True)

    def naming(self) -> UpdateOne:
        return UpdateOne(self._where, {"$addToSet": {"blobs": {"$each": sorted(self.spans)}}})

    def instead(self, named: Sequence[str], terms: Terms) -> UpdateOne:
        """Replace a message that another writer left, unless it names other blobs than *named* by now."""
        new = {**documents.understood(self.parsed, self.raw.sha256, terms.authserv_ids), "blobs": sorted(self.spans)}
        return UpdateOne({**self._where, "blobs": named}, {"$set": new, "$currentDate": {"modified_at": True}})

    def original(self) -> Document:
        return {"_id": self.raw.id, **documents.original(self.parsed, self.raw, self.content)}

    @property
    def _where(self) -> Document:
        return {"_id": self.raw.id, "account": self.raw.place.account}

    def _digest(self, span: Span) -> str:
        found = sha256()
        for piece in transfer.decoded(self.content, span):
            found.update(piece)
        return found.hexdigest()


@dataclass(frozen=True, slots=True)
class _Decoded:
    """The bytes of a blob, decoded again from its message each time it is iterated; never held as a whole."""

    content: Content
    span: Span

    def __iter__(self) -> Iterator[bytes]:
        with self.content.open() as raw:
            yield from transfer.decoded(raw, self.span)


def whole(database: Database[Document], ids: Collection[str]) -> dict[str, set[str]]:
    """Return the blobs of those messages of *ids* that are stored, with all their blobs."""
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


def _contents(new: Sequence[_Opened]) -> dict[str, _Decoded]:
    return {name: _Decoded(item.raw.content, span) for item in new for name, span in item.spans.items()}


def _absent(database: Database[Document], contents: Mapping[str, _Decoded]) -> dict[str, _Decoded]:
    there = blobs.present(database, contents)
    return {name: content for name, content in contents.items() if name not in there}


def _add_originals(database: Database[Document], new: Sequence[_Opened]) -> list[_Opened]:
    """Write the originals; return *new*, relying also on what those rely on that were there before.

    Nobody can rely on an original that does not fit its message, so such a one is replaced.
    """
    ours = {item.raw.id: item.original() for item in new}
    earlier = originals.add(database, list(ours.values()))
    fitting = {item.raw.id: earlier.get(item.raw.id, {}) for item in new if item.holds(earlier.get(item.raw.id, {}))}
    originals.renew(database, [original for id_, original in ours.items() if id_ not in fitting])
    return [replace(item, spans={**fitting.get(item.raw.id, {}), **item.spans}) for item in new]


def _insert(database: Database[Document], new: Sequence[_Opened], now: datetime, terms: Terms) -> set[Place]:
    """Write the new messages; return the places of those that nobody else had written in the meantime.

    Those that somebody had written name what ours need from now on.
    """
    inserted = db.upsert(database.messages, [item.message(now, terms) for item in new])
    there = [item for index, item in enumerate(new) if index not in inserted]
    db.upsert(database.messages, [item.naming() for item in there if item.spans])
    return {new[index].raw.place for index in inserted}


def _agree(database: Database[Document], there: Sequence[_Opened], terms: Terms) -> None:
    """Rely on the messages of *there*, which another writer has written, or replace them by ours.

    What they name besides ours is of a parser that understood more or less. If that cannot be had, as when its writer
    died, they cannot be relied on; ours can by now.
    """
    ours = {item.raw.id: item for item in there}
    with db.translated():
        found = database.messages.find({"_id": {"$in": list(ours)}}, BLOBS) if ours else ()
        named = {each["_id"]: each["blobs"] for each in found}
    besides = {id_: set(names) - set(ours[id_].spans) for id_, names in named.items()}
    wanted = set[str]().union(*besides.values())
    if blobs.alive(database, wanted, {}):
        return
    whole = blobs.present(database, wanted)
    operations = [ours[id_].instead(named[id_], terms) for id_, names in besides.items() if not names <= whole]
    with db.translated():
        replaced = database.messages.bulk_write(operations, ordered=False).matched_count if operations else 0
    if replaced < len(operations):
        raise StoreUnavailable("store: a message is written by several at once; try again")


def _note(database: Database[Document], seen: Sequence[RawMessage]) -> None:
    """Note that stored messages lie here too. Without effect, and so no new `modified_at`, where that is known."""
    db.upsert(database.messages, [change for raw in seen for change in _notes(raw)])


def _notes(raw: RawMessage) -> Iterator[UpdateOne]:
    """By the `_id` first, and not by one filter with $or: the embedded store would look through all messages."""
    ours, changed = {"_id": raw.id, "account": raw.place.account}, {"$currentDate": {"modified_at": True}}
    yield UpdateOne(
        {**ours, "mailboxes": {"$ne": raw.place.mailbox}}, {"$addToSet": {"mailboxes": raw.place.mailbox}, **changed}
    )
    if raw.internal_date is not None:
        later_or_none = {"$not": {"$lte": raw.internal_date}}  # POP3 tells none, and null would stay the lowest
        dated = {"$set": {"first_internal_date": raw.internal_date}, **changed}
        yield UpdateOne({**ours, "first_internal_date": later_or_none}, dated)


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
