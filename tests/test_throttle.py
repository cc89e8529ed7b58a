from __future__ import annotations

from datetime import timedelta

import pytest

from ingestd.throttle import Kind, Throttle, backoff, throttle

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        ("ALERT", b" NO [ALERT] Too many simultaneous connections. (Failure)", "connections"),
        ("OVERQUOTA", b" NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", "traffic"),
        ("", b" BYE Account exceeded command or bandwidth limits.", "traffic"),
        ("ALERT", b" NO [ALERT] Too many login attempts, please try again later.", "logins"),
        ("LIMIT", b" NO [LIMIT] LOGIN Rate limit hit.", "logins"),
        ("LIMIT", b" NO [LIMIT] UID FETCH Rate limit hit.", "requests"),
        ("LIMIT", b" NO [LIMIT] Maximum number of connections from user+IP exceeded", "connections"),
        ("", b" BAD User is authenticated but not connected.", "requests"),
        ("", b" NO Request is throttled. Suggested Backoff Time: 299961 milliseconds", "requests"),
        ("THROTTLED", b" NO [THROTTLED] slow down", "requests"),
        ("INUSE", b" NO [INUSE] Mailbox is locked", "in use"),
        ("LOGIN-DELAY", b"minimum time between mail checks", "logins"),
    ],
)
def test_a_limit_is_known_by_its_code_or_its_words(code: str, text: bytes, kind: Kind) -> None:
    found = throttle(code, text)

    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("AUTHENTICATIONFAILED", b" NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)"),
        ("NONEXISTENT", b" NO [NONEXISTENT] Unknown Mailbox: Old (Failure)"),
        ("UNAVAILABLE", b" NO [UNAVAILABLE] Temporary authentication failure."),
    ],
)
def test_what_is_about_something_else_is_no_limit(code: str, text: bytes) -> None:
    assert throttle(code, text) is None


def test_the_time_to_stay_away_doubles_up_to_its_bound() -> None:
    waits = [backoff(Throttle("connections"), n) for n in (1, 2, 3, 50)]

    assert waits == [2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 30 * MINUTE]


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        (b"Suggested Backoff Time: 299961 milliseconds", timedelta(milliseconds=299961)),
        (b"Suggested Backoff Time: 999999999 seconds", timedelta(hours=1)),
        (b"Suggested Backoff Time: 0 milliseconds", 5 * MINUTE),
    ],
)
def test_a_time_that_the_server_suggests_is_kept_within_reason(said: bytes, wait: timedelta) -> None:
    found = throttle("", b" BAD Request is throttled. " + said)

    assert found is not None
    assert backoff(found, 1) == wait
