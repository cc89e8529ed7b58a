"""Stored messages parsed again: what changes, what never does, and what a death in between leaves."""

from __future__ import annotations

import base64
import os
import random
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

import ingestd.demo
from ingestd.archive import rebuild, reparse
from ingestd.archive.reparse import Batch, Manner, Outcome, Run, wanted
from ingestd.errors import Refused, StoreUnavailable, Unavailable
from ingestd.message import Message
from ingestd.mime.parse import PARSE_VERSION, parse, unparsed
from ingestd.raw import Raw
from ingestd.store import messages
from ingestd.store.database import StoreSettings
from ingestd.store.messages import Parse, Terms
from ingestd.workers import InProcess, started
from tests.fakes import mail, raw

Document = dict[str, Any]
Store = Database[Document]

HARD = sorted((Path(ingestd.demo.__file__).parent / "mail").glob("*.eml"))
BINARY = random.Random(4).randbytes(400_000)
ACCOUNTS: dict[str, tuple[str, ...]] = {"work": (), "home": ()}
OURS = ("_id", "account", "modified_at", "ingested_at")  # fields that differ between equal messages of two accounts


def older(content: Raw) -> Message:
    """The parser of a version before, which got subjects wrong."""
    read = parse(content)
    return replace(read, subject="wrong", parse=replace(read.parse, version=PARSE_VERSION - 1))


def gave_up(content: Raw) -> Message:
    return unparsed(content, "the parser died")


def store(database: Store, *contents: bytes, account: str = "work", by: Parse = older) -> list[str]:
    """Store messages as *by* understands them; return their `_id`s."""
    batch = [raw(content, uid, account=account) for uid, content in enumerate(contents, 1)]
    messages.write(database, batch, by, Terms(), lambda step: None)
    return [arrived.id for arrived in batch]


def again(
    database: Store,
    by: Parse = parse,
    step: Callable[[str], None] = lambda step: None,
    chosen: Document | None = None,
    limit: int | None = None,
    **manner: Any,
) -> list[Outcome]:
    """Parse again, in this process, what is not current."""
    here = InProcess(lambda batch: batch(database, by, step))
    run = Run(chosen or wanted(), Manner(**{"authserv_ids": ACCOUNTS, **manner}), limit)
    return list(reparse.reparse(database, run, here.submit))


def fates(outcomes: list[Outcome]) -> dict[str, int]:
    return dict(Counter(outcome.fate for outcome in outcomes))


def message(database: Store, id_: str) -> Document:
    return database.messages.find_one({"_id": id_}) or {}


def everything(database: Store) -> list[Document]:
    return [document for name in database.list_collection_names() for document in database[name].find().sort("_id")]


def content_of(database: Store, id_: str) -> bytes:
    return b"".join(rebuild.original(database, message(database, id_)))


def with_file(content: bytes = BINARY) -> bytes:
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return (
        b'Subject: file\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nsee\r\n'
        b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded + b"--b--\r\n"
    )


# --- what changes


@pytest.mark.parametrize("before", [older, gave_up])
def test_what_is_parsed_again_is_as_if_it_were_stored_today(database: Store, before: Parse) -> None:
    contents = [path.read_bytes() for path in HARD] + [with_file()]
    old = store(database, *contents, by=before)
    new = store(database, *contents, account="home", by=parse)

    outcomes = again(database)

    assert fates(outcomes) == {"changed": len(set(old))}
    for ours, theirs in zip(old, new, strict=True):
        for collection in (database.messages, database.originals):
            pair = [collection.find_one({"_id": id_}) or {} for id_ in (ours, theirs)]
            assert [{k: v for k, v in each.items() if k not in OURS} for each in pair[:1]] == [
                {k: v for k, v in pair[1].items() if k not in OURS}
            ]
        assert content_of(database, ours) in contents


def test_a_second_run_finds_nothing_to_do(database: Store) -> None:
    store(database, mail(1), mail(2))
    again(database)
    before = everything(database)

    assert again(database) == []

    assert everything(database) == before


def test_all_current_messages_parsed_again_are_not_even_touched(database: Store) -> None:
    store(database, mail(1), with_file(), by=parse)
    before = everything(database)

    outcomes = again(database, chosen=wanted(everything=True))

    assert fates(outcomes) == {"same": 2}
    assert everything(database) == before


