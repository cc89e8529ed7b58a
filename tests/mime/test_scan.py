"""The tree of parts: offsets, numbers and boundaries."""

from __future__ import annotations

import pytest

from ingestd.mime.parts import Part
from ingestd.mime.scan import Tree, scan
from ingestd.mime.window import SIZE, Window
from ingestd.raw import InMemory
from tests.mime.letters import crlf, multipart, part, read


def tree(text: str | bytes) -> Tree:
    return scan(InMemory(crlf(text) if isinstance(text, str) else text))


def bodies(text: str | bytes) -> dict[str, bytes]:
    data = crlf(text) if isinstance(text, str) else text
    return {each.number: data[each.body : each.end] for each in tree(data).root.walk() if not each.parts}


def numbers(text: str) -> list[str]:
    return [each.number for each in tree(text).root.walk()]


def test_a_single_part_is_number_one() -> None:
    assert bodies("Subject: x\n\nhello\n") == {"1": b"hello\r\n"}


def test_parts_are_numbered_as_imap_numbers_them() -> None:
    inner = multipart("mixed", part("A"), part("B"), boundary="inner")
    single = part("Subject: y\n\nhello", "message/rfc822")
    several = part(multipart("mixed", part("C"), part("D"), boundary="deep"), "message/rfc822")

    assert numbers(multipart("mixed", part("x"), inner, single, several)) == [
        *("", "1", "2", "2.1", "2.2"),
        *("3", "3.1"),
        *("4", "4.TEXT", "4.1", "4.2"),
    ]


def test_a_message_that_is_nothing_but_a_forwarded_one_is_numbered_too() -> None:
    assert numbers("Content-Type: message/rfc822\n\nSubject: y\n\nhello\n") == ["1", "1.1"]


def test_the_line_break_before_a_boundary_belongs_to_the_boundary() -> None:
    text = multipart("mixed", part("one\n"), part(""), part("three"))

    assert bodies(text) == {"1": b"one\r\n", "2": b"", "3": b"three"}
    assert bodies(text.encode()) == {"1": b"one\n", "2": b"", "3": b"three"}


def test_a_message_with_lone_carriage_returns_is_understood() -> None:
    text = multipart("mixed", part("one"), part("two")).replace("\n", "\r")

    assert bodies(text.encode()) == {"1": b"one", "2": b"two"}


def test_only_a_whole_line_is_a_boundary() -> None:
    text = multipart("mixed", part("--bb\n --b\n-- b\n--b-\n--b---\nx --b"))

    assert bodies(text) == {"1": b"--bb\r\n --b\r\n-- b\r\n--b-\r\n--b---\r\nx --b"}


def test_blanks_after_a_boundary_do_not_matter() -> None:
    text = multipart("mixed", part("one"), part("two")).replace("--b\n", "--b \t\n").replace("--b--", "--b--  ")

    assert bodies(text) == {"1": b"one", "2": b"two"}


def test_an_outer_boundary_ends_everything_within() -> None:
    inner = multipart("mixed", part("A"), boundary="inner").removesuffix("--inner--\n")
    text = multipart("mixed", inner.rstrip("\n"), part("B"))

    assert bodies(text) == {"1.1": b"A", "2": b"B"}
    assert "missing_close_boundary" in tree(text).defects


def test_what_follows_a_closing_boundary_is_no_part() -> None:
    text = multipart("mixed", part("A")) + "--b\nContent-Type: text/plain\n\nB\n"

    assert bodies(text) == {"1": b"A"}
    assert not tree(text).defects


def test_a_header_may_end_with_a_boundary() -> None:
    assert bodies("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: a/b\n--b\n\nB\n--b--\n") == {
        "1": b"",
        "2": b"B",
    }


def test_a_line_that_is_no_header_begins_the_body() -> None:
    found = tree("Subject: x\nthis is text\nTo: y\n")

    assert bodies("Subject: x\nthis is text\nTo: y\n") == {"1": b"this is text\r\nTo: y\r\n"}
    assert "missing_header_body_separator" in found.defects


