"""A real server: names, reading without a trace, marking, and mail that moves while we look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from imaplib import IMAP4
from pathlib import Path
from typing import Any

import pytest

from ingestd.demo.dovecot import Dovecot
from ingestd.errors import LeaseLost, Refused, Unavailable
from ingestd.message import Arrival, LeftOut, Place, RawMessage, Vanished
from ingestd.sources.imap import ImapAccount, ImapMailbox, Server
from ingestd.spool import Spool
from ingestd.uidset import UIDSet
from tests.dovecot import renumber

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Mail:
    content: bytes
    internal_date: datetime = DAY
    flags: tuple[str, ...] = ()


def mail(count: int) -> list[Mail]:
    return [Mail(b"Subject: %d\r\n\r\nText\r\n" % n, DAY + timedelta(minutes=n)) for n in range(1, count + 1)]


@pytest.fixture
def server(dovecot: Dovecot, mail_user: str) -> Server:
    return Server("localhost", dovecot.imaps_port, "implicit", mail_user, lambda: dovecot.password, dovecot.ca_file)


@pytest.fixture
def account(server: Server) -> Iterator[ImapAccount]:
    with ImapAccount("work", server) as account:
        yield account


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool") as spool:
        yield spool
        assert (spool.used.memory, spool.used.disk) == (0, 0), "the spool was not given back"


def fetched(spool: Spool, mailbox: ImapMailbox, uids: UIDSet, since: datetime | None = None) -> dict[int, Arrival]:
    with spool.lane() as lane:
        arrivals = list(mailbox.fetch(uids, lane, epoch=1, since=since))
        lane.release(arrivals)
    return {arrival.place.uid: arrival for arrival in arrivals}


def content(arrival: Arrival) -> bytes:
    assert isinstance(arrival, RawMessage)
    with arrival.content.open() as raw:
        return raw.read(0, raw.size_bytes)


def other_client(dovecot: Dovecot, user: str) -> IMAP4:
    client = IMAP4("127.0.0.1", dovecot.imap_port, timeout=10)
    client.login(user, dovecot.password)
    return client


# --- names


def test_mailboxes_are_named_as_people_write_them(dovecot: Dovecot, mail_user: str, account: ImapAccount) -> None:
    names = ["INBOX", "Entwürfe & Notizen/Größe", "R&D", "日本語", "🦉"]
    for name in names:
        dovecot.deliver(mail_user, name, mail(1))

    found = account.mailboxes(["*"])

    assert found[0] == "INBOX"
    assert sorted(found) == sorted(names)
    assert [account.open(name).numbers.exists for name in names] == [1] * len(names)


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["INBOX"], ["INBOX"]),
        (["inbox"], ["INBOX"]),
        (["Work/*", "INBOX"], ["INBOX", "Work/2025", "Work/2026", "Work/2026/Q1"]),
        (["Work/%"], ["Work/2025", "Work/2026"]),
        (["%"], ["INBOX", "Archive", "Sent"]),
        (["\\Archive", "\\sent"], ["Archive", "Sent"]),
        (["Work/2026", "Work/2026"], ["Work/2026"]),
    ],
)
def test_patterns_mean_mailboxes(
    dovecot: Dovecot, mail_user: str, account: ImapAccount, patterns: list[str], found: list[str]
) -> None:
    for name in ("INBOX", "Archive", "Sent", "Work/2025", "Work/2026", "Work/2026/Q1"):
        dovecot.deliver(mail_user, name, [])

    assert sorted(account.mailboxes(patterns)) == sorted(found)


@pytest.mark.parametrize("pattern", ["Nowhere", "Nowhere/*", "\\Junk"])
def test_a_pattern_that_means_nothing_is_refused_by_name(account: ImapAccount, pattern: str) -> None:
    with pytest.raises(Refused) as caught:
        account.mailboxes(["INBOX", pattern])

    assert repr(pattern) in str(caught.value)


def test_a_mailbox_that_is_not_there_is_refused(account: ImapAccount) -> None:
    with pytest.raises(Refused, match="mailbox work/Nowhere refused by localhost"):
        account.open("Nowhere")


# --- reading


def test_a_message_arrives_with_what_the_mailbox_says_about_it(
    dovecot: Dovecot, mail_user: str, account: ImapAccount, spool: Spool
) -> None:
    dovecot.deliver(mail_user, "INBOX", [Mail(b"Subject: x\r\n\r\n\0\xff", DAY, ("\\Seen", "\\Answered"))])
    mailbox = account.open("INBOX")

    (arrival,) = fetched(spool, mailbox, UIDSet.span(1, 1)).values()

    assert isinstance(arrival, RawMessage)
    assert arrival.place == Place("work", "INBOX", 1, mailbox.uidvalidity, 1)
    assert (arrival.internal_date, arrival.flags, arrival.labels) == (DAY, ("\\Answered", "\\Seen"), ())
    assert arrival.server_size_bytes == arrival.content.size_bytes


def test_two_thousand_messages_arrive_in_order_and_whole(
    dovecot: Dovecot, mail_user: str, account: ImapAccount, spool: Spool
) -> None:
    sent = mail(2000)
    dovecot.deliver(mail_user, "INBOX", sent)
    mailbox = account.open("INBOX")

    arrivals = fetched(spool, mailbox, mailbox.search("ALL"))

    assert list(arrivals) == list(range(1, 2001))
    assert [content(arrival) for arrival in arrivals.values()] == [one.content for one in sent]
    assert mailbox.numbers.uidnext == 2001


def test_small_and_large_messages_share_the_way(
    dovecot: Dovecot, mail_user: str, account: ImapAccount, spool: Spool
) -> None:
    sizes = [10, 2_000_000, 100, 700_000, 700_000, 700_000, 1, 5_000_000, 20]
    dovecot.deliver(mail_user, "INBOX", [Mail(b"Subject: x\r\n\r\n" + b"y" * size) for size in sizes])

    with spool.lane() as lane:
        got = []
        for arrival in account.open("INBOX").fetch(UIDSet.span(1, len(sizes)), lane, epoch=1):
            got.append(len(content(arrival)) - 14)
            lane.release([arrival])

    assert got == sizes


def test_reading_leaves_no_trace(dovecot: Dovecot, mail_user: str, server: Server, spool: Spool) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(40))
    dovecot.transcribe(mail_user)

    with ImapAccount("work", server) as account:
        mailbox = account.open("INBOX")
        fetched(spool, mailbox, mailbox.search("UNSEEN"))
        unseen = mailbox.search("UNSEEN")

    said = dovecot.transcript(mail_user).upper()
    assert len(unseen) == 40
    assert b" EXAMINE " in said
    assert b"BODY.PEEK[]" in said
    assert not any(
        word in said for word in (b" SELECT ", b"BODY[", b" STORE ", b"MOVE", b"EXPUNGE", b"CLOSE", b"RFC822 ")
    )


def test_only_what_is_in_the_set_is_searched(dovecot: Dovecot, mail_user: str, account: ImapAccount) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(10))
    mailbox = account.open("INBOX")

    assert str(mailbox.search("ALL", within=UIDSet.parse("2:4,9,50"))) == "2:4,9"
    assert str(mailbox.search("ALL", within=UIDSet.span(8, 2**32 - 1))) == "8:10"
    assert str(mailbox.search("ALL", within=UIDSet.span(50, 2**32 - 1))) == ""
    assert str(mailbox.search("UNSEEN SINCE 02-Mar-2026")) == ""


def test_mail_before_the_date_is_left_out_without_its_body(
    dovecot: Dovecot, mail_user: str, server: Server, spool: Spool
) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(4))
    dovecot.transcribe(mail_user)

    with ImapAccount("work", server) as account:
        mailbox = account.open("INBOX")
        arrivals = fetched(spool, mailbox, UIDSet.span(1, 4), since=DAY + timedelta(minutes=3))

    assert [type(arrival) for arrival in arrivals.values()] == [LeftOut, LeftOut, RawMessage, RawMessage]
    assert dovecot.transcript(mail_user).count(b"BODY.PEEK[]") == 2


# --- mail that moves


def test_a_message_expunged_before_the_fetch_has_vanished(
    dovecot: Dovecot, mail_user: str, account: ImapAccount, spool: Spool
) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(5))
    mailbox = account.open("INBOX")
    uids = mailbox.search("ALL")
    expunge(dovecot, mail_user, "2,4")

    arrivals = fetched(spool, mailbox, uids)

    assert [uid for uid, arrival in arrivals.items() if isinstance(arrival, Vanished)] == [2, 4]
    assert [uid for uid, arrival in arrivals.items() if isinstance(arrival, RawMessage)] == [1, 3, 5]


def test_a_message_expunged_during_the_fetch_has_vanished(
    dovecot: Dovecot, mail_user: str, account: ImapAccount, spool: Spool
) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(200))
    arrivals: dict[int, Arrival] = {}

    with spool.lane() as lane:
        for arrival in account.open("INBOX").fetch(UIDSet.span(1, 200), lane, epoch=1):
            if arrival.place.uid == 1:
                expunge(dovecot, mail_user, "190")
            arrivals[arrival.place.uid] = arrival
            lane.release([arrival])

    assert [uid for uid, arrival in arrivals.items() if isinstance(arrival, Vanished)] == [190]
    assert sum(isinstance(arrival, RawMessage) for arrival in arrivals.values()) == 199


def test_renumbered_uids_are_not_taken_for_the_old_ones(
    dovecot: Dovecot, mail_user: str, account: ImapAccount, spool: Spool
) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(3))
    mailbox = account.open("INBOX")
    account.drop()
    renumber(dovecot, mail_user)

    with pytest.raises(Unavailable, match="UIDVALIDITY changed"):
        fetched(spool, mailbox, UIDSet.span(1, 3))
    with pytest.raises(Unavailable, match="UIDVALIDITY changed"):
        mailbox.search("ALL")

    assert account.open("INBOX").uidvalidity != mailbox.uidvalidity


def test_a_broken_connection_is_made_anew_by_the_next_call(
    dovecot: Dovecot, mail_user: str, account: ImapAccount
) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(3))
    mailbox = account.open("INBOX")
    account.drop()

    assert str(mailbox.search("ALL")) == "1:3"


def test_two_open_mailboxes_take_turns(dovecot: Dovecot, mail_user: str, account: ImapAccount, spool: Spool) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(3))
    dovecot.deliver(mail_user, "Archive", mail(1))
    inbox, archive = account.open("INBOX"), account.open("Archive")

    assert (str(inbox.search("ALL")), str(archive.search("ALL"))) == ("1:3", "1")
    assert len(fetched(spool, inbox, UIDSet.span(1, 3))) == 3


def test_nothing_else_uses_the_connection_during_a_fetch(
    dovecot: Dovecot, mail_user: str, account: ImapAccount, spool: Spool
) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(3))
    mailbox = account.open("INBOX")

    with spool.lane() as lane:
        arrivals = mailbox.fetch(UIDSet.span(1, 3), lane, epoch=1)
        lane.release([next(arrivals)])
        with pytest.raises(RuntimeError, match="in use"):
            mailbox.search("ALL")
        lane.release(arrivals)


# --- marking


@pytest.mark.parametrize(
    ("action", "search"), [("seen", "SEEN"), ("flag:$Archived", "KEYWORD $Archived"), ("flag:\\Flagged", "FLAGGED")]
)
def test_stored_mail_is_marked_as_asked(
    dovecot: Dovecot, mail_user: str, account: ImapAccount, action: str, search: str
) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(5))
    mailbox = account.open("INBOX", writable=True)
    mailbox.check_action(action)

    mailbox.acknowledge(UIDSet.parse("2:3,77"), action)
    mailbox.acknowledge(UIDSet.parse("2:3,77"), action)

    assert str(mailbox.search(search)) == "2:3"


@pytest.mark.parametrize("action", ["delete", "move:Erledigt & gut"])
def test_stored_mail_is_removed_as_asked(dovecot: Dovecot, mail_user: str, account: ImapAccount, action: str) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(5))
    dovecot.deliver(mail_user, "Erledigt & gut", [])
    mailbox, announced = account.open("INBOX", writable=True), list[UIDSet]()
    mailbox.check_action(action)
    known = mailbox.look(UIDSet.parse("2:3"))
    known[77] = replace(known[2], uid=77)

    done = mailbox.remove(known, action, announced.append)
    again = mailbox.remove(known, action, announced.append)

    assert (str(done.removed), str(done.absent), str(again.absent)) == ("2:3", "77", "2:3,77")
    assert [str(uids) for uids in announced] == ["2:3"]
    assert str(mailbox.listed()) == "1,4:5"
    assert account.open("Erledigt & gut").numbers.exists == (0 if action == "delete" else 2)


def test_what_others_marked_as_deleted_is_not_deleted_with_ours(
    dovecot: Dovecot, mail_user: str, account: ImapAccount
) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(3))
    client = other_client(dovecot, mail_user)
    client.select("INBOX")
    client.uid("STORE", "1", "+FLAGS", "(\\Deleted)")
    client.logout()
    mailbox = account.open("INBOX", writable=True)

    mailbox.remove(mailbox.look(UIDSet.parse("2")), "delete", lambda uids: None)

    assert str(mailbox.listed()) == "1,3"


@pytest.mark.parametrize(
    "other", [{"size_bytes": 7}, {"internal_date": datetime(2001, 1, 1, tzinfo=UTC)}, {"size_bytes": None}]
)
def test_a_message_that_is_not_the_known_one_is_left_alone(
    dovecot: Dovecot, mail_user: str, account: ImapAccount, other: dict[str, Any]
) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(2))
    mailbox = account.open("INBOX", writable=True)
    known = mailbox.look(UIDSet.parse("1:2"))
    known[1] = replace(known[1], **other)

    done = mailbox.remove(known, "delete", lambda uids: None)

    assert (str(done.removed), str(done.other)) == ("2", "1")
    assert str(mailbox.listed()) == "1"


def test_nothing_is_removed_that_may_not_be_announced(dovecot: Dovecot, mail_user: str, account: ImapAccount) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(2))
    mailbox = account.open("INBOX", writable=True)

    def refuse(uids: UIDSet) -> None:
        raise LeaseLost("another daemon took it over")

    with pytest.raises(LeaseLost):
        mailbox.remove(mailbox.look(UIDSet.parse("1:2")), "delete", refuse)

    assert str(mailbox.listed()) == "1:2"
    assert not mailbox.search("DELETED")


def test_an_action_can_be_checked_without_opening_to_write(
    dovecot: Dovecot, mail_user: str, account: ImapAccount
) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(2))
    mailbox = account.open("INBOX")

    mailbox.check_action("seen")

    assert str(mailbox.search("UNSEEN")) == "1:2"


def test_a_target_that_is_missing_is_refused_before_anything_moves(
    dovecot: Dovecot, mail_user: str, account: ImapAccount
) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(2))

    with pytest.raises(Refused, match="no mailbox 'Done' to move to"):
        account.open("INBOX").check_action("move:Done")


@pytest.mark.parametrize("action", ["none", "expunge", "flag:", "flag:two words", "flag:a)b", "x"])
def test_an_action_that_is_none_is_refused(account: ImapAccount, action: str) -> None:
    with pytest.raises(Refused):
        account.open("INBOX").check_action(action)


def test_a_mailbox_opened_to_read_cannot_be_marked(dovecot: Dovecot, mail_user: str, account: ImapAccount) -> None:
    dovecot.deliver(mail_user, "INBOX", mail(2))

    with pytest.raises(ValueError, match="to read only"):
        account.open("INBOX").acknowledge(UIDSet.span(1, 2), "seen")


def expunge(dovecot: Dovecot, user: str, uids: str) -> None:
    """Delete messages as another client would."""
    client = other_client(dovecot, user)
    client.select("INBOX")
    client.uid("STORE", uids, "+FLAGS.SILENT", "(\\Deleted)")
    client.expunge()
    client.logout()
