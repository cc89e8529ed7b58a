"""The governor against a real store, two of them as two daemons, and against a server that has enough."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.caps import Caps
from ingestd.errors import IngestError, PutOff, Refused, Unavailable, Unreachable
from ingestd.governor import Governor, Meter
from ingestd.sources.imap import ImapAccount
from ingestd.store.usage import Book
from ingestd.throttle import Throttle

from .imap_script import ImapScript

Document = dict[str, Any]
Store = Database[Document]
GMAIL = "imap.gmail.com"


def meter(database: Store, *, asked: bool = False, **caps: int) -> Meter:
    """That of a daemon of its own."""
    return Governor(database, asked=asked).meter("work", GMAIL, Caps(**caps))


def enter(server: ImapScript, meter: Meter) -> None:
    """What a visit does."""
    with meter.visit(), ImapAccount("work", replace(server.account(), meter=meter)):
        pass


def test_logins_of_several_daemons_count_together(database: Store) -> None:
    one, two = meter(database, logins_an_hour=3), meter(database, logins_an_hour=3)
    one.open()
    two.open()
    one.open()

    with pytest.raises(PutOff, match="3 logins within an hour, the cap is 3") as raised:
        two.open()

    assert timedelta(minutes=58) < (raised.value.wait or timedelta()) <= timedelta(minutes=61)


def test_logins_at_the_same_moment_are_all_counted(database: Store) -> None:
    meters = [meter(database, logins_an_hour=100) for _ in range(4)]

    with ThreadPoolExecutor(len(meters)) as threads:
        for done in [threads.submit(each.open) for each in meters * 5]:
            done.result()

    (book,) = database.usage.find()
    assert sum(slot["count"] for slot in book["logins"]) == 20


def test_bytes_of_several_daemons_count_together(database: Store) -> None:
    one, two = meter(database, bytes_a_day=1000), meter(database, bytes_a_day=1000)
    one.open()
    with one.visit():
        one.fetched(700)
    two.open()
    assert two.more
    two.fetched(300)

    with pytest.raises(PutOff, match="1000 B fetched within a day"):
        two.check()

    assert not two.more
    with pytest.raises(PutOff, match="put off until"):
        one.open()


def test_a_connection_too_many_is_not_made_until_another_is_closed(database: Store) -> None:
    one = meter(database, connections=2)
    one.open()
    one.open()

    with pytest.raises(PutOff, match="2 connections are open, the cap is 2"):
        one.open()
    one.close()
    one.open()

    assert one.room == 0


def test_connections_beside_that_of_a_visit_keep_within_the_cap_and_leave_half_of_the_logins(database: Store) -> None:
    one = meter(database, connections=3, logins_an_hour=4)
    one.open()
    one.beside.open()

    with pytest.raises(PutOff, match="one connection for now, to save logins"):
        one.beside.open()

    one.open()
    with pytest.raises(PutOff, match="3 connections are open, the cap is 3"):
        one.beside.open()


def test_a_visit_can_always_make_its_connection_anew(database: Store) -> None:
    one = meter(database, connections=2)
    one.open()
    one.beside.open()
    one.close()

    with pytest.raises(PutOff, match="no more connections, the cap is 2"):
        one.beside.open()

    one.open()
    one.beside.close()
    one.beside.open()


@pytest.mark.parametrize(
    ("error", "cap"),
    [
        (PutOff("work: too many connections", Throttle("connections")), 1),
        (Refused("work: login refused"), 8),
        (Unreachable("work: did not answer"), 8),
    ],
)
def test_a_connection_beside_that_of_a_visit_that_failed_is_not_tried_again_soon_and_holds_nobody(
    database: Store, error: IngestError, cap: int
) -> None:
    one = meter(database, connections=8)
    with one.visit():
        one.open()
        one.failed_beside(error)
        with pytest.raises(PutOff, match="since another one failed"):
            one.beside.open()
        one.fetched(1)

    one.check()
    one.close()
    one.open()
    assert one.room == cap - 1


def test_what_a_server_says_holds_for_every_daemon_and_is_learned(database: Store) -> None:
    one, two = meter(database), meter(database)
    one.open()
    with ImapScript(greeting=b"* BYE Too many simultaneous connections.") as server:
        with pytest.raises(PutOff) as first:
            enter(server, one)
        with pytest.raises(PutOff, match="the server says: too many connections"):
            enter(server, two)

    assert first.value.wait is not None
    assert timedelta(seconds=115) < first.value.wait <= timedelta(minutes=2)
    assert server.connections == 1
    assert one.room == 0


def test_a_wrong_password_is_sent_four_times_an_hour_by_all_daemons_together(database: Store) -> None:
    with ImapScript() as server:
        server.capabilities = "IMAP4rev1"
        server.replies["LOGIN"] = lambda turn: turn.send(b"%t NO [AUTHENTICATIONFAILED] no")
        for _ in range(4):
            with pytest.raises(Refused):
                enter(server, meter(database))
        with pytest.raises(PutOff, match="4 logins refused within an hour"):
            enter(server, meter(database))
        assert server.count("LOGIN") == 4

        server.replies.clear()
        enter(server, meter(database, asked=True))
        enter(server, meter(database))


def test_an_access_token_that_is_not_taken_twice_counts_as_one_login_refused(database: Store) -> None:
    one = meter(database)
    with ImapScript(capabilities="IMAP4rev1 AUTH=XOAUTH2") as server:
        server.replies["AUTHENTICATE"] = lambda turn: turn.send(b"%t NO [AUTHENTICATIONFAILED] no")
        reached = replace(server.account(), meter=one, rejected=lambda token: None)
        with pytest.raises(Refused), one.visit(), ImapAccount("work", reached):
            pass

    (book,) = database.usage.find()
    assert sum(slot["count"] for slot in book["refused"]) == 1
    assert sum(slot["count"] for slot in book["logins"]) == server.count("AUTHENTICATE") == 2


def test_every_connection_that_is_opened_is_closed(database: Store) -> None:
    one = meter(database, connections=1)
    with ImapScript({1: b"Subject: x\r\n\r\n"}) as server:
        server.replies["EXAMINE"] = lambda turn: turn.close()
        for _ in range(3):
            enter(server, one)
        with ImapAccount("work", replace(server.account(), meter=one)) as account, pytest.raises(Unavailable):
            account.open("INBOX")

    assert one.room == 1


def test_a_good_visit_begins_the_waiting_anew(database: Store) -> None:
    book = Book(database, "work", "gmail")
    book.change(lambda usage, now: replace(usage.put_off(Throttle("requests"), 1, now), hold=None))
    with ImapScript() as server:
        enter(server, meter(database))

    assert book.change(lambda usage, now: usage)[0].in_a_row == 0


def test_a_connection_that_was_kept_brings_nothing_more_until_there_is_room_again(database: Store) -> None:
    one = meter(database, bytes_a_day=1000)
    one.open()
    one.fetched(1000)
    with pytest.raises(PutOff):
        one.check()

    with pytest.raises(PutOff):
        one.check()
    database.usage.update_many({}, {"$set": {"fetched": [], "hold": None}})
    one.check()

    assert one.more


def test_a_cap_that_the_operator_changes_holds_from_then_on(database: Store) -> None:
    governor = Governor(database)
    governor.meter("work", GMAIL, Caps(logins_an_hour=1)).open()

    governor.meter("work", GMAIL, Caps(logins_an_hour=2)).open()

    with pytest.raises(PutOff, match="the cap is 2"):
        governor.meter("work", GMAIL, Caps(logins_an_hour=2)).open()
