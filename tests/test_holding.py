"""Daemons that share a store, beat by beat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from pymongo.database import Database

from ingestd.errors import LeaseLost, StoreUnavailable
from ingestd.holding import Holding
from ingestd.scheduler import Queue
from ingestd.store import daemons
from ingestd.store.leases import Leases, Owner

Document = dict[str, Any]

HERE = Owner.current()
ACCOUNTS = [f"account{number}" for number in range(6)]


class Daemon:
    """As much of a daemon as holds accounts, on a machine of its own."""

    def __init__(
        self, database: Database[Document], name: str, accounts: Iterable[str] = ACCOUNTS, waited: Iterable[str] = ()
    ) -> None:
        self.queue = Queue()
        self.leases = Leases(database, replace(HERE, id=name, host=f"machine of {name}"))
        self.left: list[str] = []
        self.holding = Holding(self.leases, accounts, self.queue, lambda: waited, self.left.extend)

    def beat(self) -> set[str]:
        """Beat once; return what is held then."""
        self.holding.beat()
        return set(self.leases.held)


@pytest.fixture
def first(database: Database[Document]) -> Daemon:
    return Daemon(database, "first")


@pytest.fixture
def second(database: Database[Document]) -> Daemon:
    return Daemon(database, "second")


def falls_silent(database: Database[Document], daemon: Daemon) -> None:
    """Let as much time pass, for one daemon, as a lease lasts."""
    long_ago = datetime.fromtimestamp(0, UTC)
    ours = {"lease.owner.id": daemon.leases.owner.id}
    database.accounts.update_many(ours, {"$set": {"lease.expires_at": long_ago}})
    database.daemons.update_one({"_id": daemon.leases.owner.id}, {"$set": {"expires_at": long_ago}})


def test_a_daemon_alone_takes_every_account_and_visits_it_at_once(first: Daemon) -> None:
    assert first.beat() == set(ACCOUNTS)
    assert {first.queue.take() for _ in ACCOUNTS} == set(ACCOUNTS)


def test_a_second_one_is_given_its_share_and_then_nothing_moves(first: Daemon, second: Daemon) -> None:
    first.beat()
    second.beat()

    for _ in range(3):
        ours, theirs = first.beat(), second.beat()

        assert len(ours) == len(theirs) == 3
        assert ours | theirs == set(ACCOUNTS)
    assert first.beat() == ours
    assert set(first.left) == theirs


def test_an_account_that_is_being_visited_moves_when_the_visit_is_over(
    database: Database[Document], first: Daemon, second: Daemon
) -> None:
    first.beat()
    visited = [first.queue.take() for _ in ACCOUNTS]
    second.beat()

    assert first.beat() == set(ACCOUNTS)

    for account in visited:
        assert account is not None
        first.holding.visited(account, [])
        first.queue.done(account)
    assert len(first.leases.held) == 3
    assert second.beat() == set(first.left)


def test_the_accounts_of_one_that_fell_silent_are_taken_at_the_next_beat(
    database: Database[Document], first: Daemon, second: Daemon
) -> None:
    first.beat()
    second.beat()
    first.beat()
    tokens = {account: lease.token for account, lease in first.leases.held.items()}
    second.beat()
    falls_silent(database, first)

    assert second.beat() == set(ACCOUNTS)

    assert all(second.leases.held[account].token > token for account, token in tokens.items())
    assert all(second.leases.held[account].taken_over for account in tokens)


def test_one_that_fell_silent_and_goes_on_loses_what_was_taken_and_is_given_its_share_again(
    database: Database[Document], first: Daemon, second: Daemon
) -> None:
    first.beat()
    falls_silent(database, first)
    second.beat()

    assert first.beat() == set()
    assert set(first.left) == set(ACCOUNTS)

    second.beat()
    assert len(first.beat()) == 3


def test_accounts_of_a_daemon_that_stopped_are_free_at_once(first: Daemon, second: Daemon) -> None:
    with first.holding.kept():
        first.beat()
        assert second.beat() == set()

    assert second.beat() == set(ACCOUNTS)


def test_a_daemon_that_was_told_to_stop_leaves_things_as_they_are(first: Daemon) -> None:
    first.holding.stop()

    assert first.beat() == set()


def test_daemons_compete_only_for_what_both_are_configured_for(database: Database[Document], first: Daemon) -> None:
    other = Daemon(database, "other", ["account0", "elsewhere"])
    first.beat()
    other.beat()
    first.beat()

    assert other.beat() <= {"account0", "elsewhere"}
    assert "elsewhere" not in first.beat()


def test_what_a_visit_says_is_lost_is_not_visited_again_by_mistake(first: Daemon) -> None:
    first.beat()

    first.holding.visited("account0", [LeaseLost("taken")])

    assert first.holding.lease("account0") is None
    assert first.holding.lease("account1") is not None


def test_a_command_that_borrows_an_account_is_let_in_and_it_is_taken_back(
    database: Database[Document], first: Daemon
) -> None:
    first.beat()
    later = datetime.now(UTC) + timedelta(minutes=1)
    database.accounts.update_one({"_id": "account0"}, {"$set": {"lease.asked_until": later}})
    command = Leases(database, replace(HERE, id="command"))

    assert "account0" not in first.beat()
    assert "account0" not in first.beat()
    command.take("account0")
    assert "account0" not in first.beat()
    command.give_back(["account0"])

    assert "account0" in first.beat()


def test_a_store_that_is_away_costs_no_account_and_lets_everybody_try_when_it_is_back(
    database: Database[Document],
) -> None:
    daemon = Daemon(database, "first", waited=["account3"])
    daemon.beat()
    for account in ACCOUNTS:
        daemon.queue.claim(account)
        daemon.queue.done(account)

    with patch.object(daemons, "look", side_effect=StoreUnavailable("away")):
        assert daemon.beat() == set(ACCOUNTS)
    daemon.beat()

    assert daemon.queue.take() == "account3"
