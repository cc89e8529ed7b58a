"""Memory is divided so that its parts never exceed the limit, and what cannot work is refused."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

import pytest

from ingestd.budget import BATCH, LANE, LEAST, MIB, PROGRAMS, STACK, Budget, TooLittle


@pytest.mark.parametrize("workers", [1, 2, 4, 64])
@pytest.mark.parametrize("accounts", [1, 200, 10_000])
@pytest.mark.parametrize("limit", [600 * MIB, 1024 * MIB, 16_384 * MIB])
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

    assert one.main - alone.main == 3 * (2 * STACK + LANE) + 3 * MIB // 4
    assert all_of_them.main - alone.main == 4 * 3 * (2 * STACK + LANE) + 6 * 3 * MIB // 4


def test_without_workers_the_main_process_has_it_all() -> None:
    assert Budget.of(512 * MIB, 0, 32 * MIB, 1) == Budget(512 * MIB - PROGRAMS, 0)


@pytest.mark.parametrize("workers", [0, 1, 2, 64])
def test_too_little_is_refused_with_what_would_do(workers: int) -> None:
    with pytest.raises(TooLittle, match=rf"^64.0 MiB is too little for workers = {workers}, .* and 200 acc") as told:
        Budget.of(64 * MIB, workers, 32 * MIB, 200)

    written = re.search(r'write "(\d+)MiB" or more', str(told.value))
    assert written
    least = int(written[1])
    Budget.of(least * MIB, workers, 32 * MIB, 200)
    with pytest.raises(TooLittle):
        Budget.of((least - 1) * MIB, workers, 32 * MIB, 200)


def held(code: str, share: int = 128 * MIB) -> subprocess.CompletedProcess[str]:
    """Run *code* in a process that is held to *share* bytes."""
    code = f"from ingestd.budget import held, release\nwith held({share}):\n" + textwrap.indent(
        textwrap.dedent(code), "  "
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_a_process_that_is_held_gets_a_memory_error_and_goes_on() -> None:
    done = held("""
        try:
            bytearray(200 << 20)
        except MemoryError:
            print("no more than", len(bytearray(50 << 20)))
    """)

    assert (done.returncode, done.stdout) == (0, f"no more than {50 * MIB}\n")


def test_threads_of_a_process_that_is_held_take_little_of_it() -> None:
    done = held("""
        from threading import Event, Thread
        over = Event()
        threads = [Thread(target=over.wait) for _ in range(32)]
        for thread in threads:
            thread.start()
        print("all", len(bytearray(20 << 20)))
        over.set()
    """)

    assert (done.returncode, done.stdout) == (0, f"all {20 * MIB}\n")


def test_a_thread_that_ends_for_want_of_memory_ends_the_process() -> None:
    done = held("""
        from threading import Event, Thread
        Thread(target=bytearray, args=(200 << 20,)).start()
        Event().wait()
    """)

    assert (done.returncode, done.stderr) == (1, "ingestd: out of memory; raise daemon.memory_limit\n")


def test_a_process_of_its_own_is_released() -> None:
    done = held("""
        import subprocess, sys
        code = "input(); print(len(bytearray(200 << 20)))"
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as other:
            release(other.pid)
            other.communicate(b"go on\\n")
    """)

    assert (done.returncode, done.stdout) == (0, f"{200 * MIB}\n")
