"""One UID, other bytes: a second message, a history, a new seal, and nothing of the first one lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ingestd.errors import StoreUnavailable
from ingestd.ingest import Plan, Stored
from ingestd.store.messages import Terms
from ingestd.uidset import UIDSet
from tests.fakes import NOON, ListMailbox, digest, mail
from tests.passes import Bench
from tests.test_reconcile import events, mailbox, memory

Document = dict[str, Any]

OTHER = mail(99, "y" * 99)


def replaced(box: ListMailbox, uid: int, content: bytes | None = OTHER) -> None:
    """Have *uid* mean another message, as a server does that was restored from a backup."""
    box.messages[uid], box.dates[uid] = content, NOON.replace(month=4)


def sealed_digests(bench: Bench, uid: int) -> list[str]:
    """What the seals say lies at *uid*, in their order."""
    seals = bench.database.seals.find().sort("_id")
    return [place["digest"] for seal in seals for place in seal["places"] if place["_id"].endswith(f"UID={uid}")]


def test_the_same_uid_with_other_bytes_is_a_second_message(bench: Bench) -> None:
    box = mailbox(1, 2, 3, 4)
    bench.run(box)
    first = bench.place(3)
    replaced(box, 3)

    steps = bench.run(box)

    place = bench.place(3)
    assert (place["state"], place["digest"], place["message"]) == ("stored", digest(OTHER), f"work:{digest(OTHER)}")
    assert (place["size_bytes"], place["server_size_bytes"], place["internal_date"]) == (
        len(OTHER),
        len(OTHER),
        box.dates[3],
    )
    (event,) = place["history"]
    assert (event["event"], event["digest"], event["message"]) == ("replaced", first["digest"], first["message"])
    assert sealed_digests(bench, 3) == [first["digest"], digest(OTHER)]
    assert len(bench.state()[1]) == 5
    assert [place.uid for step in steps if isinstance(step, Stored) for place in step.replaced] == [3]


def test_what_was_replaced_is_known_from_then_on(bench: Bench) -> None:
    box = mailbox(1, 2, 3, 4)
    bench.run(box)
    replaced(box, 3)
    bench.run(box)
    box.fetched.clear()

    bench.run(box)

    assert box.fetched == []
    assert memory(bench)["doubts"] == {"compare": "", "fetch": "", "fetch_after": None}


def test_it_counts_as_selected_and_not_as_known(bench: Bench) -> None:
    box = mailbox(1, 2, 3, 4)
    bench.run(box)
    replaced(box, 3)

    plan = bench.run(box)[0]

    assert isinstance(plan, Plan)
    assert (str(plan.done), str(plan.selected), str(plan.due)) == ("1:2,4", "3", "3")


def test_a_date_that_a_server_corrects_costs_one_fetch_and_is_corrected(bench: Bench) -> None:
    box = mailbox(1, 2, 3, 4)
    bench.run(box)
    box.dates[3] = NOON.replace(month=4)
    seals = bench.database.seals.count_documents({})

    bench.run(box)
    bench.run(box)

    place = bench.place(3)
    assert box.fetched == [1, 2, 3, 4, 3]
    assert (place["internal_date"], place["history"]) == (box.dates[3], [])
    assert bench.database.seals.count_documents({}) == seals


def test_a_message_that_comes_back_as_another_one_is_another_one(bench: Bench) -> None:
    box = mailbox(*range(1, 31))
    bench.run(box)
    del box.messages[7]
    bench.run(box)
    bench.run(box)
    replaced(box, 7)

    bench.run(box)

    assert events(bench.place(7)) == ["gone", "back", "replaced"]
    assert bench.place(7)["digest"] == digest(OTHER)


def test_one_message_that_is_another_one_has_all_of_them_compared(bench: Bench) -> None:
    box = mailbox(*range(1, 31))
    bench.run(box)
    for uid in (13, 29, 30):  # the sample holds 30, and neither of the others
        replaced(box, uid, mail(uid, "z" * 50 * uid))

    bench.run(box)

    assert box.fetched[30:] == [13, 29, 30]
    assert all(events(bench.place(uid)) == ["replaced"] for uid in (13, 29, 30))
    assert memory(bench)["epoch"] == 1


def test_a_mailbox_restored_from_a_backup_is_compared_as_a_whole(bench: Bench) -> None:
    box = mailbox(*range(1, 31))
    bench.run(box)
    for uid in range(11, 31):
        del box.messages[uid]
    box.uidnext = 11
    for uid in range(11, 15):
        box.deliver(mail(uid, "z" * 50 * uid))
        box.dates[uid] = NOON.replace(month=5)

    bench.run(box)

    assert box.fetched[30:] == [11, 12, 13, 14]
    assert all(bench.place(uid)["digest"] == digest(mail(uid, "z" * 50 * uid)) for uid in range(11, 15))


def restored(box: ListMailbox, uidnext: int) -> None:
    """Have *box* be as it was when *uidnext* was next, as from a backup."""
    for uid in range(uidnext, box.uidnext):
        del box.messages[uid]
    box.uidnext = uidnext


def test_new_mail_under_numbers_from_before_the_first_sight_is_brought_even_if_it_was_read(bench: Bench) -> None:
    box = mailbox(*range(1, 31))
    box.seen.update(range(1, 31))
    bench.run(box)
    restored(box, 21)
    bench.run(box)

    uid = box.deliver(mail(99), seen=True)
    bench.run(box)

    assert (uid, bench.place(uid)["digest"]) == (21, digest(mail(99)))


def test_new_mail_that_was_read_before_we_knew_of_the_restore_is_brought(bench: Bench) -> None:
    box = mailbox(*range(1, 31))
    box.seen.update(range(1, 31))
    bench.run(box)
    restored(box, 21)
    for number in range(21, 31):
        box.dates[box.deliver(mail(number, "z"), seen=True)] = memory(bench)["met_at"] + timedelta(days=5)

    bench.run(box)

    assert box.fetched == list(range(21, 31))


def test_new_mail_under_the_number_of_a_message_that_was_too_old_is_brought(bench: Bench) -> None:
    box = mailbox(*range(1, 31))
    box.dates[30] = NOON.replace(hour=0) - timedelta(hours=1)
    bench.run(box, since=NOON.date())
    restored(box, 30)
    box.dates[box.deliver(mail(99))] = NOON + timedelta(days=1)

    bench.run(box, since=NOON.date())

    assert bench.place(30)["digest"] == digest(mail(99))


def test_what_is_pending_for_the_old_message_is_not_done_to_the_new_one(bench: Bench) -> None:
    box = mailbox(*range(1, 31))
    bench.terms = Terms(ack="seen")
    bench.run(box)
    bench.database.placements.update_many({"uid": 7, "account": "work"}, {"$set": {"ack": "pending"}})
    replaced(box, 7)
    box.seen.clear()

    bench.run(box)

    place = bench.place(7)
    assert (place["ack"], place["ack_action"]) == (None, None)
    assert box.seen == set()


def test_new_bytes_that_the_server_will_not_give_are_asked_for_later_and_stop_nobody(bench: Bench) -> None:
    box = mailbox(1, 2, 3, 4)
    bench.run(box)
    before = bench.place(3)
    replaced(box, 3, None)
    uid = box.deliver(mail(5))

    bench.run(box)
    waiting = memory(bench)["doubts"]
    bench.run(box)

    assert bench.place(3) == before
    assert bench.place(uid)["state"] == "stored"
    assert (waiting["fetch"], memory(bench)["doubts"]) == ("3", waiting)
    replaced(box, 3)
    bench.database.mailboxes.update_one({}, {"$set": {"doubts.fetch_after": NOON}})
    bench.run(box)
    assert bench.place(3)["digest"] == digest(OTHER)


def test_a_replaced_message_is_brought_whatever_its_age(bench: Bench) -> None:
    box = mailbox(1, 2, 3, 4)
    bench.run(box, since=NOON.date())
    replaced(box, 3)
    box.dates[3] = NOON.replace(year=2020)

    bench.run(box, since=NOON.date())

    assert bench.place(3)["digest"] == digest(OTHER)


@pytest.mark.parametrize("step", ["parsed", "blobs", "originals", "messages", "placements"])
def test_a_pass_that_breaks_off_while_it_stores_the_new_message_is_made_up_for(bench: Bench, step: str) -> None:
    box = mailbox(1, 2, 3, 4)
    bench.run(box)
    before = bench.place(3)
    replaced(box, 3)

    bench.fail_at = step
    with pytest.raises(StoreUnavailable):
        bench.run(box)
    broken_off = bench.place(3)
    bench.fail_at = ""
    bench.run(box)

    assert broken_off == before
    assert events(bench.place(3)) == ["replaced"]
    assert sealed_digests(bench, 3) == [before["digest"], digest(OTHER)]


@pytest.mark.parametrize("sealed", [False, True])
def test_a_pass_that_dies_before_its_checkpoint_replaces_and_seals_nothing_twice(bench: Bench, sealed: bool) -> None:
    box = mailbox(1, 2, 3, 4)
    bench.run(box)
    before = bench.place(3)
    replaced(box, 3)
    steps = bench.steps(box)
    next(steps)
    planned = memory(bench)
    list(steps)

    bench.database.mailboxes.replace_one({"_id": planned["_id"]}, planned)
    if not sealed:
        bench.database.seals.delete_many({"places.digest": digest(OTHER)})
    bench.run(box)

    assert events(bench.place(3)) == ["replaced"]
    assert sealed_digests(bench, 3) == [before["digest"], digest(OTHER)]


def test_a_pass_fetches_only_so_many_again(bench: Bench) -> None:
    box = mailbox(*range(1, 251))
    bench.run(box)
    box.uidnext = 250  # a sign of a restored backup
    others = UIDSet.span(20, 214) - UIDSet.span(1, 250).spread(8)
    for uid in others:
        replaced(box, uid, mail(uid, "z" * 300 * uid))
    box.fetched.clear()

    bench.run(box)
    first = list(box.fetched)
    bench.run(box)

    assert first == list(others.last(100))
    assert box.fetched[100:] == list(others - UIDSet.of(first))
