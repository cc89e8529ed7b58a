"""A machine that runs out of disk or of file descriptors: ingestd says so, waits, and goes on by itself."""

from __future__ import annotations

import resource
from collections.abc import Callable

import pytest

from tests.faults import state
from tests.faults.conftest import Trial
from tests.faults.letters import large, mixed
from tests.faults.proxy import Flow, Proxy, cut, on
from tests.waiting import until

FILE_BYTES = 2 << 20  # less than the large message takes in the spool


@pytest.fixture
def filled(trial: Trial, imap_proxy: Proxy) -> Trial:
    trial.site.deliver([*mixed(), large()])
    trial.behind(imap_proxy, account='every = "1s"')
    return trial


def limited(pid: int, what: int, most: int) -> Callable[[], None]:
    """Limit the resources of a process; return what lifts the limit again."""
    before = resource.prlimit(pid, what, (most, resource.prlimit(pid, what)[1]))
    return lambda: resource.prlimit(pid, what, before) and None


def test_a_disk_without_room_for_a_message_is_waited_for(filled: Trial, imap_proxy: Proxy) -> None:
    daemon, lift = filled.start("run"), list[Callable[[], None]]()

    def fill_up(flow: Flow, piece: bytes) -> None:
        lift.append(limited(daemon.pid, resource.RLIMIT_FSIZE, FILE_BYTES))
        flow.forward(piece)

    imap_proxy.towards_server = on(b"UID FETCH", fill_up)
    until(lambda: "free some space there" in filled.said())
    lift[0]()
    until(lambda: "stored" in filled.said())
    daemon.kill()

    assert state.of(filled.site) == filled.undisturbed()
    assert list((filled.site.directory / "spool").glob("*.spooled")) == []


def test_file_descriptors_that_are_used_up_are_waited_for(filled: Trial, imap_proxy: Proxy) -> None:
    daemon, lift = filled.start("run"), list[Callable[[], None]]()

    def use_up(flow: Flow, piece: bytes) -> None:
        lift.append(limited(daemon.pid, resource.RLIMIT_NOFILE, 3))
        cut(flow, piece)

    imap_proxy.towards_server = on(b"UID FETCH", use_up)
    until(lambda: "not served" in filled.said())
    lift[0]()
    until(lambda: "stored" in filled.said())
    daemon.kill()

    assert "Too many open files" in filled.said()
    assert state.of(filled.site) == filled.undisturbed()
