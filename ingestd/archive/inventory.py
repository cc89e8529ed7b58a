"""Whether the store holds together by itself: every place has its message, and every message all that it is made of.

It goes through an account by `_id`, a page at a time, so that neither memory nor a cursor grows with the archive. What
a pass writes last is read first, so that one at work is not caught half done; what could still be, is looked up again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from pymongo.database import Database

from ..store import blobs, seals
from ..store.database import translated
from .chain import named
from .finding import Findings, Kind
from .wholeness import blob_damage

Document = dict[str, Any]
T = TypeVar("T")

PAGE = 20_000  # messages of one span
LOOK_UP = 500  # documents looked up by name at a time
UNPLACED = 100_000  # messages without a place that are looked into; more cannot be by accident
PLACED = {"state": 1, "history.digest": 1}
PLACE = {"message": 1, "digest": 1, "size_bytes": 1}
MESSAGE = {"account": 1, "sha256": 1, "size_bytes": 1, "blobs": 1}
SAME = (("digest", "sha256"), ("size_bytes", "size_bytes"))  # of a place and its message
ORIGINAL = {"account": 1, "sha256": 1, "size_bytes": 1, "raw.blob": 1}


@dataclass(slots=True)
class Inventory:
    """What there is of one account: `places` are those of `placed` distinct messages, `copies` of them, and `lone`."""

    account: str
    places: int = 0  # stored
    placed: int = 0  # messages that have one
    lone: int = 0  # places without their message
    former: int = 0  # messages whose place holds another one now
    unplaced: int = 0  # messages of a pass that is at work, or ended, before it could say where they lie
    originals: int = 0  # of the messages that have a place
    blobs: int = 0  # as often as one of them names one
    size_bytes: int = 0  # of the messages
    findings: Findings = field(default_factory=Findings)

    @property
    def messages(self) -> int:
        return self.placed + self.former + self.unplaced

    @property
    def copies(self) -> int:
        return self.places - self.placed - self.lone


def inventory(database: Database[Document], account: str, advance: Callable[[int], None]) -> Inventory:
    """Take stock of *account*; *advance* is told how many messages a page had. Changes nothing."""
    pages = _Count(database, Inventory(account))
    after, end = f"{account}:", f"{account};"  # ";" is what follows ":"
    while after != end:
        with translated():
            page = list(database.messages.find(_span(after, end), MESSAGE).sort("_id", 1).limit(PAGE))
        through = page[-1]["_id"] if len(page) == PAGE else end
        pages.page({message["_id"]: message for message in page}, _span(after, through))
        advance(len(page))
        after = through
    pages.settle()
    return pages.stock


def count(database: Database[Document], account: str) -> int:
    """How many messages *account* has."""
    with translated():
        return database.messages.count_documents({"account": account})


@dataclass(slots=True)
class _Count:
    """Takes stock page by page, each a span of `_id`s."""

    database: Database[Document]
    stock: Inventory
    unplaced: dict[str, str] = field(default_factory=dict)  # by digest

    def page(self, messages: dict[str, Document], span: Document) -> None:
        for id_, message in messages.items():
            if _contradicts(message, self.stock.account):
                self._found("message_changed", id_, "what it says contradicts its _id")
            self.stock.size_bytes += size_bytes if isinstance(size_bytes := message.get("size_bytes"), int) else 0
        placed = self._placed(messages, span)
        self.stock.placed += len(placed)
        self.stock.unplaced += len(messages.keys() - placed)
        if len(self.unplaced) < UNPLACED:
            self.unplaced.update((id_.rpartition(":")[2], id_) for id_ in messages.keys() - placed)
        relied_on = {id_: message for id_, message in messages.items() if id_ in placed}
        self._originals(relied_on, span)
        self._blobs(relied_on)

    def settle(self) -> None:
        """Tell why messages have no place: only the log knows whether they ever had one."""
        for chunk in _chunks(self._sealed()):
            sealed = dict(chunk)
            with translated():
                places = {each["_id"]: each for each in self.database.placements.find(_among(sealed), PLACED)}
            former = [
                self.unplaced[digest]
                for place, digest in sealed.items()
                if self._formerly(self.unplaced[digest], digest, place, places.get(place))
            ]
            self.stock.former += len(former)
            self.stock.unplaced -= len(former)
            with translated():
                messages = {each["_id"]: each for each in self.database.messages.find(_among(former), MESSAGE)}
            self._originals(messages, _among(former))
            self._blobs(messages)

    def _formerly(self, id_: str, digest: str, place: str, found: Document | None) -> bool:
        """Whether a message lay at *place*, and another one does now."""
        if found is None or found.get("state") != "stored":
            self._found("message_unplaced", id_, f"its place {place} was sealed, and is not there")
            return False
        return any(event.get("digest") == digest for event in found.get("history", ()))

    # --- places

    def _placed(self, messages: Mapping[str, Document], span: Document) -> set[str]:
        """Compare the places of a span with their messages; return which messages have one."""
        placed: set[str] = set()
        lone: dict[str, str] = {}
        with translated():
            for place in self.database.placements.find({"message": span["_id"], "state": "stored"}, PLACE):
                self.stock.places += 1
                if message := messages.get(place["message"]):
                    placed.add(place["message"])
                    self._agreed(place, message)
                else:
                    lone[place["_id"]] = place["message"]
        return placed | self._late(lone)

    def _agreed(self, place: Document, message: Document) -> None:
        if any(place.get(ours) != message.get(theirs) for ours, theirs in SAME):
            self._found("placement_changed", place["_id"], "its digest or size is not that of its message")

    def _late(self, lone: Mapping[str, str]) -> set[str]:
        """Look for the messages of *lone* places again: they may have come after their page was read."""
        there = self._present("messages", lone.values())
        for place, id_ in lone.items():
            if id_ not in there:
                self.stock.lone += 1
                self._found("message_missing", id_, f"it is not there, although {place} is stored")
        return there

    def _sealed(self) -> Iterator[tuple[str, str]]:
        """Return the places that the log knows for unplaced messages, each with the digest."""
        found: dict[str, str] = {}
        for seal in seals.entries(self.database, self.stock.account) if self.unplaced else ():
            if seal.get("kind") == "stored":
                facts = ((place.get("digest"), place["_id"]) for place in named(seal))
                found.update((digest, place) for digest, place in facts if digest in self.unplaced)
        return ((place, digest) for digest, place in found.items())

    # --- originals and blobs

    def _originals(self, messages: Mapping[str, Document], span: Document) -> None:
        missing = set(messages)
        unnamed: dict[str, set[str]] = {}
        with translated():
            for original in self.database.originals.find(span, ORIGINAL):
                if message := messages.get(original["_id"]):  # else its message is still to be written
                    missing.discard(original["_id"])
                    if _contradicts(original, self.stock.account):
                        self._found("message_changed", original["_id"], "its original contradicts its _id")
                    if more := _needed(original) - _named(message):
                        unnamed[original["_id"]] = more
        self.stock.originals += len(messages) - len(missing)
        for id_ in sorted(missing):
            self._found("original_missing", id_, "its original is not there")
        self._unnamed(unnamed)

    def _unnamed(self, needed: Mapping[str, set[str]]) -> None:
        """Look again at messages that do not name all blobs of their original: it may have been parsed again since."""
        for chunk in _chunks(needed):
            with translated():
                for message in self.database.messages.find(_among(chunk), MESSAGE):
                    for digest in sorted(needed[message["_id"]] - _named(message)):
                        self._found("message_changed", message["_id"], f"does not name blob {digest}, which it needs")

    def _blobs(self, messages: Mapping[str, Document]) -> None:
        wanted = {digest: id_ for id_, message in messages.items() for digest in _named(message)}
        self.stock.blobs += sum(len(_named(message)) for message in messages.values())
        for digest in sorted(wanted.keys() - blobs.present(self.database, wanted)):
            # One that is dying is whole all the same, if the sweeper only looks at it.
            if damage := blob_damage(self.database, digest):
                self._found("blob_missing", digest, f"message {wanted[digest]} needs it, but {damage}")

    def _present(self, collection: str, ids: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for chunk in _chunks(sorted(set(ids))):
            with translated():
                found |= {each["_id"] for each in self.database[collection].find(_among(chunk), {"_id": 1})}
        return found

    def _found(self, kind: Kind, what: str, text: str) -> None:
        self.stock.findings.add(kind, what, text)


def _contradicts(found: Document, account: str) -> bool:
    return found.get("account") != account or found["_id"] != f"{account}:{found.get('sha256')}"


def _named(message: Document) -> set[str]:
    return _texts(message.get("blobs"))


def _needed(original: Document) -> set[str]:
    raw = original.get("raw")
    return _texts(
        [segment.get("blob") for segment in raw if isinstance(segment, dict)] if isinstance(raw, list) else []
    )


def _texts(values: object) -> set[str]:
    return {value for value in values if isinstance(value, str)} if isinstance(values, list) else set()


def _span(after: str, through: str) -> Document:
    return {"_id": {"$gt": after, "$lte": through}}


def _among(ids: Iterable[str]) -> Document:
    return {"_id": {"$in": list(ids)}}


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, LOOK_UP)):
        yield chunk
