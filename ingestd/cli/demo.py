"""`ingestd demo`: the main job, shown for real."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import summaries
from .command import START, Session, command
from .once import Watching
from .output import Bytes, Output, table

if TYPE_CHECKING:
    from pymongo.database import Database

    from ..config import Config

Directory = Annotated[
    Path, typer.Option("--directory", metavar="DIR", help="Where to keep what is stored; an earlier demo there goes.")
]

Document = dict[str, Any]

# A question, the pipeline over `messages` that answers it (docs/data.md has twelve more), and the columns to show.
QUESTIONS: tuple[tuple[str, list[Document], tuple[str, ...]], ...] = (
    (
        "Who writes most?",
        [
            {"$match": {"from.domain": {"$gt": ""}}},
            {"$group": {"_id": "$from.domain", "messages": {"$sum": 1}, "size_bytes": {"$sum": "$size_bytes"}}},
            {"$sort": {"messages": -1, "_id": 1}},
            {"$limit": 5},
            {"$project": {"_id": 0, "domain": "$_id", "messages": 1, "size_bytes": 1}},
        ],
        ("domain", "messages", "size_bytes"),
    ),
    (
        "Which files came more than once?",
        [
            {"$unwind": "$attachments"},
            {"$match": {"attachments.filename": {"$ne": None}}},
            {
                "$group": {
                    "_id": "$attachments.sha256",
                    "file": {"$first": "$attachments.filename"},
                    "messages": {"$sum": 1},
                    "size_bytes": {"$first": "$attachments.size_bytes"},
                }
            },
            {"$match": {"messages": {"$gt": 1}}},
            {"$sort": {"messages": -1, "_id": 1}},
            {"$limit": 5},
        ],
        ("file", "messages", "size_bytes"),
    ),
    (
        "What kinds of mail are there?",
        [
            {"$group": {"_id": "$kind", "messages": {"$sum": 1}, "attachments": {"$sum": "$attachment_count"}}},
            {"$sort": {"messages": -1, "_id": 1}},
            {"$project": {"_id": 0, "kind": "$_id", "messages": 1, "attachments": 1}},
        ],
        ("kind", "messages", "attachments"),
    ),
)

NEXT = """\
What was stored stays in {directory}. What to type next:

  {ingestd} --config {file} status
  {ingestd} --config {file} show {digest}

The next one keeps the store running and prints a URI for mongosh and Compass; in another terminal, with that URI:

  {ingestd} --config {file} db
  {python} -c 'import pymongo; print(pymongo.MongoClient("URI")["ingestd"].messages.find_one({{}}, {{"subject": 1}}))'

To take in a mailbox of your own:

  {ingestd} init --config ingestd.toml      asks for your mail address, and writes a configuration
  {ingestd} --config ingestd.toml check     logs in, says what would be taken in, changes nothing
  {ingestd} --config ingestd.toml once
"""


def register(app: typer.Typer) -> None:
    command(app, demo, START)


def demo(session: Session, directory: Directory = Path("ingestd-demo")) -> None:
    """Take a sample mailbox on a real mail server into a store, twice, and look at what was found.

    The mail server is a private Dovecot on loopback; without one, the samples are taken from files. The store is the
    embedded one. Both are stopped at the end; what was stored stays in DIR.
    """
    from ..daemon import opened, reading
    from ..demo.setting import setting

    output, began = session.output, monotonic()
    with setting(directory.absolute()) as ready:
        output.note(_scene(ready.without_server, ready.delivered))
        with opened(ready.config) as daemon, Watching(output) as watch:
            output.note("\nThe first pass:")
            first = ready.visit(daemon, watch)
            output.note("\nThe second pass, which has nothing left to do:")
            second = ready.visit(daemon, watch)
    with reading(ready.config) as database:
        answers = [(title, list(database.messages.aggregate(pipeline)), shown) for title, pipeline, shown in QUESTIONS]
        rebuilt = _rebuilt(database)
    data = {
        "first": [summaries.as_data(summary) for summary in first],
        "second": [summaries.as_data(summary) for summary in second],
        "answers": {title: answer for title, answer, _ in answers},
        "rebuilt": rebuilt,
        "config": ready.config.file,
        "seconds": round(monotonic() - began, 2),
    }
    output.emit(data, lambda: "\n".join(_lines(output, ready.config, first, answers, rebuilt)))


def _scene(without_server: str | None, delivered: int) -> str:
    if without_server:
        return f"No mail server ({without_server}).\nTaking {delivered} sample messages from files instead."
    return f"A private Dovecot serves {delivered:,} messages over TLS; ingestd takes in what is unread."


def _rebuilt(database: Database[Document]) -> Document:
    """Rebuild the largest message from the database, and check its digest."""
    from ..archive import rebuild

    message = next(database.messages.find({}, {"sha256": 1}).sort("size_bytes", -1).limit(1))
    digest, size = sha256(), 0
    for piece in rebuild.original(database, message):
        digest.update(piece)
        size += len(piece)
    return {"message": message["_id"], "size_bytes": size, "sha256": digest.hexdigest(), "expected": message["sha256"]}


def _lines(
    output: Output,
    config: Config,
    first: Iterable[Any],
    answers: list[tuple[str, list[Document], tuple[str, ...]]],
    rebuilt: Document,
) -> Iterator[str]:
    if advice := summaries.advice(first):
        yield advice
    for title, answer, columns in answers:
        yield f"\n{title}"
        yield output.rendered(table(columns, map(_row(columns), answer)))
    same = "the same" if rebuilt["sha256"] == rebuilt["expected"] else "ANOTHER"
    yield f"\nThe largest message, rebuilt from the database: {rebuilt['size_bytes']:,} bytes,"
    yield f"SHA-256 {rebuilt['sha256']}, {same} as when it arrived.\n"
    yield NEXT.format(
        directory=config.file.parent,
        file=shlex.quote(str(config.file)),
        digest=rebuilt["expected"][:12],
        ingestd=shlex.quote(sys.argv[0]),
        python=shlex.quote(sys.executable),
    ).rstrip()


def _row(columns: tuple[str, ...]) -> Any:
    return lambda document: [Bytes(document[name]) if name == "size_bytes" else document[name] for name in columns]
