"""Stored messages that could be understood only in part, or not at all: which, why, and what of them was read.

Nothing here tells what a message says, to whom, or what its files are called.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo.database import Database

from ..mime.parse import PARSE_VERSION
from ..store.database import translated

Document = dict[str, Any]

STATUSES = ("partial", "failed")
_FIELDS = {"account": 1, "size_bytes": 1, "ingested_at": 1, "parse": 1}


@dataclass(frozen=True, slots=True)
class Defective:
    """A message with defects, or cut by limits."""

    message: str
    status: str
    size_bytes: int
    ingested_at: datetime
    defects: tuple[str, ...]
    limits: tuple[str, ...]
    version: int


@dataclass(frozen=True, slots=True)
class Count:
    """How many messages have a defect, or are cut by a limit."""

    what: str  # "defect" or "limit"
    name: str
    messages: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of how a message is made, and what could be read of it."""

    message: Defective
    kind: str
    parts: tuple[Document, ...]
    read: Document  # by field: whether it was there and could be read, or how much
    mailboxes: tuple[str, ...]
    outdated: bool  # an older version of the parser read it


def wanted(account: str | None = None, status: str | None = None, defect: str | None = None) -> Document:
    """The filter on `messages`; *defect* is how a defect or limit begins."""
    chosen: Document = {"parse.status": {"$in": [status] if status else list(STATUSES)}}
    if account is not None:
        chosen["account"] = account
    if defect is not None:
        begins = {"$regex": f"^{re.escape(defect)}"}
        chosen["$or"] = [{"parse.defects": begins}, {"parse.limits": begins}]
    return chosen


def listed(database: Database[Document], chosen: Document, limit: int) -> Iterator[Defective]:
    """Yield at most *limit* of the messages that *chosen* selects, by `_id`."""
    with translated():
        yield from map(_defective, database.messages.find(chosen, _FIELDS).sort("_id", 1).limit(limit))


def count(database: Database[Document], chosen: Document) -> int:
    with translated():
        return database.messages.count_documents(chosen)


def counts(database: Database[Document], chosen: Document) -> list[Count]:
    """How many of the messages that *chosen* selects have which defects and limits, the most frequent first."""
    return [
        Count(what, found["_id"], int(found["messages"]))
        for what in ("defect", "limit")
        for found in _frequencies(database, chosen, f"parse.{what}s")
    ]


def shape(database: Database[Document], message: Document) -> Shape:
    """What is known of *message*, its `messages` document."""
    with translated():
        original = database.originals.find_one({"_id": message["_id"]}, {"parts": 1, "html": 1}) or {}
    return Shape(
        message=_defective(message),
        kind=message["kind"],
        parts=tuple(_part(part) for part in original.get("parts", [])),
        read=_read(message, original),
        mailboxes=tuple(message["mailboxes"]),
        outdated=message["parse"]["version"] < PARSE_VERSION,
    )


def meanings(message: Defective) -> dict[str, dict[str, str | None]]:
    """What the defects and limits of *message* mean, in words; None for one that speaks for itself."""
    defects = {name: _DEFECTS.get(re.split(r":| \(", name)[0]) for name in message.defects}
    return {"defects": defects, "limits": {name: _LIMITS.get(name) for name in message.limits}}


def _frequencies(database: Database[Document], chosen: Document, field: str) -> Iterator[Document]:
    with translated():
        yield from database.messages.aggregate(
            [
                {"$match": chosen},
                {"$project": {"name": f"${field}"}},
                {"$unwind": "$name"},
                {"$group": {"_id": "$name", "messages": {"$sum": 1}}},
                {"$sort": {"messages": -1, "_id": 1}},
            ]
        )


def _defective(found: Document) -> Defective:
    parse = found["parse"]
    return Defective(
        message=found["_id"],
        status=parse["status"],
        size_bytes=int(found["size_bytes"]),
        ingested_at=found["ingested_at"],
        defects=tuple(parse["defects"]),
        limits=tuple(parse["limits"]),
        version=int(parse["version"]),
    )


def _part(found: Document) -> Document:
    """A part without its name, which is mail; how the name ends says enough."""
    return {
        "part": found["part"],
        "content_type": found["content_type"],
        "charset": found["charset"],
        "encoding": found["encoding"],
        "named": found["filename"] is not None,
        "size_bytes": int(found["size_bytes"]),
    }


def _read(message: Document, original: Document) -> Document:
    return {
        "subject": message["subject"] is not None,
        "from": message["from"] is not None,
        "recipients": len(message["recipients"]),
        "date": message["date_source"],
        "message_id": message["message_id"] is not None,
        "text": message["text_source"] or "none",
        "text_characters": len(message["text"]),
        "text_truncated": message["text_truncated"],
        "html": original.get("html") is not None,
        "attachments": message["attachment_count"],
        "forwarded_messages": len(message["embedded"]),
        "received": len(message["received"]),
    }


_DEFECTS = {
    "address": "something in this header is no address; what could be read is there",
    "binhex": "a file within the text lacks its end; it is given as far as it is there",
    "boundary_guessed": "the header names another boundary than the body uses; the body's is used",
    "boundary_missing": "a multipart without a boundary; it is kept as text",
    "boundary_never_found": "the boundary that a multipart names never comes; it is kept as text",
    "charset": "text is not in the charset that it claims, or in one that nobody knows; it was decoded by its looks",
    "content_type": "a Content-Type that is none; taken for text/plain",
    "date": "the Date header cannot be read; `date` is that of the topmost Received header",
    "header_line": "a line in the header that is no field; passed over",
    "mbox_separator": 'the "From " line of an mbox file stands before the header',
    "missing_close_boundary": "a multipart does not end; it may have been cut off on its way",
    "missing_header_body_separator": "no blank line between header and body",
    "multipart_encoding": "a multipart claims a transfer encoding, which none may have",
    "parser": "the parser broke at it, so only the raw message is kept; that is a fault of ours, please report it",
    "rtf": "the rich text in a winmail.dat is damaged",
    "the parser died": "reading it took too long or too much memory, so only the raw message is kept",
    "transfer_encoding": "an unknown Content-Transfer-Encoding, or one that is not true; the part is taken as it is",
    "uuencode": "a file within the text lacks its end; it is given as far as it is there",
}
_LIMITS = {
    "addresses": "more than 1,000 addresses; the rest is in the raw message only",
    "boundary": "a boundary over 200 bytes; its parts were not looked for",
    "depth": "more than 50 multiparts within each other; deeper ones are kept whole",
    "derived": "more files within parts than are listed",
    "embedded": "more messages within messages than are looked into, or a very large one",
    "header_block": "a header over 256 KiB; the rest is in the raw message only",
    "header_line": "a line of the header over 64 KiB; the rest is in the raw message only",
    "headers": "more than 1,000 header fields; the rest is in the raw message only",
    "html": "more HTML than a document may hold; whole in the raw message only",
    "parameters": "more than 500 parameters in one header field",
    "parts": "more than 2,000 parts; the rest is in the raw message only",
    "received": "more than 100 Received fields",
    "references": "more than 200 references; the first and the last ones are kept",
}
