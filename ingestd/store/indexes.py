"""The indexes, each for a question that is asked every day. All `_id`s are deterministic: no other one is unique."""

from __future__ import annotations

from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.database import Database

from . import database as db

Document = dict[str, Any]


def _index(*fields: str, **options: Any) -> IndexModel:
    keys = [(field.lstrip("-"), DESCENDING if field.startswith("-") else ASCENDING) for field in fields]
    return IndexModel(keys, name="_".join(field.lstrip("-").replace(".", "_") for field in fields), **options)


# Of the documents that have the field. MongoDB uses such an index only for a query that says the same, or from which it
# follows by comparison: it does from {"$in": [...]}, as {"$type": "string"} would not.
GIVEN: Document = {"$gt": ""}

INDEXES: dict[str, tuple[IndexModel, ...]] = {
    "messages": (
        _index("account", "-date", "-_id"),  # a page of one account, newest first
        _index("-date", "-_id"),  # the same over all accounts; volume per day
        _index("from.address", "-date"),  # what somebody sent
        _index("from.domain", "-date"),  # what a company sent
        _index("recipients", "-date"),  # what somebody got
        _index("thread_id", "date"),  # a conversation in order
        _index("message_id"),  # what a reply or a person refers to
        _index("attachments.sha256"),  # who got this file
        _index("blobs"),  # whether a blob is still needed
        _index("kind", "-date"),  # bounces, newsletters
        _index("mailboxes", "-date"),  # a page of one mailbox
        _index("modified_at", "_id"),  # what changed since a watermark
        _index("account", "canonical", partialFilterExpression={"canonical": GIVEN}),  # pairs
        _index("account", "same_as", partialFilterExpression={"same_as": GIVEN}),  # how many variants
    ),
    "mailboxes": (
        _index("account"),  # those of an account
    ),
    "placements": (
        _index("account", "mailbox", "epoch", "uid", "state"),  # what is known of these UIDs
        _index("message"),  # where a message lies
        _index("account", "digest"),  # copies of one message
        _index("account", "object_id", partialFilterExpression={"object_id": GIVEN}),  # twins
        _index("account", "mailbox", "epoch", "next_try", partialFilterExpression={"state": "fetching"}),  # to do again
        _index("account", "mailbox", "epoch", "uid", partialFilterExpression={"state": "quarantined"}),  # given up
        _index("account", "mailbox", "epoch", "present", partialFilterExpression={"epoch": 0}),  # in a maildrop
        _index("account", "mailbox", "epoch", "ack", partialFilterExpression={"ack": "pending"}),  # what to tell
    ),
    "blobs.chunks": (_index("files_id", "n"),),  # a blob in order; not unique, so that it can be sharded
}


def ensure(database: Database[Document]) -> list[str]:
    """Build the indexes of collections that are empty; return the names of those that are missing elsewhere.

    On a large collection building takes a while and costs the server, so that is left to `build`, when a person asks.
    """
    for name, wanted in INDEXES.items():
        if (absent := _absent(database, name, wanted)) and _empty(database, name):
            _create(database, name, absent)
    return missing(database)


def build(database: Database[Document]) -> list[str]:
    """Build every index that is missing, however long it takes; return their names."""
    built: list[str] = []
    for name, wanted in INDEXES.items():
        if absent := _absent(database, name, wanted):
            _create(database, name, absent)
            built += [f"{name}.{index.document['name']}" for index in absent]
    return built


def missing(database: Database[Document]) -> list[str]:
    """Return the names of the indexes that are missing. Changes nothing."""
    return [
        f"{name}.{index.document['name']}"
        for name, wanted in INDEXES.items()
        for index in _absent(database, name, wanted)
    ]


def _absent(database: Database[Document], name: str, wanted: tuple[IndexModel, ...]) -> list[IndexModel]:
    with db.translated():
        there = {index["name"] for index in database[name].list_indexes()}
    return [index for index in wanted if index.document["name"] not in there]


def _empty(database: Database[Document], name: str) -> bool:
    with db.translated():
        return database[name].find_one({}, {"_id": 1}) is None


def _create(database: Database[Document], name: str, indexes: list[IndexModel]) -> None:
    with db.translated():
        database[name].create_indexes(indexes)