def test_a_message_that_only_the_version_changes_counts_as_before_and_becomes_current(database: Store) -> None:
    (id_,) = store(
        database,
        mail(1),
        by=lambda raw: replace(parse(raw), parse=replace(parse(raw).parse, version=PARSE_VERSION - 1)),
    )

    (outcome,) = again(database)

    assert outcome.fate == "same"
    assert [change.field for change in outcome.changes] == ["parse.version"]
    assert message(database, id_)["parse"]["version"] == PARSE_VERSION


def test_fields_that_an_older_version_did_not_know_are_added(database: Store) -> None:
    (id_,) = store(database, with_file() + b"hidden", by=older)
    database.messages.update_one({"_id": id_, "account": "work"}, {"$unset": {"outside": "", "mdn": ""}})

    (outcome,) = again(database)

    assert {"outside", "mdn"} <= {change.field for change in outcome.changes}
    assert message(database, id_)["outside"][0]["text"] == "hidden"
    assert message(database, id_)["mdn"] is None


def test_what_is_no_matter_of_the_bytes_stays(database: Store) -> None:
    (id_,) = store(database, mail(1))
    kept = ("account", "sha256", "size_bytes", "mailboxes", "first_internal_date", "ingested_at", "same_as")
    database.messages.update_one(
        {"_id": id_, "account": "work"}, {"$set": {"same_as": "work:other", "mailboxes": ["Archive", "INBOX"]}}
    )
    before = message(database, id_)

    again(database)

    after = message(database, id_)
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert after["modified_at"] > before["modified_at"]
    assert after["subject"] == "number 1"


def test_a_mailbox_that_is_noted_meanwhile_is_not_forgotten(database: Store) -> None:
    (id_,) = store(database, mail(1))

    def slowly(content: Raw) -> Message:
        messages.write(database, [raw(mail(1), 7, mailbox="Archive")], parse, Terms(), lambda step: None)
        return parse(content)

    again(database, slowly)

    assert sorted(message(database, id_)["mailboxes"]) == ["Archive", "INBOX"]
    assert message(database, id_)["subject"] == "number 1"


def test_results_of_authentication_follow_the_configuration_where_there_is_one(database: Store) -> None:
    claim = b"Authentication-Results: mx.example.org; spf=pass\r\n"
    ours, gone = (store(database, claim + mail(1), account=name)[0] for name in ("work", "gone"))
    database.messages.update_one({"_id": gone, "account": "gone"}, {"$set": {"auth": {"spf": "fail"}}})

    again(database, authserv_ids={"work": ["mx.example.org"]})

    assert message(database, ours)["auth"]["spf"] == "pass"
    assert message(database, gone)["auth"] == {"spf": "fail"}
    assert message(database, gone)["subject"] == "number 1"


# --- what is told


def test_a_dry_run_names_the_fields_and_changes_nothing(database: Store) -> None:
    store(database, mail(1), with_file(), by=gave_up)
    before = everything(database)

    outcomes = again(database, write=False)

    assert fates(outcomes) == {"changed": 2}
    fields = {change.field for outcome in outcomes for change in outcome.changes}
    assert {"subject", "attachments", "parse.status", "originals.raw"} <= fields
    assert all(change.old is None and change.new is None for outcome in outcomes for change in outcome.changes)
    assert everything(database) == before


def test_values_are_told_when_asked_for_but_never_the_raw_message(database: Store) -> None:
    store(database, mail(1), by=gave_up)

    (outcome,) = again(database, write=False, values=True)

    told = {change.field: (change.old, change.new) for change in outcome.changes}
    assert told["subject"] == (None, "number 1")
    assert told["parse.status"] == ("failed", "ok")
    assert "literal" not in repr(told)


# --- what is left alone


def test_a_parse_that_fails_never_replaces_one_that_is_stored(database: Store) -> None:
    store(database, mail(1))
    before = everything(database)

    (outcome,) = again(database, gave_up)

    assert (outcome.fate, outcome.reason) == ("failed", "the parser died")
    assert everything(database) == before


