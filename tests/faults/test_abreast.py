"""Many small mailboxes over several connections: whatever ends a pass, the next one ends as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
from threading import Event, Lock
from time import monotonic
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.abreast import WORTH
from ingestd.config import load
from ingestd.daemon import opened
from ingestd.demo.mailbox import Sample
from ingestd.service import LogWatch
from ingestd.sources.imap_shared import WORTH as MUCH
from ingestd.visit import Order
from tests.dovecot import private_dovecot
from tests.fakes import NOON
from tests.faults import state
from tests.faults.conftest import Trial
from tests.faults.proxy import Fault, Flow, Proxy, always, cut, first, forwarded, on, silent
from tests.waiting import DEADLINE, until

Document = dict[str, Any]

CONNECTIONS = 3
MAILBOXES = ["INBOX", *(f"box {number:02}" for number in range(1, CONNECTIONS * WORTH))]
LETTERS = 3  # in each mailbox
COUNT = LETTERS * len(MAILBOXES)
ACCOUNT = 'mailboxes = ["*"]'
SEVERAL = f"{ACCOUNT}\nfetch_connections = {CONNECTIONS}"
MOMENTS = ("literal:9", "parsed:4", "placements:4", "sealed:5", "checkpoint:20")


def letters(mailbox: int) -> list[Sample]:
    """Mail of its own for each mailbox, and a letter that lies in all of them."""
    own = [Sample(b"Subject: %d in %d\r\n\r\nhello\r\n" % (n, mailbox), NOON, ()) for n in range(LETTERS - 1)]
    return [*own, Sample(b"Subject: to all\r\n\r\nhello\r\n", NOON, ())]


@pytest.fixture
def filled(trial: Trial) -> Trial:
    fill(trial)
    return trial


def fill(trial: Trial) -> None:
    for number, mailbox in enumerate(MAILBOXES):
        trial.site.deliver(letters(number), mailbox)
    trial.configure(account=SEVERAL)


def together(
    proxy: Proxy, others: Fault = forwarded, *, opened: Fault = forwarded, connections: int = CONNECTIONS
) -> Fault:
    """No mailbox but the INBOX is opened before there are so many connections.

    *opened* happens to what opens one, and *others* to all else that is said.
    """

    def wait(flow: Flow, piece: bytes) -> None:
        if b"INBOX" not in piece:
            until(lambda: proxy.connections >= connections)
        opened(flow, piece)

    return always(b"EXAMINE", wait, others)


def on_others(proxy: Proxy, pattern: bytes, fault: Fault, times: int = CONNECTIONS - 1) -> Fault:
    """What holds *pattern* meets *fault* on all connections but the first.

    That waits until it did so many *times*, and the others until all are there, before they open any box.
    """
    flows: list[Flow] = []

    def chosen(flow: Flow, piece: bytes) -> None:
        flows.append(flow)
        if b'EXAMINE "box' in piece:
            until(lambda: proxy.strikes >= times if flow is flows[0] else proxy.connections >= CONNECTIONS)
        (proxy.struck(fault) if pattern in piece and flow is not flows[0] else forwarded)(flow, piece)

    return chosen


def not_given(flow: Flow, piece: bytes) -> None:
    """The first body that is asked for cannot be had."""
    command, _, others = piece.partition(b"\r\n")
    flow.back.forward(command.partition(b" ")[0] + b" NO not this one\r\n")
    if others:
        flow.forward(others)


def put_off(flow: Flow, piece: bytes) -> None:
    """Each command is answered in the place of the server, which has enough."""
    for line in piece.splitlines():
        flow.back.forward(line.partition(b" ")[0] + b" NO [LIMIT] too many at a time\r\n")


def whole(found: Document) -> bool:
    """Whether all mail is there, each letter once, and sealed as often as it lies somewhere."""
    return len(found["sealed"]) == COUNT and len(found["messages"]) == COUNT - len(MAILBOXES) + 1


def in_any_order(found: Document) -> Document:
    """*found*, where it does not matter in which of its mailboxes a letter was met first."""
    messages = {id_: {**each, "mailboxes": set(each["mailboxes"])} for id_, each in found["messages"].items()}
    return {**found, "messages": messages, "originals": set(found["originals"])}


def test_several_connections_bring_what_one_brings(filled: Trial, imap_proxy: Proxy) -> None:
    filled.behind(imap_proxy)
    imap_proxy.towards_server = together(imap_proxy)

    found = filled.finish()
    filled.configure(account=ACCOUNT)

    assert imap_proxy.connections == CONNECTIONS
    assert whole(found)
    assert in_any_order(found) == in_any_order(filled.undisturbed())


def test_what_it_came_to_is_told_in_the_order_of_the_mailboxes(filled: Trial, imap_proxy: Proxy) -> None:
    filled.behind(imap_proxy)
    imap_proxy.towards_server = on_others(imap_proxy, b"EXAMINE", forwarded)

    first, again = (json.loads(filled.site.run("once", "--json").stdout)["accounts"][0]["mailboxes"] for _ in range(2))

    assert [each["mailbox"] for each in first] == [each["mailbox"] for each in again]
    assert {each["selected"] for each in first} == {LETTERS}
    assert {each["known_before"] for each in again} == {LETTERS}


def test_connections_keep_to_the_cap_of_the_account(filled: Trial, imap_proxy: Proxy) -> None:
    filled.behind(imap_proxy, account=f"{SEVERAL}\n[account.limits]\nconnections = 2")
    imap_proxy.towards_server = together(imap_proxy, connections=2)

    found = filled.finish()

    assert imap_proxy.connections == 2
    assert whole(found)


def test_a_message_that_cannot_be_had_over_another_connection_keeps_nobody_from_using_that(
    filled: Trial, imap_proxy: Proxy
) -> None:
    filled.behind(imap_proxy)
    imap_proxy.towards_server = on_others(imap_proxy, b"BODY.PEEK[]", not_given, times=CONNECTIONS + 3)

    done = filled.site.run("once", "--json")

    (account,) = json.loads(done.stdout)["accounts"]
    assert imap_proxy.strikes >= CONNECTIONS + 3
    assert sum(mailbox["stored"] + mailbox["copies"] for mailbox in account["mailboxes"]) == COUNT
    assert {(mailbox["selected"], mailbox["known_before"], mailbox["failed"]) for mailbox in account["mailboxes"]} == {
        (LETTERS, 0, 0)
    }


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_with_several_connections_nothing_is_lost_or_doubled(
    filled: Trial, imap_proxy: Proxy, moment: str
) -> None:
    filled.behind(imap_proxy)
    imap_proxy.towards_server = together(imap_proxy)

    killed = filled.once(INGESTD_FAIL_AT=moment)
    imap_proxy.heal()
    found = filled.finish()

    assert killed == -9
    assert whole(found)


@pytest.mark.parametrize("fault", [cut, put_off, not_given])
def test_only_what_the_first_connection_cannot_bring_is_not_brought(
    filled: Trial, imap_proxy: Proxy, database: Database[Document], fault: Fault
) -> None:
    filled.behind(imap_proxy)
    imap_proxy.towards_server = on_others(imap_proxy, b"BODY.PEEK[]", fault)

    found = filled.finish()
    usage = database.usage.find_one() or {}

    assert imap_proxy.strikes >= CONNECTIONS - 1
    assert whole(found)
    assert database.placements.count_documents({"attempts": {"$gt": 0}}) == 0
    assert sum(slot["count"] for slot in usage["logins"]) == imap_proxy.connections == CONNECTIONS


def test_a_server_that_lets_in_one_connection_is_asked_for_another_once(
    trial: Trial, database: Database[Document]
) -> None:
    refused = Event()
    with private_dovecot(more="mail_max_userip_connections = 1") as server:
        trial.site.server = server
        fill(trial)
        with Proxy(("127.0.0.1", server.imap_port)) as proxy:
            trial.behind(proxy)
            proxy.towards_client = on(b"Maximum number of connections", first(refused.set))
            proxy.towards_server = always(b'EXAMINE "box', first(lambda: refused.wait(DEADLINE)))

            found = trial.finish()
        usage = database.usage.find_one() or {}

    assert refused.is_set()
    assert whole(found)
    assert usage["learned"]["connections"] == 1
    assert sum(slot["count"] for slot in usage["logins"]) == 2


def test_a_mail_server_that_goes_down_loses_nothing(trial: Trial) -> None:
    with private_dovecot() as server:
        trial.site.server = server
        fill(trial)
        with Proxy(("127.0.0.1", server.imap_port)) as proxy:
            trial.behind(proxy)
            proxy.towards_server = together(proxy, on(b"BODY.PEEK[]", first(server.stop), nth=3))

            ended = trial.once()
            server.start()
            proxy.heal()
            found = trial.finish()

        assert (ended, proxy.strikes) == (1, 1)
        assert whole(found)


def test_a_mailbox_that_goes_before_it_is_opened_is_told_once_and_the_others_are_served(
    filled: Trial, imap_proxy: Proxy
) -> None:
    gone, deleting = MAILBOXES[-1], Lock()
    person = filled.site.client()
    filled.behind(imap_proxy)

    def open_or_delete(flow: Flow, piece: bytes) -> None:
        with deleting:
            if gone.encode() in piece and person.folder_exists(gone):
                person.delete_folder(gone)
        flow.forward(piece)

    imap_proxy.towards_server = together(imap_proxy, opened=open_or_delete)

    ended = filled.once()
    person.logout()
    found = state.of(filled.site)

    assert ended == 1
    assert filled.said().count(f"mailbox work/{gone} refused") == 1
    assert len(found["sealed"]) == COUNT - LETTERS


def test_mailboxes_that_are_never_opened_are_asked_for_over_one_connection_from_then_on(
    filled: Trial, imap_proxy: Proxy
) -> None:
    asked: list[bytes] = []

    def refuse(flow: Flow, piece: bytes) -> None:
        if b"EXAMINE" in piece and b"box" in piece:
            until(lambda: imap_proxy.connections >= CONNECTIONS)
            asked.append(piece)
            flow.back.forward(piece.partition(b" ")[0] + b" NO [NOPERM] not for you\r\n")
        else:
            flow.forward(piece)

    filled.behind(imap_proxy)
    imap_proxy.towards_server = refuse
    config, used = load(filled.site.config), []
    with opened(config) as daemon:
        for _ in range(2):
            before = imap_proxy.connections, len(asked)
            outcome = daemon.serve(config.accounts[0], Order(), LogWatch())
            used.append((imap_proxy.connections - before[0], len(asked) - before[1]))

            assert len(outcome.errors) == len(MAILBOXES) - 1
    assert used[0][0] == CONNECTIONS
    assert used[1] == (1, len(MAILBOXES) - 1)


def test_sigterm_is_heard_while_the_server_is_silent_on_all_connections(filled: Trial, imap_proxy: Proxy) -> None:
    filled.behind(imap_proxy)
    quiet = Event()

    def fall_silent() -> None:
        imap_proxy.towards_client = silent
        quiet.set()

    imap_proxy.towards_server = together(imap_proxy, on(b"BODY.PEEK[]", first(fall_silent), nth=3))
    life = filled.start("once")
    assert quiet.wait(DEADLINE)
    began = monotonic()

    os.kill(life.pid, signal.SIGTERM)
    ended = life.wait()

    assert ended == 130
    assert monotonic() - began < 30
    imap_proxy.heal()
    assert whole(filled.finish())


def test_what_is_large_comes_after_the_others_when_all_connections_can_share_it(
    filled: Trial, database: Database[Document]
) -> None:
    large = MAILBOXES[1]
    filled.site.deliver((Sample(b"Subject: %d\r\n\r\nhello\r\n" % n, NOON, ()) for n in range(MUCH)), large)

    found = filled.finish()

    mailbox = {place["_id"]: place["mailbox"] for place in database.placements.find()}
    names = [mailbox[place["_id"]] for seal in database.seals.find().sort("_id") for place in seal["places"]]
    assert len(found["sealed"]) == COUNT + MUCH
    assert set(names[: COUNT - LETTERS]) == set(MAILBOXES) - {large}
    assert set(names[COUNT - LETTERS :]) == {large}


def test_a_daemon_waits_for_news_of_all_mailboxes_over_one_connection_afterwards(
    filled: Trial, imap_proxy: Proxy, database: Database[Document]
) -> None:
    waiting = Event()
    filled.behind(imap_proxy, account=f'{SEVERAL}\nidle = true\nevery = "1h"')
    imap_proxy.towards_server = together(imap_proxy)
    imap_proxy.towards_client = on(b"+ idling", first(waiting.set))
    life = filled.start("run")
    assert waiting.wait(DEADLINE)
    known = database.placements.count_documents({"state": "stored"})
    person = filled.site.client()
    person.append(MAILBOXES[5], b"Subject: news\r\n\r\nhello\r\n")
    until(lambda: database.placements.count_documents({"state": "stored"}) == COUNT + 1)
    person.logout()
    os.kill(life.pid, signal.SIGTERM)

    assert life.wait() == 0
    assert known == COUNT
    assert imap_proxy.connections == CONNECTIONS


def test_what_is_known_is_visited_over_one_connection(filled: Trial, imap_proxy: Proxy) -> None:
    filled.finish()
    filled.behind(imap_proxy)

    found = filled.finish()

    assert imap_proxy.connections == 1
    assert whole(found)
