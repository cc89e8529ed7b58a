"""Mail that is deleted on its server once it is stored: only what is, and only what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ingestd.acknowledge import Told
from ingestd.errors import LeaseLost, StoreUnavailable, Unavailable
from ingestd.message import Metadata, Removal
from ingestd.store.messages import Terms
from ingestd.uidset import UIDSet
from tests.fakes import NOON, ListMailbox, mail
from tests.passes import Bench

DELETE = Terms(ack="delete")
Announce = Callable[[UIDSet], None]


class Breaking(ListMailbox):
    """A mailbox whose connection breaks when it is told to remove messages: before that is done, or after."""

    breaks: str | None = None

    def remove(self, known: Mapping[int, Metadata], action: str, announce: Announce) -> Removal:
        if self.breaks == "before":
            announce(UIDSet.of(known))
            raise Unavailable("the connection broke")
        done = super().remove(known, action, announce)
        if self.breaks == "after":
            raise Unavailable("the connection broke")
        return done


def box(count: int = 3) -> Breaking:
    return Breaking(*(mail(number) for number in range(1, count + 1)))


def deleting(bench: Bench) -> Bench:
    return replace(bench, terms=DELETE)


def told(steps: list[Any]) -> list[Told]:
    return [step for step in steps if isinstance(step, Told)]


def log(bench: Bench) -> list[tuple[str, list[str]]]:
    """What is sealed, by kind and UID, in order."""
    seals = bench.database.seals.find().sort("_id")
    return [(seal["kind"], [place["_id"].rpartition("=")[2] for place in seal["places"]]) for seal in seals]


def acks(bench: Bench) -> list[tuple[int, str | None]]:
    return [(place["uid"], place["ack"]) for place in bench.database.placements.find().sort("uid")]


def test_mail_is_deleted_once_it_is_stored_and_a_seal_says_so(bench: Bench) -> None:
    mailbox = box()

    steps = deleting(bench).run(mailbox)

    assert mailbox.messages == {}
    assert told(steps) == [Told("delete", removed=3)]
    assert log(bench) == [("stored", ["1", "2", "3"]), ("deleted", ["1", "2", "3"])]
    place = bench.place(2)
    assert (place["state"], place["present"], place["ack"]) == ("stored", False, "done")
    assert [event["event"] for event in place["history"]] == ["deleted"]
    assert place["asked_at"] is not None


def test_what_was_stored_before_deleting_was_asked_for_stays(bench: Bench) -> None:
    mailbox = box()
    bench.run(mailbox)
    mailbox.deliver(mail(4))

    deleting(bench).run(mailbox)

    assert sorted(mailbox.messages) == [1, 2, 3]


def test_what_is_not_to_be_deleted_any_more_stays(bench: Bench) -> None:
    mailbox = box()
    mailbox.breaks = "before"
    with pytest.raises(Unavailable):
        deleting(bench).run(mailbox)
    mailbox.breaks = None

    bench.run(mailbox)

    assert sorted(mailbox.messages) == [1, 2, 3]
    assert {place["asked_at"] for place in bench.database.placements.find()} == {None}


def test_what_the_store_does_not_give_back_stays_on_the_server(bench: Bench) -> None:
    mailbox = box()
    mailbox.breaks = "before"
    with pytest.raises(Unavailable):
        deleting(bench).run(mailbox)
    mailbox.breaks = None
    damaged = bench.place(2)["message"]
    bench.database.originals.update_one({"_id": damaged, "account": "work"}, {"$set": {"raw.0.literal": b"changed"}})

    steps = deleting(bench).run(mailbox)

    assert sorted(mailbox.messages) == [2]
    assert told(steps) == [Told("delete", removed=2, unproven=1)]
    assert acks(bench) == [(1, "done"), (2, "pending"), (3, "done")]


@pytest.mark.parametrize("missing", ["messages", "originals"])
def test_what_is_missing_in_the_store_stays_on_the_server(bench: Bench, missing: str) -> None:
    mailbox = box()
    mailbox.breaks = "before"
    with pytest.raises(Unavailable):
        deleting(bench).run(mailbox)
    mailbox.breaks = None
    bench.database[missing].delete_many({"account": "work"})

    deleting(bench).run(mailbox)

    assert sorted(mailbox.messages) == [1, 2, 3]


def test_a_message_that_is_another_one_by_now_is_stored_too_and_not_deleted_unseen(bench: Bench) -> None:
    mailbox = box(30)
    mailbox.breaks = "before"
    with pytest.raises(Unavailable):
        deleting(bench).run(mailbox)
    mailbox.breaks = None
    mailbox.messages[2], mailbox.dates[2] = mail(99, "another"), NOON + timedelta(days=1)

    deleting(bench).run(mailbox)
    deleting(bench).run(mailbox)

    assert sorted(mailbox.messages) == [2]
    assert bench.database.messages.count_documents({"subject": {"$in": ["number 2", "number 99"]}}) == 2
    assert ("deleted", "2") not in [(kind, uid) for kind, uids in log(bench) for uid in uids]


def test_what_somebody_else_deleted_is_not_said_to_be_our_doing(bench: Bench) -> None:
    mailbox = box()
    with pytest.raises(StoreUnavailable):
        replace(deleting(bench), fail_at="placements").run(mailbox)
    del mailbox.messages[1]

    deleting(bench).run(mailbox)

    assert acks(bench) == [(1, "gone"), (2, "done"), (3, "done")]
    assert log(bench)[-1] == ("deleted", ["2", "3"])


def test_a_pass_that_died_after_the_server_did_it_is_made_up_for(bench: Bench) -> None:
    mailbox = box()
    mailbox.breaks = "after"
    with pytest.raises(Unavailable):
        deleting(bench).run(mailbox)

    bench.run(mailbox)

    assert log(bench)[-1] == ("deleted", ["1", "2", "3"])
    assert acks(bench) == [(1, "done"), (2, "done"), (3, "done")]


def test_a_pass_that_died_before_the_server_did_it_is_made_up_for(bench: Bench) -> None:
    mailbox = box()
    mailbox.breaks = "before"
    with pytest.raises(Unavailable):
        deleting(bench).run(mailbox)
    mailbox.breaks = None

    deleting(bench).run(mailbox)

    assert mailbox.messages == {}
    assert log(bench)[-1] == ("deleted", ["1", "2", "3"])


def test_nothing_is_deleted_before_it_is_sealed(bench: Bench) -> None:
    mailbox = box()
    with pytest.raises(StoreUnavailable):
        replace(deleting(bench), fail_at="placements").run(mailbox)

    deleting(bench).run(mailbox)

    assert [kind for kind, _ in log(bench)] == ["stored", "deleted"]


def test_nothing_is_deleted_by_whom_another_daemon_has_overtaken(bench: Bench) -> None:
    mailbox = box()
    mailbox.breaks = "before"
    with pytest.raises(Unavailable):
        deleting(bench).run(mailbox)
    mailbox.breaks = None
    bench.database.accounts.update_one({"_id": "work"}, {"$set": {"lease.token": 99}})

    with pytest.raises(LeaseLost):
        deleting(bench).run(mailbox)

    assert sorted(mailbox.messages) == [1, 2, 3]


def test_many_are_deleted_in_parts(bench: Bench) -> None:
    mailbox = box(250)

    steps = deleting(bench).run(mailbox)

    assert [each.removed for each in told(steps)] == [100, 100, 50]
    assert sum(len(uids) for kind, uids in log(bench) if kind == "deleted") == 250
