"""Signals that ask a command to come to an end, or to read its configuration again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

POLL = 0.2  # seconds between looks at whether a signal came


class Signals:
    """Remembers that SIGTERM or SIGINT came. Its handler takes no lock, so it can interrupt anything."""

    def __init__(self, *, reload: bool = False) -> None:
        """With *reload*, SIGHUP is remembered, too; else it does what it does."""
        self.received: int | None = None
        self.reload = False
        self._numbers = (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if reload else []))

    @contextmanager
    def caught(self) -> Iterator[Signals]:
        before = {number: signal.signal(number, self._note) for number in self._numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def name(self) -> str | None:
        """What it was, such as "SIGTERM"."""
        return None if self.received is None else signal.Signals(self.received).name

    def wait(self, seconds: float = float("inf")) -> None:
        """Return when a signal came, or after *seconds*."""
        never = Event()
        while self.received is None and not self.reload and seconds > 0:
            never.wait(min(POLL, seconds))
            seconds -= POLL

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.received = number
