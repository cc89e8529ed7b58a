"""Who holds a lease: a process, told apart from every other one of this or any other machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that takes leases."""

    id: str  # made up at its start
    host: str  # the boot and the process namespace: a pid means nothing outside them
    pid: int
    started: str  # clock ticks since boot: pids are used again

    @classmethod
    def current(cls) -> Owner:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
        return cls(uuid4().hex, f"{boot} {namespace}", os.getpid(), _started(os.getpid()) or "")

    @property
    def document(self) -> Document:
        return {"id": self.id, **self.process}

    @property
    def process(self) -> Document:
        return {"host": self.host, "node": os.uname().nodename, "pid": self.pid, "started": self.started}

    def knows_dead(self, other: Mapping[str, Any]) -> bool:
        """Whether *other* certainly lives no more: it ran here, and its process is gone or has become another."""
        if other["host"] != self.host:
            return False
        return _gone(other["pid"]) or _started(other["pid"]) not in (other["started"], None)


def _gone(pid: int) -> bool:
    """Whether there is certainly no process *pid*; /proc alone may hide the processes of others."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _started(pid: int) -> str | None:
    """When process *pid* was started (field 22 of /proc/PID/stat), or None when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
