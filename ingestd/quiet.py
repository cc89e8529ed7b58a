"""Quiet hours, in which an account is left alone: `22:00-06:00` in a zone of its own, which may have summer time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)\s*-\s*([01]\d|2[0-4]):([0-5]\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hours:
    """Every day from *begin* until *end*, which may be on the next day."""

    begin: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Raise ValueError, saying how to write them, when *text* means none."""
        found = _HOURS.fullmatch(text)
        begin, end = (_time(*found.group(1, 2)), _time(*found.group(3, 4))) if found else (None, None)
        if begin is None or end is None or begin == end:
            raise ValueError('each must be hours such as "22:00-06:00", and not the whole day')
        return cls(begin, end)

    def over(self, now: datetime) -> datetime | None:
        """When they are over, if it is them *now*, by the wall clock of its zone."""
        today, clock = now.date(), now.time()
        if self.begin <= self.end:
            return _on(today, self.end, now) if self.begin <= clock < self.end else None
        if clock >= self.begin:
            return _on(today + timedelta(days=1), self.end, now)
        return _on(today, self.end, now) if clock < self.end else None


def quiet_for(now: datetime, hours: Sequence[Hours], zone: str) -> timedelta:
    """How long an account is to be left alone at *now*: no time at all outside of its quiet *hours*."""
    until = now.astimezone(ZoneInfo(zone))
    for _ in hours:  # one may begin where another ends
        until = max((over for each in hours if (over := each.over(until))), default=until)
    return until.astimezone(UTC) - now.astimezone(UTC)


def _time(hour: str, minute: str) -> time | None:
    """24:00 is the beginning of the next day."""
    if hour == "24":
        return time(0) if minute == "00" else None
    return time(int(hour), int(minute))


def _on(day: date, clock: time, like: datetime) -> datetime:
    return datetime.combine(day, clock, like.tzinfo)
