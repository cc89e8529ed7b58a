"""`ingestd reparse` as an operator sees it: no mail server, counts that add up, and never more than was asked for."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.archive import rebuild
from ingestd.demo.mailbox import messages
from ingestd.mime.parse import PARSE_VERSION
from tests.e2e.conftest import Site

Document = dict[str, Any]

COUNT = 30
NO_SERVER = "port = 9"  # where nothing answers


@pytest.fixture
def old(site: Site, database: Database[Document]) -> Site:
    """A site whose mail was stored by an older version, which got subjects wrong, and whose server is gone."""
    site.deliver(itertools.islice(messages(100), COUNT))
    site.select = "all"
    site.write()
    site.once()
    site.write(imap=NO_SERVER)
    database.messages.update_many({"account": "work"}, {"$set": {"parse.version": 0, "subject": "wrong"}})
    return site


def summary(site: Site, *words: str) -> Document:
    done = site.run("reparse", "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def outdated(database: Database[Document]) -> int:
    return database.messages.count_documents({"$or": [{"parse.version": 0}, {"subject": "wrong"}]})


def test_after_an_upgrade_everything_is_parsed_again_without_a_mail_server(
    old: Site, database: Database[Document]
) -> None:
    distinct = outdated(database)

    said = old.run("reparse")
    nothing = old.run("reparse")

    assert said.returncode == 0, said.stderr
    assert f"{distinct} messages to parse again = {distinct} changed\n" in said.stdout
    assert nothing.stdout == "0 messages to parse again = 0\n"
    assert outdated(database) == 0
    for message in database.messages.find():
        assert message["parse"]["version"] == PARSE_VERSION
        assert b"".join(rebuild.original(database, message))


def test_a_dry_run_and_a_diff_say_what_would_change_and_change_nothing(old: Site, database: Database[Document]) -> None:
    before = list(database.messages.find().sort("_id"))

    dry = old.run("reparse", "--dry-run")
    diff = old.run("reparse", "--diff")
    values = old.run("reparse", "--diff", "--values")

    assert list(database.messages.find().sort("_id")) == before
    assert f"= {len(before)} would change" in dry.stdout
    assert "dry run: nothing was changed" in dry.stderr
    assert f"{before[0]['_id']}  subject, parse.version\n" in diff.stdout
    assert "wrong" not in dry.stdout + diff.stdout + diff.stderr
    assert '  subject: "wrong" -> "' in values.stdout


def test_the_counts_of_json_add_up_with_a_limit_and_the_rest_comes_next(
    old: Site, database: Database[Document]
) -> None:
    distinct = outdated(database)

    first, second = summary(old, "--limit", "10"), summary(old, "--account", "work")

    assert (first["messages"], first["changed"], first["not_reached"]) == (distinct, 10, distinct - 10)
    assert (second["messages"], second["changed"]) == (distinct - 10, distinct - 10)
    assert second["fields"] == {"parse.version": distinct - 10, "subject": distinct - 10}


def test_a_damaged_message_is_named_and_the_others_are_done(old: Site, database: Database[Document]) -> None:
    victim = database.messages.find_one({}) or {}
    database.originals.update_one({"_id": victim["_id"], "account": "work"}, {"$set": {"raw": []}})

    done = old.run("reparse")

    assert done.returncode == 1
    assert f"ingestd: message {victim['_id']}: damaged, left as it is:" in done.stderr
    assert "+ 1 damaged\n" in done.stdout
    assert outdated(database) == 1


@pytest.mark.parametrize("step", ["blobs", "named", "originals", "messages"])
def test_workers_that_die_at_a_step_do_no_harm_and_the_next_run_mends_it(
    old: Site, database: Database[Document], step: str
) -> None:
    died = old.run("reparse", INGESTD_FAIL_AT=step)

    mended = old.run("reparse")

    assert (died.returncode, mended.returncode) == (1, 0)
    assert outdated(database) == 0
    for message in database.messages.find():
        assert b"".join(rebuild.original(database, message))


def test_a_large_message_needs_little_memory(old: Site, database: Database[Document]) -> None:
    large = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 64 * 1024 * 40  # 40 MiB
    old.write(daemon='workers = 1\nmemory_limit = "2GiB"')
    client = old.client()
    client.append("INBOX", large)
    client.logout()
    old.once()
    database.messages.update_many({"account": "work"}, {"$set": {"parse.version": 0}})

    old.write(daemon='workers = 1\nmemory_limit = "420MiB"', imap=NO_SERVER)
    summary(old)

    assert database.messages.count_documents({"parse.version": 0}) == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--where", "kind=list"), "must be JSON"),
        (("--where", "{}", "--all"), "say one of them"),
        (("--values",), "only with --diff"),
        (("--account", "wrk"), 'did you mean "work"?'),
        (("--where", '{"$where": "1"}'), "would run code"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(site: Site, words: tuple[str, ...], why: str) -> None:
    done = site.run("reparse", *words)

    assert done.returncode == 2
    assert why in done.stderr
    assert done.stdout == ""


def test_a_store_that_is_away_is_told(site: Site) -> None:
    site.write(store='uri = "mongodb://127.0.0.1:9/mail?serverSelectionTimeoutMS=200"')

    done = site.run("reparse")

    assert done.returncode == 3
    assert "no answer" in done.stderr
