"""The published shape: what is stored keeps to it, MongoDB itself can check it, and docs/data.md says the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from bson import Int64
from pymongo.database import Database

from ingestd.breaker import Breaker, Patience
from ingestd.caps import Caps
from ingestd.demo import mailbox as sample
from ingestd.demo.cast import HOST
from ingestd.errors import Unavailable
from ingestd.message import Failed, Listed, Metadata, Numbers, Place, RawMessage, Receipt, Vanished
from ingestd.mime.parse import parse, unparsed
from ingestd.raw import InMemory
from ingestd.store import (
    accounts,
    daemons,
    fallbacks,
    jobs,
    leases,
    mailboxes,
    maildrops,
    messages,
    outbox,
    placements,
    sweep,
)
from ingestd.store.indexes import INDEXES
from ingestd.store.ledger import Ledger
from ingestd.store.logins import Shelf
from ingestd.store.maildrop_ledger import MaildropLedger
from ingestd.store.memory import Absent, Doubts, Followed
from ingestd.store.seals import Seals
from ingestd.store.usage import Book
from ingestd.summary import Summary
from ingestd.throttle import Throttle
from ingestd.uidset import UIDSet
from tests.data import document
from tests.data.shape import COLLECTIONS, Validator, rows, schema, subschemas, undescribed, violations
from tests.mime.letters import attached, crlf, multipart, part

Document = dict[str, Any]
Store = Database[Document]

NOW = datetime(2026, 4, 6, tzinfo=UTC)
ODD_MAIL = sorted((Path(sample.__file__).parent / "mail").glob("*.eml"))
# What `$jsonSchema` takes (MongoDB manual, "$jsonSchema"), as far as we use it.
KEYWORDS = {"bsonType", "title", "description", "required", "properties", "additionalProperties", "items", "enum"}
KEYWORDS |= {"pattern", "minimum", "maxLength"}


AMISS = (
    ("size_bytes", 5, "size_bytes: bsonType"),  # int32
    ("size_bytes", Int64(-1), "size_bytes: minimum"),
    ("date", "2026-03-02", "date: bsonType"),
    ("sha256", "5D41", "sha256: pattern"),
    ("kind", "letter", "kind: enum"),
    ("to", None, "to: bsonType"),
    ("to", [None], "to.0: bsonType"),
    ("sender", {"name": "", "address": ""}, "sender: required"),
)
# What no pass over one IMAP mailbox brings about, and `lang`: docs/parser.md says why nothing fills it.
DYING = {"blobs.files.dying", "blobs.files.dying.by", "blobs.files.dying.at"}
NOT_IN_A_PASS = {*DYING, "accounts.lease.asked_until", "messages.lang"}


@pytest.fixture
def everything(database: Store) -> Iterator[Store]:
    """A database at the end of a pass in which all happened that can: usual mail, odd mail, losses, failures."""
    owner = leases.Owner.current()
    daemons.present(database, owner, ["work"], leases.LEASE)
    with leases.hold(database, "work", owner) as lease:
        accounts.bind(database, lease, "imap.example.org", "desk")
        accounts.note_push(database, lease, 1, timedelta(minutes=4), doubted=True)
        memory = mailboxes.recall(database, "work", "INBOX", Numbers(9, 1000, 999), "unseen", NOW.date(), NOW)
        ledger = Ledger(database, lease, Seals(database, lease), memory)
        ledger.plan(UIDSet.span(1, 950))
        ledger.leave_out({"seen_at_baseline": UIDSet.span(951, 999)}, UIDSet.span(1, 999))
        usual, odd, hopeless = _mail(memory.epoch.place)
        ledger.record(usual, _stored(database, usual))
        ledger.record(odd, _stored(database, odd, ack="seen"))
        ledger.record(hopeless, _stored(database, hopeless, parse=lambda raw: unparsed(raw, "worker: died")))
        ledger.record([Vanished(memory.epoch.place(901)), Failed(memory.epoch.place(902), "no answer")], [])
        for _ in range(placements.ATTEMPTS):
            ledger.record([Failed(memory.epoch.place(903), "no answer")], [])
        placements.retry(database, list(database.placements.find({"state": "quarantined"})), NOW)
        ledger.doubt(Doubts(fetch=UIDSet.of([302, 303])), 1000)
        again = [_raw(memory.epoch.place(302), b"Subject: another one\r\n\r\n")]
        ledger.record([*again, Failed(memory.epoch.place(303), "no answer")], _stored(database, again))
        accounts.forget_object_ids(database, lease)
        ledger.follow({uid: Metadata(uid, ("$Later",), ("Home",)) for uid in (*range(1, 100), 301)})
        ledger.followed(Followed(7, UIDSet.of([1]), 8, NOW))
        ledger.looked(Numbers(9, 1000, 999, 7), UIDSet.span(1, 999))
        leaving = [_raw(memory.epoch.place(uid), b"Subject: leaving\r\n\r\n") for uid in (304, 305)]
        ledger.record(leaving, _stored(database, leaving, ack="delete"))
        (held,) = ledger.held(UIDSet.of([304]), "delete")
        ledger.removing(UIDSet.of([304]))
        ledger.removed(held, "delete")
        ledger.missed(UIDSet.of([305]))
        ledger.reckon(Absent(gone=UIDSet.of([1]), suspended=UIDSet.of([2]), suspended_at=NOW))
        ledger.finish(Summary("work", "INBOX", on_server=999).document(NOW, NOW))
        _maildrop(database, lease)
        breaker = Breaker().failed("the server is away", NOW, Patience(1, timedelta()))
        fallbacks.save(database, lease, breaker)
        accounts.note(database, lease, [Unavailable("the server broke off")], timedelta(seconds=5))
        Shelf(database, "work").write(b"ciphertext")
        _used(database)
        outbox.raise_(database, "refused", "work", "login refused")
        outbox.failed(database, outbox.claim(database, 1))
        outbox.LoginShelf(database).write(b"ciphertext")
        list(sweep.daily(database, lambda: False))
        with jobs.taken(database, "another"):
            yield database


def _maildrop(database: Store, lease: leases.Lease) -> None:
    """A pass over POP3 in which a message is missing, and the next one, which does not come to its end."""
    memory = maildrops.recall(database, "work", "pop.example.org", "desk", NOW.date(), NOW)
    ledger, listing = MaildropLedger(database, lease, Seals(database, lease), memory), [Listed(1, "a", 9)]
    ledger.look_up([*listing, Listed(2, "b", 9), Listed(3, "c", 9)])
    ledger.plan(UIDSet.of([1, 2, 3]))
    stored = [_raw(Place.of_maildrop("work", uidl), b"Subject: dropped\r\n\r\n") for uidl in ("a", "b")]
    stored.append(_raw(Place.of_maildrop("work", "c"), b"Status: RO\r\nSubject: dropped\r\n\r\n"))
    stored = [replace(each, via="pop3") for each in stored]
    ledger.record(stored, _stored(database, stored))
    ledger.reckon(ledger.look_up([Listed(1, "a", 10)]), [])
    ledger.record([Failed(Place.of_maildrop("work", "a"), "no answer")], [])
    ledger.seen(listing)
    ledger.older(listing, 1, NOW)
    ledger.finish(Summary("work", "INBOX", on_server=1).document(NOW, NOW))
    ledger.plan(UIDSet())


def test_every_stored_document_keeps_to_the_published_shape(everything: Store) -> None:
    broken = [
        (name, found["_id"], violation)
        for name in COLLECTIONS
        for found in everything[name].find({})
        for violation in violations(schema(name), found)
    ]

    assert not broken


def test_every_stored_field_is_described(everything: Store) -> None:
    unknown = {
        f"{name}{field}"
        for name in COLLECTIONS
        for found in everything[name].find({})
        for field in undescribed(schema(name), found)
    }

    assert not unknown


def test_every_described_field_is_stored_by_someone(everything: Store) -> None:
    """A field that nobody writes is a promise that nobody keeps."""
    filled: set[str] = set()
    for name in COLLECTIONS:
        for found in everything[name].find({}):
            filled |= {f"{name}{path}" for path in _paths(found)}

    described = {f"{name}{path}" for name in COLLECTIONS for path, _ in subschemas(schema(name)) if path}

    assert described - filled == NOT_IN_A_PASS


def test_the_server_itself_finds_nothing_amiss(everything: Store) -> None:
    for name in COLLECTIONS:
        amiss = {"$nor": [{"$jsonSchema": schema(name)}]}

        assert everything[name].count_documents({}) > 0
        assert everything[name].count_documents(amiss) == 0, name


def test_the_server_finds_what_is_amiss(everything: Store) -> None:
    everything.messages.update_many({}, {"$set": {"kind": "letter"}})

    amiss = everything.messages.count_documents({"$nor": [{"$jsonSchema": schema("messages")}]})

    assert amiss == everything.messages.count_documents({})


def test_a_document_of_another_shape_is_found_out(everything: Store) -> None:
    stored = everything.messages.find_one({}) or {}

    for field, value, violation in AMISS:
        assert violations(schema("messages"), {**stored, field: value}) == [violation]


def test_a_document_without_a_field_is_found_out(everything: Store) -> None:
    stored = everything.messages.find_one({}) or {}

    found = [violations(schema("messages"), {k: v for k, v in stored.items() if k != gone}) for gone in stored]

    assert all(violation == [": required"] for violation in found)


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_schema_says_what_mongodb_can_check_and_describes_every_field(name: str) -> None:
    Validator.check_schema(schema(name))

    for path, wanted in subschemas(schema(name)):
        assert wanted.keys() <= KEYWORDS, path
        assert wanted["description"], path
        assert set(wanted.get("required", ())) <= set(wanted.get("properties", ())), path


def test_every_indexed_field_is_described() -> None:
    indexed = {name: [key for index in indexes for key in index.document["key"]] for name, indexes in INDEXES.items()}
    described = {path.replace("[]", "")[1:] for path, _ in subschemas(schema("messages"))}

    assert set(indexed["messages"]) <= described


@pytest.mark.parametrize("name", ["messages", "placements", "originals", "seals"])
def test_the_documentation_lists_the_fields_of_the_schema(name: str) -> None:
    assert document.table(name) == rows(schema(name))


def test_the_documented_python_follows_the_log_and_finds_what_was_changed(everything: Store) -> None:
    shown: dict[str, Any] = {}
    exec(document.python(), shown)

    attested = shown["follow_the_log"](everything, "work")

    stored = everything.placements.find({"state": "stored"})
    assert attested == {place["_id"]: (place["digest"], place["size_bytes"]) for place in stored}
    everything.seals.update_one({"n": 2}, {"$set": {"token": 0}})
    with pytest.raises(ValueError, match="work/00000002 was changed"):
        shown["follow_the_log"](everything, "work")


def test_the_documented_python_gives_every_message_and_attachment_back(everything: Store) -> None:
    shown: dict[str, Any] = {}
    exec(document.python(), shown)
    stored = list(everything.messages.find({}))

    for message in stored:
        raw = shown["raw_message"](everything, message["_id"])

        assert sha256(raw).hexdigest() == message["sha256"]
        for attachment in message["attachments"]:
            content = shown["attachment_content"](everything, message, attachment)
            assert sha256(content).hexdigest() == attachment["sha256"]
    assert any(attachment["offset"] is not None for message in stored for attachment in message["attachments"])


def _used(database: Store) -> None:
    """An account book in which every kind of entry is."""
    book, caps = Book(database, "work", "gmail"), Caps()
    for limit in (Throttle("connections"), Throttle("traffic"), Throttle("logins")):
        book.change(lambda usage, now: usage.log_in(caps, now).refuse(now).fetch(5, caps, now))
        book.change(lambda usage, now, said=limit: usage.put_off(said, 1, now))


def _mail(place: Any) -> tuple[list[RawMessage], ...]:
    usual = [
        _raw(place(uid), one.content, one.internal_date, one.flags)
        for uid, one in enumerate(sample.messages(100), 1)
        if len(one.content) < 100_000
    ]
    odd = [_raw(place(uid), path.read_bytes()) for uid, path in enumerate(ODD_MAIL, 201)]
    long = b"Bcc: ann@example.org\r\n\r\n" + b"All work and no play makes a long text.\r\n" * 30_000
    odd.append(replace(_raw(place(301), long), labels=("Work",), object_id="M6d99ac3275bb4e"))
    odd.append(_raw(place(302), _forwarded_in_base64()))
    return usual, odd, [_raw(place(303), b"\x00" * 5_000)]


def _forwarded_in_base64() -> bytes:
    """No program should send such mail (RFC 2046, section 5.2.1), and some do; with more that the sample lacks."""
    inner = crlf(multipart("mixed", part("hello"), attached(b"x" * 2000)))
    results = f"Authentication-Results: {HOST}; arc=pass\n"
    event = part("BEGIN:VEVENT\nDTSTART;TZID=Europe/Berlin:20260501T100000\nEND:VEVENT", "text/calendar")
    return crlf(results + multipart("mixed", event, attached(inner, "message/rfc822"), boundary="outer"))


def _raw(place: Place, content: bytes, date: datetime | None = None, flags: tuple[str, ...] = ()) -> RawMessage:
    return RawMessage(
        place, InMemory(content), sha256(content).hexdigest(), date, flags, server_size_bytes=len(content)
    )


def _stored(database: Store, batch: Sequence[RawMessage], ack: str | None = None, parse: Any = parse) -> list[Receipt]:
    terms = messages.Terms(ack, authserv_ids=[HOST], over_pop3=True)
    return messages.write(database, batch, parse, terms, step=lambda name: None)


def _paths(value: object, path: str = "") -> set[str]:
    """The paths of *value* that hold something."""
    if isinstance(value, dict):
        return {path}.union(*(_paths(inner, f"{path}.{name}") for name, inner in value.items()))
    if isinstance(value, list):
        return {path}.union(*(_paths(item, f"{path}[]") for item in value)) if value else set()
    return {path} if value is not None else set()
