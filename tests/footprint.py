"""How much memory processes hold together, seen from the outside."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.waiting import moments

need_pss = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="this system does not tell a PSS")


@dataclass(frozen=True, slots=True)
class Peak:
    """The most there was at any time, in bytes."""

    pss: int = 0  # of all processes together: memory that they share is counted once among them
    data: int = 0  # of one child: what the system counts against its limit


def sampled(process: subprocess.Popen[str], seconds: float) -> Peak:
    """Look at *process* and its children until it ends."""
    root, peak = psutil.Process(process.pid), Peak()
    for _ in moments(seconds):
        if process.poll() is not None:
            break
        with suppress(psutil.NoSuchProcess):  # it may end at any moment
            children = root.children(recursive=True)
            pss = sum(_told(each, "smaps_rollup", "Pss:") for each in (root, *children))
            data = max((_told(each, "status", "VmData:") for each in children), default=0)
            peak = Peak(max(peak.pss, pss), max(peak.data, data))
    return peak


def _told(process: psutil.Process, file: str, name: str) -> int:
    """The bytes that *file* says under *name*; 0 when *process* has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/{process.pid}/{file}").read_text().splitlines()
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith(name)), 0)
    return 0
