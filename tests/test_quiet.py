from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ingestd.quiet import Hours, quiet_for

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT, NOON, LATE = Hours.parse("22:00-06:00"), Hours.parse("12:00 - 13:00"), Hours.parse("20:30-24:00")


def hours_left(clock: str, *hours: Hours) -> float:
    """For how many hours it is quiet, from *clock* on, on a day in Berlin."""
    now = datetime.fromisoformat(f"2026-03-10T{clock}").replace(tzinfo=BERLIN)
    return quiet_for(now.astimezone(UTC), hours, "Europe/Berlin") / timedelta(hours=1)


@pytest.mark.parametrize(
    ("clock", "left"),
    [
        ("21:59", 0),
        ("22:00", 8),
        ("23:30", 6.5),
        ("00:00", 6),
        ("05:59", 1 / 60),
        ("06:00", 0),
        ("12:00", 1),
        ("13:00", 0),
    ],
)
def test_it_is_quiet_until_the_hours_are_over_also_past_midnight(clock: str, left: float) -> None:
    assert hours_left(clock, NIGHT, NOON) == pytest.approx(left)


def test_hours_that_meet_are_one() -> None:
    assert hours_left("20:30", LATE, NIGHT) == 9.5
    assert hours_left("20:30", LATE) == 3.5


def test_without_hours_it_is_never_quiet() -> None:
    assert hours_left("03:00") == 0


def test_a_night_in_which_the_clock_changes_is_shorter() -> None:
    before_summer = datetime(2026, 3, 28, 22, tzinfo=BERLIN)

    assert quiet_for(before_summer, [NIGHT], "Europe/Berlin") == timedelta(hours=7)


@pytest.mark.parametrize(
    "text", ["", "22-06", "22:00", "25:00-06:00", "22:60-06:00", "24:30-06:00", "00:00-24:00", "x"]
)
def test_what_are_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="hours such as"):
        Hours.parse(text)