def test_a_message_whose_bytes_are_not_those_it_is_named_by_is_told_and_left_alone(database: Store) -> None:
    broken, sound = store(database, mail(1), mail(2))
    other = {"raw": [{"size_bytes": 3, "literal": b"abc"}]}
    database.originals.update_one({"_id": broken, "account": "work"}, {"$set": other})
    before = message(database, broken)

    outcomes = {outcome.message: outcome for outcome in again(database)}

    assert (outcomes[broken].fate, outcomes[sound].fate) == ("damaged", "changed")
    assert "another SHA-256" in (outcomes[broken].reason or "")
    assert message(database, broken) == before


def test_a_message_that_is_deleted_meanwhile_is_not_brought_back(database: Store) -> None:
    store(database, mail(1))

    def slowly(content: Raw) -> Message:
        database.messages.delete_many({"account": "work"})
        database.originals.delete_many({"account": "work"})
        return parse(content)

    again(database, slowly)

    assert database.messages.count_documents({}) == database.originals.count_documents({}) == 0


def test_what_a_newer_ingestd_has_parsed_stays_as_that_left_it(database: Store) -> None:
    store(database, mail(1))
    newer = {"$set": {"parse.version": PARSE_VERSION + 1, "parse.status": "failed"}}
    database.messages.update_many({"account": "work"}, newer)

    assert again(database) == []
    assert again(database, chosen=wanted(everything=True)) == []


def test_what_another_parsed_again_meanwhile_is_left_to_it(database: Store) -> None:
    (id_,) = store(database, mail(1))

    def slowly(content: Raw) -> Message:
        theirs = {"$set": {"parse.version": PARSE_VERSION + 1, "subject": "theirs"}}
        database.messages.update_one({"_id": id_, "account": "work"}, theirs)
        return parse(content)

    again(database, slowly)

    assert message(database, id_)["subject"] == "theirs"


# --- which are chosen


def test_only_messages_that_are_not_current_or_failed_are_chosen(database: Store) -> None:
    (old,), (failed,), _ = (store(database, mail(n), by=by) for n, by in enumerate((older, gave_up, parse)))

    outcomes = again(database)

    assert {outcome.message for outcome in outcomes} == {old, failed}


def test_a_filter_or_an_account_narrows_the_choice(database: Store) -> None:
    first, _ = store(database, mail(1), mail(2))
    (home,) = store(database, mail(3), account="home")
    chosen = wanted(where='{"message_id": {"$in": ["1@example.org"]}}')

    assert [outcome.message for outcome in again(database, chosen=chosen)] == [first]
    assert [outcome.message for outcome in again(database, chosen=wanted("home"))] == [home]


