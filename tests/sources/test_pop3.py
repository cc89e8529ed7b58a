"""Reading a maildrop over POP3, from Dovecot and from a server that misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingestd.demo.dovecot import Dovecot
from ingestd.errors import IngestError, PutOff, Refused, Unavailable, Unreachable
from ingestd.message import Ages, Arrival, Failed, Metadata, RawMessage, Vanished
from ingestd.sources.imap import ImapAccount
from ingestd.sources.pop3 import Pop3Account
from ingestd.sources.server import Server
from ingestd.spool import Spool
from ingestd.uidset import UIDSet

from ..fakes import mail
from ..pop3_script import Pop3Script, Turn

HARD = sorted(Path("ingestd/demo/mail").glob("*.eml"))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool") as spool:
        yield spool


@pytest.fixture
def server() -> Iterator[Pop3Script]:
    with Pop3Script({"a": mail(1), "b": mail(2), "c": mail(3)}) as script:
        yield script


@pytest.fixture
def account(dovecot: Dovecot, mail_user: str) -> Server:
    return Server(
        "localhost", dovecot.pop3s_port, "implicit", mail_user, lambda: "secret", dovecot.ca_file, table="account.pop3"
    )


def fetched(account: Pop3Account, spool: Spool, numbers: UIDSet | None = None) -> dict[str, Arrival | bytes]:
    """What becomes of messages, by unique-id: their bytes, or what was said instead."""
    wanted = UIDSet.of(listed.number for listed in account.listing) if numbers is None else numbers
    became: dict[str, Arrival | bytes] = {}
    with spool.lane(account.abort) as lane:
        for arrival in account.fetch(wanted, lane):
            place = arrival.place
            became[place.uidl or ""] = content(arrival) if isinstance(arrival, RawMessage) else arrival
    return became


def content(message: RawMessage) -> bytes:
    with message.content.open() as raw:
        return raw.read(0, raw.size_bytes)


def why_not(server: Server) -> IngestError:
    with pytest.raises(IngestError) as caught, Pop3Account("work", server):
        pass
    return caught.value


class Letter:
    def __init__(self, content: bytes) -> None:
        self.content, self.internal_date, self.flags = content, datetime(2026, 3, 1, tzinfo=UTC), ()


# --- Dovecot


def test_hard_mail_comes_with_the_same_bytes_as_over_imap(
    dovecot: Dovecot, mail_user: str, account: Server, spool: Spool
) -> None:
    dovecot.deliver(mail_user, "INBOX", [Letter(path.read_bytes()) for path in HARD])
    over_imap = replace(account, port=dovecot.imaps_port, table="account.imap")

    with Pop3Account("work", account) as pop3:
        by_pop3 = fetched(pop3, spool)
    with ImapAccount("work", over_imap) as imap:
        inbox = imap.open("INBOX")
        with spool.lane(imap.abort) as lane:
            arrivals = list(inbox.fetch(inbox.search("ALL"), lane, epoch=1))
            by_imap = [content(each) for each in arrivals if isinstance(each, RawMessage)]

    assert len(by_imap) == len(HARD)
    # A NUL comes as it is over POP3, and as 0x80 over IMAP; and POP3 cannot say that the last line has no end.
    assert [
        each.replace(b"\0", b"\x80").removesuffix(b"\r\n") for each in by_pop3.values() if isinstance(each, bytes)
    ] == [each.removesuffix(b"\r\n") for each in by_imap]


def test_a_line_of_ten_megabytes_and_dots_everywhere_come_whole(
    dovecot: Dovecot, mail_user: str, account: Server, spool: Spool
) -> None:
    long = mail(4, "x" * (10 << 20) + "\r\n" + "." * 70_000 + "\r\n.\r\n..\r\n")
    dovecot.deliver(mail_user, "INBOX", [Letter(long)])

    with Pop3Account("work", account) as pop3:
        assert list(fetched(pop3, spool).values()) == [long]


def test_unique_ids_hold_from_one_session_to_the_next(dovecot: Dovecot, mail_user: str, account: Server) -> None:
    dovecot.deliver(mail_user, "INBOX", [Letter(mail(1)), Letter(mail(2))])

    with Pop3Account("work", account) as first:
        before = first.listing
    with Pop3Account("work", account) as second:
        assert second.listing == before
    assert before[0].size_bytes == len(mail(1))


def test_stls_is_done_before_the_login(dovecot: Dovecot, account: Server) -> None:
    with Pop3Account("work", replace(account, port=dovecot.pop3_port, tls="starttls")) as pop3:
        assert "UIDL" in pop3.offered


def test_deleted_messages_are_gone_once_that_is_said(dovecot: Dovecot, mail_user: str, account: Server) -> None:
    dovecot.deliver(mail_user, "INBOX", [Letter(mail(1)), Letter(mail(2))])

    with Pop3Account("work", account) as pop3:
        known, announced = pop3.look(UIDSet.of([1])), list[UIDSet]()
        first = pop3.remove(known, "delete", announced.append)
        again = pop3.remove(known, "delete", announced.append)  # it is gone, and its number is another's now

    assert (first.removed, first.left, first.absent) == (UIDSet.of([1]), UIDSet(), UIDSet())
    assert (again.removed, again.absent) == (UIDSet(), UIDSet.of([1]))
    assert announced == [UIDSet.of([1])]
    with Pop3Account("work", account) as after:
        assert [listed.size_bytes for listed in after.listing] == [len(mail(2))]


def test_a_wrong_password_is_refused_without_the_servers_words(account: Server) -> None:
    error = why_not(replace(account, password=lambda: "wrong", password_from=" in file /x"))

    assert type(error) is Refused
    assert str(error) == "account work: login refused by localhost [AUTH]; check the password in file /x"


def test_a_certificate_of_another_authority_is_refused(account: Server) -> None:
    error = why_not(replace(account, ca_file=None))

    assert type(error) is Refused
    assert "account.pop3.ca_file" in str(error)


# --- a server that misbehaves


def test_what_is_read_leaves_the_maildrop_alone(server: Pop3Script, spool: Spool) -> None:
    with Pop3Account("work", server.account()) as pop3:
        assert list(fetched(pop3, spool).values()) == list(server.messages.values())

    verbs = {command.partition(" ")[0] for command in server.commands}
    assert verbs == {"CAPA", "USER", "PASS", "UIDL", "LIST", "RETR", "QUIT"}


def test_a_timestamp_lets_the_password_stay_at_home_where_nothing_is_encrypted() -> None:
    with Pop3Script(greeting=b"+OK POP3 ready <1896.697170952@dbc.mtview.ca.us>") as server:
        hidden = replace(server.account(), user="mrose", password=lambda: "tanstaaf")
        with Pop3Account("work", hidden):
            pass

    # The example of RFC 1939, section 7.
    assert "APOP mrose c4c9334bac560ecc979e58001b3e22fb" in server.commands
    assert not [command for command in server.commands if "tanstaaf" in command]


def test_no_login_is_sent_when_stls_is_stripped(server: Pop3Script) -> None:
    server.replies["STLS"] = lambda turn: turn.send(b"-ERR what?")

    error = why_not(replace(server.account(), tls="starttls"))

    assert type(error) is Refused
    assert "no login was sent" in str(error)
    assert server.commands == ["STLS"]


@pytest.mark.parametrize(
    ("verb", "said", "kind"),
    [
        ("PASS", b"-ERR [AUTH] me@example.org is wrong", Refused),
        ("PASS", b"-ERR me@example.org", Refused),
        ("PASS", b"-ERR [IN-USE] me@example.org", PutOff),
        ("PASS", b"-ERR [LOGIN-DELAY] me@example.org", PutOff),
        ("PASS", b"-ERR [SYS/TEMP] me@example.org", Unavailable),
        ("USER", b"-ERR me@example.org", Refused),
        ("USER", b"what? me@example.org", Unreachable),
        ("UIDL", b"-ERR me@example.org", Refused),
    ],
)
def test_an_answer_is_sorted_and_not_repeated(
    server: Pop3Script, verb: str, said: bytes, kind: type[IngestError]
) -> None:
    server.replies[verb] = lambda turn: turn.send(said)

    error = why_not(server.account())

    assert type(error) is kind
    assert "example.org" not in str(error)


def test_a_server_that_is_not_a_mail_server_is_unavailable() -> None:
    with Pop3Script(greeting=b"220 ftp.example.org") as server:
        assert type(why_not(server.account())) is Unreachable


def test_a_size_is_one_that_can_be_stored_or_none(server: Pop3Script) -> None:
    sizes = b"1 %d\r\n2 %d\r\n" % (10**18 - 1, 2**63)
    server.replies["LIST"] = lambda turn: (turn.send(b"+OK"), turn.send_lines(sizes))[1]

    with Pop3Account("work", server.account()) as pop3:
        assert [listed.size_bytes for listed in pop3.listing][:2] == [10**18 - 1, None]


def breaks(turn: Turn) -> None:
    turn.send(b"+OK")
    turn.connection.sendall(b"Subject: half of i")
    turn.close()


def stalls(turn: Turn) -> None:
    turn.send(b"+OK")
    turn.hang()


@pytest.mark.parametrize("fault", [breaks, stalls, Turn.close])
def test_a_break_costs_nothing_the_second_time(server: Pop3Script, spool: Spool, fault: Callable[[Turn], None]) -> None:
    server.replies["RETR 2"] = lambda turn: fault(turn) if turn.count == 2 else turn.default()

    with Pop3Account("work", server.account(timeout=0.5)) as pop3:
        assert list(fetched(pop3, spool).values()) == list(server.messages.values())

    assert server.connections == 2
    assert not spool.used.memory


def test_a_message_that_always_breaks_fails_alone(server: Pop3Script, spool: Spool) -> None:
    server.replies["RETR 2"] = breaks

    with Pop3Account("work", server.account()) as pop3:
        became = fetched(pop3, spool)

    assert isinstance(became["b"], Failed)
    assert [became["a"], became["c"]] == [mail(1), mail(3)]


def test_a_message_that_is_refused_fails_alone(server: Pop3Script, spool: Spool) -> None:
    server.replies["RETR 2"] = lambda turn: turn.send(b"-ERR me@example.org")

    with Pop3Account("work", server.account()) as pop3:
        became = fetched(pop3, spool)

    assert became["b"] == Failed(pop3.place(pop3.listing[1]), "the server said -ERR instead of giving the message")
    assert server.connections == 1


def test_after_a_break_messages_are_found_by_their_unique_ids(server: Pop3Script, spool: Spool) -> None:
    def another_deletes(turn: Turn) -> None:
        if turn.count == 1:
            del server.messages["a"]
            turn.close()
        else:
            turn.default()

    server.replies["RETR"] = another_deletes

    with Pop3Account("work", server.account()) as pop3:
        became = fetched(pop3, spool)

    assert isinstance(became["a"], Vanished)
    assert [became["b"], became["c"]] == [mail(2), mail(3)]


def test_copies_that_share_a_unique_id_are_told_apart(server: Pop3Script, spool: Spool) -> None:
    server.replies["UIDL"] = lambda turn: (turn.send(b"+OK"), turn.send_lines(b"1 x\r\n2 x\r\n3 y\r\n"))[1]

    with Pop3Account("work", server.account()) as pop3:
        became = fetched(pop3, spool)

    assert became == {"x": mail(1), "x;COPY=2": mail(2), "y": mail(3)}


def test_a_message_larger_than_the_spool_fails_alone(server: Pop3Script, tmp_path: Path) -> None:
    server.messages["b"] = mail(2, "x" * (2 << 20))

    with Spool(tmp_path / "small", disk_bytes=1 << 20) as spool, Pop3Account("work", server.account()) as pop3:
        became = fetched(pop3, spool)

    assert isinstance(became["b"], Failed)
    assert [became["a"], became["c"]] == [mail(1), mail(3)]


def test_what_came_before_a_day_is_found_by_its_header_alone(server: Pop3Script) -> None:
    dated = {
        f"{day:02}": mail("x").replace(b"\r\n", b"\r\nDate: %d Mar 2026 10:00:00 +0000\r\n" % day, 1)
        for day in range(1, 11)
    }
    server.messages = dated

    with Pop3Account("work", server.account()) as pop3:
        ages = pop3.ages(UIDSet.span(1, 10), datetime(2026, 3, 8, tzinfo=UTC))

    assert ages == Ages(UIDSet.span(8, 10), UIDSet.span(1, 7))
    assert not [command for command in server.commands if command.startswith("RETR")]


def test_looking_back_ends_after_enough_old_mail(server: Pop3Script) -> None:
    old = b"Date: 1 Mar 2020 10:00:00 +0000\r\n\r\nx\r\n"
    server.messages = {str(number): old for number in range(500)}

    with Pop3Account("work", server.account()) as pop3:
        assert not pop3.ages(UIDSet.span(1, 500), datetime(2026, 3, 8, tzinfo=UTC)).recent

    assert len([command for command in server.commands if command.startswith("TOP")]) == 50


def test_a_server_without_top_leaves_nothing_out(server: Pop3Script) -> None:
    server.replies["TOP"] = lambda turn: turn.send(b"-ERR what?")

    with Pop3Account("work", server.account()) as pop3:
        assert pop3.ages(UIDSet.span(1, 3), datetime(2030, 3, 8, tzinfo=UTC)).recent == UIDSet.span(1, 3)


def test_a_deletion_that_is_not_confirmed_is_said(server: Pop3Script) -> None:
    server.replies["QUIT"] = lambda turn: turn.send(b"-ERR some deleted messages not removed")

    with Pop3Account("work", server.account()) as pop3, pytest.raises(Unavailable, match="did not say that it deleted"):
        pop3.remove(pop3.look(UIDSet.of([2])), "delete", lambda numbers: None)


def test_what_the_server_still_lists_was_not_deleted_whatever_it_said(server: Pop3Script) -> None:
    with Pop3Account("work", server.account()) as pop3:
        done = pop3.remove(pop3.look(UIDSet.of([2])), "delete", lambda numbers: None)

    assert (done.removed, done.left) == (UIDSet(), UIDSet.of([2]))
    assert "DELE 2" in server.commands


@pytest.mark.parametrize("known", [Metadata(2, size_bytes=7), Metadata(2)])
def test_nothing_is_deleted_that_has_another_size_than_what_is_stored(server: Pop3Script, known: Metadata) -> None:
    with Pop3Account("work", server.account()) as pop3:
        done = pop3.remove({2: known}, "delete", lambda numbers: None)

    assert (done.removed, done.other) == (UIDSet(), UIDSet.of([2]))
    assert "DELE 2" not in server.commands


def test_nothing_is_deleted_that_shares_its_unique_id(server: Pop3Script) -> None:
    def same(turn: Turn) -> None:
        turn.send(b"+OK")
        turn.send_lines(b"1 x\r\n2 x\r\n3 y\r\n")

    server.replies["UIDL"] = same

    with Pop3Account("work", server.account()) as pop3:
        done = pop3.remove(pop3.look(pop3.numbers), "delete", lambda numbers: None)

    assert done.other == UIDSet.of([1, 2])
    assert [command for command in server.commands if command.startswith("DELE")] == ["DELE 3"]
