"""`ingestd show`: one message, as it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import typer

from ..errors import Refused
from ..mime.text import snippet
from .command import READ, Session, command
from .output import Bytes, cell, table

Wanted = Annotated[
    str, typer.Argument(metavar="ID", help="The start of its SHA-256, its Message-ID, or its _id.", show_default=False)
]
Raw = Annotated[bool, typer.Option("--raw", help="Write the original message, byte for byte, to stdout.")]
Number = Annotated[
    int | None, typer.Option("--attachment", min=1, metavar="N", help="Write the Nth attachment to stdout, decoded.")
]

Document = dict[str, Any]

FIELDS = ("_id", "message_id", "date", "subject", "kind", "thread_id", "size_bytes", "mailboxes", "ingested_at")


def register(app: typer.Typer) -> None:
    command(app, show, READ)


def show(session: Session, wanted: Wanted, raw: Raw = False, attachment: Number = None) -> None:
    """Show one message: its fields, its parts, where it lies; or give it or an attachment back byte for byte.

    What is written by --raw and --attachment is checked against its SHA-256; if it is not what was stored, that is said
    and the exit code is 1.
    """
    from ..archive import rebuild, search
    from ..daemon import reading

    if raw and attachment is not None:
        raise Refused("show: give --raw or --attachment, not both")
    with reading(session.config) as database:
        message = search.one(database, wanted)
        if raw:
            session.output.write(rebuild.original(database, message))
        elif attachment is not None:
            session.output.write(rebuild.attachment(database, message, _nth(message, attachment)))
        else:
            parts = (database.originals.find_one({"_id": message["_id"]}, {"parts": 1}) or {}).get("parts", [])
            places = list(database.placements.find({"message": message["_id"]}).sort("_id"))
            session.output.emit(
                {**message, "parts": parts, "placements": places},
                lambda: "\n".join(_lines(session, message, parts, places)),
            )


def _nth(message: Document, number: int) -> Document:
    attachments = message["attachments"]
    if number > len(attachments):
        raise Refused(f"message {message['_id']}: has {len(attachments):,} attachments, and no number {number:,}")
    found: Document = attachments[number - 1]
    return found


def _lines(session: Session, message: Document, parts: list[Document], places: list[Document]) -> Iterator[str]:
    people = {"from": [message["from"]], "to": message["to"], "cc": message["cc"]}
    for name in FIELDS[:3]:
        yield f"{name:12} {cell(message[name])}{' UTC' if isinstance(message[name], datetime) else ''}"
    for name, found in people.items():
        if shown := ", ".join(_person(one) for one in found if one):
            yield f"{name:12} {shown}"
    for name in FIELDS[3:]:
        value = Bytes(message[name]) if name == "size_bytes" else message[name]
        shown = ", ".join(value) if isinstance(value, list) else cell(value)
        yield f"{name:12} {shown}{' UTC' if isinstance(value, datetime) else ''}"
    parse = message["parse"]
    yield f"{'parse':12} {parse['status']}{''.join(f'; {why}' for why in (*parse['defects'], *parse['limits']))}"
    yield f"{'text':12} {cell(message['snippet'])}"
    for each in message.get("outside", ()):  # a message that an older version has parsed has none yet
        yield f"{each['place']:12} {cell(snippet(each['text']))}"
    yield from _parts(session, parts)
    yield from _attachments(session, message)
    yield ""
    for place in places:
        yield f"{place['state']:12} {place['_id']}{'' if place['present'] else ' (no longer there)'}"


def _parts(session: Session, parts: list[Document]) -> Iterator[str]:
    if parts:
        yield ""
        rows = [
            (
                "  " * part["part"].count(".") + (part["part"] or "whole"),
                part["content_type"],
                part["charset"],
                part["encoding"],
                part["filename"],
                Bytes(part["size_bytes"]),
            )
            for part in parts
        ]
        columns = ("part", "content type", "charset", "encoding", "file name", "size")
        yield session.output.rendered(table(columns, rows))


def _attachments(session: Session, message: Document) -> Iterator[str]:
    if message["attachments"]:
        yield ""
        rows = [
            (number, each["part"], each["filename"] or each["filename_safe"], Bytes(each["size_bytes"]), each["sha256"])
            for number, each in enumerate(message["attachments"], 1)
        ]
        yield session.output.rendered(table(("attachment", "part", "file name", "size", "SHA-256"), rows))


def _person(address: Document) -> str:
    return f"{address['name']} <{address['address']}>" if address["name"] else str(address["address"])
