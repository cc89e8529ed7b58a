"""What a whole program costs: every process it starts, from the outside."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread, Timer
from time import monotonic

import psutil

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
SAMPLE = 0.05  # seconds between two looks at the memory
SECONDS = 900.0  # that a program may take


@dataclass(frozen=True)
class Cost:
    """`cpu_seconds` are user and system time of all processes; `peak_bytes` the most they held together (PSS)."""

    code: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int | None = None


def adopt() -> None:
    """Have every process that is left behind by its parent become our child, so that its time can be asked for.

    SIGTERM and Ctrl-C end this program in good order from now on: what it has started and made is gone then.
    """
    for ends in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ends, lambda number, frame: sys.exit(128 + number))
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def cost(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, *, memory: bool = False
) -> Cost:
    """Run *command*, with its output to *log*, until it and all processes it started have ended, killed if need be.

    Call `adopt` before. Looking at the *memory* takes time from the processes, so that is not asked for by default.
    """
    with log.open("wb") as out:
        began = monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, start_new_session=True
        )
        with _killed_after(process.pid, SECONDS), _sampled(process.pid, memory=memory) as peak:
            code, cpu = _reaped(process.pid)
            wall = monotonic() - began
            process.returncode = code
            cpu += _orphans(process.pid)
    return Cost(code, wall, cpu, peak[0] if memory else None)


@contextmanager
def _killed_after(group: int, seconds: float) -> Iterator[None]:
    """Kill *group* after so many seconds, or when the block fails."""
    timer = Timer(seconds, _kill, (group,))
    timer.start()
    try:
        yield
    except BaseException:
        _kill(group)
        _orphans(group)  # until then it may write
        raise
    finally:
        timer.cancel()


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _reaped(pid: int) -> tuple[int, float]:
    """Wait for *pid*; return its code and the CPU seconds of it and of all it has waited for."""
    _, status, used = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime


def _orphans(group: int) -> float:
    """Wait for what *group* left behind; return its CPU seconds."""
    seconds = 0.0
    with suppress(ChildProcessError):  # nothing is left
        while True:
            _, _, used = os.wait4(-group, 0)
            seconds += used.ru_utime + used.ru_stime
    return seconds


@contextmanager
def _sampled(pid: int, *, memory: bool) -> Iterator[list[int]]:
    """Give a list with the most bytes that *pid* and its descendants held together, if *memory* is to be looked at."""
    peak, over = [0], Event()
    sampler = Thread(target=_sample, args=(pid, peak, over))
    if memory:
        sampler.start()
    try:
        yield peak
    finally:
        over.set()
        if memory:
            sampler.join()


def _sample(pid: int, peak: list[int], over: Event) -> None:
    while not over.wait(SAMPLE):
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            peak[0] = max(peak[0], sum(map(_pss, [root, *root.children(recursive=True)])))


def _pss(process: psutil.Process) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0
