"""What is made of what servers tell, and of their silence."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ingestd.config import Account, load
from ingestd.connections import Stay
from ingestd.push import MOST_DOUBT, RESTLESS, SHORTEST, Push, Trust, untold
from ingestd.sources.idle import Why
from ingestd.summary import Summary
from tests.fakes import NOON

MINUTE = timedelta(minutes=1)
ALL = ("INBOX", "Lists")


def stay(why: Why | None = None, told_of: tuple[str, ...] = ("INBOX",), mailboxes: tuple[str, ...] = ALL) -> Stay:
    return Stay(mailboxes, told_of, NOON, NOON + 5 * MINUTE if why else None, why)


def found(arrived: datetime | None, mailbox: str = "INBOX") -> list[Summary]:
    return [Summary("work", mailbox, earliest=arrived)]


@pytest.fixture
def account(tmp_path: Path) -> Account:
    file = tmp_path / "ingestd.toml"
    file.write_text(
        '[store]\nuri = "embedded:x"\n[[account]]\nname = "work"\nevery = "5m"\n'
        '[account.imap]\nhost = "imap.example.org"\nuser = "me"\npassword = { env = "X" }\n'
    )
    return load(file).accounts[0]


def test_mail_that_lay_there_untold_is_late() -> None:
    assert untold(stay("due"), NOON + MINUTE, NOON + 5 * MINUTE) == 4 * MINUTE
    assert untold(stay(), NOON + MINUTE, NOON + 5 * MINUTE) == 4 * MINUTE


@pytest.mark.parametrize(
    ("why", "arrived"),
    [
        ("news", NOON + MINUTE),
        ("due", None),
        ("due", NOON - MINUTE),  # moved there from elsewhere, or its date is what its sender says
        ("due", NOON + 5 * MINUTE - timedelta(seconds=1)),  # it may be telling of it just now
        ("due", NOON + timedelta(seconds=1)),  # the clock of the server may be a little slow
        ("due", NOON + 9 * MINUTE),
        ("broken", NOON + 6 * MINUTE),  # there was nobody to be told any more
    ],
)
def test_mail_that_was_told_of_or_may_have_come_at_another_time_is_not(why: Why, arrived: datetime | None) -> None:
    assert not untold(stay(why), arrived, NOON + (9 if why == "broken" else 5) * MINUTE)


def test_a_blind_server_is_waited_for_ever_shorter_down_to_a_bound() -> None:
    trust, now, waits = Trust(), NOON + 5 * MINUTE, []
    for _ in range(7):
        trust = trust.after(stay("due"), found(NOON + MINUTE), now)
        waits.append(trust.patience(5 * MINUTE) / MINUTE)

    assert waits == [2.5, 1.25, 0.625, 0.5, 0.5, 0.5, 0.5]
    assert (trust.late, trust.lateness, trust.doubt) == (7, 4 * MINUTE, MOST_DOUBT)
    assert trust.patience(timedelta(seconds=2)) == timedelta(seconds=2) < SHORTEST


def test_a_server_that_tells_again_is_trusted_again_little_by_little() -> None:
    doubted, now = Trust(late=2, doubt=2), NOON + 5 * MINUTE

    once = doubted.after(stay("news"), found(NOON + MINUTE), now)
    twice = once.after(stay("news"), found(NOON + MINUTE), now)

    assert (once.doubt, twice.doubt, twice.late) == (1, 0, 2)
    assert twice.after(stay("news"), found(None), now) == twice


def test_what_a_server_does_not_tell_of_is_not_late() -> None:
    assert Trust().after(stay("due"), found(NOON + MINUTE, "Lists"), NOON + 5 * MINUTE) == Trust()
    assert Trust().after(None, found(NOON + MINUTE), NOON + 5 * MINUTE) == Trust()


def test_news_of_one_mailbox_ask_for_a_look_at_that_alone_until_the_others_are_due(account: Account) -> None:
    push = Push()

    first = push.order(account, stay("news"))
    push.visited(account, stay("news"), first, found(NOON))
    second = push.order(account, stay("news"))

    assert (first.mailbox, second.mailbox) == (None, "INBOX")
    assert push.order(account, stay("due")).mailbox is None
    assert push.order(account, stay("news", told_of=ALL)).mailbox is None
    assert push.order(account, stay("news", mailboxes=("INBOX",))).mailbox is None


def test_news_that_are_none_are_followed_ever_slower(account: Account) -> None:
    push = Push()
    waits = []
    for _ in range(8):
        push.visited(account, stay("news"), push.order(account, stay("news")), found(None))
        waits.append(push.rest(account, stay("news")).total_seconds())

    assert 0 < waits[0] < waits[2] < waits[-1] <= RESTLESS
    assert not push.rest(account, stay("due"))
    push.visited(account, stay("news"), push.order(account, stay("news")), found(NOON))
    assert not push.rest(account, stay("news"))


def test_what_is_thought_of_a_server_is_told_at_first_and_when_it_changes(account: Account) -> None:
    push, quiet = Push(), stay("due", told_of=("INBOX",))

    told = [push.visited(account, quiet, push.order(account, quiet), found(None)) for _ in range(3)]

    assert told == [Trust(), None, None]


def test_an_account_that_is_not_to_be_pushed_keeps_no_connection(account: Account) -> None:
    assert Push().order(account, None).wait == 6.25 * MINUTE
    assert Push().order(account.model_copy(update={"idle": False}), None).wait is None


def test_a_server_is_only_waited_for_until_the_connection_has_to_be_looked_after(account: Account) -> None:
    assert Push().order(account.model_copy(update={"every": timedelta(hours=1)}), None).wait == 9 * MINUTE
