"""What the servers spend while a program is measured: the mail server and, where it is on this machine, the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import sleep

import psutil

from ingestd.demo.dovecot import Dovecot

LOOKS = 40
PAUSE = 0.05  # seconds between two looks


class Server:
    """A process and all its descendants; None for one that cannot be seen from here, and spends nobody knows what."""

    def __init__(self, process: psutil.Process | None) -> None:
        self._process = process

    @classmethod
    def mail(cls, dovecot: Dovecot) -> Server:
        return cls(psutil.Process(int((dovecot.directory / "run" / "master.pid").read_text())))

    @classmethod
    def listening(cls, port: int | None) -> Server:
        """Whoever listens on *port* of this machine; nobody where there is none."""
        return cls(next(map(psutil.Process, _listeners(port)), None))

    @contextmanager
    def spending(self) -> Iterator[list[float]]:
        """Give a list that has the CPU seconds of the block when it is over; none when nobody knows."""
        spent: list[float] = []
        before = self._seconds()
        try:
            yield spent
        finally:
            after = self._seconds()
            if before is not None and after is not None:
                spent.append(after - before)

    def _seconds(self) -> float | None:
        """User and system time so far, once it rests: the process of a client that went ends a moment later."""
        if self._process is None:
            return None
        seconds = _cpu(self._process)
        for _ in range(LOOKS):
            sleep(PAUSE)
            if (now := _cpu(self._process)) == seconds:
                break
            seconds = now
        return seconds


def _cpu(process: psutil.Process) -> float:
    """Of the process, of its descendants, and of those that have ended."""
    return sum(map(_times, [process, *process.children(recursive=True)]))


def _times(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        return float(sum(process.cpu_times()[:4]))  # user and system, its own and those of children that have ended
    return 0.0


def _listeners(port: int | None) -> Iterator[int]:
    for each in psutil.net_connections("tcp"):
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port and each.pid:
            yield each.pid
