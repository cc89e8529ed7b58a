"""Search answers in every shape that servers give them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ingestd.errors import Refused, Unavailable
from ingestd.sources.imap import ImapAccount, ImapMailbox
from ingestd.uidset import UIDSet

from ..imap_script import ImapScript, Turn


@contextmanager
def mailbox(answer: bytes, capabilities: str = "IMAP4rev1 AUTH=PLAIN") -> Iterator[tuple[ImapScript, ImapMailbox]]:
    """A mailbox that answers every search with *answer*, where `%t` is the tag."""
    with ImapScript(capabilities=capabilities) as server:
        server.replies["UID SEARCH"] = lambda turn: turn.send(answer)
        with ImapAccount("work", server.account()) as account:
            yield server, account.open("INBOX")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"* SEARCH 2 3 5\r\n%t OK", "2:3,5"),
        (b"* SEARCH 2 3\r\n* SEARCH 5\r\n* SEARCH\r\n%t OK", "2:3,5"),
        (b"* SEARCH 5 3 2 (MODSEQ 917162500)\r\n%t OK", "2:3,5"),
        (b"* search 7 \r\n%t OK", "7"),
        (b"* SEARCH\r\n%t OK", ""),
        (b"%t OK", ""),
        (b"* 4 EXISTS\r\n* SEARCH 4\r\n* 1 EXPUNGE\r\n%t OK", "4"),
    ],
)
def test_a_search_answer_is_the_complete_set(answer: bytes, found: str) -> None:
    with mailbox(answer) as (_, inbox):
        assert str(inbox.search("UNSEEN")) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b'* ESEARCH (TAG "%t") UID ALL 2,10:11\r\n%t OK', "2,10:11"),
        (b'* ESEARCH (TAG "%t") UID ALL 11:10,2\r\n%t OK', "2,10:11"),
        (b'* ESEARCH (TAG "%t") UID COUNT 2 ALL 4:5 MODSEQ 1236\r\n%t OK', "4:5"),
        (b'* ESEARCH (TAG "%t") UID\r\n%t OK', ""),
        (b'* ESEARCH (TAG "other") UID ALL 1:9\r\n* ESEARCH (TAG "%t") UID ALL 4\r\n%t OK', "4"),
        (b"* SEARCH 4\r\n%t OK", "4"),
    ],
)
def test_esearch_is_understood(answer: bytes, found: str) -> None:
    with mailbox(answer, "IMAP4rev1 AUTH=PLAIN ESEARCH") as (server, inbox):
        assert str(inbox.search("UNSEEN")) == found
        assert server.commands[-1] == "UID SEARCH RETURN (ALL) UNSEEN"


def test_a_search_answer_of_more_than_a_megabyte_is_read_whole() -> None:
    uids = range(100_000, 300_000)
    line = b"* SEARCH " + b" ".join(b"%d" % uid for uid in uids)

    with mailbox(line + b"\r\n%t OK") as (_, inbox):
        assert len(line) > 1_300_000
        assert inbox.search("ALL") == UIDSet.span(uids[0], uids[-1])


def test_a_server_that_offers_esearch_without_knowing_it_is_asked_the_old_way() -> None:
    with ImapScript({4: b"x"}, capabilities="IMAP4rev1 AUTH=PLAIN ESEARCH") as server:
        server.replies["UID SEARCH RETURN"] = lambda turn: turn.send(b"%t BAD what?")
        with ImapAccount("work", server.account()) as account:
            assert str(account.open("INBOX").search("ALL")) == "4"


@pytest.mark.parametrize(
    "answer",
    [
        b"* SEARCH 1 2 x\r\n%t OK",
        b"* SEARCH 99999999999\r\n%t OK",
        b"* SEARCH 0\r\n%t OK",
        b'* ESEARCH (TAG "%t") ALL 1:9\r\n%t OK',
        b'* ESEARCH (TAG "%t") UID ALL 1:99999999999\r\n%t OK',
        b'* ESEARCH (TAG "%t") UID ALL 1:*\r\n%t OK',
        b"garbage\r\n%t OK",
        b"* BYE",
    ],
)
def test_a_search_answer_that_makes_no_sense_is_not_half_believed(answer: bytes) -> None:
    with mailbox(answer) as (server, inbox), pytest.raises(Unavailable):
        inbox.search("UNSEEN")

    assert server.count("EXAMINE") == 1


def test_a_search_that_failed_is_made_again_over_a_fresh_connection() -> None:
    with mailbox(b"garbage") as (server, inbox):
        with pytest.raises(Unavailable):
            inbox.search("UNSEEN")
        server.replies["UID SEARCH"] = lambda turn: turn.send(b"* SEARCH 4\r\n%t OK")

        assert str(inbox.search("UNSEEN")) == "4"
        assert server.connections == 2


def test_a_refused_program_names_the_setting() -> None:
    with mailbox(b"%t BAD no such key") as (_, inbox), pytest.raises(Refused, match=r"check account\.select"):
        inbox.search("UNSEEEN")


def test_a_busy_server_is_asked_again_later() -> None:
    with mailbox(b"%t NO [UNAVAILABLE] later") as (_, inbox), pytest.raises(Unavailable, match="UNAVAILABLE"):
        inbox.search("UNSEEN")


def test_a_program_with_a_line_break_is_not_sent() -> None:
    with mailbox(b"%t OK") as (server, inbox), pytest.raises(Refused):
        inbox.search("UNSEEN\r\ni9 LOGOUT")

    assert server.count("UID SEARCH") == 0


def test_a_set_too_long_for_a_line_is_asked_for_in_parts() -> None:
    odd = UIDSet.of(range(1, 20_001, 2))

    with mailbox(b"") as (server, inbox):
        server.replies["UID SEARCH"] = echo
        found = inbox.search("UNSEEN", within=odd)

    assert found == odd
    assert server.count("UID SEARCH") > 1
    assert max(map(len, server.commands)) < 8192


def test_what_lies_outside_of_the_set_is_left_out() -> None:
    with mailbox(b"* SEARCH 3 9\r\n%t OK") as (_, inbox):
        assert str(inbox.search("ALL", within=UIDSet.span(5, 2**32 - 1))) == "9"


def echo(turn: Turn) -> None:
    """Find exactly what was asked about."""
    uids = UIDSet.parse(turn.command.split()[3])
    turn.send(b"* SEARCH " + b" ".join(b"%d" % uid for uid in uids) + b"\r\n%t OK")
