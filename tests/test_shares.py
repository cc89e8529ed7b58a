from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from ingestd.shares import Shares
from ingestd.store.daemons import View

ROUNDS = 30  # more than any site here needs to come to rest

Daemons = Mapping[str, frozenset[str]]
Holders = dict[str, str]

THIRTY = frozenset(f"account{number}" for number in range(30))

names = st.sampled_from([f"account{number}" for number in range(12)])
sites = st.dictionaries(st.sampled_from("abcde"), st.frozensets(names, max_size=12), min_size=1)


def settled(daemons: Daemons, holders: Holders, most: int = 100) -> Holders:
    """Who holds what once all *daemons* have looked often enough."""
    holders = {account: daemon for account, daemon in holders.items() if daemon in daemons}
    for _ in range(ROUNDS):
        for daemon in sorted(daemons):
            holders = beat(daemon, daemons, holders, most)
    return holders


def beat(me: str, daemons: Daemons, holders: Holders, most: int = 100) -> Holders:
    given = Shares(View(me, daemons, holders, frozenset())).to_give(most)
    left = {account: holder for account, holder in holders.items() if account not in given}
    # As in `Holding`, what is given was held when the daemon looked, so it does not take it back at once.
    taken = Shares(View(me, daemons, holders, frozenset())).to_take()
    return {**left, **dict.fromkeys(taken, me)}


def loads(holders: Holders) -> list[int]:
    return sorted(Counter(holders.values()).values())


def test_one_daemon_takes_everything() -> None:
    assert loads(settled({"a": THIRTY}, {})) == [30]


def test_three_daemons_take_a_third_each() -> None:
    assert loads(settled(dict.fromkeys("abc", THIRTY), {})) == [10, 10, 10]


def test_a_daemon_that_joins_is_given_its_share_and_no_more_is_moved() -> None:
    before = {account: "ab"[number % 2] for number, account in enumerate(sorted(THIRTY))}

    after = settled(dict.fromkeys("abc", THIRTY), before)

    assert loads(after) == [10, 10, 10]
    assert sum(after[account] != before[account] for account in THIRTY) == 10


def test_no_more_is_moved_at_a_time_than_is_allowed() -> None:
    daemons, holders = dict.fromkeys("ab", THIRTY), dict.fromkeys(THIRTY, "a")

    after = beat("a", daemons, holders, most=4)

    assert len(holders) - len(after) == 4


def test_the_accounts_of_one_that_died_are_shared_by_the_others_who_keep_theirs() -> None:
    before = {account: "abc"[number % 3] for number, account in enumerate(sorted(THIRTY))}

    after = settled(dict.fromkeys("ab", THIRTY), before)

    assert loads(after) == [15, 15]
    assert all(after[account] == before[account] for account in THIRTY if before[account] != "c")


def test_a_daemon_competes_only_for_what_it_is_configured_for() -> None:
    own, common = frozenset({"own1", "own2"}), frozenset({"common"})

    after = settled({"a": own | common, "b": common}, {})

    assert {after["own1"], after["own2"]} == {"a"}
    assert after["common"] in "ab"


def test_an_account_that_only_one_can_serve_is_not_left_alone_when_that_one_has_its_share() -> None:
    few, many = frozenset(sorted(THIRTY)[:10]), THIRTY
    full = dict.fromkeys(sorted(THIRTY)[:25], "b")  # its share, and nobody else can take the other five

    after = settled({"a": few, "b": many}, full)

    assert after.keys() == THIRTY
    assert loads(after)[0] >= 5


def test_what_a_command_asks_for_is_given_at_once_and_taken_by_nobody() -> None:
    view = View("a", {"a": THIRTY}, dict.fromkeys(THIRTY, "a"), frozenset({"account7"}))
    free = View("a", {"a": THIRTY}, {}, frozenset({"account7"}))

    assert Shares(view).to_give(0) == ["account7"]
    assert set(Shares(free).to_take()) == THIRTY - {"account7"}


@settings(deadline=None)
@given(sites)
def test_no_account_is_left_alone_and_nobody_who_could_share_has_more_than_that(daemons: Daemons) -> None:
    holders = settled(daemons, {})

    assert holders.keys() == frozenset().union(*daemons.values())
    assert all(account in daemons[holder] for account, holder in holders.items())
    if len(set(daemons.values())) == 1:
        assert max(loads(holders), default=0) <= ceil(len(holders) / len(daemons))


@settings(deadline=None)
@given(sites, sites)
def test_whoever_comes_and_goes_it_comes_to_rest(before: Daemons, after: Daemons) -> None:
    holders = settled(after, settled(before, {}))

    assert holders.keys() == frozenset().union(*after.values())
    assert settled(after, holders) == holders
