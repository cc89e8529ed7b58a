"""`ingestd run`, and looking at the archive while it is at work."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import psutil
import pytest

from ingestd.demo.mailbox import Sample, messages
from tests.dovecot import private_dovecot
from tests.e2e.conftest import Site, kill
from tests.fakes import NOON
from tests.waiting import DEADLINE, until

Document = dict[str, Any]

UNREAD = [letter for letter in messages(100) if "\\Seen" not in letter.flags]


@pytest.fixture
def running(site: Site) -> Iterator[subprocess.Popen[str]]:
    yield from daemon(site)


def daemon(site: Site) -> Iterator[subprocess.Popen[str]]:
    site.deliver(UNREAD[:5])
    site.write(account='every = "1s"')
    process = site.start("run")
    yield process
    if process.poll() is None:
        kill(process)


def status_of(site: Site, true: Callable[[Document], bool]) -> Document:
    """Ask for the status until it is as expected."""
    seen: list[Document] = []

    def as_expected() -> bool:
        done = site.run("status", "--json")
        seen[:] = json.loads(done.stdout)["accounts"] if done.returncode == 0 else []
        return bool(seen) and true(seen[0])

    until(as_expected)
    return seen[0]


def test_new_mail_is_stored_and_shown_while_the_daemon_runs(site: Site, running: subprocess.Popen[str]) -> None:
    status_of(site, lambda account: account["messages"] == 5)
    site.deliver(UNREAD[5:8])

    account = status_of(site, lambda account: account["mailboxes"][0]["done"] == 8)  # counted after it is stored

    assert account["messages"] == 8
    assert running.poll() is None
    wanted = sha256(UNREAD[6].content).hexdigest()
    shown = json.loads(site.run("show", wanted[:16], "--json").stdout)
    assert shown["sha256"] == wanted


def test_sigterm_ends_the_daemon_cleanly(site: Site, running: subprocess.Popen[str]) -> None:
    status_of(site, lambda account: account["messages"] == 5)

    running.send_signal(signal.SIGTERM)
    _, log = running.communicate(timeout=30)

    assert running.returncode == 0
    assert "stopped" in log.splitlines()[-1]
    assert "warning" not in log
    assert site.once()["known_before"] == 5


def test_after_everything_was_killed_once_goes_on(cold_site: Site) -> None:
    site, running = cold_site, next(daemon(cold_site))
    status_of(site, lambda account: account["messages"] == 5)
    site.deliver(UNREAD[5:9])
    store = [p for p in psutil.process_iter(["cmdline"]) if str(site.directory) in " ".join(p.info["cmdline"] or [])]

    shown = site.run("show", sha256(UNREAD[0].content).hexdigest(), "--json")
    kill(running)
    for process in store:
        if process.is_running():
            process.kill()
    psutil.wait_procs(store, timeout=DEADLINE)
    site.once()

    state = site.state()
    assert json.loads(shown.stdout)["mailboxes"] == ["INBOX"]
    assert len(store) >= 2
    assert len(state["messages"]) == len(state["places"]) == len(state["sealed"]) == 9


def test_a_second_daemon_is_told_why_it_cannot_run(site: Site, running: subprocess.Popen[str]) -> None:
    status_of(site, lambda account: account["messages"] == 5)

    second = site.run("once")

    assert second.returncode == 2
    assert "another ingestd uses it" in second.stderr


def test_a_mail_server_that_is_away_is_waited_for(site: Site) -> None:
    with private_dovecot() as server:
        site.server = server
        site.deliver(UNREAD[:3])
        site.write(account='every = "1s"')
        server.stop()
        process = site.start("run")
        try:
            assert process.stderr is not None
            waited = next(line for line in process.stderr if "not served" in line)
            server.start()
            status_of(site, lambda account: account["messages"] == 3)
        finally:
            kill(process)

    assert "localhost" in waited


def test_a_store_that_is_away_is_waited_for(site: Site) -> None:
    site.write(store='uri = "mongodb://127.0.0.1:9/mail?serverSelectionTimeoutMS=500"')

    process = site.start("run")
    assert process.stderr is not None
    waited = next(line for line in process.stderr if "store unavailable" in line)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    assert "127.0.0.1:9" in waited
    assert process.returncode == 0


@pytest.mark.parametrize("greeting", [b"", b"* OK [CAPABILITY IMAP4rev1] at your service\r\n"])
def test_sigterm_is_heard_while_the_mail_server_is_silent(site: Site, greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        site.write(imap=f'port = {listener.getsockname()[1]}\ntls = "none"')
        process = site.start("run")
        try:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(greeting)
                process.send_signal(signal.SIGTERM)
                _, log = process.communicate(timeout=30)
        finally:
            if process.poll() is None:
                kill(process)

    assert process.returncode == 0
    assert "not served" not in log


def test_sigterm_is_heard_in_the_middle_of_a_large_message(site: Site) -> None:
    site.deliver([Sample(b"Subject: large\r\n\r\n" + b"x" * 78 * 500_000, NOON, ())])
    process = site.start("run")
    spool = site.directory / "spool"
    until(lambda: any(spool.glob("*.spooled")))

    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)

    assert process.returncode == 0
    assert "Traceback" not in log
    assert not any(spool.glob("*.spooled"))
    summary = site.once()
    assert summary["known_before"] + summary["stored"] == 1


def test_secrets_and_mail_are_in_nobodys_log(site: Site, running: subprocess.Popen[str]) -> None:
    status_of(site, lambda account: account["messages"] == 5)
    running.send_signal(signal.SIGTERM)
    _, log = running.communicate(timeout=30)

    secrets = [path.read_text().strip() for path in site.directory.glob("*secret")]
    assert "stored" in log
    for secret in (*secrets, "@example.", site.user):
        assert secret not in log
