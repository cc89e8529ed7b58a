"""When POP3 takes over from IMAP, and when not: the decision, and what is done about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.breaker import HISTORY, Breaker, Patience
from ingestd.errors import (
    IngestError,
    LeaseLost,
    NeedsLogin,
    PutOff,
    Refused,
    StoreUnavailable,
    Unavailable,
    Unreachable,
)
from ingestd.fallback import Fallback
from ingestd.store import fallbacks
from ingestd.store.leases import Lease, Owner, hold
from tests.fakes import NOON

Document = dict[str, Any]

USUAL = Patience(3, timedelta(minutes=5))
MINUTE = timedelta(minutes=1)


def failing(*minutes: float, patience: Patience = USUAL) -> Breaker:
    breaker = Breaker()
    for minute in minutes:
        breaker = breaker.failed("no answer", NOON + minute * MINUTE, patience)
    return breaker


@pytest.mark.parametrize(
    ("minutes", "opens"),
    [
        ((0,), False),
        ((0, 6), False),
        ((0, 1, 4.9), False),
        ((0, 1, 5), True),
        ((0, 1, 2, 3, 4), False),
        ((0, 9, 9), True),
    ],
)
def test_it_opens_after_enough_failures_over_enough_time(minutes: tuple[float, ...], opens: bool) -> None:
    breaker = failing(*minutes)

    assert breaker.open == opens
    assert [switch.to for switch in breaker.history] == (["pop3"] if opens else [])


def test_a_success_in_between_begins_the_count_anew() -> None:
    breaker = failing(0, 4).worked().failed("no answer", NOON + 6 * MINUTE, USUAL)

    assert (breaker.open, breaker.failures, breaker.since) == (False, 1, NOON + 6 * MINUTE)


def test_two_probes_in_a_row_close_it() -> None:
    opened = failing(0, 1, 5)
    once = opened.answered(NOON)
    again = once.failed("no answer", NOON, USUAL).answered(NOON)
    closed = once.answered(NOON)

    assert (once.open, again.open, closed.open) == (True, True, False)
    assert again.probes == 1
    assert [switch.to for switch in closed.history] == ["pop3", "imap"]
    assert (closed.failures, closed.since, closed.reason) == (0, None, None)


def test_its_history_is_bounded() -> None:
    breaker = Breaker()
    for _ in range(HISTORY):
        breaker = breaker.failed("no answer", NOON, Patience(1, timedelta())).answered(NOON).answered(NOON)

    assert len(breaker.history) == HISTORY
    assert breaker.history[-1].to == "imap"


# --- what is done about it


@dataclass
class Visits:
    """Makes visits in which IMAP goes as it is told, and notes what was done."""

    fallback: Fallback
    imap: IngestError | None = None
    done: list[str] = field(default_factory=list)
    since: datetime | None = None

    def make(self) -> IngestError | None:
        """Make a visit; return what it raised."""
        try:
            self.fallback.serve(lambda: self._imap("imap"), lambda: self._imap("probe"), self._pop3)
        except IngestError as error:
            return error
        return None

    def _imap(self, what: str) -> None:
        self.done.append(what)
        if self.imap:
            raise self.imap

    def _pop3(self, since: datetime, why: IngestError) -> None:
        self.done.append("pop3")
        self.since = since


AWAY = Unreachable("imap.example.org does not answer me@example.org")
AT_ONCE = Patience(1, timedelta())


@pytest.fixture
def lease(database: Database[Document]) -> Iterator[Lease]:
    with hold(database, "work", Owner.current()) as lease:
        yield lease


@pytest.fixture
def visits(database: Database[Document], lease: Lease) -> Visits:
    """Of an account over whose INBOX a pass has ended well at noon."""
    last_pass = {"started_at": NOON, "finished_at": NOON + MINUTE}
    document = {"account": "work", "mailbox": "INBOX", "epoch": 1, "uidvalidity": 9, "baseline": 0, "since": None}
    sets = {"settings": "all since None", "selected": "", "done": "", "left_out": {}, "sealed": 0, "token": 0}
    looked = {"exists": 1, "uidnext": 2, "modseq": 2, "at": NOON}
    times = {"modified_at": NOON, "met_at": NOON, "last_pass": last_pass, "looked": looked}
    database.mailboxes.insert_one({"_id": "work/INBOX", **document, **sets, **times})
    return Visits(Fallback(database, lease, AT_ONCE, lambda: False))


def test_pop3_takes_over_in_the_visit_in_which_it_opens_with_mail_since_a_day_before(visits: Visits) -> None:
    visits.imap = AWAY

    assert visits.make() is None
    assert visits.done == ["imap", "pop3"]
    assert visits.since == NOON - timedelta(days=1)


def test_as_long_as_it_is_open_imap_is_only_probed(visits: Visits) -> None:
    visits.imap = AWAY
    visits.make()
    visits.make()

    assert visits.done == ["imap", "pop3", "probe", "pop3"]


def test_two_good_probes_and_imap_serves_again_and_looks_at_everything(
    visits: Visits, database: Database[Document]
) -> None:
    visits.imap = AWAY
    visits.make()
    visits.imap = None

    visits.make()
    visits.make()
    visits.make()

    assert visits.done == ["imap", "pop3", "probe", "pop3", "probe", "imap", "imap"]
    mailbox = database.mailboxes.find_one({}) or {}
    assert mailbox["looked"] is None


@pytest.mark.parametrize(
    "error",
    [
        Refused("the certificate is signed by an unknown authority"),
        NeedsLogin("log in anew"),
        PutOff("too many connections"),
        Unavailable("the token endpoint is busy"),
        StoreUnavailable("no answer"),
        LeaseLost("another daemon's"),
    ],
)
def test_nothing_else_than_a_server_that_is_away_opens_it(visits: Visits, error: IngestError) -> None:
    visits.imap = error

    assert [visits.make() for _ in range(4)] == [error] * 4
    assert visits.done == ["imap"] * 4
    assert fallbacks.recall(visits.fallback.database, "work") == Breaker()


def test_while_open_a_server_that_refuses_us_is_not_asked_over_pop3_either(visits: Visits) -> None:
    visits.imap = AWAY
    visits.make()
    visits.imap = refused = Refused("the password is wrong")

    assert visits.make() is refused
    assert visits.done[-1] == "probe"


def test_without_a_good_pass_over_imap_nothing_says_what_is_recent(
    visits: Visits, database: Database[Document]
) -> None:
    database.mailboxes.update_one({"_id": "work/INBOX"}, {"$set": {"last_pass": None}})
    visits.imap = AWAY

    assert visits.make() is AWAY
    assert visits.done == ["imap"]


def test_an_account_that_takes_no_older_mail_gets_none_over_pop3(visits: Visits, database: Database[Document]) -> None:
    database.mailboxes.update_one({"_id": "work/INBOX"}, {"$set": {"since": NOON - timedelta(hours=1)}})
    visits.imap = AWAY
    visits.make()

    assert visits.since == NOON - timedelta(hours=1)


def test_our_own_stop_is_no_failure(database: Database[Document], lease: Lease, visits: Visits) -> None:
    visits.fallback, visits.imap = Fallback(database, lease, AT_ONCE, lambda: True), AWAY

    assert visits.make() is AWAY
    assert not fallbacks.recall(database, "work").failures


def test_it_is_remembered_without_addresses_and_only_by_the_holder(
    visits: Visits, database: Database[Document]
) -> None:
    visits.imap = AWAY
    visits.make()
    kept = fallbacks.recall(database, "work")
    database.accounts.update_one({"_id": "work"}, {"$inc": {"lease.token": 1}})

    assert kept.open
    assert kept.history[0].reason == kept.reason == "imap.example.org does not answer …@…"
    assert kept.history[0].at <= datetime.now(UTC)
    assert isinstance(visits.make(), LeaseLost)
