"""Flags and labels follow the mailbox, in rounds, by what a mailbox counts or without."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ingestd.flags import advanced, begun
from ingestd.store.memory import Followed
from ingestd.store.messages import Terms
from ingestd.uidset import UIDSet
from tests.fakes import NOON, ListMailbox, mail
from tests.passes import Bench
from tests.test_reconcile import events, mailbox, memory

KNOWN = UIDSet.span(1, 100)


def counting(*numbers: int) -> ListMailbox:
    """A mailbox that counts its changes."""
    made = mailbox(*numbers)
    made.modseq = 10
    return made


# --- rounds


@pytest.mark.parametrize(
    ("modseq", "minutes", "round_begins", "since"),
    [
        (10, 600, False, None),  # nothing has changed
        (12, 0, True, 10),
        (9, 0, True, None),  # the count began anew: what it says of changes means nothing
        (None, 59, False, None),
        (None, 60, True, None),
        (None, -10, True, None),  # the clock was put back
    ],
)
def test_a_round_begins_when_something_may_have_changed(
    modseq: int | None, minutes: int, round_begins: bool, since: int | None
) -> None:
    followed = begun(Followed(10, at=NOON), modseq, KNOWN, NOON + timedelta(minutes=minutes))

    assert (followed.left == KNOWN) == round_begins
    assert followed.since == since


def test_a_mailbox_that_begins_to_count_is_looked_at_as_a_whole_first() -> None:
    at_first = begun(Followed(None, at=NOON), 7, KNOWN, NOON + timedelta(hours=1))

    assert (at_first.left, at_first.since) == (KNOWN, None)
    assert advanced(at_first, KNOWN).modseq == 7


def test_a_round_that_takes_several_passes_ends_where_it_began_to_count() -> None:
    at_first = begun(Followed(10, at=NOON), 12, KNOWN, NOON)
    halfway = advanced(at_first, KNOWN.last(60))
    later = begun(halfway, 15, KNOWN, NOON)
    over = advanced(later, later.left)

    assert (str(later.left), later.since) == ("1:40", 10)
    assert (over.modseq, over.left) == (12, UIDSet())
    assert begun(over, 15, KNOWN, NOON).since == 12


# --- passes


def test_a_message_that_a_person_opens_is_read_in_the_archive_too(bench: Bench) -> None:
    box = counting(1, 2, 3)
    bench.run(box)
    box.read(2)

    bench.run(box)

    place = bench.place(2)
    assert box.followed == [("1:3", 10)]
    assert place["flags"] == ["\\Seen"]
    assert [(event["event"], event["flags"], event["labels"]) for event in place["history"]] == [("flags", [], [])]
    assert bench.place(1)["history"] == []


def test_a_flag_may_begin_with_a_dollar(bench: Bench) -> None:
    box = counting(1)
    bench.run(box)
    box.keywords[1], box.labels[1] = ("$Forwarded", "$$NOW"), ("$Work",)
    box.read(1)

    bench.run(box)

    place = bench.place(1)
    assert (place["flags"], place["labels"]) == (["$Forwarded", "$$NOW", "\\Seen"], ["$Work"])


def test_flags_are_not_asked_for_where_none_has_changed(bench: Bench) -> None:
    box = counting(1, 2, 3)
    bench.run(box)
    bench.database.mailboxes.update_one({}, {"$set": {"looked": None}})

    bench.run(box)

    assert box.followed == []


def test_a_mailbox_that_does_not_count_is_asked_once_an_hour(bench: Bench) -> None:
    box = mailbox(1, 2, 3)
    bench.run(box)
    box.read(2)

    bench.run(box)
    within_the_hour = list(box.followed)
    bench.database.mailboxes.update_one({}, {"$set": {"followed.at": NOON}})
    bench.run(box)

    assert within_the_hour == []
    assert box.followed == [("1:3", None)]
    assert bench.place(2)["flags"] == ["\\Seen"]


def test_flags_that_are_told_again_are_no_news(bench: Bench) -> None:
    box = counting(1, 2, 3)
    bench.run(box)
    box.read(2)
    before = memory(bench)
    bench.run(box)

    bench.database.mailboxes.replace_one({"_id": before["_id"]}, before)
    bench.run(box)

    assert len(box.followed) == 2
    assert events(bench.place(2)) == ["flags"]


def test_what_is_gone_is_not_asked_about(bench: Bench) -> None:
    box = counting(1, 2, 3)
    bench.run(box)
    box.expunge(2)
    bench.run(box)
    bench.run(box)
    box.read(3)

    bench.run(box)

    assert box.followed[-1] == ("1,3", 11)


def test_what_we_mark_ourselves_is_followed_too(bench: Bench) -> None:
    box = counting(1, 2)
    bench.terms = Terms(ack="seen")
    bench.run(box)

    bench.run(box)

    assert bench.place(1)["flags"] == ["\\Seen"]


def test_new_mail_and_old_flags_come_in_one_pass(bench: Bench) -> None:
    box = counting(1, 2)
    bench.run(box)
    box.read(1)
    uid = box.deliver(mail(3))

    bench.run(box)

    assert (bench.place(1)["flags"], bench.place(uid)["state"]) == (["\\Seen"], "stored")
