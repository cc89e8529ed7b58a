"""A holder that is overtaken at any moment of its pass, and goes on: the store refuses it, whatever its clock says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.errors import LeaseLost
from ingestd.ingest import Stored
from ingestd.message import Receipt
from ingestd.spool import Spool
from ingestd.store.leases import Leases, Owner
from ingestd.store.messages import Terms
from ingestd.store.seals import Seals
from ingestd.uidset import UIDSet
from tests.fakes import ListMailbox, mail, raw
from tests.passes import Bench

Document = dict[str, Any]

HERE = Owner.current()
SEEN = Terms(ack="seen")
COUNT = 120  # more than a batch


@dataclass
class Overtaken(Bench):
    """Makes a pass, at one moment of which `happens` is called."""

    moment: str = ""
    happens: Callable[[], object] = field(default=lambda: None)

    def _step(self, name: str) -> None:
        if name == self.moment:
            self.moment = ""
            self.happens()


class AskedToTell(ListMailbox):
    """A mailbox that says how often it was told what to do with messages."""

    def __init__(self, *messages: bytes) -> None:
        super().__init__(*messages)
        self.told: list[UIDSet] = []
        self.before_telling: Callable[[], object] = lambda: None

    def acknowledge(self, uids: UIDSet, action: str) -> None:
        happens, self.before_telling = self.before_telling, lambda: None
        happens()
        self.told.append(uids)
        super().acknowledge(uids, action)


@pytest.fixture
def mailbox() -> AskedToTell:
    return AskedToTell(*(mail(n) for n in range(COUNT)))


@pytest.fixture
def first(database: Database[Document], tmp_path: Path) -> Iterator[Overtaken]:
    with Spool(tmp_path / "first") as spool:
        yield Overtaken(database, spool, Leases(database, HERE).take("work"), SEEN)


@pytest.fixture
def second(database: Database[Document], tmp_path: Path) -> Iterator[Callable[[], Bench]]:
    """Takes the account over, as if the lease of the first had run out."""

    def takes_over() -> Bench:
        long_ago = datetime.fromtimestamp(0, UTC)
        database.accounts.update_one({"_id": "work"}, {"$set": {"lease.expires_at": long_ago}})
        leases = Leases(database, replace(HERE, id="second", host="another machine"))
        return Bench(database, spool, leases.take("work"), SEEN)

    with Spool(tmp_path / "second") as spool:
        yield takes_over


def assert_once_each(bench: Bench) -> None:
    places, found = bench.state()
    assert len(places) == len(found) == COUNT
    assert bench.sealed() == places
    assert bench.database.placements.count_documents({"ack": "done"}) == COUNT


@pytest.mark.parametrize("moment", ["parsed", "blobs", "originals", "messages", "placements"])
def test_overtaken_while_storing(
    first: Overtaken, second: Callable[[], Bench], mailbox: AskedToTell, moment: str
) -> None:
    first.moment, first.happens = moment, lambda: second().run(mailbox)

    with pytest.raises(LeaseLost):
        first.run(mailbox)

    assert_once_each(first)
    assert {seal["token"] for seal in first.database.seals.find()} == {2}


def test_overtaken_while_fetching(first: Overtaken, second: Callable[[], Bench], mailbox: AskedToTell) -> None:
    def overtake(uid: int) -> None:
        mailbox.before_each = lambda uid: None
        second().run(mailbox)

    mailbox.before_each = lambda uid: overtake(uid) if uid == COUNT else None

    with pytest.raises(LeaseLost):
        first.run(mailbox)

    assert_once_each(first)


def test_overtaken_before_the_server_is_told_it_tells_nothing(
    first: Overtaken, second: Callable[[], Bench], mailbox: AskedToTell
) -> None:
    steps = first.steps(mailbox)
    stored = [step for step in (next(steps), next(steps), next(steps)) if isinstance(step, Stored)]
    other = second()

    with pytest.raises(LeaseLost):
        list(steps)

    assert len(stored) == 2
    assert mailbox.told == []
    other.run(mailbox)
    assert_once_each(other)


def test_overtaken_while_the_server_is_told_it_records_nothing(
    first: Overtaken, second: Callable[[], Bench], mailbox: AskedToTell
) -> None:
    others: list[Bench] = []
    mailbox.before_telling = lambda: others.append(second())

    with pytest.raises(LeaseLost):
        first.run(mailbox)

    assert first.database.placements.count_documents({"ack": "pending"}) == COUNT
    others[0].run(mailbox)
    assert_once_each(others[0])


def test_neither_a_seal_nor_a_checkpoint_with_an_old_token_is_ever_written(
    first: Overtaken, second: Callable[[], Bench], mailbox: AskedToTell
) -> None:
    seals = Seals(first.database, first.lease)
    second().run(mailbox)
    before = list(first.database.seals.find()), list(first.database.mailboxes.find())
    late = raw(mail(COUNT), COUNT + 1)

    for write in (
        lambda: seals.append([Receipt(late.place, late.id, late.sha256, 1, True, "ok")]),
        lambda: Seals(first.database, first.lease).append([Receipt(late.place, late.id, late.sha256, 1, True, "ok")]),
        lambda: first.run(mailbox),
    ):
        with pytest.raises(LeaseLost):
            write()

    assert (list(first.database.seals.find()), list(first.database.mailboxes.find())) == before
