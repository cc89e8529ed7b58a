"""Servers with manners of their own: what they leave out, spell otherwise, or cannot do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingestd.errors import Refused, Unavailable
from ingestd.message import Metadata, RawMessage, Twin
from ingestd.sources.imap import ImapAccount, ImapMailbox
from ingestd.spool import Spool
from ingestd.uidset import UIDSet

from ..imap_script import ImapScript


@pytest.fixture
def server() -> Iterator[ImapScript]:
    with ImapScript({1: b"one", 5: b"five"}) as script:
        yield script


@pytest.fixture
def account(server: ImapScript) -> Iterator[ImapAccount]:
    with ImapAccount("work", server.account()) as account:
        yield account


def answers(server: ImapScript, command: str, *lines: bytes) -> None:
    server.replies[command] = lambda turn: turn.send(b"\r\n".join((*lines, b"%t OK done")))


def only_message(mailbox: ImapMailbox, directory: Path) -> RawMessage:
    with Spool(directory) as spool, spool.lane() as lane:
        (message,) = mailbox.fetch(UIDSet.span(1, 1), lane, epoch=1)
        assert isinstance(message, RawMessage)
        return message


# --- opening


def test_a_missing_uidnext_is_asked_for(server: ImapScript, account: ImapAccount) -> None:
    answers(server, "EXAMINE", b"* 2 EXISTS", b"* OK [UIDVALIDITY 7]")
    answers(server, "STATUS", b"* STATUS INBOX (UIDNEXT 12)")

    assert account.open("INBOX").numbers.uidnext == 12


@pytest.mark.parametrize("said", [b"* OK", b"* STATUS INBOX (UIDNEXT 0)", b"* STATUS INBOX (UIDNEXT 9999999999)"])
def test_a_uidnext_that_nobody_tells_comes_from_the_last_message(
    server: ImapScript, account: ImapAccount, said: bytes
) -> None:
    answers(server, "EXAMINE", b"* 2 EXISTS", b"* OK [UIDVALIDITY 7]")
    answers(server, "STATUS", said)
    answers(server, "UID FETCH *", b"* 2 FETCH (UID 5)")

    assert account.open("INBOX").numbers.uidnext == 6


def test_an_empty_mailbox_without_uidnext_begins_at_one(server: ImapScript, account: ImapAccount) -> None:
    answers(server, "EXAMINE", b"* 0 EXISTS", b"* OK [UIDVALIDITY 7]")
    answers(server, "STATUS")

    assert account.open("INBOX").numbers.uidnext == 1


@pytest.mark.parametrize("said", [b"* 2 EXISTS", b"* OK [UIDVALIDITY 0]", b"* OK [UIDVALIDITY x]"])
def test_a_mailbox_without_uidvalidity_is_refused(server: ImapScript, account: ImapAccount, said: bytes) -> None:
    answers(server, "EXAMINE", said)

    with pytest.raises(Refused, match="gives no UIDVALIDITY"):
        account.open("INBOX")


def test_a_mailbox_that_opens_read_only_is_not_taken_for_writable(server: ImapScript, account: ImapAccount) -> None:
    server.replies["SELECT"] = lambda turn: turn.send(b"* OK [UIDVALIDITY 7]\r\n%t OK [READ-ONLY] only look")

    with pytest.raises(Refused, match="only read"):
        account.open("INBOX", writable=True)


@pytest.mark.parametrize(("refusals", "opened"), [({2}, True), ({2, 3}, False)])
def test_a_mailbox_that_does_not_open_again_is_opened_over_a_fresh_connection(
    server: ImapScript, account: ImapAccount, refusals: set[int], opened: bool
) -> None:
    server.replies["EXAMINE"] = lambda turn: (
        turn.send(b"%t NO Mailbox was deleted under us") if turn.count in refusals else turn.default()
    )
    account.open("INBOX")

    with nullcontext() if opened else pytest.raises(Refused):
        account.open("INBOX")

    assert server.connections == 2


# --- names


@pytest.mark.parametrize(
    ("line", "name", "asked"),
    [
        (b'* LIST (\\HasNoChildren) "/" "R&-D"', "R&D", b'"R&-D"'),
        (b'* LIST () "." INBOX.Gr&APYA3w-e', "INBOX.Größe", b'"INBOX.Gr&APYA3w-e"'),
        (b"* LIST () NIL Flat", "Flat", b'"Flat"'),
        (b'* LIST () "/" {5}\r\nspace', "space", b'"space"'),
        (b'* LIST () "/" "a \\"quoted\\" \\\\ one"', 'a "quoted" \\ one', b'"a \\"quoted\\" \\\\ one"'),
        ('* LIST () "/" "Größe"'.encode(), "Größe", '"Größe"'.encode()),
        (b'* LIST () "/" 2026', "2026", b'"2026"'),
        (b'* LIST () "/" "&broken"', "&broken", b'"&broken"'),
        (b'* list () "/" inbox', "INBOX", b'"inbox"'),
    ],
)
def test_a_listed_name_is_decoded_and_asked_for_as_it_was_written(
    server: ImapScript, account: ImapAccount, line: bytes, name: str, asked: bytes
) -> None:
    answers(server, "LIST", line)

    assert account.mailboxes(["*"]) == [name]
    account.open(name)

    assert server.commands[-1].encode() == b"EXAMINE " + asked


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (('* LIST () "/" "Größe"'.encode(), b'* LIST () "/" "Gr&APYA3w-e"'), ["Gr\\xc3\\xb6\\xc3\\x9fe", "Größe"]),
        ((b'* LIST () "/" "A&AGI-"', b'* LIST () "/" Ab'), ["A&AGI-", "Ab"]),
        ((b'* LIST () "/" Ab', b'* LIST () "/" Ab'), ["Ab"]),
        ((b'* LIST () "/" INBOX', b'* LIST () "/" inbox'), ["INBOX"]),
    ],
)
def test_mailboxes_whose_names_look_the_same_are_told_apart(
    server: ImapScript, account: ImapAccount, lines: Sequence[bytes], names: list[str]
) -> None:
    answers(server, "LIST", *lines)

    assert account.mailboxes(["*"]) == names
    for name in names:
        account.open(name)

    assert len({command for command in server.commands if command.startswith("EXAMINE")}) == len(names)


def test_a_slash_in_a_pattern_stands_for_the_servers_delimiter(server: ImapScript, account: ImapAccount) -> None:
    answers(server, "LIST", b'* LIST () "." INBOX', b'* LIST () "." INBOX.2025', b'* LIST () "." INBOX.2026.Q1')

    assert account.mailboxes(["INBOX/%"]) == ["INBOX.2025"]
    assert account.mailboxes(["INBOX/2026/Q1"]) == ["INBOX.2026.Q1"]


def test_a_mailbox_that_is_not_listed_may_be_there(server: ImapScript, account: ImapAccount) -> None:
    answers(server, "LIST", b'* LIST () "/" INBOX')
    server.replies['STATUS "Nowhere"'] = lambda turn: turn.send(b"%t NO no such mailbox")

    assert account.unlisted(["INBOX", "Shared", "Nowhere"]) == ["Nowhere", "Shared"]
    assert (account.has("Shared"), account.has("Nowhere")) == (True, False)


def test_what_cannot_be_opened_is_left_out(server: ImapScript, account: ImapAccount) -> None:
    answers(server, "LIST", b'* LIST () "/" A', b'* LIST (\\Noselect) "/" B', b'* LIST (\\NonExistent) "/" C')

    assert account.mailboxes(["*"]) == ["A"]


def test_a_name_that_is_not_listed_is_tried_as_it_is(server: ImapScript, account: ImapAccount) -> None:
    answers(server, "STATUS", b"* STATUS Hidden (UIDVALIDITY 3)")

    assert account.mailboxes(["Hidden"]) == ["Hidden"]


@pytest.mark.parametrize("line", [b"* LIST (", b"* LIST nothing", b"garbage"])
def test_a_mailbox_list_that_makes_no_sense_is_not_half_believed(
    server: ImapScript, account: ImapAccount, line: bytes
) -> None:
    answers(server, "LIST", b'* LIST () "/" A', line)

    with pytest.raises(Unavailable):
        account.mailboxes(["*"])


# --- metadata


@pytest.mark.parametrize(
    ("items", "date"),
    [
        (b'INTERNALDATE " 1-Feb-2026 01:30:00 +0200"', datetime(2026, 1, 31, 23, 30, tzinfo=UTC)),
        (b'INTERNALDATE "01-Feb-2026 01:30:00 -0530"', datetime(2026, 2, 1, 7, 0, tzinfo=UTC)),
        (b'INTERNALDATE "nonsense"', None),
        (b'INTERNALDATE "31-Dec-9999 23:00:00 -1400"', None),
        (b"INTERNALDATE NIL", None),
        (b"RFC822.SIZE 3", None),
    ],
)
def test_an_internal_date_is_utc_or_none(
    server: ImapScript, account: ImapAccount, tmp_path: Path, items: bytes, date: datetime | None
) -> None:
    answers(server, "UID FETCH 1 (UID FLAGS", b"* 1 FETCH (UID 1 %s)" % items)

    assert only_message(account.open("INBOX"), tmp_path).internal_date == date


@pytest.mark.parametrize(
    ("said", "size"),
    [(b"0", 0), (b"%d" % (2**63 - 1), 2**63 - 1), (b"%d" % 2**63, None), (b"NIL", None), (b"-1", None)],
)
def test_a_size_is_one_that_can_be_stored_or_none(
    server: ImapScript, account: ImapAccount, tmp_path: Path, said: bytes, size: int | None
) -> None:
    answers(server, "UID FETCH 1 (UID FLAGS", b"* 1 FETCH (UID 1 RFC822.SIZE %s)" % said)

    assert only_message(account.open("INBOX"), tmp_path).server_size_bytes == size


def test_flags_are_sorted_words_without_recent(server: ImapScript, account: ImapAccount, tmp_path: Path) -> None:
    answers(server, "UID FETCH 1 (UID FLAGS", b"* 1 FETCH (FLAGS (\\Seen $b \\Recent 12 NonJunk) UID 1)")

    assert only_message(account.open("INBOX"), tmp_path).flags == ("$b", "12", "NonJunk", "\\Seen")


def test_flags_without_end_are_cut(server: ImapScript, account: ImapAccount, tmp_path: Path) -> None:
    flags = b" ".join(b"%05d" % number for number in range(100_000)) + b" " + b"x" * 1_000_000
    answers(server, "UID FETCH 1 (UID FLAGS", b"* 1 FETCH (UID 1 FLAGS (\\Seen %s %s))" % (b"y" * 1_000_000, flags))

    kept = only_message(account.open("INBOX"), tmp_path).flags

    assert "\\Seen" in kept
    assert sum(map(len, kept)) < 100_000


def test_flags_that_change_meanwhile_do_not_hide_the_rest(
    server: ImapScript, account: ImapAccount, tmp_path: Path
) -> None:
    answers(
        server,
        "UID FETCH 1 (UID FLAGS",
        b"* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 3)",
        b"* 1 FETCH (UID 1 FLAGS (\\Seen))",
        b"* 2 FETCH (FLAGS (\\Deleted))",
    )

    message = only_message(account.open("INBOX"), tmp_path)

    assert (message.flags, message.server_size_bytes) == (("\\Seen",), 3)


def test_gmail_tells_its_labels(tmp_path: Path) -> None:
    labels = b'("\\\\Inbox" Work "R&-D" &APYA3w- {5}\r\nfive!)'
    with ImapScript({1: b"one"}, capabilities="IMAP4rev1 AUTH=PLAIN X-GM-EXT-1") as server:
        answers(server, "UID FETCH 1 (UID FLAGS", b"* 1 FETCH (UID 1 X-GM-LABELS %s)" % labels)
        with ImapAccount("work", server.account()) as account:
            message = only_message(account.open("INBOX"), tmp_path)

    assert message.labels == ("R&D", "Work", "\\Inbox", "five!", "öß")
    assert "X-GM-LABELS" in server.commands[-3]


# --- marking


def test_a_keyword_that_the_mailbox_would_forget_is_refused(server: ImapScript, account: ImapAccount) -> None:
    answers(server, "SELECT", b"* OK [UIDVALIDITY 7]", b"* OK [PERMANENTFLAGS (\\Seen \\Deleted)]")

    account.open("INBOX").check_action("seen")
    with pytest.raises(Refused, match=r"does not keep \$Archived"):
        account.open("INBOX").check_action("flag:$Archived")


def test_a_server_without_move_is_refused(account: ImapAccount) -> None:
    with pytest.raises(Refused, match="cannot move messages"):
        account.open("INBOX").check_action("move:Done")


def test_many_messages_are_marked_in_parts(server: ImapScript, account: ImapAccount) -> None:
    account.open("INBOX", writable=True).acknowledge(UIDSet.of(range(1, 4001, 2)), "seen")

    assert server.count("UID STORE") >= 4
    assert max(map(len, server.commands)) < 8192


def test_messages_gone_meanwhile_are_no_error(server: ImapScript, account: ImapAccount) -> None:
    server.replies["UID STORE"] = lambda turn: turn.send(b"%t NO [EXPUNGEISSUED] some are gone")

    account.open("INBOX", writable=True).acknowledge(UIDSet.span(1, 5), "seen")

    assert server.count("UID STORE") == 1


def test_a_mark_that_is_refused_names_the_setting(server: ImapScript, account: ImapAccount) -> None:
    server.replies["UID STORE"] = lambda turn: turn.send(b"%t NO [NOPERM] not you")

    with pytest.raises(Refused, match=r"\[NOPERM\]; check account.after_store"):
        account.open("INBOX", writable=True).acknowledge(UIDSet.span(1, 5), "seen")


def test_a_mark_interrupted_is_unavailable(server: ImapScript, account: ImapAccount) -> None:
    server.replies["UID STORE"] = lambda turn: turn.close()

    with pytest.raises(Unavailable):
        account.open("INBOX", writable=True).acknowledge(UIDSet.span(1, 5), "seen")


def test_mail_is_moved_to_the_mailbox_as_the_server_spells_it() -> None:
    with ImapScript({1: b"one"}, capabilities="IMAP4rev1 AUTH=PLAIN MOVE") as server:
        answers(server, "LIST", b'* LIST () "." INBOX', b'* LIST () "." INBOX.Done')
        with ImapAccount("work", server.account()) as account:
            mailbox = account.open("INBOX", writable=True)
            mailbox.check_action("move:INBOX/Done")
            mailbox.remove(mailbox.look(UIDSet.span(1, 1)), "move:INBOX/Done", lambda uids: None)

    assert 'UID MOVE 1 "INBOX.Done"' in server.commands


# --- deleting


@pytest.fixture
def deleting() -> Iterator[tuple[ImapScript, ImapMailbox]]:
    """A mailbox on a server that can delete single messages, opened to write."""
    script = ImapScript({1: b"one", 5: b"five"}, capabilities="IMAP4rev1 AUTH=PLAIN UIDPLUS")
    with script as server, ImapAccount("work", server.account()) as account:
        yield server, account.open("INBOX", writable=True)


def test_a_server_that_cannot_delete_single_messages_is_refused(server: ImapScript, account: ImapAccount) -> None:
    with pytest.raises(Refused, match="cannot delete messages, since it does not offer UIDPLUS; change"):
        account.open("INBOX", writable=True).check_action("delete")


def test_only_what_is_meant_is_expunged(deleting: tuple[ImapScript, ImapMailbox]) -> None:
    server, mailbox = deleting

    mailbox.remove(mailbox.look(UIDSet.parse("5")), "delete", lambda uids: None)

    acts = [command for command in server.commands if "STORE" in command or "EXPUNGE" in command]
    assert acts == [r"UID STORE 5 +FLAGS.SILENT (\Deleted)", "UID EXPUNGE 5"]


def test_what_a_server_lists_after_it_was_told_to_delete_it_is_not_deleted(
    deleting: tuple[ImapScript, ImapMailbox],
) -> None:
    _, mailbox = deleting

    done = mailbox.remove(mailbox.look(UIDSet.parse("5")), "delete", lambda uids: None)

    assert (str(done.removed), str(done.left)) == ("", "5")


@pytest.mark.parametrize("command", ["UID STORE", "UID EXPUNGE"])
def test_a_deletion_that_is_refused_names_the_setting(deleting: tuple[ImapScript, ImapMailbox], command: str) -> None:
    server, mailbox = deleting
    server.replies[command] = lambda turn: turn.send(b"%t NO [NOPERM] not you")

    with pytest.raises(Refused, match=r"\[NOPERM\]; check account.after_store"):
        mailbox.remove(mailbox.look(UIDSet.parse("5")), "delete", lambda uids: None)


@pytest.mark.parametrize("command", ["UID STORE", "UID EXPUNGE", "UID SEARCH"])
def test_a_deletion_that_breaks_off_is_not_gone_on_with_over_another_connection(
    deleting: tuple[ImapScript, ImapMailbox], command: str
) -> None:
    server, mailbox = deleting
    known = mailbox.look(UIDSet.parse("5"))
    server.replies[command] = lambda turn: turn.close()

    with pytest.raises(Unavailable):
        mailbox.remove(known, "delete", lambda uids: None)

    assert server.connections == 1


def test_a_mailbox_that_is_another_one_by_now_is_not_touched(deleting: tuple[ImapScript, ImapMailbox]) -> None:
    server, mailbox = deleting
    known = mailbox.look(UIDSet.parse("5"))
    mailbox.drop()
    server.uidvalidity = 8

    with pytest.raises(Unavailable, match="UIDVALIDITY changed"):
        mailbox.remove(known, "delete", lambda uids: None)

    assert server.count("UID STORE") == 0


def test_a_name_that_no_command_can_hold_is_left_out(server: ImapScript, account: ImapAccount) -> None:
    answers(server, "LIST", b'* LIST () "/" A', b'* LIST () "/" {4}\r\nB\r\nC')

    assert account.mailboxes(["*"]) == ["A"]


# --- ids that hold in all mailboxes


@pytest.mark.parametrize(
    ("capability", "item", "said", "object_id"),
    [
        ("OBJECTID", "EMAILID", b"EMAILID (M6d99ac3275bb4e)", "M6d99ac3275bb4e"),
        ("OBJECTID", "EMAILID", b"EMAILID (0123)", "0123"),
        ("OBJECTID", "EMAILID", b"EMAILID (%s)" % (b"M" * 1000), None),
        ("OBJECTID", "EMAILID", b"EMAILID NIL", None),
        ("OBJECTID", "EMAILID", b'EMAILID ("what is this?")', None),
        ("X-GM-EXT-1", "X-GM-MSGID", b"X-GM-MSGID 18446744073709551615", "18446744073709551615"),
        ("X-GM-EXT-1 OBJECTID", "X-GM-MSGID", b"X-GM-MSGID 7", "7"),
        ("IDLE", "RFC822.SIZE", b"", None),
    ],
)
def test_a_message_has_the_id_that_its_server_gives(
    tmp_path: Path, capability: str, item: str, said: bytes, object_id: str | None
) -> None:
    with ImapScript({1: b"one"}, capabilities=f"IMAP4rev1 AUTH=PLAIN {capability}") as server:
        answers(server, "UID FETCH 1 (UID FLAGS", b"* 1 FETCH (UID 1 FLAGS () %s)" % said)
        with ImapAccount("work", server.account()) as account:
            message = only_message(account.open("INBOX"), tmp_path)

    assert message.object_id == object_id
    (asked,) = [command for command in server.commands if command.startswith("UID FETCH 1 (UID FLAGS")]
    assert asked.rstrip(")").split()[-1] == item


def test_the_body_of_a_message_with_a_twin_is_not_asked_for(tmp_path: Path) -> None:
    def twins(wanted: Sequence[Metadata]) -> dict[int, Twin]:
        return {each.uid: Twin("ab" * 32, 3) for each in wanted if each.object_id == "M1"}

    with ImapScript({1: b"one", 5: b"five"}, capabilities="IMAP4rev1 AUTH=PLAIN OBJECTID") as server:
        lines = [b"* %d FETCH (UID %d FLAGS () RFC822.SIZE 3 EMAILID (M%d))" % (uid, uid, uid) for uid in (1, 5)]
        answers(server, "UID FETCH 1,5 (UID FLAGS", *lines)
        with ImapAccount("work", server.account()) as account, Spool(tmp_path) as spool, spool.lane() as lane:
            found = account.open("INBOX").fetch(UIDSet.of([1, 5]), lane, epoch=1, twins=twins)
            arrivals = {each.place.uid: each for each in found if isinstance(each, RawMessage)}
            lane.release(arrivals.values())
            assert spool.used.memory == 0

    assert (arrivals[1].fetched, arrivals[1].sha256, arrivals[1].content.size_bytes) == (False, "ab" * 32, 3)
    assert arrivals[5].fetched
    assert [command for command in server.commands if "BODY" in command] == ["UID FETCH 5 (UID BODY.PEEK[])"]
