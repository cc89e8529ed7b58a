"""A MongoDB server that keeps nothing of the mail: it says yes to whatever is written, and has nothing when asked.

What the trip of a message costs us is measured with it: no store takes a share of the CPU. Leases, checkpoints and
seals are passed on to a real server behind it, so that the daemon's own code path is run unchanged.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from bench.relay import OP_MSG, Relay

HEAVY = {"messages", "originals", "placements", "blobs.files", "blobs.chunks"}
ANSWERED = {"insert", "update", "find", "aggregate"}
CHECKSUM = 1  # a flag: four bytes follow the sections

Document = dict[str, Any]


class Discard(Relay):
    """Answers for the server on *port*, and listens as `Relay` does."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._digests = Counter[str]()

    def taken(self) -> Counter[str]:
        """The digests of the messages that it has said to have stored, since it was last asked."""
        digests, self._digests = self._digests, Counter()
        return digests

    def _answer(self, request: bytes) -> bytes | None:
        """What a server says that has done what was asked, or None where the server behind is to be asked."""
        number, operation = struct.unpack_from("<4xi4xi", request)
        if operation != OP_MSG:
            return None
        command, sequences = _sections(request)
        verb = next(iter(command))
        if verb not in ANSWERED or command[verb] not in HEAVY:
            return None
        if (verb, command[verb]) == ("update", "placements"):
            self._digests.update(_stored(sequences.get("updates") or command["updates"]))
        body = bson.encode({**_said(verb, command, sequences), "ok": 1.0})
        return struct.pack("<iiiiIB", 21 + len(body), 0, number, OP_MSG, 0, 0) + body


def _stored(updates: Any) -> Iterator[str]:
    """The digests of the messages whose places are committed."""
    for each in updates:
        facts = each["u"].get("$set", {}) if isinstance(each["u"], RawBSONDocument | dict) else {}
        if facts.get("state") == "stored":
            yield facts["digest"]


def _said(verb: str, command: Document, sequences: dict[str, list[RawBSONDocument]]) -> Document:
    if verb in ("find", "aggregate"):
        return {"cursor": {"firstBatch": [], "id": 0, "ns": f"{command['$db']}.{command[verb]}"}}
    if verb == "insert":
        return {"n": len(sequences.get("documents") or command["documents"])}
    updates = sequences.get("updates") or command["updates"]
    upserted = [{"index": at, "_id": each["q"]["_id"]} for at, each in enumerate(updates) if each.get("upsert")]
    return {"n": sum(map(_matched, updates)), "nModified": 0, **({"upserted": upserted} if upserted else {})}


def _matched(update: Any) -> int:
    """How many documents an update is about: a touch names all of them."""
    wanted = update["q"].get("_id")
    return len(wanted["$in"]) if isinstance(wanted, RawBSONDocument | dict) else 1


def _sections(message: bytes) -> tuple[Document, dict[str, list[RawBSONDocument]]]:
    """The command of an OP_MSG, and its document sequences (MongoDB Wire Protocol, "OP_MSG")."""
    (flags,) = struct.unpack_from("<I", message, 16)
    end, at = len(message) - 4 * (flags & CHECKSUM), 20
    command: Document = {}
    sequences: dict[str, list[RawBSONDocument]] = {}
    while at < end:
        kind, (size,) = message[at], struct.unpack_from("<i", message, at + 1)
        if kind == 0:
            command = bson.decode(message[at + 1 : at + 1 + size])
        else:
            name, _, rest = message[at + 5 : at + 1 + size].partition(b"\0")
            sequences[name.decode()] = list(_documents(rest))
        at += 1 + size
    return command, sequences


def _documents(data: bytes) -> Iterator[RawBSONDocument]:
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<i", data, at)
        yield RawBSONDocument(data[at : at + size])
        at += size