def test_odd_header_lines_are_passed_over() -> None:
    message = read("From nobody Mon Jan  1 00:00:00 2024\nSubject: x\nno such name: y\nTo: a@b.c\n\nhello\n")

    assert message.subject == "x"
    assert [address.address for address in message.to] == ["a@b.c"]
    assert message.text == "hello\n"
    assert message.parse.defects == ("header_line", "mbox_separator")


def test_a_byte_order_mark_before_the_header_hides_nothing() -> None:
    assert read(b"\xef\xbb\xbfSubject: x\n\nhello").subject == "x"


def test_a_header_is_the_same_whether_it_is_short_or_takes_the_slower_way() -> None:
    short = b"Subject: x\nTo: a@b.c,\n d@e.f\n"
    long = short + b"X-Long: " + b"y" * 60_000 + b"\n" + b"X-Longer: " + b"z" * 60_000 + b"\n"

    quick, slow = read(short + b"\nhi"), read(b"From nobody\n" + long + b"\nhi")

    assert slow.headers[:2] == quick.headers
    assert [len(header.value) for header in slow.headers[2:]] == [60_000, 60_000]
    assert slow.text == quick.text == "hi"


@pytest.mark.parametrize("header", ["", "; boundary=", '; boundary=""', "; border=b"])
def test_a_multipart_without_a_boundary_is_text(header: str) -> None:
    message = read(f"Content-Type: multipart/mixed{header}\n\nhello\n")

    assert message.text == "hello\n"
    assert message.attachments == ()
    assert "boundary_missing" in message.parse.defects


def test_parts_of_a_digest_are_messages() -> None:
    text = multipart("digest", "\nSubject: one\n\nfirst", "\nSubject: two\n\nsecond")

    assert [embedded.subject for embedded in read(text).embedded] == ["one", "two"]


def test_an_encoded_message_is_an_attachment_of_its_decoded_content() -> None:
    found = read("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeAoKeQ==\n")

    assert [(a.size_bytes, a.in_raw) for a in found.attachments] == [(13, False)]


@pytest.mark.parametrize("shift", range(24))
def test_a_boundary_is_found_wherever_the_window_ends(shift: int) -> None:
    start = len(multipart("mixed", part("")).split("--b--")[0]) + 5
    filler = "x" * (SIZE - start - shift)
    text = multipart("mixed", part(filler), part("second"), part("y" * SIZE), part("fourth"))

    assert {key: len(value) for key, value in bodies(text).items()} == {"1": len(filler), "2": 6, "3": SIZE, "4": 6}


def test_lines_that_only_look_like_boundaries_are_no_obstacle() -> None:
    lookalikes = "--bx\n--\n" * 50_000

    assert bodies(multipart("mixed", part(lookalikes), part("second"))) == {"1": crlf(lookalikes), "2": b"second"}


def test_a_window_gives_lines_and_matches_like_the_whole_message() -> None:
    data = b"".join(b"%d\n" % number for number in range(100_000))
    window = Window(InMemory(data))

    at, lines = 0, []
    while at < len(data):
        line, at = window.line(at, 100)
        lines.append(line)

    assert b"".join(lines) == data
    assert window.find(b"\n99999\n", 5) == data.find(b"\n99999\n")
    assert window.find(b"nowhere", 0) == -1
    assert window.line(0, 2) == (b"0\n", 2)


def test_a_long_line_is_cut_and_its_end_is_found() -> None:
    data = b"x" * (3 * SIZE) + b"\nnext"

    assert Window(InMemory(data)).line(0, 10) == (b"x" * 10, 3 * SIZE + 1)


def test_offsets_tell_where_a_forwarded_message_lies() -> None:
    data = crlf(multipart("mixed", part("Subject: y\n\nhello", "message/rfc822")))

    (embedded,) = read(data).embedded

    assert data[embedded.offset : embedded.offset + embedded.size_bytes] == b"Subject: y\r\n\r\nhello"


def test_a_tree_is_walked_in_the_order_of_the_bytes() -> None:
    parts: list[Part] = list(
        tree(multipart("mixed", multipart("mixed", part("A"), boundary="i"), part("B"))).root.walk()
    )

    assert [each.start for each in parts] == sorted(each.start for each in parts)
