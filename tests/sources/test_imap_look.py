"""What a mailbox says about itself and its messages, on a real server and on servers that say it badly."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from ingestd.demo.dovecot import Dovecot
from ingestd.errors import Unavailable
from ingestd.sources.imap import ImapAccount, ImapMailbox, Server
from ingestd.uidset import UIDSet
from tests.imap_script import ImapScript, Turn
from tests.sources.test_imap import DAY, mail, other_client

FIVE = UIDSet.span(1, 5)
CONDSTORE = "IMAP4rev1 AUTH=PLAIN CONDSTORE"


@pytest.fixture
def real(dovecot: Dovecot, mail_user: str) -> Iterator[ImapAccount]:
    dovecot.deliver(mail_user, "INBOX", mail(5))
    dovecot.transcribe(mail_user)
    server = Server("localhost", dovecot.imaps_port, "implicit", mail_user, lambda: dovecot.password, dovecot.ca_file)
    with ImapAccount("work", server) as account:
        yield account


@pytest.fixture
def script() -> Iterator[ImapScript]:
    with ImapScript({uid: b"x" * uid for uid in FIVE}, capabilities=CONDSTORE) as server:
        yield server


@pytest.fixture
def mailbox(script: ImapScript) -> Iterator[ImapMailbox]:
    with ImapAccount("work", script.account(timeout=2.0)) as account:
        yield account.open("INBOX")


def no_search(turn: Turn) -> None:
    turn.send(b"* SEARCH\r\n%t OK done")


# --- the mailbox


def test_a_real_server_tells_how_often_the_mailbox_changed(dovecot: Dovecot, mail_user: str, real: ImapAccount) -> None:
    before = real.open("INBOX").numbers.modseq
    client = other_client(dovecot, mail_user)
    client.select("INBOX")
    client.uid("STORE", "2", "+FLAGS", r"(\Flagged)")
    client.logout()

    after = real.open("INBOX").numbers.modseq

    assert before is not None
    assert after is not None
    assert after > before


def test_a_server_that_keeps_no_such_count_says_none(script: ImapScript) -> None:
    script.replies["EXAMINE"] = lambda turn: turn.send(
        b"* 5 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [UIDNEXT 6]\r\n* OK [NOMODSEQ]\r\n%t OK done"
    )

    with ImapAccount("work", script.account()) as account:
        assert account.open("INBOX").numbers.modseq is None


def test_a_server_that_offers_to_count_and_does_not_know_how_is_asked_without(script: ImapScript) -> None:
    script.replies['EXAMINE "INBOX" (CONDSTORE)'] = lambda turn: turn.send(b"%t BAD what?")

    with ImapAccount("work", script.account()) as account:
        assert account.open("INBOX").numbers.exists == 5


def test_an_empty_list_of_a_mailbox_that_is_not_empty_is_not_believed(script: ImapScript, mailbox: ImapMailbox) -> None:
    script.replies["UID SEARCH"] = no_search

    with pytest.raises(Unavailable, match="lists none of its 5 messages"):
        mailbox.listed()


def test_a_list_of_more_messages_than_there_can_be_is_not_believed(script: ImapScript) -> None:
    script.capabilities += " ESEARCH"
    script.replies["UID SEARCH"] = lambda turn: turn.send(b"* ESEARCH (TAG %t) UID ALL 1:4294967295\r\n%t OK done")

    with ImapAccount("work", script.account()) as account, pytest.raises(Unavailable, match="4,294,967,295 of its 5"):
        account.open("INBOX").listed()


def test_a_mailbox_that_was_emptied_meanwhile_lists_nothing(script: ImapScript, mailbox: ImapMailbox) -> None:
    script.messages.clear()

    assert mailbox.listed() == UIDSet()


def test_a_mailbox_that_lost_its_uids_while_it_was_listed_is_unavailable(
    script: ImapScript, mailbox: ImapMailbox
) -> None:
    script.uidvalidity = 8
    script.replies["UID SEARCH"] = no_search

    with pytest.raises(Unavailable, match="UIDVALIDITY changed"):
        mailbox.listed()


# --- its messages


def test_a_real_server_tells_date_and_size_without_giving_a_body(
    dovecot: Dovecot, mail_user: str, real: ImapAccount
) -> None:
    told = real.open("INBOX").look(UIDSet.of([2, 4, 99]))

    assert {uid: each.internal_date for uid, each in told.items()} == {
        2: DAY + timedelta(minutes=2),
        4: DAY + timedelta(minutes=4),
    }
    assert told[2].size_bytes == len(mail(2)[1].content)
    assert b"BODY" not in dovecot.transcript(mail_user)


def test_messages_that_a_server_cannot_tell_about_do_not_hide_the_others(
    script: ImapScript, mailbox: ImapMailbox
) -> None:
    script.replies["UID FETCH 1:5"] = lambda turn: turn.send(
        script.metadata(2) + b"\r\n%t NO Some of the requested messages no longer exist"
    )

    assert set(mailbox.look(FIVE)) == {2}


def test_a_message_that_breaks_the_connection_is_left_out(script: ImapScript, mailbox: ImapMailbox) -> None:
    def break_at_three(turn: Turn) -> None:
        turn.close() if 3 in UIDSet.parse(turn.command.split()[2]) else turn.default()

    script.replies["UID FETCH"] = break_at_three

    assert set(mailbox.look(FIVE)) == {1, 2, 4, 5}


def test_a_server_that_breaks_off_again_and_again_is_unavailable(script: ImapScript, mailbox: ImapMailbox) -> None:
    script.replies["UID FETCH"] = Turn.close

    with pytest.raises(Unavailable, match="too many broken connections"):
        mailbox.look(UIDSet.span(1, 500))


def test_a_server_that_is_busy_is_asked_later(script: ImapScript, mailbox: ImapMailbox) -> None:
    script.replies["UID FETCH"] = lambda turn: turn.send(b"%t NO [LIMIT] slow down")

    with pytest.raises(Unavailable, match=r"\[LIMIT\]"):
        mailbox.look(FIVE)


# --- flags


def test_a_real_server_tells_only_what_changed_since(dovecot: Dovecot, mail_user: str, real: ImapAccount) -> None:
    before = real.open("INBOX").numbers.modseq
    client = other_client(dovecot, mail_user)
    client.select("INBOX")
    client.uid("STORE", "2", "+FLAGS", r"(\Flagged $Forwarded)")
    client.logout()
    mailbox = real.open("INBOX")

    changed, every = mailbox.flags(FIVE, before), mailbox.flags(FIVE, None)

    assert {uid: each.flags for uid, each in changed.items()} == {2: ("$Forwarded", "\\Flagged")}
    assert {uid: each.flags for uid, each in every.items()} == {
        1: (),
        2: ("$Forwarded", "\\Flagged"),
        3: (),
        4: (),
        5: (),
    }


def test_changes_of_scattered_messages_are_asked_for_with_one_short_command(
    script: ImapScript, mailbox: ImapMailbox
) -> None:
    told = mailbox.flags(UIDSet.of(range(2, 8001, 2)), 7)

    assert script.commands[-1] == "UID FETCH 2:8000 (UID FLAGS) (CHANGEDSINCE 7)"
    assert set(told) == {2, 4}


def test_all_flags_of_scattered_messages_are_asked_for_in_lines_that_are_not_too_long(
    script: ImapScript, mailbox: ImapMailbox
) -> None:
    mailbox.flags(UIDSet.of(range(2, 8001, 2)), None)

    assert script.count("UID FETCH") > 1
    assert max(map(len, script.commands)) < 8192


@pytest.mark.parametrize("said", [b"BAD what?", b"NO Internal error"])
def test_a_server_that_offers_changes_and_does_not_know_them_is_asked_for_all(
    script: ImapScript, mailbox: ImapMailbox, said: bytes
) -> None:
    script.replies["UID FETCH 1:5 (UID FLAGS) (CHANGEDSINCE"] = lambda turn: turn.send(b"%t " + said)

    assert set(mailbox.flags(FIVE, 7)) == set(FIVE)


def test_a_message_of_which_no_flags_are_told_is_left_out(script: ImapScript, mailbox: ImapMailbox) -> None:
    script.replies["UID FETCH"] = lambda turn: turn.send(
        b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n* 2 FETCH (UID 2 MODSEQ (8))\r\n%t OK done"
    )

    assert set(mailbox.flags(FIVE, 7)) == {1}


def test_labels_are_told_with_flags_where_there_are_labels() -> None:
    with ImapScript({1: b"one"}, capabilities="IMAP4rev1 AUTH=PLAIN CONDSTORE X-GM-EXT-1") as server:
        server.replies["UID FETCH"] = lambda turn: turn.send(
            b"* 1 FETCH (UID 1 FLAGS () X-GM-LABELS (Work))\r\n* 2 FETCH (UID 2 FLAGS ())\r\n%t OK done"
        )
        with ImapAccount("work", server.account()) as account:
            told = account.open("INBOX").flags(FIVE, 7)

    assert {uid: each.labels for uid, each in told.items()} == {1: ("Work",)}
    assert "UID FETCH 1:5 (UID FLAGS X-GM-LABELS) (CHANGEDSINCE 7)" in server.commands