def test_dates_in_a_filter_are_written_as_extended_json(database: Store) -> None:
    (id_,) = store(database, mail(1))
    since = '{"date": {"$gte": {"$date": "2026-03-01T00:00:00Z"}}}'

    assert [outcome.message for outcome in again(database, chosen=wanted(where=since))] == [id_]


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("kind = list", "must be JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "say --all"),
        ('{"$where": "sleep(1000)"}', "would run code"),
        ('{"$or": [{"a": 1}, {"$expr": {"$function": {"body": "", "args": [], "lang": "js"}}}]}', "would run code"),
        ('{"a": ' * 5000 + "1" + "}" * 5000, "must be JSON"),
    ],
)
def test_a_filter_that_cannot_be_used_is_refused(where: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        wanted(where=where)


def test_a_filter_that_mongodb_does_not_know_is_refused(mongodb_uri: str, database: Store) -> None:
    store(database, mail(1))

    # Not on the client of the fixture, which would object to our sending it.
    with MongoClient[Document](mongodb_uri) as client, pytest.raises(Refused, match="MongoDB refuses this filter"):
        reparse.count(client[database.name], wanted(where='{"size_bytes": {"$nearly": 5}}'))


def test_a_limit_takes_so_many_in_the_order_of_ids_and_the_next_run_goes_on(database: Store) -> None:
    ids = sorted(store(database, *(mail(n) for n in range(7))))

    first, rest = again(database, limit=3), again(database)

    assert [outcome.message for outcome in first] == ids[:3]
    assert [outcome.message for outcome in rest] == ids[3:]


def test_no_more_is_begun_once_it_is_told_to_stop(database: Store) -> None:
    store(database, *(with_file(bytes([n]) * 2_000_000) for n in range(4)))
    here = InProcess(lambda batch: batch(database, parse, lambda step: None))
    done: list[Outcome] = []

    run = Run(wanted(), Manner(ACCOUNTS))
    for outcome in reparse.reparse(database, run, here.submit, stopped=lambda: len(done) >= 2):
        done.append(outcome)

    assert fates(done) == {"changed": 2}
    assert reparse.count(database, wanted(), done[-1].message) == reparse.count(database, wanted()) == 2


# --- deaths and other trouble


@pytest.mark.parametrize("before", [older, gave_up])
@pytest.mark.parametrize("at", ["blobs", "named", "originals", "messages"])
def test_a_death_at_any_step_leaves_every_byte_and_can_be_mended_by_another_run(
    database: Store, before: Parse, at: str
) -> None:
    contents = [with_file(), mail(1), with_file(BINARY[::-1])]
    ids = store(database, *contents, by=before)

    def die(step: str) -> None:
        if step == at:
            raise StoreUnavailable("died")

    with pytest.raises(StoreUnavailable):
        again(database, step=die)
    between = [content_of(database, id_) for id_ in ids]
    unnamed = [blobs_of(database, id_) - set(message(database, id_)["blobs"]) for id_ in ids]
    again(database)

    assert between == contents
    assert unnamed == [set()] * 3, "a sweeper could take what an original relies on"
    assert [message(database, id_)["parse"]["version"] for id_ in ids] == [PARSE_VERSION] * 3
    assert [content_of(database, id_) for id_ in ids] == contents


def blobs_of(database: Store, id_: str) -> set[str]:
    original = database.originals.find_one({"_id": id_}) or {}
    return {segment["blob"] for segment in original["raw"] if "blob" in segment}


def deadly(content: Raw) -> Message:
    """Parse, unless the message is one that ends its parser."""
    if content.find(b"kill", 0, content.size_bytes) >= 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return parse(content)


def test_a_message_that_kills_its_parser_costs_nothing_but_itself(mongodb_uri: str, database: Store) -> None:
    ids = store(database, *(mail(n, "kill" if n == 3 else "hello") for n in range(6)))
    base, _, options = mongodb_uri.partition("?")
    settings = StoreSettings(f"{base.rstrip('/')}/{database.name}?{options}")
    before = message(database, ids[3])

    with started(1, settings, 512 << 20, deadly) as workers:
        outcomes = list(reparse.reparse(database, Run(wanted(), Manner(ACCOUNTS)), workers.submit, workers.count))

    assert fates(outcomes) == {"changed": 5, "failed": 1}
    assert [outcome.message for outcome in outcomes] == sorted(ids)
    assert message(database, ids[3]) == before


def test_a_large_message_goes_through_a_file_of_which_nothing_can_be_left(
    database: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (id_,) = store(database, with_file(BINARY * 10), by=gave_up)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[tuple[str, list[Path]]] = []

    def look(content: Raw) -> Message:
        seen.append((type(content).__name__, list(tmp_path.iterdir())))
        return parse(content)

    assert fates(again(database, look)) == {"changed": 1}

    assert seen == [("_OpenFile", [])]
    assert content_of(database, id_) == with_file(BINARY * 10)


def test_a_temporary_directory_that_takes_nothing_is_told_with_its_mend(
    database: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(database, with_file(BINARY * 10))
    monkeypatch.setattr(tempfile, "tempdir", "/dev/full/none")  # where nothing can be written

    with pytest.raises(Unavailable, match=r"name another \$TMPDIR"):
        again(database)


def test_batches_are_bounded_by_count_and_by_bytes(database: Store) -> None:
    store(database, *(mail(n) for n in range(reparse.BATCH_COUNT + 5)))
    store(database, *(with_file(bytes([n]) * 2_000_000) for n in range(3)), account="zoo")
    taken: list[int] = []

    def submit(batch: Batch) -> Any:
        taken.append(len(batch.ids))
        return InProcess(lambda task: task(database, parse, lambda step: None)).submit(batch)

    list(reparse.reparse(database, Run(wanted(), Manner(ACCOUNTS)), submit))

    assert taken == [reparse.BATCH_COUNT, 6, 1, 1]
