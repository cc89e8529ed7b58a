"""The trip as a whole, with a mailbox in memory and a real wire server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.errors import StoreUnavailable
from ingestd.ingest import Plan, Stored, Wanted
from ingestd.spool import Spool
from ingestd.store import placements
from ingestd.store.leases import Owner, hold
from ingestd.store.messages import Terms
from tests.fakes import NOON, ListMailbox, mail
from tests.passes import Bench

Document = dict[str, Any]


def stored(steps: list[Plan | Stored]) -> int:
    return sum(len(step.receipts) for step in steps if isinstance(step, Stored))


def test_every_unseen_message_is_stored_placed_and_sealed(bench: Bench) -> None:
    mailbox = ListMailbox(*(mail(n) for n in range(250)))

    steps = bench.run(mailbox)

    assert stored(steps) == 250
    places, messages = bench.state()
    assert len(places) == len(messages) == 250
    assert bench.sealed() == places
    assert bench.spool.used.memory == 0


def test_a_second_pass_fetches_nothing(bench: Bench) -> None:
    mailbox = ListMailbox(*(mail(n) for n in range(5)))
    bench.run(mailbox)
    mailbox.fetched.clear()

    steps = bench.run(mailbox)

    assert mailbox.fetched == []
    assert stored(steps) == 0


def test_mail_read_before_first_sight_is_left_out_and_counted(bench: Bench) -> None:
    mailbox = ListMailbox(*(mail(n) for n in range(5)))
    mailbox.seen = {1, 2}

    plan = bench.run(mailbox)[0]

    assert isinstance(plan, Plan)
    assert {why: str(uids) for why, uids in plan.left_out.items()} == {"seen_at_baseline": "1:2"}
    assert mailbox.fetched == [3, 4, 5]


def test_mail_that_a_person_opens_between_two_passes_is_stored_all_the_same(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1))
    bench.run(mailbox)
    uid = mailbox.deliver(mail(2), seen=True)

    bench.run(mailbox)

    assert mailbox.fetched == [1, uid]


def test_mail_that_a_person_opens_after_it_was_selected_is_stored_all_the_same(bench: Bench) -> None:
    mailbox = ListMailbox(*(mail(n) for n in range(5)))
    bench.run(mailbox, Wanted(limit=2))
    mailbox.seen = {3, 4, 5}

    bench.run(mailbox)

    assert mailbox.fetched == [1, 2, 3, 4, 5]


def test_all_takes_what_unseen_left_out(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1), mail(2))
    mailbox.seen = {1}
    bench.run(mailbox)

    bench.run(mailbox, Wanted(select="all"))

    assert sorted(mailbox.fetched) == [1, 2]


def test_new_mail_comes_before_a_backlog(bench: Bench) -> None:
    mailbox = ListMailbox(*(mail(n) for n in range(10)))
    bench.run(mailbox, Wanted(limit=3))
    uid = mailbox.deliver(mail(99))

    bench.run(mailbox, Wanted(limit=2))

    assert uid in mailbox.fetched[3:]


def test_mail_before_since_is_left_out_by_its_internaldate(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1), mail(2), mail(3))
    mailbox.dates = {1: NOON - timedelta(days=30), 2: NOON - timedelta(hours=13), 3: NOON}

    bench.run(mailbox, since=NOON.date())
    again = bench.run(mailbox, since=NOON.date())[0]

    assert mailbox.fetched == [3]
    assert isinstance(again, Plan)
    assert {why: str(uids) for why, uids in again.left_out.items()} == {"older_than_since": "1:2"}


def test_equal_bytes_in_two_places_are_one_message(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1), mail(1), mail(2))

    steps = bench.run(mailbox)

    receipts = [receipt for step in steps if isinstance(step, Stored) for receipt in step.receipts]
    assert [receipt.new for receipt in receipts] == [True, False, True]
    places, messages = bench.state()
    assert (len(places), len(messages)) == (3, 2)


@pytest.mark.parametrize("step", ["parsed", "blobs", "originals", "messages", "placements"])
def test_a_pass_that_breaks_off_at_any_step_loses_and_doubles_nothing(bench: Bench, step: str) -> None:
    mailbox = ListMailbox(*(mail(n) for n in range(30)))
    broken = replace(bench, fail_at=step)

    with pytest.raises(StoreUnavailable):
        broken.run(mailbox)
    bench.run(mailbox)

    places, messages = bench.state()
    assert len(places) == len(messages) == 30
    assert bench.sealed() == places


def test_a_message_that_the_server_will_not_give_waits_and_its_neighbours_are_stored(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1), None, mail(3))

    bench.run(mailbox)
    again = bench.run(mailbox)[0]

    assert mailbox.fetched == [1, 3]
    attempt = bench.database.placements.find_one({"uid": 2})
    assert attempt is not None
    assert (attempt["state"], attempt["attempts"]) == ("fetching", 1)
    assert isinstance(again, Plan)
    assert not again.due
    assert str(again.selected) == "2"


def test_a_message_that_failed_five_times_is_quarantined(bench: Bench) -> None:
    mailbox = ListMailbox(None)
    for _ in range(5):
        bench.database.placements.update_many({"account": "work"}, {"$set": {"next_try": NOON}})
        last = bench.run(mailbox)[-1]

    assert isinstance(last, Stored)
    assert len(last.quarantined) == 1
    assert bench.database.placements.count_documents({"state": "quarantined", "attempts": 5}) == 1


def test_a_message_that_is_put_off_for_ever_is_asked_for_last_and_never_given_up(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1), mail(2))
    mailbox.put_off = {1}
    asked: list[int] = []
    mailbox.before_each = asked.append
    for _ in range(placements.ATTEMPTS + 2):
        bench.run(mailbox)
        bench.database.placements.update_many({"account": "work", "state": "fetching"}, {"$set": {"next_try": NOON}})
    uid = mailbox.deliver(mail(3))
    asked.clear()

    bench.run(mailbox)

    assert asked == [uid, 1]
    assert (bench.place(1)["state"], bench.place(1)["attempts"]) == ("fetching", placements.ATTEMPTS - 1)


def test_what_a_person_wants_retried_while_the_pass_that_gave_it_up_goes_on_is_tried_by_the_next(bench: Bench) -> None:
    mailbox = ListMailbox(None)
    for _ in range(placements.ATTEMPTS - 1):
        bench.run(mailbox)
        bench.database.placements.update_many({"account": "work"}, {"$set": {"next_try": NOON}})
    for step in bench.steps(mailbox):
        if isinstance(step, Stored):
            placements.retry(bench.database, list(bench.database.placements.find({"state": "quarantined"})), NOON)
    mailbox.messages[1] = mail(1)

    bench.run(mailbox)

    assert len(bench.state()[0]) == 1


def test_a_message_expunged_before_its_turn_is_vanished(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1), mail(2))
    bench.run(mailbox, Wanted(limit=1))
    del mailbox.messages[2]

    bench.run(mailbox)

    assert bench.database.placements.count_documents({"state": "vanished", "uid": 2}) == 1


def test_a_new_uidvalidity_begins_a_new_epoch_and_doubles_no_message(bench: Bench) -> None:
    bench.run(ListMailbox(mail(1), mail(2)))

    bench.run(ListMailbox(mail(2), mail(1), uidvalidity=10))

    places, messages = bench.state()
    assert len(places) == 4
    assert len(messages) == 2
    assert {(p["epoch"], p["present"]) for p in bench.database.placements.find()} == {(1, False), (2, True)}


def test_the_server_is_told_only_when_asked(bench: Bench) -> None:
    quiet, told = ListMailbox(mail(1)), ListMailbox(mail(2), uidvalidity=10)

    bench.run(quiet)
    replace(bench, terms=Terms(ack="seen")).run(told)

    assert quiet.seen == set()
    assert told.seen == {1}


def test_what_was_not_acknowledged_is_acknowledged_by_the_next_pass(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1))
    asking = replace(bench, terms=Terms(ack="seen"))
    with pytest.raises(StoreUnavailable):
        replace(asking, fail_at="placements").run(mailbox)

    asking.run(mailbox)

    assert mailbox.seen == {1}
    assert bench.database.placements.count_documents({"ack": "done"}) == 1


def test_what_is_not_asked_for_any_more_is_not_done(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1))
    with pytest.raises(StoreUnavailable):
        replace(bench, terms=Terms(ack="seen"), fail_at="placements").run(mailbox)

    bench.run(mailbox)

    assert mailbox.seen == set()


def test_a_pass_with_a_day_of_its_own_leaves_no_mail_out_for_ever(bench: Bench) -> None:
    mailbox = ListMailbox(*(mail(n) for n in range(1, 7)))
    mailbox.dates = {uid: NOON - timedelta(days=10 - uid) for uid in mailbox.messages}
    bench.run(mailbox, Wanted(limit=2))

    bench.run(mailbox, Wanted(since=mailbox.dates[5]))
    bench.run(mailbox)

    assert sorted(mailbox.fetched) == [1, 2, 3, 4, 5, 6]


def test_counts_add_up_for_a_pass_with_a_day_of_its_own(bench: Bench) -> None:
    mailbox = ListMailbox(*(mail(n) for n in range(1, 5)))
    mailbox.dates = {uid: NOON - timedelta(days=10 - uid) for uid in mailbox.messages}

    plan = bench.run(mailbox, Wanted(since=mailbox.dates[4]))[0]

    assert isinstance(plan, Plan)
    left_out = {why: len(uids) for why, uids in plan.left_out.items()}
    assert (len(plan.done), len(plan.selected), left_out) == (0, 2, {"older_than_since": 2})


def test_one_empty_answer_of_a_broken_server_loses_nothing(bench: Bench) -> None:
    mailbox = ListMailbox(*(mail(n) for n in range(10)))
    bench.run(mailbox, Wanted(limit=2))
    kept, mailbox.messages = mailbox.messages, {}
    bench.run(mailbox)
    mailbox.messages = kept

    bench.run(mailbox)

    assert len(bench.state()[0]) == 10
    assert bench.database.placements.count_documents({"state": "vanished"}) == 0


def test_a_message_found_gone_twice_is_not_asked_for_again_unless_it_is_listed(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1), mail(2))
    bench.run(mailbox, Wanted(limit=1))
    gone = mailbox.messages.pop(2)

    for _ in range(2):
        bench.run(mailbox)
    third = bench.run(mailbox)[0]
    mailbox.messages[2] = gone
    bench.run(mailbox)

    assert isinstance(third, Plan)
    assert not third.selected
    assert len(bench.state()[0]) == 2


def test_what_an_unfinished_first_pass_sealed_is_not_sealed_again(bench: Bench) -> None:
    mailbox = ListMailbox(*(mail(n) for n in range(250)))
    steps = bench.steps(mailbox)
    while not isinstance(next(steps), Stored):
        continue
    steps.close()

    bench.run(mailbox)

    assert bench.sealed() == bench.state()[0]


def test_what_an_unfinished_pass_sealed_is_not_sealed_again_when_short_passes_follow(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1), mail(2))
    steps = bench.steps(mailbox)
    while not isinstance(next(steps), Stored):
        continue
    steps.close()
    mailbox.deliver(mail(3))

    bench.run(mailbox, Wanted(limit=2))
    bench.run(mailbox)

    assert bench.sealed() == bench.state()[0]


def test_what_was_stored_and_not_sealed_is_sealed_even_under_other_settings(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1), mail(2))
    with pytest.raises(StoreUnavailable):
        replace(bench, fail_at="placements").run(mailbox)
    mailbox.seen = {1, 2}

    bench.run(mailbox, since=NOON.date())

    assert bench.sealed() == bench.state()[0]


def test_a_message_written_by_a_pass_that_died_counts_as_new(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1), mail(1))
    with pytest.raises(StoreUnavailable):
        replace(bench, fail_at="messages").run(mailbox)

    steps = bench.run(mailbox)

    receipts = [receipt for step in steps if isinstance(step, Stored) for receipt in step.receipts]
    assert [receipt.new for receipt in receipts] == [True, False]


def test_a_message_larger_than_the_spool_passes(database: Database[Document], tmp_path: Path) -> None:
    mailbox = ListMailbox(mail(1), mail(2, "x" * 5000), mail(3))
    with hold(database, "work", Owner.current()) as lease, Spool(tmp_path, memory_bytes=1000) as spool:
        bench = Bench(database, spool, lease)

        bench.run(mailbox)

        assert len(bench.state()[0]) == 3
