"""`ingestd run` reads its configuration again when it is told to."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from pymongo.database import Database

from tests.e2e.conftest import Site, kill
from tests.e2e.test_push import deliver, stored
from tests.e2e.test_systemd import heard, manager
from tests.fakes import mail
from tests.imap_script import ImapScript, Turn
from tests.waiting import DEADLINE, until

__all__ = ["manager"]

Document = dict[str, Any]


@pytest.fixture
def running(site: Site, manager: socket.socket) -> Iterator[subprocess.Popen[str]]:
    deliver(site, mail(1))
    write(site)
    process = site.start("run", NOTIFY_SOCKET=manager.getsockname(), WATCHDOG_USEC="900000")
    heard(manager, "STATUS=serves 1 of 1")
    yield process
    if process.poll() is None:
        kill(process)


def write(site: Site, *more: str, account: str = "") -> None:
    """Write a configuration in which there are *more* accounts of the same user."""
    site.write(account=f'every = "1h"\n{account}', daemon='workers = 0\nlease = "3s"')
    first, _, table = site.config.read_text().partition("[[account]]")
    tables = [table, *(table.replace('"work"', f'"{name}"') for name in more)]
    site.config.write_text(first + "".join(f"[[account]]{each}" for each in tables))


def reload(running: subprocess.Popen[str], manager: socket.socket) -> list[str]:
    """Have the configuration read again; return what systemd hears of it."""
    running.send_signal(signal.SIGHUP)
    return [*heard(manager, "RELOADING=1"), *heard(manager, "READY=1")]


def ended(running: subprocess.Popen[str]) -> str:
    """Stop the daemon; return what it said."""
    running.send_signal(signal.SIGTERM)
    _, log = running.communicate(timeout=30)
    assert running.returncode == 0
    return log


def test_accounts_come_and_go_and_the_others_stay_as_they_are(
    site: Site, running: subprocess.Popen[str], manager: socket.socket, database: Database[Document]
) -> None:
    until(lambda: stored(database) == 1)

    write(site, "home")
    said = reload(running, manager)
    until(lambda: stored(database) == 2)
    write(site)
    reload(running, manager)
    until(lambda: database.accounts.count_documents({"_id": "home", "lease.owner": None}) == 1)
    deliver(site, mail(2))
    until(lambda: stored(database) == 3)

    log = ended(running)
    assert any(line.startswith("MONOTONIC_USEC=") for line in said)
    assert database.placements.count_documents({"account": "work"}) == 2
    assert "configuration read again accounts=2 added=1 removed=0 changed=0" in log
    assert "configuration read again accounts=1 added=0 removed=1 changed=0" in log
    assert "connection lost" not in log


def test_a_visit_that_is_under_way_meanwhile_keeps_its_connection(site: Site, manager: socket.socket) -> None:
    asked, answered = Event(), Event()

    def slowly(turn: Turn) -> None:
        asked.set()
        answered.wait(DEADLINE)
        turn.default()

    with ImapScript({1: mail(1)}, capabilities="IMAP4rev1 AUTH=PLAIN IDLE") as server:
        server.replies["IDLE"] = lambda turn: turn.write(b"+ idling\r\n")
        server.replies["UID FETCH 1 (UID BODY"] = slowly
        site.write(account='every = "1h"', daemon="workers = 0", imap=f'port = {server.port}\ntls = "none"')
        process = site.start("run", NOTIFY_SOCKET=manager.getsockname(), WATCHDOG_USEC="900000")
        try:
            assert asked.wait(DEADLINE)
            reload(process, manager)
            answered.set()

            heard(manager, "STATUS=serves 1 of 1 accounts, 0 of them right now, 1 wait for news")
        finally:
            kill(process)


def test_what_is_said_otherwise_of_an_account_holds_at_once(
    site: Site, running: subprocess.Popen[str], manager: socket.socket, database: Database[Document]
) -> None:
    until(lambda: stored(database) == 1)
    with site.client() as client:
        client.create_folder("Lists")
        client.append("Lists", mail(2))

    write(site, account='mailboxes = ["INBOX", "Lists"]')
    reload(running, manager)

    until(lambda: stored(database) == 2)
    assert "changed=1" in ended(running)


def test_a_configuration_that_cannot_be_used_changes_nothing_and_says_why(
    site: Site, running: subprocess.Popen[str], manager: socket.socket, database: Database[Document]
) -> None:
    until(lambda: stored(database) == 1)

    write(site, account='slect = "all"')
    reload(running, manager)
    deliver(site, mail(2))

    until(lambda: stored(database) == 2)
    log = ended(running)
    assert 'did you mean \\"select\\"?' in log
    assert str(site.config) in log
