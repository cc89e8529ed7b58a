"""Wait for something to become true, with a deadline: never for luck."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic, sleep

DEADLINE = 60.0  # seconds; a test that is well takes a fraction of it
PAUSE = 0.01


def until(true: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Return as soon as *true* is; fail when it is not by the deadline."""
    for _ in moments(deadline):
        if true():
            return
    raise AssertionError(f"not true within {deadline:.0f} s")


def moments(seconds: float) -> Iterator[None]:
    """Yield again and again for *seconds*, a short while apart, and once more at the end."""
    end = monotonic() + seconds
    while monotonic() < end:
        yield
        sleep(PAUSE)
    yield
