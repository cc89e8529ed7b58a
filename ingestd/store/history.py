"""What has happened to a place: a list that is only added to, and bounded all the same."""

from __future__ import annotations

from datetime import datetime
from typing import Any

Document = dict[str, Any]

EVENTS = 50  # of one place; when there are more, the oldest go, but for
BEGINNING = 10  # of them, which stay


def noted(event: str, now: datetime, *until_then: str) -> Document:
    """An expression for the `history` with *event* added, and with what the fields *until_then* held before it.

    It adds each time it is evaluated: the filter beside it must no longer match once the event is noted.
    """
    entry = {"at": now, "event": event, **{name: f"${name}" for name in until_then}}
    kept = [{"$slice": ["$history", BEGINNING]}, {"$slice": ["$history", BEGINNING + 1 - EVENTS]}]
    full = {"$gte": [{"$size": "$history"}, EVENTS]}
    return {"$concatArrays": [{"$cond": [full, {"$concatArrays": kept}, "$history"]}, [entry]]}
