"""What lies in a winmail.dat: files, and the body of a message that says nothing else."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from ingestd.message import Attachment, Message
from ingestd.mime import lzfu
from ingestd.mime.parse import parse
from ingestd.mime.transfer import decoded
from ingestd.raw import InMemory
from tests.mime.letters import attached, crlf, multipart, part
from tests.mime.rebuild import check
from tests.mime.winmail import (
    BINARY,
    BODY_CODE_PAGE,
    HTML_BODY,
    NUMBER,
    OBJECT,
    PLAIN_BODY,
    RICH_BODY,
    STRING,
    UNICODE,
    attribute,
    compressed,
    file_in_tnef,
    properties,
    stored,
    tnef,
    with_bodies,
)

CONTENT = bytes(range(256)) * 20
TNEF = "application/ms-tnef"
RTF = rb"{\rtf1\ansi\ansicpg1252 caf\'e9\par {\b again} and again and again}"


def checked(data: bytes | str) -> tuple[InMemory, Message]:
    raw = InMemory(data if isinstance(data, bytes) else crlf(data))
    message = parse(raw)
    check(raw, message)
    return raw, message


def sent(winmail: bytes, *parts: str) -> tuple[InMemory, Message]:
    """A message with *parts*, and *winmail* after them."""
    return checked(multipart("mixed", *parts, attached(winmail, TNEF)))


def content(raw: InMemory, attachment: Attachment) -> bytes:
    return b"".join(decoded(raw, attachment.span))


def test_the_files_of_a_winmail_dat_are_attachments_beside_it() -> None:
    winmail = tnef(
        attribute(1, 0x69007, struct.pack("<LL", 1251, 0)),
        file_in_tnef(CONTENT, (0x3707, 0x1F, "фото.jpg\0".encode("utf-16-le")), (0x370E, 0x1E, b"image/jpeg\0")),
        file_in_tnef(b"second", title="имя.txt\0".encode("cp1251")),
    )

    raw, message = checked(multipart("mixed", part("hi"), attached(winmail, "application/ms-tnef")))

    assert [(a.part, a.filename, a.content_type, a.derived_from) for a in message.attachments] == [
        ("2", None, "application/ms-tnef", None),
        ("2~1", "фото.jpg", "image/jpeg", "2"),
        ("2~2", "имя.txt", "application/octet-stream", "2"),
    ]
    assert [content(raw, a) for a in message.attachments] == [winmail, CONTENT, b"second"]


def test_the_bodies_of_a_winmail_dat_are_files_of_it() -> None:
    bodies = properties((0x1013, 0x102, b"<p>rich</p>"), (0x1000, 0x1E, b"plain\0"))
    winmail = tnef(attribute(1, 0x69003, bodies))

    raw, message = checked(
        multipart(
            "mixed", attached(winmail, "application/octet-stream", "Content-Disposition: x; filename=WINMAIL.DAT")
        )
    )

    assert [(a.filename, content(raw, a)) for a in message.attachments[1:]] == [
        ("body.html", b"<p>rich</p>"),
        ("body.txt", b"plain"),
    ]


def test_a_winmail_dat_that_was_sent_as_it_is_comes_back_byte_for_byte() -> None:
    winmail = tnef(file_in_tnef(CONTENT), file_in_tnef(CONTENT * 2))
    head = b"Content-Type: application/ms-tnef\r\nContent-Transfer-Encoding: binary\r\n\r\n"

    raw, message = checked(head + winmail)

    assert [content(raw, a) for a in message.attachments] == [winmail, CONTENT, CONTENT * 2]


@pytest.mark.parametrize(
    "winmail",
    [
        b"",
        b"no tnef",
        tnef(),
        tnef(attribute(2, 0x6800F, b"x")[:-4]),
        tnef(struct.pack("<BIL", 2, 0x6800F, 0xFFFFFFFF) + b"x" * 100),
        tnef(attribute(1, 0x69003, struct.pack("<LHHLL", 0xFFFFFFFF, 0x1E, 0x1000, 0xFFFFFFFF, 0xFFFFFFFF))),
        tnef(attribute(1, 0x69003, struct.pack("<LHHL", 0xFFFFFFFF, 0x101E, 0x1000, 0xFFFFFFFF) + bytes(10_000))),
        tnef(attribute(2, 0x69005, properties((0x3701, 0x0D, b"short")))[:30]),
    ],
)
def test_a_winmail_dat_that_is_none_or_is_cut_off_has_no_files(winmail: bytes) -> None:
    _, message = checked(multipart("mixed", attached(winmail, "application/ms-tnef")))

    assert [a.derived_from for a in message.attachments] == [None]


def test_what_can_be_derived_from_one_message_is_limited() -> None:
    files = [file_in_tnef(b"x" * 5000) for _ in range(90)]

    _, message = checked(
        multipart("mixed", *[attached(tnef(*files), "application/ms-tnef") for _ in range(3)], boundary="outer")
    )

    assert len(message.attachments) == 3 + 197  # going through three of them counts too
    assert message.parse.limits == ("derived",)


def test_a_body_in_utf_16_is_a_file_in_utf_8() -> None:
    raw, message = sent(with_bodies((PLAIN_BODY, UNICODE, "Grüße 👋\0".encode("utf-16-le"))))

    assert [(a.filename, content(raw, a).decode()) for a in message.attachments[1:]] == [("body.txt", "Grüße 👋")]


@pytest.mark.parametrize("store", [compressed, stored])
def test_a_rich_body_is_a_file_too(store: Callable[[bytes], bytes]) -> None:
    raw, message = sent(with_bodies((RICH_BODY, BINARY, store(RTF))))

    (rich,) = message.attachments[1:]
    assert (rich.part, rich.filename, rich.content_type, rich.kind) == (
        "1~1",
        "body.rtf",
        "application/rtf",
        "document",
    )
    assert content(raw, rich) == RTF
    assert message.parse.defects == ()


@pytest.mark.parametrize(
    "damaged",
    [
        compressed(RTF)[:-9],
        compressed(RTF)[:20] + b"\0" + compressed(RTF)[21:],
        compressed(RTF)[:4] + b"\1\0\0\0" + compressed(RTF)[8:],
        compressed(RTF)[:12] + bytes(4) + compressed(RTF)[16:],
    ],
)
def test_a_rich_body_that_is_not_what_its_header_says_is_a_defect(damaged: bytes) -> None:
    raw, message = sent(with_bodies((RICH_BODY, BINARY, damaged)))

    (rich,) = message.attachments[1:]
    assert content(raw, rich).startswith(b"{\\rtf1")
    assert message.parse.defects == ("rtf: damaged",)


def test_a_rich_body_that_is_no_compressed_rtf_is_none() -> None:
    _, message = sent(with_bodies((RICH_BODY, BINARY, b"\0" * 8 + b"ZIPs" + bytes(20))))

    assert len(message.attachments) == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ((PLAIN_BODY, STRING, b"caf\xe9\r\nagain\0"), "café\nagain"),
        ((PLAIN_BODY, UNICODE, "кофе\0".encode("utf-16-le")), "кофе"),
        ((HTML_BODY, BINARY, b"<html><p>caf\xe9<p>again</html>"), "café\nagain"),
        ((RICH_BODY, BINARY, compressed(RTF)), "café\nagain and again and again"),
    ],
)
def test_the_body_in_a_winmail_dat_is_the_text_of_a_message_that_has_no_other(
    body: tuple[int, int, bytes], text: str
) -> None:
    for parts in ((), (part(" \n"),)):
        _, message = sent(with_bodies(body), *parts)

        assert (message.text, message.text_source, message.html) == (text, "tnef", None)
        assert message.snippet == " ".join(text.split())
        assert message.parse.defects == ()


def test_the_best_body_in_a_winmail_dat_is_the_text() -> None:
    rich, html = (RICH_BODY, BINARY, compressed(RTF)), (HTML_BODY, BINARY, b"<b>html</b>")
    plain, empty = (PLAIN_BODY, STRING, b"plain\0"), (PLAIN_BODY, STRING, b" \0")

    assert sent(with_bodies(rich, html, plain))[1].text == "plain"
    assert sent(with_bodies(rich, html, empty))[1].text == "html"
    assert sent(with_bodies(rich, empty))[1].text == "café\nagain and again and again"
    assert sent(with_bodies(empty))[1].text_source is None


def test_html_in_a_winmail_dat_is_in_the_charset_that_is_said_there() -> None:
    html = (HTML_BODY, BINARY, "<p>кофе".encode("koi8-r"))

    assert sent(with_bodies(html, (BODY_CODE_PAGE, NUMBER, struct.pack("<L", 20866))))[1].text == "кофе"


def test_a_code_page_that_is_no_number_is_none() -> None:
    html = (HTML_BODY, BINARY, b"<p>hello")

    assert sent(with_bodies(html, (BODY_CODE_PAGE, BINARY, b"\xff" * 4000)))[1].text == "hello"


def test_a_message_with_a_text_of_its_own_keeps_it() -> None:
    winmail = with_bodies((PLAIN_BODY, STRING, b"other\0"))

    assert sent(winmail, part("own"))[1].text == "own"
    assert sent(winmail, part("<img src=x>", "text/html"))[1].text_source == "html"


def test_the_text_of_a_message_within_a_winmail_dat_is_not_that_of_the_message() -> None:
    inner = with_bodies((PLAIN_BODY, STRING, b"private\0"))
    kind = bytes.fromhex("0703020000000000c000000000000046")

    _, message = sent(tnef(file_in_tnef(b"", (0x3701, OBJECT, kind + inner))))

    assert [(a.part, a.filename) for a in message.attachments] == [
        ("1", None),
        ("1~1", "PHOTO~1.JPG"),
        ("1~1~1", "body.txt"),
    ]
    assert (message.text, message.text_source) == ("", None)


def test_a_file_that_is_called_like_a_body_is_none() -> None:
    _, message = sent(tnef(file_in_tnef(b"not said", (0x370E, STRING, b"text/plain\0"), title=b"body.txt\0")))

    assert (message.attachments[1].content_type, message.text) == ("text/plain", "")


def test_a_text_in_a_winmail_dat_that_does_not_fit_is_cut_and_kept_whole_as_a_blob() -> None:
    _, message = sent(with_bodies((PLAIN_BODY, STRING, b"hello " * 200_000 + b"\0")))

    assert (len(message.text), message.text_truncated) == (1 << 20, True)
    assert message.text_blob == message.attachments[1].sha256


def test_a_rich_body_is_decompressed_as_far_as_the_limit() -> None:
    places = range(207, 207 + lzfu.LIMIT_BYTES + 17, 17)
    runs = [struct.pack(">H", (place - 1) % 4096 << 4 | 15) for place in places]  # of what was said last
    data = b"".join(b"\xff" + b"".join(runs[at : at + 8]) for at in range(0, len(runs), 8))
    body = struct.pack("<LL4sL", len(data) + 12, 0, b"LZFu", 0) + data

    message = parse(InMemory(multipart("mixed", attached(with_bodies((RICH_BODY, BINARY, body)), TNEF)).encode()))

    assert message.attachments[1].size_bytes == lzfu.LIMIT_BYTES
    assert message.parse.limits == ("derived",)


def test_how_much_is_decompressed_for_one_message_is_limited() -> None:
    body = stored(b"x" * (5 << 20))

    _, message = sent(
        with_bodies((RICH_BODY, BINARY, body)), *[attached(with_bodies((RICH_BODY, BINARY, body)), TNEF)] * 3
    )

    assert [a.derived_from for a in message.attachments if a.derived_from] == ["1", "2"]
    assert message.parse.limits == ("derived",)
