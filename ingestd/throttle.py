"""What a mail server means that has enough of us: which limit was reached, and how long to stay away.

Servers say it in response codes (RFC 5530, RFC 9051, RFC 2449) or in words only: Gmail, Exchange, Yahoo, Dovecot. Words
go first, since a code such as LIMIT stands for several limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Kind = Literal["in use", "connections", "logins", "traffic", "requests"]

# How long to stay away after the first such answer, and at most: it doubles with every one in a row.
BACKOFF: dict[Kind, tuple[timedelta, timedelta]] = {
    "in use": (timedelta(minutes=1), timedelta(minutes=15)),
    "connections": (timedelta(minutes=2), timedelta(minutes=30)),
    "requests": (timedelta(minutes=5), timedelta(hours=1)),
    "logins": (timedelta(minutes=15), timedelta(hours=2)),
    "traffic": (timedelta(hours=1), timedelta(hours=6)),
}
SUGGESTED_AT_MOST = timedelta(hours=1)  # what a server says itself is believed up to this

WORDS: tuple[tuple[re.Pattern[bytes], Kind], ...] = (
    (re.compile(rb"bandwidth|download limit", re.I), "traffic"),
    (re.compile(rb"login rate|too many (?:failed )?(?:login|authentication)|login attempts", re.I), "logins"),
    (re.compile(rb"too many [a-z ]*(?:connections|sessions)|number of connections", re.I), "connections"),
    (re.compile(rb"throttl|rate limit|too many|authenticated but not connected", re.I), "requests"),
)
SAID: dict[Kind, str] = {
    "in use": "somebody else is using the mailbox",
    "connections": "too many connections",
    "logins": "too many logins",
    "traffic": "too much traffic",
    "requests": "too many requests",
}
CODES: dict[str, Kind] = {
    "INUSE": "in use",
    "IN-USE": "in use",
    "LIMIT": "requests",
    "THROTTLED": "requests",
    "OVERQUOTA": "traffic",
    "LOGIN-DELAY": "logins",
}
_SUGGESTED = re.compile(rb"backoff time: *(\d{1,9}) *(milliseconds|seconds)", re.I)  # Exchange


@dataclass(frozen=True, slots=True)
class Throttle:
    """Which limit a server says that we reached."""

    kind: Kind
    suggested: timedelta | None = None  # for how long, as it says

    def __str__(self) -> str:
        return SAID[self.kind]


def throttle(code: str, text: bytes) -> Throttle | None:
    """What an answer other than OK says about a limit; None when it is about something else."""
    kind = next((kind for words, kind in WORDS if words.search(text)), None) or CODES.get(code)
    return Throttle(kind, _suggested(text)) if kind else None


def backoff(said: Throttle, in_a_row: int) -> timedelta:
    """How long to stay away after *in_a_row* such answers, the last of which was *said*."""
    if said.suggested:
        return min(said.suggested, SUGGESTED_AT_MOST)
    first, longest = BACKOFF[said.kind]
    doubled: timedelta = first * 2 ** min(in_a_row - 1, 16)
    return min(longest, doubled)


def _suggested(text: bytes) -> timedelta | None:
    found = _SUGGESTED.search(text)
    if not found or not int(found[1]):
        return None
    return timedelta(milliseconds=int(found[1]) * (1000 if found[2].lower() == b"seconds" else 1))
