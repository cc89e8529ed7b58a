"""Memory is divided so that its parts never exceed the limit, and what cannot work is refused."""

from __future__ import annotations

import re

import pytest

from ingestd.budget import BATCH, LEAST, MIB, PROGRAMS, STACK, Budget, TooLittle


@pytest.mark.parametrize("workers", [1, 2, 4, 64])
@pytest.mark.parametrize("accounts", [1, 200, 10_000])
@pytest.mark.parametrize("limit", [768 * MIB, 1024 * MIB, 16_384 * MIB])
def test_all_shares_together_stay_within_the_limit(limit: int, workers: int, accounts: int) -> None:
    try:
        budget = Budget.of(limit, workers, 32 * MIB, accounts)
    except TooLittle:
        return

    assert PROGRAMS + budget.main + workers * budget.worker <= limit
    assert budget.worker >= LEAST


def test_workers_share_what_the_main_process_does_not_need() -> None:
    two, four = (Budget.of(1024 * MIB, workers, 32 * MIB, 1) for workers in (2, 4))

    assert four.main - two.main == 2 * (STACK + BATCH)
    assert 2 * two.worker == pytest.approx(4 * four.worker + four.main - two.main, abs=4)


def test_what_is_held_of_mail_and_of_accounts_is_part_of_the_main_process() -> None:
    few, many = Budget.of(1024 * MIB, 2, 16 * MIB, 1), Budget.of(1024 * MIB, 2, 48 * MIB, 401)

    assert many.main - few.main == (32 + 100) * MIB


def test_connections_beside_the_first_of_an_account_are_part_of_it_and_the_threads_of_four_visits() -> None:
    alone = Budget.of(1024 * MIB, 2, 16 * MIB, 6)
    one, all_of_them = (Budget.of(1024 * MIB, 2, 16 * MIB, 6, beside) for beside in ([0, 0, 3], [3] * 6))

    assert one.main - alone.main == 4 * STACK + 3 * MIB // 4
    assert all_of_them.main - alone.main == 4 * 4 * STACK + 6 * 3 * MIB // 4


def test_without_workers_the_main_process_has_it_all() -> None:
    assert Budget.of(512 * MIB, 0, 32 * MIB, 1) == Budget(512 * MIB - PROGRAMS, 0)


@pytest.mark.parametrize("workers", [0, 1, 2, 64])
def test_too_little_is_refused_with_what_would_do(workers: int) -> None:
    with pytest.raises(TooLittle, match=rf"^64.0 MiB is too little for {workers} workers, .* and 200 accounts") as told:
        Budget.of(64 * MIB, workers, 32 * MIB, 200)

    written = re.search(r'write "(\d+)MiB" or more', str(told.value))
    assert written
    least = int(written[1])
    Budget.of(least * MIB, workers, 32 * MIB, 200)
    with pytest.raises(TooLittle):
        Budget.of((least - 1) * MIB, workers, 32 * MIB, 200)
