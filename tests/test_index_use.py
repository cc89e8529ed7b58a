"""However much is stored, a pass asks only what an index answers.

The embedded store uses an index for a filter that names an `_id`, or no more than the leading fields of it, and looks
through everything otherwise: so a query that is held to that is fast on any server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent

from ingestd.ingest import Wanted
from ingestd.store import indexes
from ingestd.store.messages import Terms
from ingestd.store.seals import AHEAD, Seals
from tests.fakes import ListMailbox, mail
from tests.mongodb import OPTIONS
from tests.passes import Bench

Document = Mapping[str, Any]

IDS = {"_id", "message", "files_id"}  # of these, a value has few documents


class Filters(CommandListener):
    """The filters that were sent, by collection."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Document]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.heard += [(event.command[event.command_name], each) for each in _filters(event)]

    def succeeded(self, event: object) -> None:
        pass

    def failed(self, event: object) -> None:
        pass


def _filters(event: CommandStartedEvent) -> Iterator[Document]:
    if event.command_name == "find":
        yield event.command["filter"]
    elif event.command_name == "update":
        yield from (each["q"] for each in event.command["updates"])


def answered(collection: str, asked: Document) -> bool:
    """Whether an index answers it."""
    if any(name.startswith("$") for name in asked):
        return False
    return not IDS.isdisjoint(asked) or any(_leads(index.document, asked) for index in indexes.INDEXES[collection])


def _leads(index: Document, asked: Document) -> bool:
    partial = index.get("partialFilterExpression", {})
    implied = all(_says(asked.get(name), what) for name, what in partial.items())
    # What an index holds anyway need not be among its fields.
    named, keys = set(asked), list(index["key"])
    return implied and any(
        set(keys[:count]) | set(partial) == named | set(partial) for count in range(1, len(keys) + 1)
    )


def _says(asked: Any, what: Any) -> bool:
    """Whether a filter says *what* an index does, maybe among other things."""
    return bool(asked == what) or (isinstance(what, dict) and isinstance(asked, dict) and what.items() <= asked.items())


def test_a_pass_asks_only_what_an_index_answers(bench: Bench, mongodb_uri: str) -> None:
    filters = Filters()
    mailbox = ListMailbox(*(mail(number) for number in range(1, 6)))
    copies = ListMailbox(*(mail(number) for number in range(1, 6)), name="Archive")
    with MongoClient[Any](mongodb_uri, event_listeners=[filters], **OPTIONS) as client:
        heard = replace(bench, database=client[bench.database.name])

        for each in (mailbox, copies, copies):
            heard.run(each, Wanted("all"))
        named = ListMailbox(mail(9), mail(10), name="Named")
        named.object_ids = {1: "M9", 2: "M10"}
        replace(heard, terms=Terms(over_pop3=True)).run(named, Wanted("all"))
        replace(heard, terms=Terms("seen")).run(ListMailbox(mail(7), name="Marked"), Wanted("all"))
        replace(heard, terms=Terms("delete")).run(ListMailbox(mail(8), name="Deleted"), Wanted("all"))

    slow = [(name, asked) for name, asked in filters.heard if name in indexes.INDEXES and not answered(name, asked)]
    assert {name for name, _ in filters.heard} >= {"messages", "placements"}
    assert slow == []


@pytest.mark.parametrize("written", [0, 3, AHEAD - 1, AHEAD + 1])
def test_the_newest_seal_is_found_near_what_a_mailbox_remembers(bench: Bench, mongodb_uri: str, written: int) -> None:
    bench.run(ListMailbox(mail(1)), Wanted("all"))
    log = Seals(bench.database, bench.lease)
    for _ in range(written):
        log.append([])
    filters = Filters()

    with MongoClient[Any](mongodb_uri, event_listeners=[filters], **OPTIONS) as client:
        found = Seals(client[bench.database.name], bench.lease)

    assert found.number == log.number
    asked = [filter_["_id"] for name, filter_ in filters.heard if name == "seals"]
    assert [next(iter(each)) for each in asked] == (["$in"] if written < AHEAD - 1 else ["$in", "$gte"])
