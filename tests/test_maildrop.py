"""Passes over a POP3 maildrop, with a real wire server and everything between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.acknowledge import Told
from ingestd.archive.maildrop_accounting import account_for_maildrop
from ingestd.errors import LeaseLost, Refused
from ingestd.ingest import Plan, Stored, Wanted
from ingestd.maildrop import believed, ingest
from ingestd.mime.parse import parse
from ingestd.spool import Spool
from ingestd.store import accounts, maildrops
from ingestd.store.leases import Lease, Owner, hold
from ingestd.store.maildrop_ledger import MaildropLedger
from ingestd.store.messages import Terms
from ingestd.store.seals import Seals
from ingestd.workers import InProcess, Sink, Task
from tests.fakes import NOON, ListMaildrop, mail

Document = dict[str, Any]
Steps = list[Plan | Stored | Told]


@dataclass
class Bench:
    """Makes passes over a maildrop in memory."""

    database: Database[Document]
    spool: Spool
    lease: Lease
    since: date | None = None
    terms: Terms = field(default_factory=Terms)

    def run(
        self, maildrop: ListMaildrop, limit: int | None = None, steps: int = 1000, since: datetime | None = None
    ) -> Steps:
        """Make a pass; with fewer *steps* than it has, one that breaks off."""
        memory = maildrops.recall(self.database, "work", "pop.example.org", "me", self.since, datetime.now(UTC))
        ledger = MaildropLedger(self.database, self.lease, Seals(self.database, self.lease), memory)
        sink = Sink(InProcess(self._do), self.terms)
        made: Steps = []
        wanted = Wanted("all", since, limit, after_store=self.terms.ack)
        with closing(ingest(maildrop.opened(), ledger, sink, self.spool, wanted)) as going:
            for step in going:
                made.append(step)
                if len(made) == steps:
                    return made
        ledger.finish({})
        return made

    def _do(self, task: Task[Any]) -> Any:
        return task(self.database, parse, lambda name: None)

    def place(self, uidl: str) -> Document:
        found = self.database.placements.find_one({"_id": f"pop3://work/;UIDL={uidl}"})
        assert found is not None
        return found

    def history(self, uidl: str) -> list[str]:
        return [event["event"] for event in self.place(uidl)["history"]]

    def sealed(self, kind: str = "stored") -> list[str]:
        seals = self.database.seals.find({"kind": kind})
        return sorted(place["_id"].rpartition("=")[2] for seal in seals for place in seal["places"])

    def accounted(self, maildrop: ListMaildrop) -> dict[str, str]:
        found = account_for_maildrop(self.database, "work", maildrop.opened().listing)
        assert found.total == len(maildrop.listing)
        return {name: str(numbers) for name, numbers in found.parts.items()}


@pytest.fixture
def bench(database: Database[Document], tmp_path: Path) -> Iterator[Bench]:
    with hold(database, "work", Owner.current()) as lease, Spool(tmp_path) as spool:
        yield Bench(database, spool, lease)


def box(count: int = 3) -> ListMaildrop:
    return ListMaildrop({f"u{number}": mail(number) for number in range(1, count + 1)})


def missed_a_day_ago(bench: Bench) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1, minutes=1)
    bench.database.placements.update_many(
        {"account": "work", "missed_at": {"$exists": True}}, {"$set": {"missed_at": long_ago}}
    )


def test_everything_is_stored_sealed_and_said_to_have_come_over_pop3(bench: Bench) -> None:
    bench.run(box())

    place = bench.place("u2")
    assert (place["state"], place["via"], place["mailbox"], place["epoch"], place["uid"]) == (
        "stored",
        "pop3",
        "INBOX",
        0,
        0,
    )
    assert bench.sealed() == ["u1", "u2", "u3"]
    assert bench.database.messages.count_documents({}) == 3


def test_what_is_stored_is_not_fetched_again_whatever_its_number_is(bench: Bench) -> None:
    maildrop = box()
    bench.run(maildrop)
    del maildrop.messages["u1"]
    maildrop.deliver("u4", mail(4))

    bench.run(maildrop)

    assert maildrop.fetched == ["u1", "u2", "u3", "u4"]
    assert bench.sealed() == ["u1", "u2", "u3", "u4"]


def test_a_limit_takes_the_newest_first_and_leaves_the_rest_to_the_next_pass(bench: Bench) -> None:
    maildrop = box(5)

    bench.run(maildrop, limit=2)
    first = list(maildrop.fetched)
    assert bench.accounted(maildrop) == {"stored": "4:5", "not_visited": "1:3"}
    bench.run(maildrop)

    assert first == ["u4", "u5"]
    assert bench.accounted(maildrop) == {"stored": "1:5"}


def test_a_message_the_server_will_not_give_is_tried_again_in_its_time_and_then_quarantined(bench: Bench) -> None:
    maildrop = box()
    maildrop.deliver("bad", None)

    bench.run(maildrop)
    bench.run(maildrop)
    assert bench.place("bad")["attempts"] == 1
    for _ in range(4):
        bench.database.placements.update_many({"account": "work", "state": "fetching"}, {"$set": {"next_try": NOON}})
        bench.run(maildrop)

    assert (bench.place("bad")["state"], bench.place("bad")["via"]) == ("quarantined", "pop3")
    assert bench.accounted(maildrop) == {"stored": "1:3", "quarantined": "4"}


def test_a_message_under_a_known_unique_id_with_another_size_is_another_message(bench: Bench) -> None:
    maildrop = box()
    bench.run(maildrop)
    maildrop.messages["u2"] = mail(2, "another")

    steps = bench.run(maildrop)
    bench.run(maildrop)

    (replaced,) = [place for step in steps if isinstance(step, Stored) for place in step.replaced]
    assert replaced.uidl == "u2"
    assert bench.history("u2") == ["replaced"]
    assert bench.database.messages.count_documents({}) == 4
    assert bench.sealed() == ["u1", "u2", "u2", "u3"]
    assert maildrop.fetched == ["u1", "u2", "u3", "u2"]


def test_a_server_that_says_another_size_of_the_same_bytes_replaces_nothing(bench: Bench) -> None:
    maildrop = box()
    bench.run(maildrop)
    maildrop.sizes["u2"] = 7

    bench.run(maildrop)
    bench.run(maildrop)

    assert bench.history("u2") == []
    assert bench.sealed() == ["u1", "u2", "u3"]
    assert maildrop.fetched == ["u1", "u2", "u3", "u2"]


def test_what_may_be_another_message_and_cannot_be_had_is_left_for_a_while(bench: Bench) -> None:
    maildrop, tries = box(), list[str]()
    bench.run(maildrop)
    maildrop.sizes["u2"], maildrop.messages["u2"] = 7, None
    maildrop.before_each = tries.append

    bench.run(maildrop)
    bench.run(maildrop)

    assert tries == ["u2"]
    assert bench.place("u2")["state"] == "stored"


# --- gone, and back


def test_what_is_missing_twice_is_gone_and_kept(bench: Bench) -> None:
    maildrop = box()
    bench.run(maildrop)
    del maildrop.messages["u1"]

    bench.run(maildrop)
    once = bench.place("u1")["present"]
    bench.run(maildrop)

    assert (once, bench.place("u1")["present"], bench.history("u1")) == (True, False, ["gone"])
    assert bench.place("u1")["state"] == "stored"


def test_what_was_missing_once_and_is_listed_again_was_never_gone(bench: Bench) -> None:
    maildrop = box()
    bench.run(maildrop)
    letter = maildrop.messages.pop("u1")
    bench.run(maildrop)
    maildrop.deliver("u1", letter)

    bench.run(maildrop)
    bench.run(maildrop)

    assert (bench.place("u1")["present"], bench.history("u1")) == (True, [])
    assert "missed_at" not in bench.place("u1")


def test_a_unique_id_that_is_used_again_is_fetched_to_see_what_it_is(bench: Bench) -> None:
    maildrop = box()
    bench.run(maildrop)
    maildrop.messages.pop("u1")
    bench.run(maildrop)
    bench.run(maildrop)
    maildrop.deliver("u1", mail(7))  # of the same size

    bench.run(maildrop)

    assert bench.history("u1") == ["gone", "back", "replaced"]
    assert bench.database.messages.count_documents({}) == 4


def test_a_maildrop_that_is_suddenly_empty_is_doubted_for_a_day(bench: Bench) -> None:
    maildrop = box(30)
    bench.run(maildrop)
    maildrop.messages.clear()

    for _ in range(3):
        bench.run(maildrop)
    doubted = bench.database.placements.count_documents({"present": True})
    missed_a_day_ago(bench)
    bench.run(maildrop)

    assert doubted == 30
    assert bench.database.placements.count_documents({"present": True}) == 0


def test_an_open_attempt_whose_message_is_gone_is_lost_and_said_to_be(bench: Bench) -> None:
    maildrop = box()
    maildrop.deliver("bad", None)
    bench.run(maildrop)
    del maildrop.messages["bad"]

    bench.run(maildrop)
    bench.run(maildrop)

    assert (bench.place("bad")["state"], bench.place("bad")["next_try"]) == ("vanished", None)


def test_how_much_may_be_gone_at_once_is_decided_by_share_and_by_count() -> None:
    long_ago = NOON - timedelta(days=2)
    missing = {str(number): NOON for number in range(21)}

    assert believed(missing, 300, NOON) == set(missing)
    assert believed(missing, 200, NOON) == set()
    assert believed({**missing, "a": long_ago}, 200, NOON) == {"a"}
    assert believed({"a": None}, 1, NOON) == set()


# --- only recent mail


def test_only_mail_since_a_day_is_taken_and_the_rest_left_out(bench: Bench) -> None:
    bench.since = NOON.date()
    maildrop = box(5)
    for uidl in ("u1", "u2"):
        maildrop.dates[uidl] = NOON - timedelta(days=3)

    (plan, *_) = bench.run(maildrop)
    maildrop.deliver("u6", mail(6))
    bench.run(maildrop)

    assert isinstance(plan, Plan)
    assert str(plan.left_out["older_than_since"]) == "1:2"
    assert maildrop.fetched == ["u3", "u4", "u5", "u6"]
    assert bench.accounted(maildrop) == {"stored": "3:6", "older_than_since": "1:2"}


def test_a_day_that_is_set_back_brings_what_was_too_old(bench: Bench) -> None:
    bench.since = NOON.date()
    maildrop = box(3)
    maildrop.dates["u1"] = NOON - timedelta(days=3)
    bench.run(maildrop)
    bench.since = (NOON - timedelta(days=9)).date()

    bench.run(maildrop)

    assert maildrop.fetched == ["u2", "u3", "u1"]


# --- interrupted, and amiss


def test_what_a_pass_stored_and_did_not_seal_is_sealed_by_the_next_one_once(bench: Bench) -> None:
    maildrop = box()
    bench.run(maildrop, steps=2)
    bench.database.seals.delete_many({})  # as if it had ended just before

    bench.run(maildrop)
    bench.run(maildrop)

    assert bench.sealed() == maildrop.fetched == ["u1", "u2", "u3"]


def test_a_placement_that_somebody_removed_is_unaccounted_for_and_fetched_again(bench: Bench) -> None:
    maildrop = box()
    bench.run(maildrop)
    bench.database.placements.delete_one({"_id": bench.place("u2")["_id"]})

    assert bench.accounted(maildrop) == {"stored": "1,3", "unaccounted": "2"}
    bench.run(maildrop)

    assert bench.accounted(maildrop) == {"stored": "1:3"}


def test_unique_ids_of_another_server_are_not_taken_for_known(bench: Bench) -> None:
    bench.run(box())

    with pytest.raises(Refused, match="mean nothing at elsewhere"):
        maildrops.recall(bench.database, "work", "elsewhere", "me", None, NOON)


def test_a_holder_whose_lease_is_gone_saves_nothing(bench: Bench) -> None:
    bench.run(box())
    bench.database.accounts.update_one({"_id": "work"}, {"$inc": {"lease.token": 1}})

    with pytest.raises(LeaseLost):
        bench.run(box(4))

    assert bench.database.placements.count_documents({}) == 3


# --- deleting


def test_what_is_stored_is_deleted_and_a_seal_says_so(bench: Bench) -> None:
    bench.terms, maildrop = Terms("delete"), box()

    steps = bench.run(maildrop)

    assert maildrop.messages == {}
    assert [step for step in steps if isinstance(step, Told)] == [Told("delete", removed=3)]
    assert bench.sealed("deleted") == bench.sealed() == ["u1", "u2", "u3"]
    assert (bench.place("u1")["present"], bench.place("u1")["ack"], bench.history("u1")) == (False, "done", ["deleted"])


def test_what_was_stored_before_that_was_asked_for_stays(bench: Bench) -> None:
    maildrop = box()
    bench.run(maildrop)
    bench.terms = Terms("delete")
    maildrop.deliver("u4", mail(4))

    bench.run(maildrop)

    assert list(maildrop.messages) == ["u1", "u2", "u3"]


def test_what_the_store_does_not_give_back_stays_on_the_server(bench: Bench) -> None:
    bench.terms, maildrop = Terms("delete"), box()
    maildrop.keeps = {"u1", "u2", "u3"}
    bench.run(maildrop)
    broken = bench.place("u2")["message"]
    bench.database.originals.update_one({"_id": broken, "account": "work"}, {"$set": {"raw": []}})
    maildrop.keeps = set()

    bench.run(maildrop)

    assert list(maildrop.messages) == ["u2"]


def test_what_the_server_keeps_although_told_is_tried_again_by_the_next_pass(bench: Bench) -> None:
    bench.terms, maildrop = Terms("delete"), box()
    maildrop.keeps = {"u2"}
    bench.run(maildrop)

    assert (bench.place("u2")["ack"], bench.place("u2")["asked_at"], bench.sealed("deleted")) == (
        "pending",
        None,
        ["u1", "u3"],
    )
    maildrop.keeps = set()
    bench.run(maildrop)

    assert bench.sealed("deleted") == ["u1", "u2", "u3"]


def test_a_message_that_somebody_else_deleted_first_is_not_sealed_as_ours(bench: Bench) -> None:
    bench.terms, maildrop = Terms("delete"), box()
    maildrop.keeps = {"u1", "u2", "u3"}
    bench.run(maildrop)
    maildrop.keeps = set()
    del maildrop.messages["u1"]

    bench.run(maildrop)

    assert bench.sealed("deleted") == ["u2", "u3"]


# --- other passes


def test_a_pass_that_wants_less_than_usual_leaves_the_rest_to_others(bench: Bench) -> None:
    maildrop = box(4)
    maildrop.dates["u1"] = NOON - timedelta(days=3)

    bench.run(maildrop, since=NOON - timedelta(days=1))
    between = bench.accounted(maildrop)
    bench.run(maildrop)

    assert between["stored"] == "2:4"
    assert maildrop.fetched == ["u2", "u3", "u4", "u1"]


def test_after_a_rebind_the_unique_ids_of_another_server_are_its_own(bench: Bench) -> None:
    bench.run(box())
    accounts.rebind(bench.database, bench.lease, "imap.example.com", "me")

    maildrops.recall(bench.database, "work", "pop.example.com", "me", None, NOON)

    assert not maildrops.is_elsewhere(bench.database, "work", "pop.example.com", "me")
