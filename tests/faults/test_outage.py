"""A store that goes away under daemons: they wait, tell nobody, catch up by themselves, and can be stopped."""

from __future__ import annotations

import itertools
import os
import re
import signal
from threading import Event
from time import monotonic

import psutil
import pytest

from ingestd.demo.mailbox import messages
from ingestd.store.embedded import embedded
from tests.faults import state
from tests.faults.conftest import Trial
from tests.faults.letters import large
from tests.faults.mongodb_wire import MongoProxy, command, refused, said
from tests.faults.office import Office
from tests.faults.proxy import Fault, Flow, first, forwarded, silent
from tests.faults.test_store import published, unread
from tests.faults.zygote import Life
from tests.mongodb import need_embedded
from tests.waiting import DEADLINE, until

COUNT = 120  # more than a batch
DAEMON = 'workers = 1\nlease = "3s"'
ACCOUNT = 'after_store = "seen"\nevery = "1s"'
WRITES = {"insert", "update", "findAndModify", "delete"}
STOPPED_WITHIN = 30


@pytest.fixture
def full(trial: Trial) -> Trial:
    need_embedded()
    trial.site.deliver([*itertools.islice(messages(COUNT), COUNT), large()])
    return trial


def every_write(fault: Fault) -> Fault:
    def each(flow: Flow, message: bytes) -> None:
        (fault if said(message).keys() & WRITES else forwarded)(flow, message)

    return each


def cpu_seconds(life: Life) -> float:
    process = psutil.Process(life.pid)
    return sum(sum(each.cpu_times()[:2]) for each in [process, *process.children(recursive=True)])


def caught_up(trial: Trial) -> bool:
    """Whether all is stored, told to the mail server, and noted as done."""
    return unread(trial) == 0 and " info stored " in trial.said()


def stop(life: Life) -> None:
    os.kill(life.pid, signal.SIGTERM)
    assert life.wait() == 0


def sealing(proxy: MongoProxy) -> Event:
    """Is set when a daemon is in the middle of its pass."""
    begun = Event()
    proxy.towards_server = command("insert", "seals", first(begun.set))
    return begun


def test_a_store_that_is_killed_and_stays_away_under_a_daemon(full: Trial) -> None:
    path, before = full.site.directory / "store", unread(full)
    with embedded(path) as uri, MongoProxy(("127.0.0.1", published(path).port)) as proxy:
        full.store_in(uri)
        full.stored_through(proxy, account=ACCOUNT, daemon=DAEMON)
        begun, server = sealing(proxy), published(path)
        life = full.start("run")
        assert begun.wait(DEADLINE)
        with proxy.down():
            os.kill(server.pid, signal.SIGKILL)
            until(lambda: "not served" in full.said())
            used, lines = cpu_seconds(life), len(full.said().splitlines())
            until(lambda: full.said().count("leases not renewed") > 3)
            busy, more = cpu_seconds(life) - used, len(full.said().splitlines()) - lines
            told, spooled = before - unread(full), list((full.site.directory / "spool").glob("*.spooled"))
            until(lambda: published(path).pid != server.pid)
        until(lambda: caught_up(full))
        stop(life)

        assert (told, spooled) == (0, [])
        assert busy < 1
        assert more < 12
        assert "store is back" in full.said()
        assert "Traceback" not in full.said()
        assert state.of(full.site) == full.undisturbed()


def test_a_primary_that_steps_down_under_a_daemon_and_takes_its_time(full: Trial, store_proxy: MongoProxy) -> None:
    full.stored_through(store_proxy, account=ACCOUNT, daemon=DAEMON)
    begun = sealing(store_proxy)
    life = full.start("run")
    assert begun.wait(DEADLINE)

    store_proxy.towards_server = every_write(refused(10107, "NotWritablePrimary", "RetryableWriteError"))
    until(lambda: full.said().count("leases not renewed") > 2 and "not served" in full.said())
    store_proxy.heal()
    until(lambda: caught_up(full))
    stop(life)

    assert "Traceback" not in full.said()
    assert state.of(full.site) == full.undisturbed()


def test_all_that_runs_ends_soon_after_sigterm_when_the_store_is_silent(
    office: Office, store_proxy: MongoProxy
) -> None:
    """With and without workers, in a pass of `run` and of `once`, between passes, and when it cannot even begin."""
    busy = ["one", "two", "three"]
    office.deliver(busy, 1500)
    office.store = re.sub(r"127\.0\.0\.1:\d+/", f"127.0.0.1:{store_proxy.port}/", office.store)
    lives = [office.start("a", ["one"], workers=1), office.start("b", ["two"]), office.start("c", ["idle"])]
    lives.append(office.start_with(office.configured("d", ["three"], workers=1), "once"))
    until(lambda: {seal["account"] for seal in office.database.seals.find()} == set(busy))

    store_proxy.towards_server = store_proxy.towards_client = silent
    lives.append(office.start("e", ["late"]))
    until((office.directory / "e-spool" / "lock").exists)
    began = monotonic()
    for life in lives:
        os.kill(life.pid, signal.SIGTERM)
    codes = [life.wait() for life in lives]
    seconds = monotonic() - began

    assert [*codes[:3], codes[4]] == [0, 0, 0, 0]
    assert codes[3] in (3, 130)
    assert seconds < STOPPED_WITHIN
    assert not any("Traceback" in office.said(name) for name in "abcde")
