"""A watchdog is fed as long as every visit gets somewhere."""

from __future__ import annotations

from ingestd.pulse import STUCK, Pulse

LATE = STUCK.total_seconds() + 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_a_visit_that_gets_nowhere_is_stuck() -> None:
    clock = Clock()
    pulse = Pulse(lambda: float("-inf"), clock)

    with pulse.visit("slow"), pulse.visit("work"):
        clock.now = LATE - 2
        pulse.beat("work")
        assert pulse.stuck() == []
        clock.now = LATE
        assert pulse.stuck() == ["slow"]
        assert pulse.visits == 2

    clock.now = 10 * LATE
    assert pulse.stuck() == []


def test_a_message_that_takes_hours_is_progress() -> None:
    clock = Clock()
    pulse = Pulse(lambda: clock.now - 1, clock)

    with pulse.visit("work"):
        clock.now = 10 * LATE

        assert pulse.stuck() == []
