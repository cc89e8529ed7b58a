"""Connections that wait for news and never get any: mail is found all the same, and soon enough."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from signal import SIGTERM
from threading import Thread
from time import monotonic, time
from typing import Any

import pytest
from pymongo.database import Database

from ingestd import push
from ingestd.config import load
from ingestd.service import run
from ingestd.signals import Signals
from ingestd.sources import imap_idle
from tests.fakes import mail
from tests.faults.conftest import Trial
from tests.faults.proxy import Flow, Proxy, on, silent
from tests.waiting import DEADLINE, until

Document = dict[str, Any]

GRACE = 0.5  # seconds
REISSUE = 1.0


@contextmanager
def serving(trial: Trial) -> Iterator[None]:
    """Run the daemon in this process, where its patience can be shortened."""
    signals = Signals()
    daemon = Thread(target=run, args=(load(trial.site.config), signals))
    daemon.start()
    try:
        yield
    finally:
        signals.received = SIGTERM
        daemon.join(DEADLINE)
    assert not daemon.is_alive()


def deliver(trial: Trial, number: int) -> None:
    with smtplib.LMTP("127.0.0.1", trial.site.server.lmtp_port) as lmtp:
        lmtp.sendmail("ann@example.org", [trial.site.user], mail(number))


@pytest.fixture
def stored(database: Database[Document]) -> Callable[[int], Callable[[], bool]]:
    return lambda count: lambda: database.placements.count_documents({"state": "stored"}) == count


def frozen(flow: Flow, piece: bytes) -> None:
    """This comes through, and then nothing any more."""
    flow.forward(piece)
    silent(flow, piece)


def blind(flow: Flow, piece: bytes) -> None:
    """Nothing comes through that nobody asked for."""
    if not (piece.startswith(b"* ") and b" EXISTS" in piece and b" OK" not in piece):
        flow.forward(piece)


def test_a_half_open_connection_is_found_in_time_and_nothing_is_missed(
    trial: Trial, imap_proxy: Proxy, stored: Callable[[int], Callable[[], bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_idle, "GRACE_SECONDS", GRACE)
    trial.behind(imap_proxy, account=f'every = "1h"\nreissue = "{REISSUE:.0f}s"')
    imap_proxy.towards_client = on(b"+ idling", frozen)
    deliver(trial, 1)
    with serving(trial):
        until(lambda: imap_proxy.strikes)
        began = monotonic()

        deliver(trial, 2)

        until(stored(2))
        assert monotonic() - began < REISSUE + GRACE + 15  # for what else the machine has to do
    assert imap_proxy.connections == 2


def test_a_server_that_tells_nothing_is_found_out_and_looked_at_more_often(
    trial: Trial,
    imap_proxy: Proxy,
    database: Database[Document],
    stored: Callable[[int], Callable[[], bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(push, "ALLOWANCE", timedelta())
    imap_proxy.towards_client = blind
    trial.behind(imap_proxy, account='every = "3s"')
    deliver(trial, 1)
    with serving(trial):
        until(stored(1))
        for number in range(2, 9):
            second = int(time())
            until(lambda now=second: int(time()) > now)  # what a server says of arrival has no fractions
            deliver(trial, number)
            until(stored(number))
            if database.accounts.count_documents({"push.doubted": True}):
                break

    assert database.accounts.count_documents({"push.doubted": True}) == 1
    said = trial.site.run("status").stdout
    assert "its server told nothing of new mail" in said


def test_in_quiet_hours_an_account_is_left_alone(
    trial: Trial, database: Database[Document], stored: Callable[[int], Callable[[], bool]]
) -> None:
    now = datetime.now(UTC)
    hours = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=1):%H:%M}"
    trial.configure(account=f'every = "1s"\nquiet = ["{hours}"]')
    table = trial.site.config.read_text()
    other = table.partition("[[account]]")[2].replace('"work"', '"home"').replace(f'"{hours}"', "")
    trial.site.config.write_text(f"{table}[[account]]{other}")
    deliver(trial, 1)

    with serving(trial):
        for number in range(2, 5):
            until(stored(number - 1))
            deliver(trial, number)

    assert {place["account"] for place in database.placements.find({}, {"account": 1})} == {"home"}
    assert database.accounts.count_documents({"_id": "work", "binding": None}) == 1
