"""Waiting for news of many mailboxes on one thread."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from queue import Queue
from threading import active_count

import pytest

from ingestd.demo.dovecot import Dovecot
from ingestd.sources import imap_idle
from ingestd.sources.idle import WaitingRoom, Why
from ingestd.sources.imap import ImapAccount, Server
from ingestd.sources.imap_idle import begin, notify
from ingestd.sources.imap_session import Session
from ingestd.sources.wire import Broken

from ..fakes import mail
from ..imap_script import ImapScript, Turn

LONG = 600.0
DEADLINE = 30.0

Told = Queue[tuple[str, Why]]


@pytest.fixture
def told() -> Told:
    return Queue()


@pytest.fixture
def room(told: Told) -> Iterator[WaitingRoom]:
    with WaitingRoom(lambda key, why: told.put((key, why))) as room:
        yield room


@pytest.fixture
def server() -> Iterator[ImapScript]:
    with ImapScript(capabilities="IMAP4rev1 AUTH=PLAIN IDLE") as script:
        script.replies["IDLE"] = lambda turn: turn.write(b"+ idling\r\n")
        yield script


@pytest.fixture
def account(dovecot: Dovecot, mail_user: str) -> Server:
    return Server("localhost", dovecot.imaps_port, "implicit", mail_user, lambda: "secret", dovecot.ca_file)


@pytest.fixture
def opened() -> Iterator[Callable[[Server], Session]]:
    """Gives sessions with INBOX open."""
    with ExitStack() as stack:

        def open_(server: Server) -> Session:
            account = stack.enter_context(ImapAccount("work", server))
            account.open("INBOX")
            return account.session()

        yield open_


def deliver(dovecot: Dovecot, user: str, content: bytes) -> None:
    with smtplib.LMTP("127.0.0.1", dovecot.lmtp_port) as lmtp:
        lmtp.sendmail("ann@example.org", [user], content)


Opened = Callable[[Server], Session]


# --- Dovecot


def test_a_delivery_is_told_at_once_and_the_connection_goes_on(
    dovecot: Dovecot, mail_user: str, account: Server, room: WaitingRoom, told: Told, opened: Opened
) -> None:
    session = opened(account)
    for number in range(3):
        room.park("work", begin(session)[0], LONG)
        deliver(dovecot, mail_user, mail(number))

        assert told.get(timeout=DEADLINE) == ("work", "news")

        claimed = room.claim("work")
        assert claimed is not None
        claimed[0].end()
        assert session.ask(b"NOOP").status == "OK"
    assert told.empty()


def test_news_of_another_mailbox_come_over_the_same_connection(
    dovecot: Dovecot, mail_user: str, account: Server, room: WaitingRoom, told: Told, opened: Opened
) -> None:
    session = opened(account)
    session.ask(b"CREATE Lists")

    assert notify(session, [b'"Lists"'])
    room.park("work", begin(session)[0], LONG)
    with ImapAccount("work", account) as other:
        other.session().ask(b"APPEND Lists {3+}\r\nx\r\n")

    assert told.get(timeout=DEADLINE) == ("work", "news")


def test_many_connections_wait_on_one_thread(account: Server, room: WaitingRoom, told: Told, opened: Opened) -> None:
    threads = active_count()
    for number in range(30):
        room.park(str(number), begin(opened(replace(account, user=f"{account.user}{number}")))[0], LONG)

    assert len(room) == 30
    assert active_count() == threads
    assert told.empty()
    for number in range(30):
        assert room.claim(str(number)) is not None


# --- a server that misbehaves


def test_news_beside_the_plus_are_not_missed(server: ImapScript, opened: Opened) -> None:
    server.replies["IDLE"] = lambda turn: turn.write(b"* 1 EXISTS\r\n+ idling\r\n")

    assert begin(opened(server.account()))[1]


def test_news_behind_the_plus_are_not_missed(server: ImapScript, room: WaitingRoom, told: Told, opened: Opened) -> None:
    server.replies["IDLE"] = lambda turn: turn.write(b"+ idling\r\n* 1 EXISTS\r\n")

    idling, before = begin(opened(server.account()))
    room.park("work", idling, LONG)

    assert not before
    assert told.get(timeout=DEADLINE) == ("work", "news")


def test_a_line_in_two_segments_is_one(server: ImapScript, room: WaitingRoom, told: Told, opened: Opened) -> None:
    turns: Queue[Turn] = Queue()

    def idle(turn: Turn) -> None:
        turn.write(b"+ idling\r\n* 1 EX")
        turns.put(turn)

    server.replies["IDLE"] = idle
    idling = begin(opened(server.account()))[0]
    room.park("work", idling, LONG)
    assert told.empty()

    turns.get(timeout=DEADLINE).write(b"ISTS\r\n")

    assert told.get(timeout=DEADLINE) == ("work", "news")


@pytest.mark.parametrize("last", [b"* BYE see you\r\n", b"", b"garbage\r\n", b"* " + b"x" * 100_000])
def test_an_end_is_told(server: ImapScript, room: WaitingRoom, told: Told, opened: Opened, last: bytes) -> None:
    def end(turn: Turn) -> None:
        turn.write(b"+ idling\r\n" + last)
        if not last:
            turn.close()

    server.replies["IDLE"] = end
    room.park("work", begin(opened(server.account()))[0], LONG)

    assert told.get(timeout=DEADLINE) == ("work", "broken")


def test_ten_thousand_lines_are_told_once(server: ImapScript, room: WaitingRoom, told: Told, opened: Opened) -> None:
    server.replies["IDLE"] = lambda turn: turn.write(
        b"+ idling\r\n" + b"* OK Still here\r\n" * 5_000 + b"".join(b"* %d EXISTS\r\n" % n for n in range(5_000))
    )
    room.park("work", begin(opened(server.account()))[0], LONG)

    assert told.get(timeout=DEADLINE) == ("work", "news")
    room.claim("work")
    assert told.empty()


def test_silence_is_due_in_time(server: ImapScript, told: Told, opened: Opened) -> None:
    now = 0.0
    with WaitingRoom(lambda key, why: told.put((key, why)), lambda: now) as room:
        room.park("long", begin(opened(server.account()))[0], LONG)
        now = LONG - 1
        room.park("short", begin(opened(server.account()))[0], 0.0)

        assert told.get(timeout=DEADLINE) == ("short", "due")
        assert told.empty()

        now = LONG
        room.park("another", begin(opened(server.account()))[0], 0.0)
        assert {told.get(timeout=DEADLINE)[0], told.get(timeout=DEADLINE)[0]} == {"long", "another"}


def test_a_server_that_plays_dead_is_found_without_anybody_waiting_for_it(
    server: ImapScript, told: Told, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_idle, "GRACE_SECONDS", 0.2)
    server.replies["DONE"] = lambda turn: turn.hang() if turn.count == 1 else turn.default()
    with WaitingRoom(lambda key, why: told.put((key, why))) as room:
        for key in ("one", "another"):
            room.park(key, begin(opened(server.account()))[0], 0.0)

        assert [told.get(timeout=DEADLINE)[1] for _ in range(2)] == ["due", "broken"]
    assert told.empty()


def test_one_that_is_needed_before_its_time_is_told_at_once(
    server: ImapScript, room: WaitingRoom, told: Told, opened: Opened
) -> None:
    room.park("work", begin(opened(server.account()))[0], LONG)

    assert room.hurry("work")

    assert told.get(timeout=DEADLINE) == ("work", "due")
    assert not room.hurry("work")
    assert not room.hurry("nobody")


def test_one_whose_time_was_up_can_be_used_at_once(
    server: ImapScript, room: WaitingRoom, told: Told, opened: Opened
) -> None:
    session = opened(server.account())
    room.park("work", begin(session)[0], 0.0)
    assert told.get(timeout=DEADLINE) == ("work", "due")

    claimed = room.claim("work")
    assert claimed is not None
    claimed[0].end()

    assert session.ask(b"NOOP").status == "OK"
    assert server.count("DONE") == 1


def test_a_server_that_plays_dead_is_found_by_done(
    server: ImapScript, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_idle, "GRACE_SECONDS", 0.2)
    server.replies["IDLE"] = lambda turn: (turn.write(b"+ idling\r\n"), turn.hang())[1]
    idling = begin(opened(server.account()))[0]

    with pytest.raises(Broken, match="in time"):
        idling.end()


def test_a_server_that_refuses_what_it_offers_is_broken(server: ImapScript, opened: Opened) -> None:
    server.replies["IDLE"] = lambda turn: turn.send(b"%t BAD what?")

    with pytest.raises(Broken, match="refuses it"):
        begin(opened(server.account()))


def test_what_is_told_once_is_told_no_more(
    dovecot: Dovecot, mail_user: str, account: Server, room: WaitingRoom, told: Told, opened: Opened
) -> None:
    room.park("work", begin(opened(account))[0], LONG)
    for number in range(3):
        deliver(dovecot, mail_user, mail(number))
    assert told.get(timeout=DEADLINE) == ("work", "news")

    claimed = room.claim("work")

    assert claimed is not None
    assert claimed[1] == "news"
    assert told.empty()
    assert room.claim("work") is None
