"""`ingestd run` as systemd starts it: with a socket to speak to, and a directory of credentials."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.demo.mailbox import messages
from tests.e2e.conftest import SECONDS, Site, kill


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(SECONDS)
        yield listening


def heard(manager: socket.socket, wanted: str) -> list[str]:
    """All that systemd hears until it hears *wanted*."""
    lines: list[str] = []
    while not any(line.startswith(wanted) for line in lines):
        lines += manager.recv(4096).decode().split("\n")
    return lines


def test_systemd_is_told_how_it_goes_from_beginning_to_end(site: Site, manager: socket.socket) -> None:
    site.deliver(messages(5))
    site.config.write_text(site.config.read_text().replace('{ file = "secret" }', '{ credential = "work" }'))
    credentials = site.directory / "credentials"
    credentials.mkdir()
    (credentials / "work").write_text(site.server.password)

    process = site.start(
        "run",
        NOTIFY_SOCKET=manager.getsockname(),
        CREDENTIALS_DIRECTORY=str(credentials),
        WATCHDOG_USEC="1000000",
    )
    try:
        assert "READY=1" in heard(manager, "STATUS=")
        assert "WATCHDOG=1" in heard(manager, "STATUS=serves 1 of 1 accounts")
        heard(manager, "WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        assert "STATUS=stopping" in heard(manager, "STOPPING=1")
        assert process.wait(SECONDS) == 0
    finally:
        kill(process)
