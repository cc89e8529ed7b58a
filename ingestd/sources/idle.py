"""Where connections wait for news, many on one thread, each until there is some or its time is up.

A connection waits here from the moment its server waits too until `claim` gives it back, and all that time nobody else
may touch it. When its time is up the server is asked to stop telling: one that does not answer is dead, whatever its
connection looks like. Nothing here blocks or connects: a dead or slow server costs the others nothing.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock, Thread
from time import CLOCK_BOOTTIME, clock_gettime
from types import TracebackType
from typing import Literal, Self

from . import imap_idle
from .imap_idle import Idling
from .wire import Broken

Why = Literal["news", "due", "broken"]

TICK = 60.0  # seconds between looks at the clock when nothing is due before


@dataclass(slots=True)
class _Guest:
    key: str
    idling: Idling
    until: float  # by the clock of the room
    why: Why | None = None  # once it was told


def since_boot() -> float:
    """Seconds; unlike those of `monotonic` they go on while the machine sleeps, and so do servers."""
    return clock_gettime(CLOCK_BOOTTIME)


class WaitingRoom:
    """One thread for all that wait, within its `with` block. What is still here at the end stays as it is."""

    def __init__(self, tell: Callable[[str, Why], None], clock: Callable[[], float] = since_boot) -> None:
        """*tell* is called on that thread, once for each stay, and must not block.

        "due" is told of a connection whose server has answered in time, when its time was up.
        """
        self._tell, self._clock = tell, clock
        self._guests: dict[str, _Guest] = {}
        self._by_socket: dict[int, _Guest] = {}
        self._lock = Lock()
        self._closed = False

    def __enter__(self) -> Self:
        self._epoll = select.epoll()
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._thread = Thread(target=self._run, name="idle")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._closed = True
        self._nudge()
        self._thread.join()
        self._epoll.close()
        os.close(self._wake)
        os.close(self._woken)

    def __len__(self) -> int:
        return len(self._guests)

    def park(self, key: str, idling: Idling, seconds: float) -> None:
        """Let the connection wait for at most *seconds*; from here on it belongs to the room."""
        guest = _Guest(key, idling, self._clock() + seconds)
        with self._lock:
            if key in self._guests:
                raise ValueError(f"{key} waits already")
            self._guests[key] = guest
            self._by_socket[idling.channel.sock.fileno()] = guest
            self._epoll.register(idling.channel.sock, select.EPOLLIN)
            # What came before is in a buffer, where no selector sees it.
            self._look(guest)
        self._nudge()

    def claim(self, key: str) -> tuple[Idling, Why | None] | None:
        """Take the connection out, and why it was told of; None when it does not wait here."""
        with self._lock:
            guest = self._guests.pop(key, None)
            if guest is None:
                return None
            self._unregister(guest)
        return guest.idling, guest.why

    def hurry(self, key: str) -> bool:
        """Let the time of a connection be up now; False when it does not wait here, or was told of already."""
        with self._lock:
            guest = self._guests.get(key)
            if guest is None or guest.why is not None:
                return False
            if not guest.idling.ending:
                guest.until = self._clock()
        self._nudge()
        return True

    # --- the thread

    def _run(self) -> None:
        while not self._closed:
            for descriptor, _ in self._epoll.poll(self._patience()):
                if descriptor == self._wake:
                    with suppress(BlockingIOError):
                        os.read(self._wake, 4096)
                    continue
                with self._lock:
                    if guest := self._by_socket.get(descriptor):
                        self._look(guest)
            self._look_at_the_clock()

    def _patience(self) -> float:
        with self._lock:
            waiting = [guest.until for guest in self._by_socket.values()]
        return max(0.0, min(TICK, min(waiting, default=float("inf")) - self._clock()))

    def _look(self, guest: _Guest) -> None:
        try:
            if guest.idling.news():
                self._told(guest, "news")
            elif guest.idling.over:
                self._told(guest, "due")
        except (Broken, OSError):
            self._told(guest, "broken")

    def _look_at_the_clock(self) -> None:
        now = self._clock()
        with self._lock:
            for guest in [guest for guest in self._by_socket.values() if guest.until <= now]:
                self._due(guest, now)

    def _due(self, guest: _Guest, now: float) -> None:
        if guest.idling.ending:
            self._told(guest, "broken")
            return
        try:
            guest.idling.ask_end()  # a few bytes, for which there is room after a silence
        except Broken:
            self._told(guest, "broken")
        guest.until = now + imap_idle.GRACE_SECONDS

    def _told(self, guest: _Guest, why: Why) -> None:
        """Listen no more: whatever else comes is for whoever claims it."""
        self._unregister(guest)
        guest.why = why
        self._tell(guest.key, why)

    def _unregister(self, guest: _Guest) -> None:
        for descriptor in [each for each, found in self._by_socket.items() if found is guest]:
            del self._by_socket[descriptor]
            with suppress(OSError):  # a socket that was closed by `abort` is gone already
                self._epoll.unregister(descriptor)

    def _nudge(self) -> None:
        with suppress(BlockingIOError):  # then it has enough to wake up for
            os.write(self._woken, b"!")
