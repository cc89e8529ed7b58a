"""Alerts from what is noticed to the mail that arrives: a real store, and a real mail server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from ingestd import smtp
from ingestd.alerts import Alerts
from ingestd.config import Alerts as Wanted
from ingestd.errors import IngestError, LeaseLost, NeedsLogin, PutOff, Refused, Unavailable
from ingestd.postman import SHOWN, Postman, deliver
from ingestd.sources.server import Server
from ingestd.store import outbox
from ingestd.summary import Summary

from .smtp_server import SmtpServer

Document = dict[str, Any]
Store = Database[Document]
WANTED = Wanted.model_validate({"host": "localhost", "from": "ingestd@example.org", "to": ["ops@example.org"]})
AT_ONCE = timedelta()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SmtpServer]:
    with SmtpServer(tmp_path) as running:
        yield running


@pytest.fixture
def alerts(database: Store) -> Alerts:
    return Alerts(database)


def postman(database: Store, server: Server) -> Postman:
    return Postman(database, lambda message, switch: deliver(WANTED, server, message, switch), AT_ONCE, AT_ONCE)


def subjects(server: SmtpServer) -> list[str]:
    return [message["Subject"] for message in server.messages]


def test_what_is_amiss_is_told_once_however_many_notice_it_and_once_more_when_it_is_over(
    database: Store, server: SmtpServer
) -> None:
    one, two = Alerts(database), Alerts(database)
    post = postman(database, server.server())
    for each in (one, two, one):
        each.raised("refused", "work", "account work: login refused by imap.example.org")
        post.round()
    for each in (two, one):
        each.over(("refused", "login"), "work")
        post.round()

    assert subjects(server) == ["ingestd: work is refused", "ingestd: work is well again (it was refused)"]
    text = server.messages[0].get_content()
    assert "account work: login refused by imap.example.org" in text
    assert (server.messages[0]["From"], server.messages[0]["To"]) == ("ingestd@example.org", "ops@example.org")
    assert server.messages[0]["Auto-Submitted"] == "auto-generated"


def test_what_is_over_before_anybody_was_told_is_not_told(database: Store, alerts: Alerts, server: SmtpServer) -> None:
    alerts.raised("refused", "work", "refused")
    alerts.over(("refused",), "work")
    postman(database, server.server()).round()

    assert not server.messages
    assert not outbox.claim(database, 10)


def test_a_storm_becomes_one_mail_of_bounded_length(database: Store, alerts: Alerts, server: SmtpServer) -> None:
    for number in range(SHOWN + 10):
        alerts.raised("refused", f"work{number}", "refused")

    postman(database, server.server()).round()

    assert subjects(server) == ["ingestd: 60 alerts"]
    assert "and 10 more; to see them: ingestd alert" in server.messages[0].get_content()


def test_an_alert_waits_for_a_mail_server_that_is_away(database: Store, alerts: Alerts, server: SmtpServer) -> None:
    alerts.raised("login", "work", "run: ingestd auth login work")
    post = postman(database, server.server())
    server.answer = "451 not now"
    post.round()
    post.round()  # it is not due yet
    (waiting,) = database.alerts.find()
    server.answer = "250 taken"
    database.alerts.update_many({}, {"$set": {"next_try": waiting["since"]}})

    post.round()

    assert waiting["attempts"] == 1
    assert timedelta(seconds=50) < waiting["next_try"] - waiting["since"] < timedelta(seconds=70)
    assert subjects(server) == ["ingestd: work needs a person to log in"]


def test_an_attempt_that_took_too_long_does_not_end_the_others(
    database: Store, alerts: Alerts, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts.raised("refused", "work", "refused")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reached = [Server("127.0.0.1", silent.getsockname()[1], "starttls", "me", lambda: "x"), server.server()]
        post = Postman(database, lambda message, switch: deliver(WANTED, reached.pop(0), message, switch))
        monkeypatch.setattr(smtp, "SECONDS", 0.2)
        post.round()
        monkeypatch.undo()
    database.alerts.update_many({}, {"$currentDate": {"next_try": True}})

    post.round()

    assert subjects(server) == ["ingestd: work is refused"]


def test_several_daemons_send_each_notice_once(database: Store, alerts: Alerts, server: SmtpServer) -> None:
    for number in range(20):
        alerts.raised("refused", f"work{number}", "refused")
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(postman(database, server.server()).round) for _ in range(4)]:
            done.result()

    told = [line for message in server.messages for line in message.get_content().splitlines() if "is refused," in line]
    assert len(told) == len(set(told)) == 20


def test_what_changes_while_it_is_sent_is_told_again(database: Store, alerts: Alerts, server: SmtpServer) -> None:
    alerts.raised("refused", "work", "refused")

    def slow(message: Any, switch: Any) -> None:
        deliver(WANTED, server.server(), message, switch)
        alerts.over(("refused",), "work")
        alerts.raised("refused", "work", "refused again")

    Postman(database, slow).round()
    database.alerts.update_many({}, {"$set": {"told": True}})
    alerts.over(("refused",), "work")
    postman(database, server.server()).round()

    assert subjects(server) == ["ingestd: work is refused", "ingestd: work is well again (it was refused)"]


def test_a_black_hole_ends_with_the_daemon(database: Store, alerts: Alerts) -> None:
    alerts.raised("refused", "work", "refused")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = Server("127.0.0.1", silent.getsockname()[1], "starttls", "me", lambda: "x", timeout=30)
        with postman(database, server).at_work():
            connection, _ = silent.accept()
            began = monotonic()
        took = monotonic() - began
        connection.close()

    assert took < 5


def test_a_store_that_is_away_hurts_nobody_who_notes() -> None:
    client: MongoClient[Document] = MongoClient("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=50)
    try:
        Alerts(client["nowhere"]).raised("refused", "work", "refused")
    finally:
        client.close()


def test_nothing_is_noted_where_nobody_is_to_be_told(database: Store) -> None:
    Alerts(database, wanted=False).raised("refused", "work", "refused")

    assert not database.alerts.find_one()


# --- what a visit means


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        ([Refused("wrong password")], ["refused/work"]),
        ([NeedsLogin("log in")], ["login/work"]),
        ([Unavailable("away")], []),
        ([PutOff("too much")], []),
        ([LeaseLost("another's")], []),
        ([IngestError("a fault of ours")], []),
    ],
)
def test_only_what_needs_a_person_is_told(
    database: Store, alerts: Alerts, errors: list[IngestError], raised: list[str]
) -> None:
    alerts.visited("work", errors, [])

    assert [notice.id for notice in outbox.raised(database)] == raised


def test_an_outage_says_nothing_of_whether_a_login_is_mended(database: Store, alerts: Alerts) -> None:
    alerts.visited("work", [Refused("wrong password")], [])
    alerts.visited("work", [Unavailable("away")], [])
    before = len(list(outbox.raised(database)))
    alerts.visited("work", [], [])

    assert (before, len(list(outbox.raised(database)))) == (1, 0)


def test_messages_that_disappear_at_once_are_told_by_mailbox(database: Store, alerts: Alerts) -> None:
    lost, well = Summary("work", "INBOX", doubted=1200), Summary("work", "Sent")
    alerts.visited("work", [], [lost, well])
    (notice,) = outbox.raised(database)
    alerts.visited("work", [], [Summary("work", "INBOX"), well])

    assert notice.id == "disappeared/work/INBOX"
    assert notice.text == "mailbox work/INBOX: 1,200 messages are not listed any more; it may be broken"
    assert not list(outbox.raised(database))


def test_an_account_that_is_read_over_pop3_is_told_until_imap_is_back(database: Store, alerts: Alerts) -> None:
    alerts.visited("work", [], [Summary("work", "INBOX")], [Unavailable("imap.example.org did not answer")])
    (notice,) = outbox.raised(database)
    alerts.visited("work", [Unavailable("neither answers")], [])
    still = [each.id for each in outbox.raised(database)]
    alerts.visited("work", [], [Summary("work", "INBOX")])

    assert (notice.id, notice.text) == ("fallback/work", "imap.example.org did not answer")
    assert still == ["fallback/work"]
    assert not list(outbox.raised(database))


def test_no_address_is_told(database: Store, alerts: Alerts) -> None:
    alerts.raised("refused", "work", "account work: ann@example.org is unknown\nand more")

    (notice,) = outbox.raised(database)
    assert notice.text == "account work: …@… is unknown and more"
