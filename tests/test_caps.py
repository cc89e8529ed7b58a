from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingestd.caps import DAY, LEARNED_FOR, Caps, Tally, Usage, allowed, provider
from ingestd.throttle import Throttle

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
MB = 1_000_000


def logged_in(count: int, caps: Caps, every: timedelta = timedelta()) -> Usage:
    usage = Usage()
    for number in range(count):
        usage = usage.log_in(caps, NOON + number * every)
    return usage


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("imap.gmail.com", "gmail"),
        ("pop.googlemail.com", "gmail"),
        ("outlook.office365.com", "microsoft365"),
        ("IMAP.Mail.Yahoo.com.", "yahoo"),
        ("imap.mail.me.com", "icloud"),
        ("imap.fastmail.com", "fastmail"),
        ("imap.example.org", "imap.example.org"),
        ("notgmail.com", "notgmail.com"),
    ],
)
def test_a_provider_is_known_by_its_hosts(host: str, name: str) -> None:
    assert provider(host) == name


def test_what_the_operator_says_goes_before_what_is_known() -> None:
    assert allowed("imap.gmail.com", Caps(bytes_a_day=5)) == Caps(12, 5, 240)
    assert allowed("imap.example.org", Caps()) == Caps(8, None, None)


def test_what_was_counted_is_forgotten_slot_by_slot() -> None:
    tally = Tally(DAY).add(3, NOON).add(4, NOON + 20 * MINUTE).add(5, NOON + 2 * HOUR)

    assert tally.total(NOON + 2 * HOUR) == 12
    assert tally.until(5, NOON + 2 * HOUR) == NOON.replace(minute=0, second=0) + 25 * HOUR
    assert tally.total(NOON + 26 * HOUR) == 5
    assert len(tally.add(1, NOON + 26 * HOUR).slots) == 2


def test_a_day_of_bytes_holds_an_account_until_a_tenth_of_it_is_free_again() -> None:
    caps, usage = Caps(bytes_a_day=100 * MB), Usage()
    for number in range(10):
        usage = usage.fetch(10 * MB, caps, NOON + number * HOUR)
    last = NOON + 9 * HOUR

    held = usage.held(last)

    assert held is not None
    assert held.until == NOON.replace(second=0) + 25 * HOUR
    assert held.why == "95.4 MiB fetched within a day, the cap is 95.4 MiB"
    assert usage.held(held.until) is None


def test_a_login_too_many_is_held_and_not_counted() -> None:
    caps = Caps(logins_an_hour=3)
    usage = logged_in(3, caps)

    held = usage.log_in(caps, NOON + MINUTE).held(NOON + MINUTE)

    assert held is not None
    assert held.why == "3 logins within an hour, the cap is 3"
    assert held.until == NOON.replace(second=0) + HOUR + MINUTE
    assert usage.log_in(caps, held.until).held(held.until) is None


def test_no_more_than_four_logins_are_refused_within_an_hour() -> None:
    usage, tried = Usage(), 0
    for minutes in range(60):
        now = NOON + minutes * MINUTE
        usage = usage.log_in(Caps(), now)
        if not usage.held(now):
            usage, tried = usage.refuse(now), tried + 1

    assert tried == 4
    assert usage.welcome(NOON + HOUR).held(NOON + HOUR) is None


def test_the_server_is_left_alone_for_longer_each_time_in_a_row() -> None:
    usage, waits = Usage(), []
    for _ in range(3):
        usage = usage.put_off(Throttle("requests"), 1, NOON)
        waits.append(usage.hold and usage.hold.until - NOON)

    assert waits == [5 * MINUTE, 10 * MINUTE, 20 * MINUTE]
    again = usage.well().put_off(Throttle("requests"), 1, NOON)
    assert again.hold is not None
    assert again.hold.until - NOON == 5 * MINUTE


def test_caps_are_learned_from_what_had_gone_well_and_hold_for_a_day() -> None:
    said = Caps(12, 2_250 * MB, 240)
    usage = logged_in(100, said).fetch(1_000 * MB, said, NOON)
    for kind in (Throttle("connections"), Throttle("traffic"), Throttle("logins")):
        usage = usage.put_off(kind, 3, NOON)

    assert usage.caps(said, NOON) == Caps(3, 900 * MB, 90)
    assert usage.caps(said, NOON + LEARNED_FOR) == said


def test_what_others_used_up_does_not_shut_us_out() -> None:
    usage = Usage()
    for kind in (Throttle("connections"), Throttle("traffic"), Throttle("logins")):
        usage = usage.put_off(kind, 0, NOON)

    assert usage.caps(Caps(), NOON) == Caps(1, 64 << 20, 4)
