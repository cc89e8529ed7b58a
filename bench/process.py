"""What a whole program costs: every process it starts, from the outside."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
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
    """Have every process that is left behind by its parent become our child, so that its time can be asked for."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def cost(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, *, memory: bool = False
) -> Cost:
    """Run *command*, with its output to *log*, until it and all processes it started have ended.

    Call `adopt` before. Looking at the *memory* takes time from the processes, so that is not asked for by default.
    """
    with log.open("wb") as out:
        began = monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, start_new_session=True
        )
        peak, over = [0], Event()
        sampler = Thread(target=_sample, args=(process.pid, peak, over))
        if memory:
            sampler.start()
        code, cpu = _reaped(process.pid, began + SECONDS)
        wall = monotonic() - began
        process.returncode = code
        cpu += _orphans(process.pid)
        over.set()
        if memory:
            sampler.join()
    return Cost(code, wall, cpu, peak[0] if memory else None)


def _reaped(pid: int, until: float) -> tuple[int, float]:
    """Wait for *pid*; return its code and the CPU seconds of it and of all it has waited for."""
    timer = Event()
    Thread(target=_kill_after, args=(pid, until, timer), daemon=True).start()
    _, status, used = os.wait4(pid, 0)
    timer.set()
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime


def _kill_after(pid: int, until: float, ended: Event) -> None:
    if not ended.wait(until - monotonic()):
        os.killpg(pid, signal.SIGKILL)


def _orphans(group: int) -> float:
    """Wait for what *group* left behind; return its CPU seconds."""
    seconds = 0.0
    with suppress(ChildProcessError):  # nothing is left
        while True:
            _, _, used = os.wait4(-group, 0)
            seconds += used.ru_utime + used.ru_stime
    return seconds


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
