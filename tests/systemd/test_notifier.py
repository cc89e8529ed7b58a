"""What systemd is told, over a socket as it gives one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ingestd.systemd import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


def told(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def notifier(manager: socket.socket, **more: str) -> Notifier:
    return Notifier.of({"NOTIFY_SOCKET": manager.getsockname(), **more})


def test_it_says_that_it_is_ready_in_one_line(manager: socket.socket) -> None:
    notifier(manager).ready("2 accounts\nREADY=0")

    assert told(manager) == ["READY=1", "STATUS=2 accounts READY=0"]


def test_it_gives_a_sign_of_life_only_to_a_watchdog_of_its_own(manager: socket.socket) -> None:
    watched = notifier(manager, WATCHDOG_USEC="20000000", WATCHDOG_PID=str(os.getpid()))
    others = notifier(manager, WATCHDOG_USEC="20000000", WATCHDOG_PID="1")

    others.alive()
    watched.alive()
    watched.stopping()

    assert watched.watchdog == timedelta(seconds=20)
    assert told(manager) == ["WATCHDOG=1"]
    assert told(manager) == ["STOPPING=1", "STATUS=stopping"]


def test_an_abstract_address_is_understood() -> None:
    name = f"ingestd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(10)
        Notifier(f"@{name}").status("working")

        assert told(listening) == ["STATUS=working"]


def test_nobody_is_told_without_systemd_or_after_it_is_gone(tmp_path: Path) -> None:
    Notifier.of({}).ready("fine")

    Notifier(str(tmp_path / "gone")).ready("fine")
