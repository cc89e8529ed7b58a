"""A store, or the way to it, that fails in the middle of a pass: nothing is lost, doubled, or told too early."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.mime.parse import parse
from ingestd.store import messages
from ingestd.store.embedded import embedded
from ingestd.store.embedded_directory import Directory, Running
from ingestd.store.messages import Terms
from tests.fakes import mail, raw
from tests.faults import state
from tests.faults.conftest import Trial
from tests.faults.letters import large, mixed
from tests.faults.mongodb_wire import MongoProxy, command, refused, said
from tests.faults.proxy import Fault, Flow, answer_lost, cut, first, forwarded, late, torn
from tests.mongodb import need_embedded
from tests.waiting import until

Document = dict[str, Any]

WRITES = {  # each kind of write of a pass: its command, its collection, and from which one on it is of that kind
    "chunks": ("insert", "blobs.chunks", 1),
    "files": ("update", "blobs.files", 1),
    "originals": ("update", "originals", 1),
    "messages": ("update", "messages", 1),
    "placements": ("update", "placements", 2),  # the first one retires those of an earlier epoch
    "seals": ("insert", "seals", 1),
    "checkpoint": ("update", "mailboxes", 1),
}
STORE_UNAVAILABLE = 3


@pytest.fixture
def filled(trial: Trial, store_proxy: MongoProxy) -> Trial:
    trial.site.deliver([*mixed(), large()])
    trial.stored_through(store_proxy, account='after_store = "seen"')
    return trial


def published(path: Path) -> Running:
    """The server of an embedded store, as soon as there is one."""
    until(lambda: Directory(path).published())
    running = Directory(path).published()
    assert running is not None
    return running


def unread(trial: Trial) -> int:
    return sum("\\Seen" not in flags for flags in state.flags(trial.site)["INBOX"].values())


def always(name: str, collection: str, nth: int, fault: Fault) -> Fault:
    """Do *fault* to every such command from the *nth* on, so that trying once more does not help."""
    come = itertools.count(1)

    def each(flow: Flow, message: bytes) -> None:
        due = said(message).get(name) == collection and next(come) >= nth
        (fault if due else forwarded)(flow, message)

    return each


def one_after_the_other(faults: Iterable[Fault]) -> Fault:
    """Do the faults as they are listed, each when the one before has struck."""
    waiting = list(faults)

    def next_one(flow: Flow, message: bytes) -> None:
        struck = flow.proxy.strikes
        waiting[0](flow, message)
        if flow.proxy.strikes > struck and len(waiting) > 1:
            del waiting[0]

    return next_one


@pytest.mark.parametrize("write", WRITES)
def test_acknowledgements_that_are_lost_again_and_again_end_a_pass_and_the_next_one_doubles_nothing(
    filled: Trial, store_proxy: MongoProxy, write: str
) -> None:
    store_proxy.towards_server = always(*WRITES[write], answer_lost)

    ended = filled.once()
    store_proxy.heal()
    found = filled.finish()

    assert ended == STORE_UNAVAILABLE
    assert found == filled.undisturbed()
    assert unread(filled) == 0


def test_of_each_kind_of_write_an_acknowledgement_may_be_lost_once(filled: Trial, store_proxy: MongoProxy) -> None:
    lost = [command(*WRITES[write][:2], answer_lost) for write in WRITES if write != "checkpoint"]
    store_proxy.towards_server = one_after_the_other(lost)

    assert filled.once() == 0, filled.said()

    assert store_proxy.strikes == len(lost)
    assert state.of(filled.site) == filled.undisturbed()


@pytest.mark.parametrize(("code", "name"), [(10107, "NotWritablePrimary"), (189, "PrimarySteppedDown")])
def test_a_primary_that_steps_down_for_a_moment_is_asked_again(
    filled: Trial, store_proxy: MongoProxy, code: int, name: str
) -> None:
    store_proxy.towards_server = command("update", "placements", refused(code, name, "RetryableWriteError"), 2)

    assert filled.once() == 0, filled.said()

    assert store_proxy.strikes == 1
    assert state.of(filled.site) == filled.undisturbed()


def test_a_primary_that_is_none_any_more_ends_the_pass_and_nothing_was_told_to_the_mail_server(
    filled: Trial, store_proxy: MongoProxy
) -> None:
    before = unread(filled)
    stepped_down = refused(10107, "NotWritablePrimary", "RetryableWriteError")
    store_proxy.towards_server = always("update", "placements", 2, stepped_down)

    ended = filled.once()
    told = before - unread(filled)
    store_proxy.heal()

    assert (ended, told) == (STORE_UNAVAILABLE, 0)
    assert filled.finish() == filled.undisturbed()


def test_slow_writes_take_their_time_and_no_more(filled: Trial, store_proxy: MongoProxy) -> None:
    store_proxy.towards_server = command("update", "placements", late(5))
    began = monotonic()

    assert filled.once() == 0, filled.said()

    assert monotonic() - began >= 5
    assert state.of(filled.site) == filled.undisturbed()


@pytest.mark.parametrize("fault", [cut, torn])
def test_a_command_that_never_arrives_is_sent_again(filled: Trial, store_proxy: MongoProxy, fault: Fault) -> None:
    store_proxy.towards_server = command("update", "originals", fault)

    assert filled.once() == 0, filled.said()

    assert store_proxy.strikes == 1
    assert state.of(filled.site) == filled.undisturbed()


def test_a_daemon_waits_for_a_store_that_refuses_connections_and_catches_up_by_itself(
    filled: Trial, store_proxy: MongoProxy
) -> None:
    before = unread(filled)
    filled.stored_through(store_proxy, account='after_store = "seen"\nevery = "1s"')
    away: list[Any] = []

    def go_away() -> None:
        away.append(store_proxy.down())
        away[0].__enter__()

    store_proxy.towards_server = command("update", "messages", first(go_away))
    daemon = filled.start("run")
    until(lambda: filled.said().count("not served") >= 2)
    told = before - unread(filled)
    away[0].__exit__(None, None, None)
    until(lambda: "stored mailbox" in filled.said())
    daemon.kill()

    assert (told, unread(filled)) == (0, 0)
    assert state.of(filled.site) == filled.undisturbed()


def test_a_store_that_is_killed_in_the_middle_of_a_pass_keeps_what_it_acknowledged(trial: Trial) -> None:
    need_embedded()
    trial.site.deliver([*mixed(), large()])
    path = trial.site.directory / "store"
    with embedded(path):
        server = published(path)
        with MongoProxy(("127.0.0.1", server.port)) as proxy:
            trial.store_in(server.uri)
            trial.stored_through(proxy)
            proxy.towards_server = command("update", "messages", first(lambda: os.kill(server.pid, signal.SIGKILL)))

            ended = trial.once()
            until(lambda: published(path).pid != server.pid)
            proxy.heal()
            found = trial.finish()

        assert ended in (0, STORE_UNAVAILABLE)  # it may be there again before the pass gives up
        assert found == trial.undisturbed()


def test_writers_of_the_same_mail_at_the_same_moment_make_one_of_it(database: Database[Document]) -> None:
    batch = [raw(mail(n), n) for n in range(1, 21)]

    with ThreadPoolExecutor(4) as writers:
        write = [writers.submit(messages.write, database, batch, parse, Terms(), print) for _ in range(4)]
        receipts = list(itertools.chain.from_iterable(each.result() for each in write))

    assert sum(receipt.new for receipt in receipts) == 20
    assert database.messages.count_documents({}) == database.placements.count_documents({"state": "stored"}) == 20
    assert database.originals.count_documents({}) == 20
