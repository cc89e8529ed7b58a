"""What is counted can be fetched, by account, and nothing else is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ingestd.errors import IngestError, LeaseLost, PutOff, Refused, Unavailable, Unreachable
from ingestd.metrics import Metrics
from ingestd.summary import Summary
from tests.prometheus import fetched, free_port


@pytest.fixture
def port() -> int:
    return free_port()


def told(metrics: Metrics, port: int) -> dict[str, float]:
    with metrics.exposed(port):
        return fetched(port)


def test_what_became_of_messages_and_visits_is_counted(port: int) -> None:
    metrics = Metrics()
    metrics.watch("accounts_held", "Accounts that this daemon serves", lambda: 3)

    metrics.visited("work", [], [Summary("work", "INBOX", stored=2, copies=1, size_bytes=100)])
    metrics.visited("work", [], [Summary("work", "Sent", stored=1, quarantined=1, size_bytes=10)])
    found = told(metrics, port)

    assert found["ingestd_messages_total/work/stored"] == 3
    assert found["ingestd_messages_total/work/quarantined"] == 1
    assert found["ingestd_fetched_bytes_total/work"] == 110
    assert found["ingestd_visits_total/work/well"] == 2
    assert found["ingestd_last_good_visit_timestamp_seconds/work"] > 1_700_000_000
    assert found["ingestd_accounts_held"] == 3


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (Refused("no"), "refused"),
        (LeaseLost("account work: it is another daemon's now"), "overtaken"),
        (PutOff("later"), "put_off"),
        (Unreachable("away"), "unavailable"),
        (IngestError("a fault of ingestd itself"), "fault"),
    ],
)
def test_a_visit_that_failed_is_counted_by_its_reason(port: int, error: IngestError, ended: str) -> None:
    metrics = Metrics()

    metrics.visited("work", [error], [])

    assert told(metrics, port)[f"ingestd_visits_total/work/{ended}"] == 1


def test_switches_between_protocols_are_counted_once_each(port: int) -> None:
    metrics, away = Metrics(), [Unavailable("away")]

    metrics.visited("work", [], [])
    metrics.visited("work", [], [], away)
    metrics.visited("work", [], [], away)
    during = told(metrics, port)
    metrics.visited("work", [], [])
    after = told(metrics, port)

    assert (during["ingestd_over_pop3/work"], after["ingestd_over_pop3/work"]) == (1, 0)
    assert during["ingestd_switches_total/work/pop3"] == 1
    assert (after["ingestd_switches_total/work/pop3"], after["ingestd_switches_total/work/imap"]) == (1, 1)


def test_an_account_that_is_served_no_more_is_not_told_of(port: int) -> None:
    metrics = Metrics()
    metrics.visited("work", [], [Summary("work", "INBOX", stored=1)])
    metrics.visited("home", [], [])

    metrics.forget(["work"])

    assert not [name for name in told(metrics, port) if "/work" in name]


def test_it_listens_on_this_machine_alone(port: int) -> None:
    with Metrics().exposed(port):
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]

    listening = [each[1] for each in sockets if each[3] == "0A" and each[1].endswith(f":{port:04X}")]
    assert listening == [f"0100007F:{port:04X}"]


def test_a_port_that_is_taken_is_refused_with_the_mend() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(Refused, match=r"change daemon\.metrics_port"),
        Metrics().exposed(taken.getsockname()[1]),
    ):
        pass
