"""Messages that the server says are stored already: placed without being fetched, and never by its word alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingestd.errors import StoreUnavailable, Unavailable
from ingestd.ingest import Stored, Wanted
from ingestd.message import Kept
from ingestd.mime.parse import parse
from ingestd.store import accounts, messages
from ingestd.store.messages import Terms
from ingestd.summary import Summary
from tests.fakes import NOON, ListMailbox, digest, mail, raw
from tests.passes import Bench
from tests.test_reconcile import mailbox


def naming(*numbers: int, uidvalidity: int = 9) -> ListMailbox:
    """A mailbox whose messages have ids of their own, wherever they lie."""
    made = mailbox(*numbers, uidvalidity=uidvalidity)
    made.object_ids = {uid: f"M{number}" for uid, number in enumerate(numbers, 1)}
    return made


def archive(*numbers: int) -> ListMailbox:
    """Another mailbox of the account."""
    made = naming(*numbers)
    made.name = "Archive"
    return made


def test_a_message_that_lies_in_another_mailbox_too_is_fetched_once(bench: Bench) -> None:
    bench.run(naming(1, 2))
    other = archive(2, 3)

    bench.run(other)

    assert other.fetched == [2]
    place = bench.database.placements.find_one({"mailbox": "Archive", "uid": 1})
    assert place is not None
    assert (place["state"], place["digest"], place["object_id"]) == ("stored", digest(mail(2, "xx")), "M2")
    assert (place["size_bytes"], place["internal_date"]) == (len(mail(2, "xx")), other.dates[1])
    places, stored = bench.state()
    assert (len(places), len(stored)) == (4, 3)
    assert bench.sealed() == places


def test_a_message_that_is_to_be_deleted_is_fetched_whatever_the_server_says(bench: Bench) -> None:
    bench.run(naming(1, 2))
    other = archive(2, 3)

    replace(bench, terms=Terms(ack="delete")).run(other)

    assert other.fetched == [1, 2]
    assert other.messages == {}


def test_its_message_says_that_it_lies_there_too(bench: Bench) -> None:
    bench.run(naming(1, 2))
    other = archive(2)
    other.dates[1] = NOON.replace(year=2020)

    bench.run(other)

    message = bench.database.messages.find_one({"_id": f"work:{digest(mail(2, 'xx'))}"})
    assert message is not None
    assert sorted(message["mailboxes"]) == ["Archive", "INBOX"]
    assert message["first_internal_date"] == other.dates[1]


def test_a_renumbered_mailbox_costs_no_second_fetch(bench: Bench) -> None:
    bench.run(naming(*range(1, 31)))
    renumbered = naming(*range(1, 31), uidvalidity=10)

    bench.run(renumbered)

    assert renumbered.fetched == []
    assert bench.database.placements.count_documents({"epoch": 2, "state": "stored", "present": True}) == 30


def test_it_counts_as_a_copy_that_was_not_fetched(bench: Bench) -> None:
    bench.run(naming(1, 2))
    summary = Summary("work", "Archive")

    for step in bench.run(archive(1, 2, 3)):
        summary.add(step) if isinstance(step, Stored) else summary.begin(step)

    assert (summary.selected, summary.stored, summary.copies, summary.linked) == (3, 1, 2, 2)
    assert summary.size_bytes == len(mail(3, "xxx"))
    assert summary.remaining == 0


def test_a_message_of_another_size_is_fetched_whatever_its_id_says(bench: Bench) -> None:
    bench.run(naming(1, 2))
    other = archive(7)
    other.object_ids[1] = "M2"

    bench.run(other)

    assert other.fetched == [1]


def test_an_id_that_was_given_to_two_messages_is_not_believed(bench: Bench) -> None:
    box = ListMailbox(mail(1), mail(2))
    box.object_ids = {1: "M1", 2: "M1"}
    bench.run(box)
    other = ListMailbox(mail(1))
    other.name, other.object_ids = "Archive", {1: "M1"}

    bench.run(other)

    assert other.fetched == [1]


def test_the_ids_of_a_server_that_the_account_left_are_not_believed(bench: Bench) -> None:
    bench.run(naming(1, 2))
    accounts.rebind(bench.database, bench.lease, "imap.example.com", "me")
    moved = naming(1, 2)

    bench.run(moved)
    other = archive(2)
    bench.run(other)

    assert moved.fetched == [1, 2]
    assert other.fetched == []


def test_the_ids_of_another_mailbox_under_the_same_uidvalidity_are_not_believed(bench: Bench) -> None:
    bench.run(naming(*range(1, 21)))
    other = naming(*range(20, 0, -1))
    other.messages = {uid: mail(21 - uid, "y" * (21 - uid)) for uid in other.messages}

    bench.run(other)

    assert other.fetched == list(range(1, 21))
    assert len(bench.state()[1]) == 40


def test_a_message_that_is_not_whole_in_the_store_is_fetched(bench: Bench) -> None:
    bench.run(naming(1, 2))
    bench.database.messages.delete_many({"sha256": digest(mail(2, "xx"))})
    other = archive(1, 2)

    bench.run(other)

    assert other.fetched == [2]


def test_a_message_that_goes_from_the_store_meanwhile_is_not_placed(bench: Bench) -> None:
    gone = replace(raw(mail(1)), content=Kept(len(mail(1))))

    with pytest.raises(Unavailable):
        messages.write(bench.database, [gone], parse, Terms(), lambda step: None)

    assert bench.state() == ([], [])


@pytest.mark.parametrize("step", ["parsed", "blobs", "originals", "messages", "placements"])
def test_a_pass_that_breaks_off_while_it_places_them_is_made_up_for(bench: Bench, step: str) -> None:
    bench.run(naming(1, 2))
    other = archive(1, 2, 3)

    bench.fail_at = step
    with pytest.raises(StoreUnavailable):
        bench.run(other)
    bench.fail_at = ""
    bench.run(other)

    places, stored = bench.state()
    assert (len(places), len(stored)) == (5, 3)
    assert bench.sealed() == places


def test_what_is_to_be_done_after_storing_is_done_to_them_too(bench: Bench) -> None:
    bench.run(naming(1, 2))
    other = archive(1, 2)
    bench.terms = Terms(ack="seen")

    bench.run(other, Wanted())

    assert other.seen == {1, 2}
    assert bench.database.placements.count_documents({"mailbox": "Archive", "ack": "done"}) == 2


def test_mail_before_since_is_left_out_even_if_it_is_stored(bench: Bench) -> None:
    bench.run(naming(1, 2))
    other = archive(1, 2)
    other.dates[1] = NOON.replace(year=2020)

    bench.run(other, since=NOON.date())

    assert bench.database.placements.count_documents({"mailbox": "Archive"}) == 1
