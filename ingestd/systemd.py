"""Tell systemd how it goes: ready, alive, what it is doing, stopping (sd_notify(3)). Without systemd, tell nobody."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from time import CLOCK_MONOTONIC, clock_gettime_ns

STATUS_LENGTH = 200  # characters of the line that `systemctl status` shows


@dataclass(frozen=True, slots=True)
class Notifier:
    """Speaks to the service manager that started this process. Never blocks, and never fails."""

    address: str | None = None
    watchdog: timedelta | None = None  # it wants a sign of life at least that often; None: it does not

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """As systemd says in the environment."""
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(os.getpid()))
        watched = usec.isdecimal() and int(usec) > 0 and pid == str(os.getpid())
        return cls(environment.get("NOTIFY_SOCKET"), timedelta(microseconds=int(usec)) if watched else None)

    def ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={_line(status)}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={_line(text)}")

    def alive(self) -> None:
        if self.watchdog:
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` says that this is over."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={clock_gettime_ns(CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1", "STATUS=stopping")

    def _send(self, *lines: str) -> None:
        if not self.address:
            return
        # A name that begins with @ is an abstract one.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
            told.setblocking(False)
            told.sendto("\n".join(lines).encode(), address)


def _line(text: str) -> str:
    return " ".join(text.split())[:STATUS_LENGTH]
