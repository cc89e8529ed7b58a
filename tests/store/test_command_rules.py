"""The rules about our commands: that each one bites, and that what we mean to send passes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Int64
from pymongo import DeleteOne, IndexModel, InsertOne, MongoClient, ReturnDocument, UpdateOne
from pymongo.database import Database
from pymongo.errors import OperationFailure

from tests.mongodb import OPTIONS, Document
from tests.mongodb_commands import BATCH_COUNT, LEVELS, CommandRules, violations

KEY = {"_id": "work:00", "account": "work"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def insert(*documents: Document) -> Document:
    return {"insert": "messages", "documents": list(documents)}


def update(change: Any, query: Document = KEY, **options: Any) -> Document:
    return {"update": "messages", "updates": [{"q": query, "u": change, **options}]}


def find(query: Document, **options: Any) -> Document:
    return {"find": "messages", "filter": query, **options}


def aggregate(*stages: Document) -> Document:
    return {"aggregate": "messages", "pipeline": list(stages), "cursor": {}}


def index(collection: str = "messages", **options: Any) -> Document:
    return {"createIndexes": collection, "indexes": [{"key": {"date": 1}, "name": "date_1", **options}]}


def said(command: Document) -> list[str]:
    return list(violations(next(iter(command)), command))


def nested(levels: int) -> Document:
    document: Document = {}
    for _ in range(levels):
        document = {"x": document}
    return document


BROKEN: dict[str, tuple[Document, str]] = {
    "a command": ({"serverStatus": 1}, "commands"),
    "an explained command": ({"explain": find({"$where": "1"}), "verbosity": "queryPlanner"}, "operators of a query"),
    # sizes
    "a batch": (insert(*[{}] * (BATCH_COUNT + 1)), "batch of more than"),
    "a message": (insert(*[{"x": b"x" * (10 << 20)}] * 5), "message of more than"),
    "a document": (insert({"x": b"x" * (16 << 20)}), "document of more than .* bytes"),
    "a large update": (update({"$set": {"x": b"x" * (16 << 20)}}), "document of more than .* bytes"),
    "levels": (insert(nested(LEVELS + 1)), "levels"),
    # keys
    "a key of a document": (insert({"a": [{"$b": 1}]}), r"key \$b"),
    "a key of a replacement": (update({"a": {"$b": 1}}), r"key \$b"),
    "a key of a value that is set": (update({"$set": {"a": {"$b": 1}}}), r"key \$b"),
    "a key of a value that is pushed": (update({"$push": {"a": {"$each": [{"$b": 1}]}}}), r"key \$b"),
    "a key of a value that is compared": (find({"a": {"b": {"$gt": 1}}}), r"key \$gt"),
    "an operator as a field": (update({"$set": {"$inc": 1}}), "where a field name is expected"),
    "an operator in a path": (update({"$set": {"a.$inc": 1}}), "where a field name is expected"),
    # queries
    "an operator of a query": (find({"$where": "true"}), "operators of a query"),
    "a condition": (find({"a": {"$near": [1, 2]}}), "conditions"),
    "a condition within others": (find({"$or": [{"a": {"$not": {"$foo": 1}}}]}), "conditions"),
    "a condition of an element": (find({"a": {"$elemMatch": {"b": {"$foo": 1}}}}), "conditions"),
    "a condition of an update": (update({"$set": {"a": 1}}, {**KEY, "a": {"$foo": 1}}), "conditions"),
    "a condition of a deletion": ({"delete": "x", "deletes": [{"q": {"a": {"$foo": 1}}, "limit": 0}]}, "conditions"),
    "a condition of a count": ({"count": "x", "query": {"a": {"$foo": 1}}}, "conditions"),
    "an expression of a query": (find({"$expr": {"$foo": 1}}), "expressions"),
    "a projection": (find({}, projection={"a": {"$foo": 1}}), "projections"),
    "a direction": (find({}, sort={"a": "up"}), "direction of sorting"),
    # updates
    "an operator of an update": (update({"$bit": {"a": {"and": 1}}}), "operators of an update"),
    "a modifier": (update({"$push": {"a": {"$each": [1], "$foo": 1}}}), "modifiers"),
    "a modifier of a set": (update({"$addToSet": {"a": {"$each": [1], "$slice": 1}}}), "modifiers"),
    "a condition of a pull": (update({"$pull": {"a": {"b": {"$foo": 1}}}}), "conditions"),
    "a current date": (update({"$currentDate": {"a": "date"}}), "neither date nor timestamp"),
    "an array filter": (update({"$set": {"a.$[x]": 1}}, arrayFilters=[{"x": {"$foo": 1}}]), "conditions"),
    "two operations on a field": (update({"$set": {"a": 1}, "$setOnInsert": {"a": 1}}), "two operations on a"),
    "two operations on parts of a field": (update({"$set": {"a": {}}, "$inc": {"a.b": 1}}), "two operations on a.b"),
    "a stage of an update": (update([{"$group": {"_id": None}}]), "stages"),
    "an expression of an update": (update([{"$set": {"a": {"$foo": 1}}}]), "expressions"),
    # sharding
    "an upsert by _id alone": (update({"$set": {"a": 1}}, {"_id": "x"}, upsert=True), r"upsert .* \['account'\]"),
    "an upsert of a range": (
        update({"$set": {"a": 1}}, {"_id": {"$in": ["x"]}, "account": "work"}, upsert=True),
        r"upsert .* \['_id'\]",
    ),
    "an upsert of a pattern": (
        update({"$set": {"a": 1}}, {"_id": re.compile("x"), "account": "work"}, upsert=True),
        r"upsert .* \['_id'\]",
    ),
    "an upsert of one or the other": (
        update({"$set": {"a": 1}}, {"account": "work", "$or": [{"_id": "x"}, {"_id": "y"}]}, upsert=True),
        r"upsert .* \['_id'\]",
    ),
    "an update of one without its _id": (update({"$set": {"a": 1}}, {"account": "work"}), "update of one"),
    "a deletion of one without its _id": (
        {"delete": "originals", "deletes": [{"q": {"account": "work"}, "limit": 1}]},
        "delete of one",
    ),
    "findAndModify by _id alone": (
        {"findAndModify": "placements", "query": {"_id": "x"}, "update": {"$set": {"a": 1}}},
        "findAndModify .* equality",
    ),
    "a unique index": (index(unique=True), "unique index"),
    "a unique index of chunks": (index("blobs.chunks", unique=True), "unique index"),
    # aggregation
    "a stage": (aggregate({"$indexStats": {}}), "stages"),
    "a stage within a facet": (aggregate({"$facet": {"a": [{"$indexStats": {}}]}}), "stages"),
    "a stage within a lookup": (aggregate({"$lookup": {"from": "x", "pipeline": [{"$foo": 1}], "as": "y"}}), "stages"),
    "a stage of a merge": (aggregate({"$merge": {"into": "x", "whenMatched": [{"$group": {}}]}}), "stages"),
    "two stages in one": (aggregate({"$limit": 1, "$skip": 1}), "a stage of 2 operators"),
    "a change stream later on": (aggregate({"$limit": 1}, {"$changeStream": {}}), "not the first stage"),
    "a merge before the end": (aggregate({"$merge": "x"}, {"$limit": 1}), "not the last stage"),
    "a match": (aggregate({"$match": {"a": {"$foo": 1}}}), "conditions"),
    "an expression": (aggregate({"$project": {"a": {"$foo": "$b"}}}), "expressions"),
    "an expression that is a stage": (aggregate({"$replaceWith": {"$foo": "$b"}}), "expressions"),
    "an expression within others": (aggregate({"$set": {"a": {"$cond": [{"$foo": 1}, 1, 2]}}}), "expressions"),
    "an expression of two operators": (aggregate({"$set": {"a": {"$add": [1], "$max": [1]}}}), "expression of 2 keys"),
    "an expression of 7.0": (aggregate({"$group": {"_id": None, "a": {"$median": "$b"}}}), "accumulators"),
    "a group without _id": (aggregate({"$group": {"a": {"$sum": 1}}}), "without _id"),
    "a group by an expression": (aggregate({"$group": {"_id": {"$foo": 1}}}), "expressions"),
    "no accumulator": (aggregate({"$group": {"_id": None, "a": "$b"}}), "not one accumulator"),
    "what is accumulated": (aggregate({"$group": {"_id": None, "a": {"$sum": {"$foo": 1}}}}), "expressions"),
    "a bucket": (aggregate({"$bucket": {"groupBy": "$a", "output": {"n": {"$foo": 1}}}}), "accumulators"),
    "a window": (aggregate({"$setWindowFields": {"output": {"n": {"$foo": 1, "window": {}}}}}), "accumulators"),
    "a view": ({"create": "mail", "viewOn": "messages", "pipeline": [{"$indexStats": {}}]}, "stages"),
    "a view that changes": (
        {"collMod": "mail", "viewOn": "messages", "pipeline": [{"$set": {"a": {"$foo": 1}}}]},
        "foo",
    ),
    "a variable": (aggregate({"$set": {"a": "$$SEARCH_META"}}), "variables"),
    # indexes
    "a partial index by $ne": (index(partialFilterExpression={"a": {"$ne": 1}}), "partial index"),
    "a partial index by $not": (index(partialFilterExpression={"a": {"$not": {"$eq": 1}}}), "partial index"),
    "a partial index by $nor": (index(partialFilterExpression={"$nor": [{"a": 1}]}), "partial index"),
    "a partial index by $expr": (index(partialFilterExpression={"$expr": True}), "partial index"),
    "a partial index of what is absent": (index(partialFilterExpression={"a": {"$exists": False}}), "does not exist"),
    "a kind of index": (index(key={"a": "2dsphere"}), "kind of index"),
    "an option of an index": (index(background=True), "options of an index"),
}

SOUND: dict[str, Document] = {
    "a document": insert({"_id": 1, "a": [{"b": None}], "n": Int64(1), "at": NOW}),
    "an upsert": update({"$setOnInsert": {"a": 1}, "$addToSet": {"b": {"$each": [1]}}}, upsert=True),
    "an upsert with the key in an $and": update(
        {"$set": {"a": 1}}, {"$and": [{"_id": {"$eq": 1}}, {"account": "a"}]}, upsert=True
    ),
    "an update of many": update({"$set": {"a": 1}}, {"account": "work"}, multi=True),
    "a lease": update(
        [{"$set": {"expires": {"$dateAdd": {"startDate": "$$NOW", "unit": "second", "amount": 30}}}}],
        {"_id": "x", "$expr": {"$lt": ["$expires", "$$NOW"]}},
    ),
    "a history": update({"$push": {"history": {"$each": [{"at": NOW}], "$slice": -10}}, "$inc": {"n": 1}}),
    "positions": update({"$set": {"a.$.b": 1, "c.$[].d": 1, "e.$[x].f": 1}}, arrayFilters=[{"x.g": 1}]),
    "a pull": update({"$pull": {"a": {"$in": [1]}, "b": {"c": {"$lt": 1}}}}),
    "server time": update({"$currentDate": {"a": True, "b": {"$type": "date"}}}),
    "a query": find(
        {
            "a": {"$elemMatch": {"b": 1, "c": {"$ne": 2}}},
            "d": {"$not": re.compile("x")},
            "e": {"$elemMatch": {"$gt": 1}},
        },
        projection={"a": 1, "b": {"$slice": 3}, "c": {"$elemMatch": {"d": 1}}, "e": {"$size": "$f"}},
        sort={"date": -1},
    ),
    "a page of a report": aggregate(
        {"$match": {"account": "work", "date": {"$gte": NOW}}},
        {"$unwind": {"path": "$attachments", "preserveNullAndEmptyArrays": True}},
        {"$lookup": {"from": "x", "let": {"a": "$a"}, "pipeline": [{"$match": {"$expr": "$$a"}}], "as": "y"}},
        {
            "$group": {
                "_id": {"$dateTrunc": {"date": "$date", "unit": "day"}},
                "n": {"$sum": 1},
                "d": {"$first": "$$ROOT"},
            }
        },
        {"$setWindowFields": {"sortBy": {"_id": 1}, "output": {"s": {"$sum": "$n", "window": {"range": [-7, 0]}}}}},
        {"$set": {"x": {"$cond": {"if": {"$literal": {"$foo": 1}}, "then": "$$REMOVE", "else": {"a": "$b"}}}}},
        {"$facet": {"top": [{"$sort": {"n": -1}}, {"$limit": 5}], "all": [{"$count": "n"}]}},
    ),
    "a merge": aggregate(
        {"$project": {"a": 1}}, {"$merge": {"into": "x", "whenMatched": [{"$set": {"b": "$$new.b"}}]}}
    ),
    "a change stream": aggregate({"$changeStream": {"fullDocument": "updateLookup"}}, {"$match": {"x": 1}}),
    "a partial index": index(
        partialFilterExpression={
            "$and": [{"a": "x"}, {"b": {"$exists": True}}, {"c": {"$in": [1, 2]}}, {"d": {"$gt": 0}}]
        }
    ),
    "a text index": index(key={"text": "text"}, default_language="none", language_override="_none"),
    "a unique index elsewhere": index("seals", unique=True),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_rule_bites(name: str) -> None:
    command, expected = BROKEN[name]

    assert [problem for problem in said(command) if re.search(expected, problem)]


@pytest.mark.parametrize("name", SOUND)
def test_what_we_mean_to_send_passes(name: str) -> None:
    assert said(SOUND[name]) == []


def test_a_violation_tells_shapes_and_never_content() -> None:
    problems = said(update({"$set": {"a": {"$b": "dear Alice", "from alice@example.org": 7}}}))

    assert problems == ["update messages: key $b in a value: {$b: str, ?: int}"]


def test_what_the_driver_sends_is_heard(heard: CommandRules, deaf: Database[Document]) -> None:
    messages = deaf.messages
    messages.bulk_write([InsertOne({"_id": 1}), UpdateOne({"_id": 2}, {"$set": {"a": 1}}, upsert=True), DeleteOne({})])
    messages.find_one_and_update({"_id": 1}, {"$set": {"a": 1}}, return_document=ReturnDocument.AFTER)
    messages.create_indexes([IndexModel("a", partialFilterExpression={"a": {"$ne": 1}})])
    messages.distinct("a")

    assert [problem.partition(" ")[0] for problem in heard.violations] == [
        "update",
        "delete",
        "findAndModify",
        "createIndexes",
        "distinct:",
    ]
    with pytest.raises(AssertionError, match="left what MongoDB documents"):
        heard.check()


def test_the_driver_itself_stays_within_the_rules(database: Database[Document], command_rules: CommandRules) -> None:
    database.x.insert_many([{"_id": number} for number in range(300)])
    with database.client.start_session() as session, session.start_transaction():
        database.x.replace_one({"_id": 1}, {"a": 1}, session=session)

    assert len(list(database.x.find(batch_size=100))) == database.x.count_documents({}) == 300
    assert database.x.estimated_document_count() == 300
    assert database.client.server_info()["version"]
    command_rules.check()


def test_a_command_that_the_rules_cannot_read_is_a_violation(heard: CommandRules, deaf: Database[Document]) -> None:
    with suppress(OperationFailure):  # MongoDB wants a pipeline; not every server does
        deaf.command("aggregate", "x", cursor={})

    assert "cannot read it (KeyError)" in heard.violations[0]


@pytest.fixture
def heard() -> CommandRules:
    """Rules that are meant to be broken: nobody checks them at the end."""
    return CommandRules()


@pytest.fixture
def deaf(database: Database[Document], mongodb_uri: str, heard: CommandRules) -> Iterator[Database[Document]]:
    """The test's database, as seen by a client whose commands only *heard* hears."""
    with MongoClient[Document](mongodb_uri, event_listeners=[heard], **OPTIONS) as client:
        yield client[database.name]
