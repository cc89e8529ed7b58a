"""What a measurement is doing, on stderr, so that nobody waits for long without a word."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

EVERY = 5.0  # seconds between two lines about one thing


def say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function to be told how many of *total* are done by now; it says so every few seconds, and at the end."""
    began = said = monotonic()

    def done(count: int) -> None:
        nonlocal said
        if count >= total or monotonic() - said >= EVERY:
            said = monotonic()
            rate = count / max(said - began, 1e-9)
            say(f"{what}: {count:,} of {total:,}, {rate:,.0f}/s, {(total - count) / max(rate, 1e-9):,.0f} s to go")

    yield done
