"""The queries of docs/data.md, run as they stand there, on an office whose answers can be counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.store.indexes import INDEXES
from tests.data.document import TEXT, queries
from tests.data.office import ANN, BEA, BEN, JOE, PHOTO, PLANS

Document = dict[str, Any]
Store = Database[Document]

QUERIES = queries()
PLANS_SHA256 = sha256(PLANS).hexdigest()
PHOTO_SHA256 = sha256(PHOTO).hexdigest()


def answer(database: Store, title: str) -> list[Document]:
    query = QUERIES[title]
    return list(database[query.collection].aggregate(query.pipeline))


def day(number: int, hour: int = 0) -> datetime:
    return datetime(2026, 3, number, hour, tzinfo=UTC)


def test_there_are_twelve_queries_and_each_can_be_read() -> None:
    written = TEXT.partition("\n## Twelve questions")[2].partition("\n## ")[0].count("\n### ")

    assert len(QUERIES) == written == 12


def test_volume_per_day_counts_each_message_once(office: Store) -> None:
    days = answer(office, "Volume per day")

    assert {found["_id"]: found["messages"] for found in days} == {
        day(2): 2,
        day(3): 1,
        day(4): 2,
        day(5): 3,
        day(6): 2,
        day(7): 1,
        day(8): 1,
        day(9): 3,
        day(10): 1,
        day(25): 1,
    }
    assert days[0]["size_bytes"] == sum(m["size_bytes"] for m in _sent(office, "q1@example.com", "a1@example.org"))


def test_top_sender_domains_come_in_order_of_their_mail(office: Store) -> None:
    domains = [(found["_id"], found["messages"]) for found in answer(office, "Top sender domains this month")]

    assert domains == [
        ("example.org", 8),
        ("example.net", 4),  # one of them lies in another account too
        ("mx.example.org", 3),
        ("example.com", 2),
        ("shop.example.net", 1),
    ]


def test_all_mail_with_one_person_goes_both_ways(office: Store) -> None:
    found = answer(office, "All mail with one person")

    assert [message["date"] for message in found] == [
        day(10, 9),
        day(3, 11),
        day(2, 11) + timedelta(minutes=30),
        day(2, 8),
    ]
    assert {message["from"]["address"] for message in found} == {ANN, BEA}


def test_the_hour_people_write_at_is_that_of_their_own_clock(office: Store) -> None:
    hours = {found["_id"]: found["messages"] for found in answer(office, "At what hour people write")}

    assert hours == {0: 1, 1: 1, 2: 1, 9: 1, 10: 1, 12: 2, 18: 1}


def test_how_long_we_take_to_answer_is_measured_from_the_question(office: Store) -> None:
    people = answer(office, "How long we take to answer")

    assert people == [
        {"_id": ANN, "answers": 3, "average": 120.0, "median": 90},
        {"_id": BEN, "answers": 1, "average": 600.0, "median": 600},
    ]


def test_threads_that_wait_are_those_we_did_not_end(office: Store) -> None:
    threads = answer(office, "Threads that wait for an answer")

    assert [(found["_id"], found["subject"], found["messages"]) for found in threads] == [
        ("q4@example.com", "Anyone?", 1),
    ]
    assert threads[0]["last_from"]["address"] == BEA
    assert threads[0]["last_date"] == day(10, 9)


def test_the_largest_attachments_are_counted_by_content(office: Store) -> None:
    files = answer(office, "Largest attachments")

    assert files[:2] == [
        {"_id": PHOTO_SHA256, "size_bytes": len(PHOTO), "filename": "photo.png", "messages": 1},
        {"_id": PLANS_SHA256, "size_bytes": len(PLANS), "filename": "our plans.pdf", "messages": 2},
    ]


def test_who_got_a_file_is_found_under_all_its_names(office: Store) -> None:
    people = answer(office, "Who got this file")

    assert people == [
        {"_id": BEA, "messages": 1, "first": day(3, 11)},
        {"_id": JOE, "messages": 1, "first": day(3, 11)},
        {"_id": BEN, "messages": 1, "first": day(10, 9)},
    ]


def test_bounces_are_counted_by_recipients_and_the_domain_that_was_not_reached(office: Store) -> None:
    domains = answer(office, "Bounces by domain")

    assert domains == [
        {"_id": "example.com", "bounces": 2, "permanent": 1},
        {"_id": "shop.example.net", "bounces": 2, "permanent": 1},
    ]


def test_dmarc_failures_are_believed_from_our_server_alone(office: Store) -> None:
    failures = answer(office, "DMARC failures from our domain")

    assert failures == [
        {"_id": {"from": "accounts@example.org", "spf": "fail", "dkim": "none"}, "messages": 1, "last": day(9)}
    ]


def test_unread_mail_is_counted_in_the_current_epoch_alone(office: Store) -> None:
    mailboxes = answer(office, "Unread mail per mailbox")

    assert mailboxes == [{"_id": "Archive", "unread": 1}, {"_id": "INBOX", "unread": 7}]


def test_what_is_gone_from_a_mailbox_is_not_unread_there(office: Store) -> None:
    office.placements.update_many({"mailbox": "INBOX", "uid": 12}, {"$set": {"present": False}})

    mailboxes = answer(office, "Unread mail per mailbox")

    assert mailboxes == [{"_id": "Archive", "unread": 1}, {"_id": "INBOX", "unread": 6}]


def test_what_changed_begins_at_the_watermark(office: Store) -> None:
    watermark = datetime(2026, 3, 10, 12, tzinfo=UTC)
    office.messages.update_many({}, {"$set": {"modified_at": watermark - timedelta(minutes=1)}})
    office.messages.update_many({"message_id": "n1@shop.example.net"}, {"$set": {"modified_at": watermark}})
    office.messages.update_many({"message_id": "q4@example.com"}, {"$currentDate": {"modified_at": True}})

    changed = answer(office, "What changed since the last time")

    assert [message["from"]["address"] for message in changed] == ["news@shop.example.net", BEA]


@pytest.mark.parametrize("title", QUERIES)
def test_each_query_is_served_by_an_index_that_exists(title: str) -> None:
    query = QUERIES[title]
    built = [dict(index.document["key"]) for index in INDEXES[query.collection]]
    asked = _fields(query.pipeline)

    assert query.indexes
    assert all(index in built for index in query.indexes)
    assert all(next(iter(index)) in asked for index in query.indexes)


def _fields(pipeline: list[Document]) -> set[str]:
    """The fields that a first $match, or the other side of a $lookup, can look up."""
    wanted = {field for condition in pipeline[0]["$match"].get("$or", []) for field in condition}
    joined = {stage["$lookup"]["foreignField"] for stage in pipeline if "$lookup" in stage}
    return wanted | joined | set(pipeline[0]["$match"])


def _sent(database: Store, *message_ids: str) -> list[Document]:
    return list(database.messages.find({"message_id": {"$in": message_ids}, "same_as": None, "account": "work"}))
