"""What it was measured on, and with which versions, for whoever reads the figures."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

VERSIONS: Mapping[str, tuple[str, ...]] = {
    "dovecot": ("dovecot", "--version"),
    "mbsync": ("mbsync", "--version"),
    "node": ("node", "--version"),
}
PACKAGES = ("ingestd", "pymongo", "mail-parser", "SecantusDB")
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def machine(store: str) -> dict[str, Any]:
    """Describe this machine, and the *store* that is used."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "memory_bytes": psutil.virtual_memory().total,
        "load": round(os.getloadavg()[1], 1),  # of five minutes, before it begins
        "system": platform.platform(),
        "store": store,
        "versions": {"python": platform.python_version(), **_packages(), **_programs()},
    }


def _cpu() -> str:
    found = re.search(r"(?m)^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except ModuleNotFoundError:
            continue
    return found


def _programs() -> dict[str, str]:
    return {name: _said(command) for name, command in VERSIONS.items() if shutil.which(command[0], path=PATH)}


def _said(command: tuple[str, ...]) -> str:
    program = shutil.which(command[0], path=PATH) or command[0]
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=10, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[0]
