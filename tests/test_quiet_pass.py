"""A pass over a mailbox in which nothing happened asks it nothing; and anything at all makes it look."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestd.ingest import Plan, Wanted
from ingestd.store.messages import Terms
from tests.fakes import NOON, ListMailbox, mail
from tests.passes import Bench
from tests.test_flags import counting, mailbox
from tests.test_reconcile import memory

Change = Callable[[Bench, ListMailbox], Any]


@pytest.fixture
def box(bench: Bench) -> ListMailbox:
    """A mailbox that was looked at: two messages are stored, and one is left out."""
    made = counting(1, 2, 3)
    made.seen = {2}
    bench.run(made)
    made.asked.clear()
    return made


def test_a_mailbox_in_which_nothing_happened_is_asked_nothing(bench: Bench, box: ListMailbox) -> None:
    (plan,) = bench.run(box)

    assert box.asked == []
    assert isinstance(plan, Plan)
    assert (str(plan.present), str(plan.done), str(plan.selected)) == ("1:3", "1,3", "")
    assert {why: str(uids) for why, uids in plan.left_out.items()} == {"seen_at_baseline": "2"}


def replaced(bench: Bench, box: ListMailbox) -> None:
    """Another mailbox, in which it happens that as much has changed as in the one before."""
    box.messages = {uid: mail(uid + 10, "z" * 50 * uid) for uid in box.messages}
    box.dates = dict.fromkeys(box.messages, NOON - timedelta(days=3))
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    bench.database.mailboxes.update_one({}, {"$set": {"looked.at": an_hour_ago}})


CHANGES: dict[str, Change] = {
    "new mail": lambda bench, box: box.deliver(mail(9)),
    "a message was opened": lambda bench, box: box.read(1),
    "a message is gone": lambda bench, box: box.expunge(1),
    "one came and one went": lambda bench, box: (box.deliver(mail(9)), box.expunge(1)),
    "it does not count any more": lambda bench, box: setattr(box, "modseq", None),
    "it has fewer messages than it says": lambda bench, box: bench.database.mailboxes.update_one(
        {}, {"$set": {"left_out": {}}}
    ),
    "an hour is over": lambda bench, box: bench.database.mailboxes.update_one({}, {"$set": {"looked.at": NOON}}),
    "the clock was put back": lambda bench, box: bench.database.mailboxes.update_one(
        {}, {"$set": {"looked.at": datetime.now(UTC) + timedelta(minutes=5)}}
    ),
    "something is chosen": lambda bench, box: bench.database.mailboxes.update_one({}, {"$set": {"selected": "2"}}),
    "something is missing": lambda bench, box: bench.database.mailboxes.update_one(
        {}, {"$set": {"absent.missing": "1"}}
    ),
    "something is doubted": lambda bench, box: bench.database.mailboxes.update_one(
        {}, {"$set": {"doubts.compare": "1"}}
    ),
    "flags are not all looked at": lambda bench, box: bench.database.mailboxes.update_one(
        {}, {"$set": {"followed.left": "1"}}
    ),
    "it is another mailbox": replaced,
}


@pytest.mark.parametrize("change", CHANGES)
def test_anything_that_may_have_happened_makes_the_pass_look(bench: Bench, box: ListMailbox, change: str) -> None:
    CHANGES[change](bench, box)

    bench.run(box)

    assert "listed" in box.asked


WITHOUT_COUNTING = ("new mail", "a message is gone", "one came and one went", "an hour is over", "something is missing")


@pytest.mark.parametrize("change", WITHOUT_COUNTING)
def test_where_changes_are_not_counted_messages_that_come_and_go_make_the_pass_look(bench: Bench, change: str) -> None:
    box, bench.lately = mailbox(1, 2, 3), True
    for _ in range(2):
        bench.run(box)
    asked = len(box.asked)
    bench.run(box)
    assert len(box.asked) == asked

    CHANGES[change](bench, box)
    bench.run(box)

    assert "listed" in box.asked[asked:]


def test_where_changes_are_not_counted_a_program_that_may_ask_for_flags_is_asked_every_time(bench: Bench) -> None:
    box, bench.lately = mailbox(1, 2, 3), True
    box.programs["FLAGGED"] = {1, 2, 3}
    bench.run(box, Wanted(select="FLAGGED"))
    box.asked.clear()

    bench.run(box, Wanted(select="FLAGGED"))

    assert "listed" in box.asked


def test_other_settings_make_the_pass_look(bench: Bench, box: ListMailbox) -> None:
    bench.run(box, Wanted(select="all"))

    assert box.fetched == [1, 3, 2]


def test_a_pass_with_a_day_of_its_own_looks_and_is_not_the_last_look(bench: Bench, box: ListMailbox) -> None:
    uid = box.deliver(mail(9))
    bench.run(box, Wanted(since=datetime.now(UTC) + timedelta(days=9)))

    bench.run(box)

    assert uid in box.fetched


def test_what_is_still_to_be_marked_makes_the_pass_look(bench: Bench, box: ListMailbox) -> None:
    bench.database.placements.update_many(
        {"uid": 1, "account": "work"}, {"$set": {"ack": "pending", "ack_action": "seen"}}
    )
    bench.terms = Terms(ack="seen")

    bench.run(box)

    assert 1 in box.seen


def test_a_pass_that_was_cut_short_by_a_limit_is_not_the_last_look(bench: Bench) -> None:
    box = counting(1, 2, 3)
    bench.run(box, Wanted(limit=1))

    bench.run(box)

    assert box.fetched == [1, 2, 3]


def test_a_pass_that_broke_off_is_not_the_last_look(bench: Bench, box: ListMailbox) -> None:
    uid = box.deliver(mail(9))
    steps = bench.steps(box)
    next(steps)
    steps.close()

    bench.run(box)

    assert uid in box.fetched


def test_a_pass_that_was_told_of_half_the_messages_is_not_the_last_look(bench: Bench, box: ListMailbox) -> None:
    box.expunge(1)
    uid = box.deliver(mail(9))
    kept = {number: box.messages.pop(number) for number in (uid,)}
    box.hidden = 1
    bench.run(box)
    box.messages, box.hidden = {**box.messages, **kept}, 0

    bench.run(box)

    assert uid in box.fetched


def test_an_attempt_that_waits_makes_every_pass_look(bench: Bench) -> None:
    box = counting(1, 2)
    box.messages[2] = None
    bench.run(box)
    box.asked.clear()

    bench.run(box)

    assert "listed" in box.asked


def test_whatever_people_do_between_passes_nothing_is_missed(bench: Bench) -> None:
    draw, box, came = random.Random(5), counting(*range(1, 9)), set[int]()
    bench.run(box)
    idle = 0
    for number in range(60):
        box.asked.clear()
        for _ in range(draw.choice((0, 0, 1, 3))):
            present = sorted(box.messages)
            {
                "deliver": lambda: came.add(box.deliver(mail(100 + number), seen=draw.random() < 0.5)),  # noqa: B023
                "read": lambda: box.read(draw.choice(present)),  # noqa: B023
                "expunge": lambda: box.expunge(draw.choice(sorted(set(present) - came) or present)),  # noqa: B023
            }[draw.choice(("deliver", "read", "expunge"))]()
        bench.run(box)
        idle += not box.asked

    bench.run(box)
    bench.run(box)

    stored = {place["uid"]: place for place in bench.database.placements.find({"state": "stored"})}
    assert idle > 10
    assert set(box.messages) <= set(stored)
    assert {uid for uid, place in stored.items() if place["present"]} == set(box.messages)
    assert all(("\\Seen" in stored[uid]["flags"]) == (uid in box.seen) for uid in box.messages)
    assert memory(bench)["absent"]["suspended"] == ""
