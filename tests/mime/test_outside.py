"""Text outside of all parts: before the first boundary of a multipart, and after its closing one (RFC 2046, 5.1.1)."""

from __future__ import annotations

import pytest

from ingestd.message import Outside
from ingestd.mime.outside import PLACES, TEXT_BYTES
from tests.mime.letters import attached, crlf, multipart, part, read


def outside(before: str, after: str = "") -> list[tuple[str, str, int]]:
    """What is told of a multipart with *before* its first boundary and *after* its last one."""
    head, _, rest = multipart("mixed", part("hello")).partition("\n\n")
    message = read(f"{head}\n\n{before}{rest}{after}")
    assert message.text == "hello"
    return [(each.place, each.text, each.size_bytes) for each in message.outside]


def test_text_before_and_after_the_parts_is_told() -> None:
    assert outside("This is a multi-part message in MIME format.\n", "\nand a last word\n") == [
        ("preamble", "This is a multi-part message in MIME format.", 44),
        ("epilogue", "and a last word", 19),
    ]


@pytest.mark.parametrize("blank", ["", "\n", "\n\n \t\n\n", "\f\n"])
def test_what_is_blank_is_not_told(blank: str) -> None:
    assert outside(blank, blank) == []


def test_blank_lines_hide_nothing() -> None:
    assert outside("\n" * 500_000 + "a secret\n") == [("preamble", "a secret", 1_000_008)]


def test_a_long_text_is_cut_and_says_so() -> None:
    message = read(multipart("mixed", part("hello")) + "ü" * TEXT_BYTES)

    assert message.outside == (Outside("", "epilogue", "ü" * (TEXT_BYTES // 2), 2 * TEXT_BYTES),)
    assert message.parse.limits == ("outside",)


def test_blank_lines_after_a_text_are_not_what_is_cut() -> None:
    message = read(multipart("mixed", part("hello")) + "x" * TEXT_BYTES + "\n" * TEXT_BYTES)

    assert (message.outside[0].text, message.parse.limits) == ("x" * TEXT_BYTES, ())


def test_a_character_is_never_cut_in_two() -> None:
    message = read(multipart("mixed", part("hello")) + "x" + "€" * TEXT_BYTES)

    assert message.outside[0].text == "x" + "€" * ((TEXT_BYTES - 1) // 3)


def test_text_that_grows_when_it_is_decoded_is_cut_too() -> None:
    message = read(crlf(multipart("mixed", part("hello"))) + b"\xfc" * TEXT_BYTES)

    assert (message.outside[0].text, message.parse.limits) == ("ü" * (TEXT_BYTES // 2), ("outside",))


def test_every_multipart_is_looked_at() -> None:
    inner = multipart("alternative", part("hello"), boundary="in").replace("\n\n--in\n", "\n\nwithin\n--in\n")
    message = read(multipart("mixed", inner + "behind\n", part("x", "image/png")))

    assert message.text == "hello"
    assert [(each.part, each.place, each.text) for each in message.outside] == [
        ("1", "preamble", "within"),
        ("1", "epilogue", "behind"),
    ]


@pytest.mark.parametrize("encoded", [False, True])
def test_a_message_within_is_looked_at_as_well(encoded: bool) -> None:
    forwarded = "Subject: fwd\n" + multipart("mixed", part("x"), boundary="in") + "behind\n"
    holder = attached(crlf(forwarded), "message/rfc822") if encoded else part(forwarded, "message/rfc822")

    message = read(multipart("mixed", part("hello"), holder))

    assert [(each.part, each.place, each.text) for each in message.outside] == [("2.TEXT", "epilogue", "behind")]


def test_parts_after_the_closing_boundary_are_text_that_can_be_seen() -> None:
    """Some programs show them: whoever closes twice may say two things."""
    message = read(multipart("mixed", part("hello")) + "--b\n" + part("other") + "\n--b--\n")

    assert message.text == "hello"
    assert [each.text for each in message.outside] == ["--b\nContent-Type: text/plain\n\nother\n--b--"]


def test_a_multipart_without_a_part_is_text_and_not_told_twice() -> None:
    message = read("Content-Type: multipart/mixed; boundary=b\n\nall there is\n")

    assert (message.text.strip(), message.outside) == ("all there is", ())


def test_as_many_places_are_told_of_as_there_is_room_for() -> None:
    inner = [multipart("mixed", part("x"), boundary=f"i{number}") + "behind" for number in range(PLACES + 1)]

    message = read(multipart("mixed", *inner))

    assert len(message.outside) == PLACES
    assert message.parse.limits == ("outside",)


def test_no_control_leaves_the_parser() -> None:
    message = read(crlf(multipart("mixed", part("hello"))) + b"\x00a\x1b[2J\x07b\xff\r\nc\rd")

    assert message.outside[0].text == "\ufffda\ufffd[2J\ufffdbÿ\nc\nd"
