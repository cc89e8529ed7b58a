"""A database that holds much mail already, made in minutes: real documents, multiplied.

Some hundred messages are taken in by ingestd itself. Each is then written again and again, as the BSON that is stored,
with digests, Message-ID, times and UID of its own, in every collection that holds something of it, and sealed. The
indexes are built afterwards, as `ingestd migrate` does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import bson
from bson import Int64
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from bench.say import counting, say
from ingestd.store import seals
from ingestd.store.indexes import INDEXES
from ingestd.store.placements import Epoch

Document = dict[str, Any]
Written = dict[str, list[RawBSONDocument]]  # by collection

RAW = CodecOptions[RawBSONDocument](document_class=RawBSONDocument)
AT_ONCE = 500  # messages
SEALED_AT_ONCE = 100  # as the daemon does
APART = timedelta(seconds=20)  # two messages of the filling, on average


@dataclass(frozen=True, slots=True)
class Seed:
    """What is stored of one message, with what is another in each of its likenesses."""

    documents: Mapping[str, Sequence[bytes]]  # by collection; all but the placement
    placement: Document
    digests: Sequence[str]  # its own, and those of its blobs
    message_id: str
    times: Sequence[datetime]

    def likeness(self, number: int) -> tuple[dict[str, list[bytes]], Document]:
        """The documents of the message *number*, and its placement."""
        changes = [*self._digests(number), *self._times(number), self._message_id(number)]
        documents = {name: [_changed(each, changes) for each in some] for name, some in self.documents.items()}
        digest = changes[0][1].decode()
        place = self._epoch.place(self._above + number)
        new = {"_id": place.id, "uid": Int64(place.uid), "message": f"{place.account}:{digest}", "digest": digest}
        return documents, {**self.placement, **new}

    def _digests(self, number: int) -> Iterator[tuple[bytes, bytes]]:
        for digest in self.digests:
            yield digest.encode(), sha256(f"{digest}{number}".encode()).hexdigest().encode()

    def _times(self, number: int) -> Iterator[tuple[bytes, bytes]]:
        for time in self.times:
            yield _milliseconds(time), _milliseconds(time - number * APART)

    def _message_id(self, number: int) -> tuple[bytes, bytes]:
        """Of the same length, since it stands within documents whose lengths are written before them."""
        local, at, domain = self.message_id.partition("@")
        return self.message_id.encode(), f"{number:0{len(local)}}{at}{domain}".encode()

    @property
    def _epoch(self) -> Epoch:
        place = self.placement
        uidvalidity = int(place["_id"].partition("UIDVALIDITY=")[2].partition("/")[0])
        return Epoch(place["account"], place["mailbox"], place["epoch"], uidvalidity)

    @property
    def _above(self) -> int:
        """The UIDs below are those of the seeds."""
        return 1000


def seeds(database: Database[Document]) -> list[Seed]:
    """What *database*, which ingestd has filled, holds of each message."""
    raw = database.with_options(RAW)
    return [_seed(raw, placement) for placement in database.placements.find({"state": "stored"}).sort("uid", 1)]


def _seed(raw: Database[RawBSONDocument], placement: Document) -> Seed:
    message = next(raw.messages.find({"_id": placement["message"]}))
    found = {
        "blobs.files": {"_id": {"$in": list(message["blobs"])}},
        "blobs.chunks": {"files_id": {"$in": list(message["blobs"])}},
        "originals": {"_id": placement["message"]},
    }
    documents = {name: [bytes(each.raw) for each in raw[name].find(which)] for name, which in found.items()}
    return Seed(
        {**documents, "messages": [bytes(message.raw)]},
        placement,
        [message["sha256"], *message["blobs"]],
        message["message_id"],
        [message["date"], message["modified_at"]],
    )


def fill(database: Database[Document], found: Sequence[Seed], count: int) -> None:
    """Write *count* messages like those *found* to *database*, which is empty, and build its indexes."""
    log = _Log(found[0].placement["account"])
    with counting(f"filling {database.name}", count) as progress:
        for start in range(0, count, AT_ONCE):
            for name, documents in _batch(found, range(start, min(start + AT_ONCE, count)), log).items():
                if documents:
                    database[name].insert_many(documents, ordered=False)
            progress(min(start + AT_ONCE, count))
    _index(database)


def _batch(found: Sequence[Seed], numbers: range, log: _Log) -> Written:
    written: Written = {"placements": []}
    places = []
    for number in numbers:
        documents, placement = found[number % len(found)].likeness(number)
        places.append(placement)
        for name, some in documents.items():
            written.setdefault(name, []).extend(map(RawBSONDocument, some))
    written["placements"] = [RawBSONDocument(bson.encode(place)) for place in places]
    starts = range(0, len(places), SEALED_AT_ONCE)
    written["seals"] = [RawBSONDocument(log.seal(places[start : start + SEALED_AT_ONCE])) for start in starts]
    return written


class _Log:
    """The seals of one account, in a chain."""

    def __init__(self, account: str) -> None:
        self._account, self._number = account, 0
        self._previous: str | None = None

    def seal(self, places: Sequence[Document]) -> bytes:
        self._number += 1
        seal = {
            "_id": seals.id_of(self._account, self._number),
            "account": self._account,
            "n": self._number,
            "kind": "stored",
            "token": 1,
            "sealed_at": places[0]["committed_at"].replace(microsecond=0),
            "previous": self._previous,
            "places": [{name: place[name] for name in ("_id", "digest", "size_bytes")} for place in places],
        }
        self._previous = seals.chained(seal)
        return bson.encode({**seal, "hash": self._previous})


def _index(database: Database[Document]) -> None:
    """Build each index, saying so: with a million messages one takes a while."""
    for name, wanted in INDEXES.items():
        for index in wanted:
            say(f"{database.name}: building {name}.{index.document['name']}")
            database[name].create_indexes([index])


def _changed(data: bytes, changes: Sequence[tuple[bytes, bytes]]) -> bytes:
    for old, new in changes:
        data = data.replace(old, new)
    return data


def _milliseconds(time: datetime) -> bytes:
    """As BSON has it."""
    return struct.pack("<q", round(time.timestamp() * 1000))
