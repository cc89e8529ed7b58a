"""Whatever a server says, reading it gives a value or `Broken`, and nothing else."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingestd.sources.imap_answers import (
    Answer,
    Pieces,
    fetched,
    found_uids,
    metadata,
    selected,
    status_uidnext,
    tagged,
    untagged,
)
from ingestd.sources.imap_names import listed
from ingestd.sources.wire import Broken
from ingestd.uidset import UIDSet

WORDS = st.sampled_from(
    b'* 1|* 1 FETCH (|* LIST (|* SEARCH |* ESEARCH (TAG "i1") UID ALL |* OK [UIDVALIDITY |* STATUS x (UIDNEXT |i1 |OK'
    b'|NO [|UID 1|UID 99999999999|UID x|FLAGS (|\\Seen|BODY[] |NIL|{0}|{3}|"|(|)|[|]|%| |1:3|,|INTERNALDATE '
    b'|RFC822.SIZE |"01-Jan-2026 00:00:00 +0000"|X-GM-LABELS (|BODYSTRUCTURE (|ENVELOPE (|&AP-|\\|\0|\xff'
    b"|9|-1|MODSEQ".split(b"|")
)
LINE = st.lists(WORDS | st.binary(max_size=4), max_size=14).map(b"".join)
PIECES = st.one_of(
    LINE.map(lambda line: [line]),
    st.tuples(LINE, LINE).map(lambda both: [(both[0] + b"{3}", b"abc"), both[1]]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=4))
@example([[b'* ESEARCH (TAG "i1") UID ALL \0\t* 1']])
@example([[b"* 1 FETCH (UID 1 BODY " + b"(" * 5000]])
@example([[b"* 1 FETCH (UID 1 FLAGS 1 INTERNALDATE (1) RFC822.SIZE x X-GM-LABELS 2)"]])
def test_any_response_is_understood_or_broken(responses: list[Pieces]) -> None:
    answer = Answer("OK", b"i1", responses=tuple(responses))
    readers = (
        lambda: found_uids(answer),
        lambda: list(listed(answer)),
        lambda: selected(answer),
        lambda: status_uidnext(answer),
        lambda: metadata(answer, UIDSet.span(1, 9)),
        lambda: [fetched(pieces) for pieces in responses],
        lambda: [tagged(pieces, b"i1") or untagged(pieces) for pieces in responses],
    )

    for reader in readers:
        with suppress(Broken):
            reader()


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        (b"i1 OK", "OK", ""),
        (b"i1 ok [READ-WRITE] done", "OK", "READ-WRITE"),
        (b"i1 NO [throttled] slow", "NO", "THROTTLED"),
        (b"i1 BAD [COPYUID 1 2:3 4] x", "BAD", "COPYUID"),
    ],
)
def test_the_end_of_a_command_is_its_status_and_code(line: bytes, status: str, code: str) -> None:
    answer = tagged([line], b"i1")

    assert answer is not None
    assert (answer.status, answer.code) == (status, code)
    assert tagged([line], b"i12") is None


FLAGS = st.lists(st.sampled_from([rb"\Seen", rb"\Answered", b"$Forwarded", b"NonJunk", b"nil", b"$MDN-Sent", b"17"]))
DATES = st.tuples(
    st.sampled_from([b" 1", b"01", b"17", b"31", b"00"]),
    st.sampled_from([b"Jan", b"Feb", b"Dec", b"May", b"Foo"]),
    st.sampled_from([b"1970", b"2024", b"0001"]),
    st.sampled_from([b"00:00:00", b"23:59:59", b"24:00:00"]),
    st.sampled_from([b"+0000", b"-0330", b"+1400", b"-1200"]),
)


@given(uid=st.sampled_from([b"1", b"17", b"4294967295", b"4294967296", b"0"]), flags=FLAGS, date=DATES)
@example(uid=b"1", flags=[rb"\Seen"], date=(b" 1", b"May", b"2024", b"10:20:30", b"+0300"))
def test_metadata_is_the_same_in_whatever_order_it_comes(
    uid: bytes, flags: list[bytes], date: tuple[bytes, ...]
) -> None:
    said = b'INTERNALDATE "%s-%s-%s %s %s"' % date
    items = [b"UID " + uid, b"FLAGS (" + b" ".join(flags) + b")", said, b"RFC822.SIZE 4711"]

    usual, turned = ([b"* 9 FETCH (" + b" ".join(each) + b")"] for each in (items, items[::-1]))

    assert understood(usual) == understood(turned)


def understood(pieces: Pieces) -> object:
    """The items of a FETCH response, or that it makes no sense."""
    try:
        return fetched(pieces)
    except Broken:
        return "broken"
