"""Mail that a server tells of is stored at once."""

from __future__ import annotations

import signal
import smtplib
import subprocess
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from pymongo.database import Database

from tests.e2e.conftest import Site, kill
from tests.fakes import mail
from tests.waiting import until

Document = dict[str, Any]

AT_ONCE = 15.0  # seconds; on a machine that is busy with other tests


def deliver(site: Site, content: bytes, recipient: str = "") -> None:
    with smtplib.LMTP("127.0.0.1", site.server.lmtp_port) as lmtp:
        lmtp.sendmail("ann@example.org", [recipient or site.user], content)


@pytest.fixture
def running(site: Site) -> Iterator[subprocess.Popen[str]]:
    deliver(site, mail(0))
    site.write(account='every = "1h"')
    process = site.start("run")
    yield process
    if process.poll() is None:
        kill(process)


def stored(database: Database[Document]) -> int:
    return database.placements.count_documents({"state": "stored"})


def test_delivered_mail_is_stored_at_once(
    site: Site, running: subprocess.Popen[str], database: Database[Document]
) -> None:
    until(lambda: stored(database) == 1)

    for number in range(1, 5):
        began = monotonic()
        deliver(site, mail(number))
        until(lambda expected=number + 1: stored(database) == expected)

        assert monotonic() - began < AT_ONCE
    running.send_signal(signal.SIGTERM)
    _, log = running.communicate(timeout=30)
    assert running.returncode == 0
    assert "warning" not in log
