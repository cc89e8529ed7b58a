"""When an account is visited, how it is reached, and where alerts go."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ingestd.config import load
from ingestd.cron import Cron
from tests.config.writing import ACCOUNT, IMAP, STORE, Write, account, mistake

# --- when


RHYTHM = 'cron = "0 7-19 *  * mon-fri"\nquiet = ["22:00-06:00", "12:00-13:00"]\ntimezone = "Europe/Berlin"'


def test_an_account_may_be_visited_at_times_of_the_day_and_left_alone_at_others(write: Write) -> None:
    timed = account(write, RHYTHM)
    pushed = account(write, RHYTHM + "\nidle = true")
    usual = account(write, 'every = "1h"')

    assert timed.rhythm == Cron("0 7-19 * * mon-fri", "Europe/Berlin")
    assert [hours.begin.hour for hours in timed.quiet] == [22, 12]
    assert (timed.idle, pushed.idle, usual.idle) == (False, True, True)
    assert (pushed.patience, usual.patience) == (timedelta(minutes=9), timedelta(minutes=9))
    assert usual.rhythm == timedelta(hours=1)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('cron = "0 7 * * mon"\nevery = "1h"', "every: there is cron too; remove one of them"),
        ('cron = "0 7 * *"', "cron: must be minute, hour, day of month, month and day of week"),
        ('cron = "0 7 * * 1-5"', "cron: name the days of the week: mon, tue"),
        ('cron = "61 7 * * mon"', "cron: Error validating expression"),
        ('cron = "0 7 * * someday"', "cron: "),
        ('timezone = "Europe/Bärlin"', "timezone: must be a time zone that this machine knows"),
        ('timezone = "../etc/passwd"', "timezone: must be a time zone that this machine knows"),
        ('quiet = "22:00-06:00"', 'quiet: must be a list: write ["...", "..."]'),
        ('quiet = ["22-6"]', 'quiet.0: each must be hours such as "22:00-06:00"'),
        ('quiet = ["06:00-06:00"]', "and not the whole day"),
        ('quiet = ["22:00-24:30"]', "each must be hours"),
        ("quiet = [22]", "must be hours"),
        ('reissue = "30m"', 'reissue: must be between "1s" and "20m"'),
        ("idle = 1", "idle: must be a valid boolean"),
    ],
)
def test_what_is_wrong_with_a_rhythm_is_said(write: Write, keys: str, said: str) -> None:
    assert said in mistake(write(STORE + ACCOUNT + keys + "\n" + IMAP))


# --- POP3


POP3 = '[account.pop3]\nhost = "pop.example.org"\nuser = "me"\npassword = { env = "X" }\n'


def test_an_account_may_have_pop3_alone(write: Write) -> None:
    read = load(write(STORE + ACCOUNT + 'after_store = "delete"\n' + POP3)).accounts[0]

    assert (read.imap, read.host, read.user) == (None, "pop.example.org", "me")
    assert read.pop3 is not None
    assert (read.pop3.port, read.pop3.tls) == (995, "implicit")


def test_beside_imap_the_user_and_password_of_that_serve(write: Write) -> None:
    read = load(write(STORE + ACCOUNT + IMAP + '[account.pop3]\nhost = "pop.example.org"\n')).accounts[0]

    assert (read.host, read.user) == ("imap.example.org", "me")


@pytest.mark.parametrize(
    ("keys", "pop3", "said"),
    [
        ('mailboxes = ["INBOX", "Sent"]', POP3, "mailboxes: over POP3 there is only the INBOX"),
        ('select = "unseen"', POP3, "select: over POP3 nothing says what is unread"),
        ("idle = true", POP3, "idle: over POP3 no server tells of new mail"),
        ("fetch_connections = 2", POP3, "fetch_connections: over POP3 there is only one"),
        ('after_store = "seen"', POP3, 'after_store: over POP3 only "none" and "delete"'),
        ("", POP3.replace('user = "me"\n', ""), "pop3.user: missing"),
        ("", POP3.replace('password = { env = "X" }\n', ""), "pop3.password: missing"),
    ],
)
def test_what_pop3_alone_cannot_do_is_refused(write: Write, keys: str, pop3: str, said: str) -> None:
    assert said in mistake(write(f"{STORE}{ACCOUNT}{keys}\n{pop3}"))


# --- OAuth 2


OAUTH = '[account.imap]\nhost = "imap.example.org"\nuser = "me@example.org"\n[account.oauth]\nclient_id = "x"\n'


def test_a_login_without_a_password_needs_a_provider_or_its_addresses(write: Write) -> None:
    known = load(write(STORE + ACCOUNT + OAUTH + 'provider = "microsoft"\n')).accounts[0]
    other = load(write(STORE + ACCOUNT + OAUTH + 'token_url = "https://login.example.org/t"\nscope = "mail"\n'))

    assert known.oauth is not None
    assert (known.imap.password, known.oauth.grant) == (None, "refresh_token")
    assert other.accounts[0].oauth is not None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("", '[account.oauth] name a provider ("google", "microsoft"), or give token_url and scope'),
        ('provider = "google"\ngrant = "client_credentials"', "client_secret: missing"),
        ('token_url = "http://login.example.org/t"\nscope = "x"', "token_url: must begin with https://"),
        ('provider = "goggle"', 'provider: must be "google" or "microsoft"'),
    ],
)
def test_what_is_wrong_with_a_login_is_said(write: Write, keys: str, said: str) -> None:
    assert said in mistake(write(STORE + ACCOUNT + OAUTH + keys + "\n"))


def test_there_is_one_way_to_log_in(write: Write) -> None:
    neither = STORE + ACCOUNT + OAUTH.partition("[account.oauth]")[0]
    both = STORE + ACCOUNT + OAUTH.replace("user", 'password = { env = "X" }\nuser') + 'provider = "google"\n'

    assert "imap.password: missing" in mistake(write(neither))
    assert "imap.password: there is [account.oauth] too" in mistake(write(both))


# --- alerts


MAIL = '[alerts]\nhost = "smtp.example.org"\nfrom = "ingestd@example.org"\nto = ["ops@example.org"]\n'


def test_a_mail_server_for_alerts_needs_a_host_and_two_addresses(write: Write) -> None:
    said = load(write(STORE + ACCOUNT + IMAP + MAIL)).alerts

    assert said is not None
    assert (said.host, said.tls, said.port) == ("smtp.example.org", "starttls", 587)
    assert (said.user, said.sender, said.to) == (None, "ingestd@example.org", ("ops@example.org",))


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (MAIL.replace("from", "form"), '[alerts] form: unknown key; did you mean "from"?'),
        (MAIL.replace("from", "form"), '[alerts] from: missing; add from = "ingestd@example.org"'),
        (MAIL.replace('"ingestd@', '"Ingestd <ingestd@'), "[alerts] from: must be an address alone"),
        (MAIL.replace("ops@", "ops\\r\\n@"), "[alerts] to.0: must not be empty or hold control characters"),
        (MAIL + 'user = "me"\n', "[alerts] user: goes with a password, or with a table [alerts.oauth]"),
        (MAIL + 'tls = "none"\n', '[alerts] tls: "none" is for a mail server on this machine'),
    ],
)
def test_a_mistake_about_alerts_is_told_with_its_mend(write: Write, written: str, why: str) -> None:
    assert why in mistake(write(STORE + ACCOUNT + IMAP + written))
