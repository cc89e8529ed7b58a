"""The view `mail`, as those see it who query it."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database

from ingestd.errors import Refused
from ingestd.mime.parse import parse
from ingestd.store import messages, views
from tests.fakes import raw

Document = dict[str, Any]
Store = Database[Document]

OURS = ("example.org", "xn--mller-kva.example")

# From, To and Cc, and the direction as seen from OURS.
LETTERS = (
    ("ann@example.com", "bea@example.org", "inbound"),
    ("ann@example.com", "list@example.net", "inbound"),  # it is in our mailbox, so it came in
    ("ann@example.com", "", "inbound"),
    ("ann@notexample.org", "bea@example.org", "inbound"),
    ("ann@example.org.example.com", "bea@example.org", "inbound"),
    ("ann@exampleXorg", "bea@example.org", "inbound"),
    ("bea@example.org", "ann@example.com", "outbound"),
    ("bea@example.org", "ann@example.com, ben@example.org", "outbound"),
    ("bea@EXAMPLE.org", "ben@example.org", "internal"),
    ("bea@mx.example.org", "ben@a.b.example.org, root", "internal"),
    ("bea@müller.example", "ben@xn--mller-kva.example", "internal"),
    ("bea@example.org", "", None),  # to nobody that is named
    ("bea@example.org", "root", None),
    ("", "bea@example.org", None),
    ("root", "bea@example.org", None),
)


def store(database: Store) -> dict[str, str | None]:
    """Store LETTERS; return the direction that each should have, by `_id`."""
    arrived = [
        raw(f"From: {sender}\r\nTo: {to}\r\nSubject: {n}\r\n\r\nhello".encode(), n)
        for n, (sender, to, _) in enumerate(LETTERS, 1)
    ]
    messages.write(database, arrived, parse, messages.Terms(), lambda step: None)
    return {each.id: direction for each, (_, _, direction) in zip(arrived, LETTERS, strict=True)}


def directions(database: Store) -> dict[str, str | None]:
    return {found["_id"]: found["direction"] for found in database.mail.find({}, {"direction": 1})}


def test_a_message_has_the_direction_that_its_addresses_say(database: Store) -> None:
    expected = store(database)

    views.build(database, OURS)

    assert directions(database) == expected


def test_nothing_has_a_direction_while_no_domain_is_our_own(database: Store) -> None:
    expected = store(database)

    views.build(database, ())

    assert directions(database) == dict.fromkeys(expected)


def test_when_our_domains_change_directions_do_and_no_document_is_touched(database: Store) -> None:
    expected = store(database)
    views.build(database, ("example.com",))
    before = list(database.messages.find().sort("_id"))
    theirs = directions(database)

    views.build(database, OURS)

    assert directions(database) == expected != theirs
    assert list(database.messages.find().sort("_id")) == before


def test_the_view_gives_messages_as_they_are(database: Store) -> None:
    store(database)
    views.build(database, OURS)

    stored = list(database.messages.find({"subject": "7"}))

    assert list(database.mail.find({"direction": "outbound", "subject": "7"})) == [
        {**each, "direction": "outbound"} for each in stored
    ]


def test_directions_can_be_counted(database: Store) -> None:
    store(database)
    views.build(database, OURS)

    counted = database.mail.aggregate([{"$group": {"_id": "$direction", "messages": {"$sum": 1}}}])

    assert {found["_id"]: found["messages"] for found in counted} == {
        "inbound": 6,
        "outbound": 2,
        "internal": 3,
        None: 4,
    }


def test_the_view_is_missing_until_it_is_as_our_domains_want_it(database: Store) -> None:
    seen = [views.missing(database, OURS)]
    views.ensure(database, ("example.com",))
    seen.append(views.missing(database, OURS))
    views.build(database, OURS)
    seen.append(views.missing(database, OURS))

    assert seen == [["mail"], ["mail"], []]


def test_a_view_that_is_there_stays_until_a_change_is_asked_for(database: Store) -> None:
    views.ensure(database, OURS)

    views.ensure(database, ("example.com",))

    assert views.missing(database, OURS) == []


def test_a_collection_of_its_name_is_left_alone(database: Store) -> None:
    database.mail.insert_one({"_id": 1})

    views.ensure(database, OURS)
    with pytest.raises(Refused, match="rename it"):
        views.build(database, OURS)

    assert list(database.mail.find()) == [{"_id": 1}]
    assert views.missing(database, OURS) == ["mail"]
