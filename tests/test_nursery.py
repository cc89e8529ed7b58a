"""Children of a nursery: where they come from, what they inherit, how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread

import psutil
import pytest

from ingestd.nursery import Child, Nursery
from tests.waiting import until

ROOT = Path(__file__).parent.parent


def obey(pipe: Connection) -> None:
    """Do what comes over *pipe* and answer with the result, until it is closed."""
    try:
        while True:
            pipe.send(pipe.recv()())
    except EOFError:
        return


def tell_open_files() -> list[str]:
    """Whatever is open beyond the standard streams and the pipe of the child."""
    links = [link for link in Path("/proc/self/fd").iterdir() if int(link.name) > 2]
    return [str(link.readlink()) for link in links if link.exists()]  # but for the directory that was read


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    made = Nursery(obey)
    yield made
    made.stop()


def ask(pipe: Connection, question: Callable[[], object]) -> object:
    pipe.send(question)
    assert pipe.poll(10)
    return pipe.recv()


def test_a_child_ends_when_its_pipe_is_closed(nursery: Nursery) -> None:
    child, pipe = nursery.bear()
    assert ask(pipe, os.getpid) == child.pid
    assert child.lives()

    pipe.close()

    assert not child.lives(10)
    assert child.bury() == 0


@pytest.mark.parametrize("code", [0, 7, 255])
def test_an_exit_code_is_told(nursery: Nursery, code: int) -> None:
    child, pipe = nursery.bear()

    pipe.send(partial(os._exit, code))

    assert child.bury() == code
    pipe.close()


def test_a_signal_is_told_as_an_exit_code_below_zero(nursery: Nursery) -> None:
    child, pipe = nursery.bear()

    child.kill()

    assert child.bury() == -signal.SIGKILL
    pipe.close()


def test_a_child_that_is_dead_already_can_be_killed_and_has_its_own_exit_code(nursery: Nursery) -> None:
    child, pipe = nursery.bear()
    pipe.send(partial(os._exit, 3))
    assert not child.lives(10)

    child.kill()

    assert child.bury() == 3
    pipe.close()


def test_after_the_death_of_the_nursery_its_children_live_on_and_there_is_another(nursery: Nursery) -> None:
    elder, to_elder = nursery.bear()
    mother = ask(to_elder, os.getppid)
    assert isinstance(mother, int)
    os.kill(mother, signal.SIGKILL)
    until(lambda: psutil.Process(mother).status() == psutil.STATUS_ZOMBIE)

    with pytest.raises(OSError, match=r"ended|Broken pipe|reset"):
        nursery.bear()
    younger, to_younger = nursery.bear()

    assert ask(to_elder, os.getpid) == elder.pid
    assert ask(to_younger, os.getpid) == younger.pid
    for pipe in (to_elder, to_younger):
        pipe.close()
    assert elder.bury() is None  # only who forked it could tell
    assert younger.bury() == 0


def test_a_nursery_that_is_stopped_can_begin_again(nursery: Nursery) -> None:
    nursery.start()
    nursery.stop()

    child, pipe = nursery.bear()

    pipe.close()
    assert child.bury() == 0


def test_a_child_inherits_no_file(nursery: Nursery, tmp_path: Path) -> None:
    with (tmp_path / "open").open("w"):
        first, to_first = nursery.bear()
        second, to_second = nursery.bear()

        opened = ask(to_second, tell_open_files)

    assert isinstance(opened, list)
    assert [name.partition(":")[0] for name in opened] == ["socket"]
    for child, pipe in ((first, to_first), (second, to_second)):
        pipe.close()
        assert child.bury() == 0


def test_several_threads_may_ask_at_once(nursery: Nursery) -> None:
    codes: list[int | None] = []

    def raise_one(code: int) -> None:
        child, pipe = nursery.bear()
        pipe.send(partial(os._exit, code))
        codes.append(child.bury())
        pipe.close()

    threads = [Thread(target=raise_one, args=(code,)) for code in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(filter(None, codes)) == list(range(1, 9))


# --- where it comes from: told by programs of their own, which decide themselves whether they have threads


def loaded() -> bool:
    """Whether the program of the test is part of this process."""
    return "only_there" in sys.modules


def bear_one() -> tuple[Child, Connection]:
    return Nursery(obey).bear()


def in_a_program(body: str) -> str:
    """Run *body* as a program; return what it printed."""
    words = [sys.executable, "-c", "import sys, types\nfrom tests.test_nursery import *\n" + body]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


WITH_A_THREAD = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
MARK_AND_ASK = """
sys.modules["only_there"] = types.ModuleType("only_there")
child, pipe = bear_one()
print(ask(pipe, loaded))
pipe.close()
"""


def test_without_threads_it_is_a_fork_which_has_all_that_is_imported() -> None:
    assert in_a_program(MARK_AND_ASK) == "True"


def test_beside_threads_it_is_a_program_of_its_own() -> None:
    assert in_a_program(WITH_A_THREAD + MARK_AND_ASK) == "False"


@pytest.mark.parametrize("first", ["", WITH_A_THREAD])
def test_nursery_and_children_end_with_the_one_who_started_them(first: str) -> None:
    body = "child, pipe = bear_one()\nprint(child.pid, ask(pipe, os.getppid), flush=True)\nos._exit(0)"

    printed = in_a_program(first + body)

    for pid in map(int, printed.split()):
        until(lambda pid=pid: not psutil.pid_exists(pid))  # type: ignore[misc]


def test_handlers_of_signals_stay_behind() -> None:
    body = """
import signal
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGHUP, lambda *_: None)
child, pipe = bear_one()
ask(pipe, os.getpid)
os.kill(child.pid, signal.SIGTERM)
print(child.bury())
"""
    assert in_a_program(body) == str(-signal.SIGTERM)


def test_nothing_that_the_program_does_at_its_end_is_done_by_a_child() -> None:
    body = """
import atexit
atexit.register(print, "at exit")
sys.stdout.write("buffered\\n")
child, pipe = bear_one()
pipe.close()
child.bury()
"""
    assert in_a_program(body) == "buffered\nat exit"
