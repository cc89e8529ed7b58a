"""Connections that are kept from one visit to the next, and what becomes of them in between."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from queue import Queue
from threading import active_count

import pytest

from ingestd.connections import Connections
from ingestd.demo.dovecot import Dovecot
from ingestd.errors import Unavailable
from ingestd.sources import imap_idle
from ingestd.sources.imap import ImapAccount, Server
from tests.fakes import mail
from tests.imap_script import ImapScript, Turn
from tests.waiting import until

DEADLINE = 30.0
LONG = timedelta(minutes=9)

Asked = Queue[str]


@pytest.fixture
def asked() -> Asked:
    return Queue()


@pytest.fixture
def connections(asked: Asked) -> Iterator[Connections]:
    made = Connections()
    with made.kept(asked.put):
        yield made


@pytest.fixture
def script() -> Iterator[ImapScript]:
    with ImapScript({1: mail(1)}, capabilities="IMAP4rev1 AUTH=PLAIN IDLE") as script:
        script.replies["IDLE"] = lambda turn: turn.write(b"+ idling\r\n")
        yield script


@pytest.fixture
def person(dovecot: Dovecot, mail_user: str) -> Server:
    return Server("localhost", dovecot.imaps_port, "implicit", mail_user, lambda: "secret", dovecot.ca_file)


def deliver(dovecot: Dovecot, server: Server, number: int) -> None:
    with smtplib.LMTP("127.0.0.1", dovecot.lmtp_port) as lmtp:
        lmtp.sendmail("ann@example.org", [server.user], mail(number))


def visit(
    connections: Connections,
    server: Server,
    *mailboxes: str,
    name: str = "work",
    patience: timedelta = LONG,
    meanwhile: Callable[[], object] = lambda: None,
) -> ImapAccount:
    """Look at each of *mailboxes*, and keep the connection."""
    with connections.visiting(name, lambda: ImapAccount(name, server)) as imap:
        for mailbox in mailboxes or ("INBOX",):
            imap.open(mailbox)
        meanwhile()
        connections.keep(name, imap, mailboxes or ("INBOX",), patience, polled=True)
    return imap


def test_visits_share_a_connection_and_are_asked_for_by_new_mail(
    dovecot: Dovecot, person: Server, connections: Connections, asked: Asked
) -> None:
    first = visit(connections, person)
    for number in range(3):
        deliver(dovecot, person, number)

        assert asked.get(timeout=DEADLINE) == "work"
        assert (stay := connections.stay("work"))
        assert stay.prompted
        assert visit(connections, person) is first
    assert asked.empty()


def test_mail_that_comes_between_the_look_and_the_wait_is_not_missed(
    dovecot: Dovecot, person: Server, connections: Connections, asked: Asked
) -> None:
    visit(connections, person, meanwhile=lambda: deliver(dovecot, person, 1))

    assert asked.get(timeout=DEADLINE) == "work"


def test_one_connection_is_told_of_all_mailboxes_of_which_the_server_can_tell(
    person: Server, connections: Connections, asked: Asked
) -> None:
    with ImapAccount("work", person) as other:
        for name in (b"Lists", b'"a (b"', b"Entw&APw-rfe"):
            other.session().ask(b"CREATE " + name)
        mailboxes = ("INBOX", "Lists", "a (b", "Entwürfe")
        visit(connections, person, *mailboxes)
        stay = connections.stay("work")

        other.session().ask(b"APPEND Lists {3+}\r\nx\r\n")

        assert asked.get(timeout=DEADLINE) == "work"
        assert stay is not None
        assert stay.mailboxes == mailboxes
        assert stay.told_of == mailboxes[:-1]  # Dovecot 2.3 does not find names with umlauts there
        visit(connections, person, *mailboxes, meanwhile=lambda: other.session().ask(b"APPEND Lists {3+}\r\nx\r\n"))
        assert asked.get(timeout=DEADLINE) == "work"


def test_where_the_server_tells_of_one_mailbox_only_that_is_known(script: ImapScript, connections: Connections) -> None:
    visit(connections, script.account(), "INBOX", "Lists")

    assert (stay := connections.stay("work"))
    assert (stay.told_of, stay.mailboxes) == (("INBOX",), ("INBOX", "Lists"))


def test_where_the_server_tells_nothing_the_connection_serves_the_next_visit(
    script: ImapScript, connections: Connections
) -> None:
    script.capabilities = "IMAP4rev1 AUTH=PLAIN"

    for _ in range(3):
        visit(connections, script.account())

    assert (script.connections, script.count("NOOP"), script.count("IDLE")) == (1, 2, 0)


def test_a_count_that_is_known_is_no_news(script: ImapScript, connections: Connections, asked: Asked) -> None:
    turns: Queue[Turn] = Queue()
    script.replies["IDLE"] = lambda turn: (turn.write(b"+ idling\r\n* 1 EXISTS\r\n"), turns.put(turn))[1]
    visit(connections, script.account())
    assert asked.empty()

    turns.get(timeout=DEADLINE).write(b"* 2 EXISTS\r\n")

    assert asked.get(timeout=DEADLINE) == "work"


def test_a_connection_that_is_gone_is_made_anew(script: ImapScript, connections: Connections, asked: Asked) -> None:
    turns: Queue[Turn] = Queue()
    script.replies["IDLE"] = lambda turn: (turn.write(b"+ idling\r\n"), turns.put(turn))[1]
    first = visit(connections, script.account(), patience=timedelta(seconds=0.05))
    assert asked.get(timeout=DEADLINE) == "work"  # it was patient long enough

    turns.get(timeout=DEADLINE).close()
    second = visit(connections, script.account())

    assert second is not first
    assert script.connections == 2


def test_one_that_breaks_too_soon_waits_for_its_time(
    script: ImapScript, connections: Connections, asked: Asked
) -> None:
    script.replies["IDLE"] = lambda turn: (turn.write(b"+ idling\r\n"), turn.close())[1]

    visit(connections, script.account())

    until(lambda: (stay := connections.stay("work")) and stay.why == "broken")
    assert asked.empty()


def test_one_that_is_dead_when_it_is_needed_asks_for_its_visit(
    script: ImapScript, connections: Connections, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_idle, "GRACE_SECONDS", 0.2)
    script.replies["DONE"] = Turn.hang
    visit(connections, script.account())

    assert connections.wake("work")

    assert asked.get(timeout=DEADLINE) == "work"
    assert not connections.wake("work")
    visit(connections, script.account())
    assert script.connections == 2


def test_one_that_lasted_and_breaks_is_made_anew_at_once(script: ImapScript, asked: Asked) -> None:
    now, turns = [0.0], Queue[Turn]()
    script.replies["IDLE"] = lambda turn: (turn.write(b"+ idling\r\n"), turns.put(turn))[1]
    connections = Connections(lambda: now[0])
    with connections.kept(asked.put):
        visit(connections, script.account())
        now[0] = LONG.total_seconds()

        turns.get(timeout=DEADLINE).close()

        assert asked.get(timeout=DEADLINE) == "work"


def test_a_server_that_plays_dead_is_found_within_the_grace(
    script: ImapScript, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_idle, "GRACE_SECONDS", 0.2)
    script.replies["DONE"] = Turn.hang
    visit(connections, script.account())

    visit(connections, script.account())

    assert script.connections == 2


def test_what_is_left_is_closed_at_once_and_made_anew_later(script: ImapScript, connections: Connections) -> None:
    visit(connections, script.account())

    connections.leave(["work", "home"])

    until(lambda: script.count("LOGOUT") or "bye" in " ".join(script.commands))
    assert connections.stay("work") is None
    assert len(connections) == 0
    visit(connections, script.account())
    assert script.connections == 2


def test_a_visit_that_fails_keeps_nothing(script: ImapScript, connections: Connections) -> None:
    with pytest.raises(Unavailable), connections.visiting("work", lambda: ImapAccount("work", script.account())):
        raise Unavailable("the store is away")

    assert connections.stay("work") is None
    assert len(connections) == 0


def test_hundreds_wait_on_one_thread_and_end_at_once(person: Server, asked: Asked) -> None:
    threads = active_count()
    connections = Connections()
    with ExitStack() as stack:
        stack.enter_context(connections.kept(asked.put))
        for number in range(40):
            visit(connections, person, name=f"work{number}")
        assert len(connections) == 40
        assert active_count() == threads + 1

        connections.stop()

    assert active_count() == threads
    with pytest.raises(Unavailable, match="told to stop"):
        visit(connections, person)
