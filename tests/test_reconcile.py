"""What a mailbox lists against what is known of it: messages gone, back, and mailboxes that are other ones."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ingestd.archive.status import accounts
from ingestd.errors import StoreUnavailable
from ingestd.ingest import Wanted
from ingestd.message import Metadata
from ingestd.reconcile import Comparison, absences, compared, reconcile_with_none
from ingestd.store import mailboxes
from ingestd.store.ledger import Ledger
from ingestd.store.memory import Absent
from ingestd.store.messages import Terms
from ingestd.store.seals import Seals
from ingestd.uidset import UIDSet
from tests.fakes import NOON, ListMailbox, mail
from tests.passes import Bench

Document = dict[str, Any]

HUNDRED = UIDSet.span(1, 100)


def mailbox(*numbers: int, uidvalidity: int = 9) -> ListMailbox:
    """A mailbox in which no two messages have the same size and date."""
    made = ListMailbox(*(mail(n, "x" * n) for n in numbers), uidvalidity=uidvalidity)
    made.dates = {uid: NOON + timedelta(minutes=n) for uid, n in enumerate(numbers, 1)}
    return made


def events(place: Document) -> list[str]:
    return [event["event"] for event in place["history"]]


def memory(bench: Bench) -> Document:
    found = bench.database.mailboxes.find_one({})
    assert found is not None
    return found


# --- decisions


def reckoned(present: UIDSet, before: Absent | None = None, *, whole: bool = True, hours: int = 0) -> Absent:
    return absences(before or Absent(), HUNDRED, present, NOON + timedelta(hours=hours), whole=whole)


def test_what_is_missing_once_is_not_gone() -> None:
    absent = reckoned(HUNDRED - UIDSet.of([7]))

    assert (str(absent.missing), str(absent.gone)) == ("7", "")


def test_what_is_missing_twice_in_a_row_is_gone() -> None:
    once = reckoned(HUNDRED - UIDSet.of([7, 8]))
    twice = reckoned(HUNDRED - UIDSet.of([7, 9]), once)

    assert (str(twice.missing), str(twice.gone)) == ("9", "7")


def test_what_a_broken_listing_lacks_is_neither_missing_nor_gone() -> None:
    once = reckoned(HUNDRED - UIDSet.of([7]))

    assert reckoned(UIDSet(), once, whole=False) == once


def test_what_is_listed_again_is_not_gone() -> None:
    absent = reckoned(HUNDRED, Absent(gone=UIDSet.of([7])))

    assert absent == Absent()


@pytest.mark.parametrize(("done", "lost", "believed"), [(100, 20, True), (100, 21, False), (210, 21, True)])
def test_more_than_twenty_and_more_than_a_tenth_are_not_believed_at_once(done: int, lost: int, believed: bool) -> None:
    known, gone = UIDSet.span(1, done), UIDSet.span(1, lost)

    absent = absences(Absent(missing=gone), known, known - gone, NOON, whole=True)

    assert absent == (Absent(gone=gone) if believed else Absent(suspended=gone, suspended_at=NOON))


def test_what_is_missing_for_a_day_is_believed_however_much_it_is() -> None:
    lost = UIDSet.span(1, 90)
    doubted = reckoned(HUNDRED - lost, Absent(missing=lost))

    before, after = reckoned(HUNDRED - lost, doubted, hours=23), reckoned(HUNDRED - lost, doubted, hours=24)

    assert before == doubted
    assert after == Absent(gone=lost)


def test_what_comes_back_while_it_is_doubted_is_forgotten() -> None:
    lost = UIDSet.span(1, 90)
    doubted = reckoned(HUNDRED - lost, Absent(missing=lost))

    assert reckoned(HUNDRED, doubted, hours=30) == Absent()


def test_a_second_mass_of_messages_that_disappear_begins_the_day_anew() -> None:
    first, both = UIDSet.span(1, 30), UIDSet.span(1, 60)
    doubted = reckoned(HUNDRED - first, Absent(missing=first))
    missing = reckoned(HUNDRED - both, doubted, hours=23)

    absent = reckoned(HUNDRED - both, missing, hours=24)

    assert (absent.suspended, absent.suspended_at) == (both, NOON + timedelta(hours=24))


def test_few_that_disappear_while_others_are_doubted_are_believed() -> None:
    lost, deleted = UIDSet.span(1, 90), UIDSet.of([95])
    doubted = Absent(missing=deleted, suspended=lost, suspended_at=NOON)

    absent = reckoned(HUNDRED - lost - deleted, doubted, hours=1)

    assert (absent.gone, absent.suspended, absent.suspended_at) == (deleted, lost, NOON)


def said(uid: int, minutes: int | None, size: int | None) -> dict[int, Metadata]:
    date = None if minutes is None else NOON + timedelta(minutes=minutes)
    return {uid: Metadata(uid, internal_date=date, size_bytes=size)}


@pytest.mark.parametrize(
    ("minutes", "size", "changed", "other"),
    [(0, 5, "", ""), (1, 5, "1", ""), (0, 6, "1", ""), (1, 6, "1", "1"), (None, 6, "1", "1"), (None, None, "", "")],
)
def test_a_message_is_another_one_when_nothing_is_as_it_was(
    minutes: int | None, size: int | None, changed: str, other: str
) -> None:
    found = compared(said(1, minutes, size), said(1, 0, 5))

    assert (str(found.changed), str(found.other)) == (changed, other)


@pytest.mark.parametrize(("before", "now", "changed"), [("M1", "M2", "1"), ("M1", "M1", ""), (None, "M2", "")])
def test_a_message_whose_id_is_another_one_has_changed(before: str | None, now: str, changed: str) -> None:
    found = compared({1: Metadata(1, size_bytes=5, object_id=now)}, {1: Metadata(1, size_bytes=5, object_id=before)})

    assert (str(found.changed), str(found.other)) == (changed, "")


def test_the_same_id_does_not_make_a_message_the_same(bench: Bench) -> None:
    known = {1: Metadata(1, internal_date=NOON, size_bytes=5, object_id="M1")}

    found = compared({1: Metadata(1, internal_date=NOON.replace(year=2020), size_bytes=6, object_id="M1")}, known)

    assert str(found.other) == "1"


def test_a_mailbox_is_another_one_when_most_of_its_messages_are() -> None:
    half, more = UIDSet.span(1, 4), UIDSet.span(1, 5)

    assert not Comparison(UIDSet.span(1, 8), half, half).another_mailbox
    assert Comparison(UIDSet.span(1, 8), more, more).another_mailbox
    assert not Comparison(UIDSet(), UIDSet(), UIDSet()).another_mailbox


# --- passes


def test_a_message_deleted_after_it_was_stored_is_noted_as_gone_by_the_second_pass(bench: Bench) -> None:
    box = mailbox(1, 2, 3)
    bench.run(box)
    del box.messages[2]

    bench.run(box)
    after_one = bench.place(2)
    bench.run(box)

    place = bench.place(2)
    assert (after_one["present"], after_one["history"]) == (True, [])
    assert (place["state"], place["present"], events(place)) == ("stored", False, ["gone"])
    assert place["vanished_at"] == place["history"][0]["at"]


def test_a_message_that_is_listed_again_is_present_again(bench: Bench) -> None:
    box = mailbox(1, 2, 3)
    bench.run(box)
    kept = box.messages.pop(2)
    bench.run(box)
    bench.run(box)
    box.messages[2] = kept

    bench.run(box)

    place = bench.place(2)
    assert (place["present"], place["vanished_at"], events(place)) == (True, None, ["gone", "back"])
    assert box.fetched == [1, 2, 3]


def test_a_mass_of_messages_that_disappears_is_not_believed_but_remembered(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    box = mailbox(*range(40))
    bench.run(box)
    kept, box.messages = box.messages, {1: box.messages[1]}

    for _ in range(3):
        bench.run(box)

    assert bench.database.placements.count_documents({"present": False}) == 0
    assert memory(bench)["absent"]["suspended"] == "2:40"
    (shown,) = next(accounts(bench.database)).mailboxes
    assert (shown.disappeared, shown.believed_at) == (39, memory(bench)["absent"]["suspended_at"] + timedelta(days=1))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "disappearance doubted" in line]
    assert "work/INBOX" in line
    assert "missing=39" in line
    box.messages = kept
    bench.run(box)
    assert memory(bench)["absent"]["suspended"] == ""


def test_a_mass_of_messages_that_is_missing_for_a_day_is_believed(bench: Bench) -> None:
    box = mailbox(*range(40))
    bench.run(box)
    box.messages = {1: box.messages[1]}
    bench.run(box)
    bench.run(box)

    bench.database.mailboxes.update_one({}, {"$set": {"absent.suspended_at": NOON}})
    bench.run(box)

    assert bench.database.placements.count_documents({"present": False, "state": "stored"}) == 39


def test_a_mailbox_that_is_there_no_more_counts_as_one_that_lists_nothing(bench: Bench) -> None:
    bench.run(mailbox(1, 2, 3))

    for present in (True, False, False):
        remembered = mailboxes.last(bench.database, "work", "INBOX")
        assert remembered is not None
        reconcile_with_none(Ledger(bench.database, bench.lease, Seals(bench.database, bench.lease), remembered))
        assert {bench.place(uid)["present"] for uid in (1, 2, 3)} == {present}

    assert events(bench.place(2)) == ["gone"]
    bench.run(mailbox(1, 2, 3))
    assert events(bench.place(2)) == ["gone", "back"]


def test_a_mailbox_of_an_account_that_is_to_begin_anew_still_is(bench: Bench) -> None:
    bench.run(mailbox(1, 2, 3))
    bench.database.mailboxes.update_one({}, {"$set": {"rebound": True}})
    remembered = mailboxes.last(bench.database, "work", "INBOX")
    assert remembered is not None

    reconcile_with_none(Ledger(bench.database, bench.lease, Seals(bench.database, bench.lease), remembered))

    assert memory(bench)["rebound"]


def test_an_interrupted_reconcile_notes_nothing_twice(bench: Bench) -> None:
    box = mailbox(1, 2, 3)
    bench.run(box)
    del box.messages[2]
    bench.run(box)
    before = memory(bench)
    bench.run(box)

    bench.database.mailboxes.replace_one({"_id": before["_id"]}, before)
    bench.run(box)

    assert events(bench.place(2)) == ["gone"]


def test_a_message_that_comes_back_after_a_pass_that_died_when_it_was_noted_as_gone_is_present(bench: Bench) -> None:
    box = mailbox(1, 2, 3)
    bench.run(box)
    kept = box.messages.pop(2)
    bench.run(box)
    before = memory(bench)
    bench.run(box)
    bench.database.mailboxes.replace_one({"_id": before["_id"]}, before)
    box.messages[2] = kept

    bench.run(box)

    assert (bench.place(2)["present"], events(bench.place(2))) == (True, ["gone", "back"])


def test_a_message_that_was_moved_away_on_our_behalf_is_gone_at_once(bench: Bench) -> None:
    box = mailbox(*range(40))
    bench.terms = Terms(ack="move:Done")

    bench.run(box)

    assert box.messages == {}
    assert bench.database.placements.count_documents({"present": False, "history.event": "moved"}) == 40


def test_the_history_of_a_place_is_bounded_and_keeps_its_beginning(bench: Bench) -> None:
    box = mailbox(1, 2)
    bench.run(box)
    long = [{"at": NOON, "event": "gone"}] * 10 + [{"at": NOON, "event": "back"}] * 40
    bench.database.placements.update_many({"uid": 2, "account": "work"}, {"$set": {"history": long}})
    del box.messages[2]

    bench.run(box)
    bench.run(box)

    assert events(bench.place(2)) == ["gone"] * 10 + ["back"] * 39 + ["gone"]


# --- epochs


def test_another_mailbox_under_the_same_uidvalidity_is_not_taken_for_known(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.run(mailbox(*range(1, 21)))
    other = mailbox(*range(15, 35))

    bench.run(other)

    assert other.fetched == list(range(1, 21))
    assert len(bench.state()[1]) == 34
    assert bench.place(3)["present"] is False
    assert events(bench.place(3)) == ["retired"]
    place = bench.place(3, epoch=2)
    assert place["_id"] == "imap://work/INBOX;UIDVALIDITY=9;EPOCH=2/;UID=3"
    assert "mailbox replaced" in capsys.readouterr().out
    assert bench.sealed() == bench.state()[0]


def test_a_mailbox_that_is_the_same_is_looked_at_with_one_command(bench: Bench) -> None:
    box = mailbox(*range(1, 101))
    bench.run(box)
    box.deliver(mail(999))

    bench.run(box)

    assert [str(uids) for uids in box.looked] == ["1,15,29,43,57,71,85,100"]
    assert memory(bench)["epoch"] == 1


def test_what_waits_to_be_marked_is_looked_at_before_anything_is_marked(bench: Bench) -> None:
    box = mailbox(*range(1, 101))
    bench.terms = Terms(ack="seen")
    bench.run(box)
    bench.database.placements.update_many({"uid": {"$in": [33, 34]}, "account": "work"}, {"$set": {"ack": "pending"}})
    box.seen.clear()

    bench.run(box)

    assert {33, 34} <= set(box.looked[-1])
    assert box.seen == {33, 34}


def test_nothing_is_marked_in_a_mailbox_that_turns_out_to_be_another_one(bench: Bench) -> None:
    bench.terms = Terms(ack="seen")
    bench.run(mailbox(*range(1, 21)))
    bench.database.placements.update_many({"uid": 3, "account": "work"}, {"$set": {"ack": "pending"}})
    other = mailbox(*range(31, 41))
    other.seen = set(other.messages)

    bench.run(other)

    assert bench.place(3)["ack"] == "pending"


def test_mail_that_came_since_first_sight_is_brought_even_if_it_was_read_before_the_uids_changed(bench: Bench) -> None:
    box = mailbox(1, 2)
    bench.run(box)
    renumbered = mailbox(1, 2, 3, uidvalidity=10)
    renumbered.seen = {1, 2, 3}
    renumbered.dates[3] = memory(bench)["met_at"]

    bench.run(renumbered)

    assert renumbered.fetched == [3]


def test_the_day_from_which_mail_is_wanted_outlives_an_epoch(bench: Bench) -> None:
    box = mailbox(1)
    bench.run(box, since=timedelta(days=90))
    bench.database.mailboxes.update_one({}, {"$set": {"since": NOON}})

    bench.run(mailbox(1, uidvalidity=10), since=timedelta(days=90))

    assert memory(bench)["since"] == NOON


def test_a_uidnext_that_is_too_high_does_not_hide_new_mail(bench: Bench) -> None:
    box = mailbox(1, 2)
    box.uidnext = 1000
    bench.run(box)
    box.uidnext = 3
    uid = box.deliver(mail(3), seen=True)

    bench.run(box)

    assert box.fetched == [1, 2, uid]


def test_what_an_epoch_left_unsealed_is_sealed_when_the_next_begins(bench: Bench) -> None:
    bench.fail_at = "placements"
    with pytest.raises(StoreUnavailable):
        bench.run(mailbox(1, 2, 3))
    unsealed = bench.sealed()
    bench.fail_at = ""

    bench.run(mailbox(1, uidvalidity=10))

    assert unsealed == []
    assert bench.sealed() == bench.state()[0]
    assert len(bench.sealed()) == 4


def test_a_mailbox_that_an_earlier_version_remembered_goes_on(bench: Bench) -> None:
    box = mailbox(1, 2)
    bench.run(box)
    added = ("rebound", "visited", "met_at", "absent", "doubts", "uidnext", "followed", "looked")
    bench.database.mailboxes.update_one({}, {"$unset": dict.fromkeys(added, "")})
    bench.database.placements.update_many({}, {"$unset": {"object_id": ""}})
    box.deliver(mail(3))

    bench.run(box)

    assert box.fetched == [1, 2, 3]
    assert memory(bench)["absent"] == Absent().document


def test_a_limit_does_not_keep_a_pass_from_reconciling(bench: Bench) -> None:
    box = mailbox(*range(1, 11))
    bench.run(box, Wanted(limit=5))
    del box.messages[2]

    bench.run(box, Wanted(limit=1))
    bench.run(box, Wanted(limit=1))

    assert bench.place(2)["present"] is False
