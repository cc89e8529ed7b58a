"""Sizes and durations the way people write them: `64MiB`, `5m`, and back."""

from __future__ import annotations

import re
from datetime import timedelta

SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
DURATIONS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
LONGEST = 36500 * 86400  # seconds; a day that lies further back is before mail, and before what dates can hold

_AMOUNT = re.compile(r"(\d{1,9})\s*([A-Za-z]+)", re.ASCII)


def size(text: str) -> int:
    """Return the bytes that *text* means; raise ValueError, saying how to write one, when it means none."""
    return _amount(text, SIZES, 'a size such as "64MiB" or "2GiB"')


def duration(text: str) -> timedelta:
    """Return the time that *text* means; raise ValueError, saying how to write one, when it means none."""
    expected = 'a duration such as "30s", "5m", "2h" or "90d"'
    seconds = _amount(text, DURATIONS, expected)
    if seconds > LONGEST:
        raise ValueError(f"must be {expected}, and at most a hundred years")
    return timedelta(seconds=seconds)


def size_text(size_bytes: int) -> str:
    """Write a size for people: `512 B`, `1.7 MiB`."""
    if abs(size_bytes) < 1024:
        return f"{size_bytes} B"
    amount = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if abs(amount) < 1023.95:
            return f"{amount:,.1f} {unit}"
    return f"{amount / 1024:,.1f} TiB"


def duration_text(time: timedelta) -> str:
    """Write a duration for people, in at most two units: `0.41 s`, `5 min`, `3 h 12 min`."""
    seconds = time.total_seconds()
    if seconds < 0:
        return f"-{duration_text(-time)}"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    for large, small, names in ((86400, 3600, ("d", "h")), (3600, 60, ("h", "min")), (60, 1, ("min", "s"))):
        if whole >= large:
            count, rest = whole // large, whole % large // small
            return f"{count:,} {names[0]} {rest} {names[1]}" if rest else f"{count:,} {names[0]}"
    return f"{whole} s"


def _amount(text: object, units: dict[str, int], expected: str) -> int:
    # A bare number is refused: whoever writes `every = 5` may mean seconds or minutes.
    found = _AMOUNT.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None or found[2] not in units:
        raise ValueError(f"must be {expected}")
    return int(found[1]) * units[found[2]]
