"""The raw message stored once: what becomes a reference, what stays literal, and that it all comes back."""

from __future__ import annotations

import base64
from hashlib import sha256

from ingestd.message import Message
from ingestd.mime.parse import PARSE_VERSION, parse, unparsed
from ingestd.mime.segments import INLINE_BYTES, LITERAL_BYTES
from ingestd.raw import InMemory
from tests.mime.letters import attached, crlf, multipart, part
from tests.mime.rebuild import check

CONTENT = bytes(range(256)) * 8


def checked(text: str | bytes) -> Message:
    raw = InMemory(crlf(text) if isinstance(text, str) else text)
    message = parse(raw)
    check(raw, message)
    return message


def literal_bytes(message: Message) -> int:
    return sum(segment.end - segment.start for segment in message.segments if segment.sha256 is None)


def encodings(message: Message) -> list[str | None]:
    return [segment.encoding if segment.sha256 else None for segment in message.segments]


def test_base64_is_stored_as_its_content() -> None:
    message = checked(multipart("mixed", part("hi"), attached(CONTENT)))

    assert encodings(message) == [None, "base64", None]
    assert message.segments[1].sha256 == message.attachments[0].sha256 == sha256(CONTENT).hexdigest()
    assert (message.segments[1].line_length, message.segments[1].line_end) == (76, b"\r\n")
    assert [blob.size_bytes for blob in message.blobs] == [len(CONTENT)]


def test_base64_on_one_line_is_stored_as_its_content() -> None:
    body = base64.b64encode(CONTENT).decode()

    message = checked(multipart("mixed", part(body, "a/b", "Content-Transfer-Encoding: base64")))

    assert encodings(message) == [None, "base64", None]
    assert message.segments[1].line_end == b""


def test_base64_that_would_come_back_otherwise_stays_literal_beside_its_content() -> None:
    body = base64.encodebytes(CONTENT).decode().replace("\n", " \n")

    message = checked(multipart("mixed", part(body, "a/b", "Content-Transfer-Encoding: base64")))

    assert encodings(message) == [None]
    assert [blob.sha256 for blob in message.blobs] == [sha256(CONTENT).hexdigest()]


def test_small_parts_stay_literal() -> None:
    assert encodings(checked(multipart("mixed", part("hi"), attached(b"small")))) == [None]


def test_attachments_that_were_sent_as_they_are_are_stored_as_they_are() -> None:
    message = checked(multipart("mixed", part("hi"), part("x" * 2000, "a/b", "Content-Transfer-Encoding: 8bit")))

    assert encodings(message) == [None, "identity", None]


def test_body_text_stays_literal() -> None:
    body = base64.encodebytes(b"hello " * 500).decode()

    assert encodings(checked("Content-Transfer-Encoding: base64\n\n" + body)) == [None]


def test_attachments_of_forwarded_messages_are_stored_once_too() -> None:
    inner = multipart("mixed", part("inner"), attached(CONTENT), boundary="inner")

    message = checked(multipart("mixed", attached(CONTENT), part("Subject: fwd\n" + inner, "message/rfc822")))

    assert encodings(message) == [None, "base64", None, "base64", None]
    assert len(message.blobs) == 1
    assert [attachment.in_raw for attachment in message.attachments] == [False, True]


def test_a_long_literal_run_becomes_a_blob() -> None:
    message = checked("Subject: x\n\n" + "hello world\n" * (LITERAL_BYTES // 10))

    assert encodings(message) == ["identity"]


def test_many_literal_runs_do_not_fill_a_document() -> None:
    filler = "quoted=3Dprintable\n" * 10_000
    parts = [part(filler, "a/b", "Content-Transfer-Encoding: quoted-printable") for _ in range(4)]
    between = attached(CONTENT)

    message = checked(multipart("mixed", *[each for p in parts * 8 for each in (p, between)]))

    assert INLINE_BYTES - LITERAL_BYTES < literal_bytes(message) <= INLINE_BYTES
    assert "identity" in encodings(message)


def test_a_text_that_does_not_fit_is_cut_and_kept_whole_as_a_blob() -> None:
    text = "grüße " * 400_000

    message = checked(f"Content-Type: text/plain; charset=utf-8\n\n{text}")

    assert message.text_truncated
    assert text.startswith(message.text)
    assert 0 <= 2**20 - len(message.text.encode()) < 4
    assert message.text_blob == sha256(text.encode()).hexdigest()
    assert message.text_blob in [blob.sha256 for blob in message.blobs]


def test_a_text_that_just_fits_is_not_cut() -> None:
    message = checked(b"Subject: x\n\n" + b"x" * 2**20)

    assert not message.text_truncated
    assert message.text_blob is None
    assert len(message.text) == 2**20


def test_an_html_that_does_not_fit_is_cut_with_a_note() -> None:
    message = checked(b"Content-Type: text/html\n\n" + b"<p>hello</p>" * 400_000)

    assert message.html is not None
    assert len(message.html) == 4 * 2**20
    assert message.parse.limits == ("html",)
    assert message.text_truncated


def test_many_texts_are_read_only_as_far_as_they_fit() -> None:
    html = [part("<p>x</p>" * 200_000, "text/html") for _ in range(8)]

    message = checked(multipart("mixed", *html))

    assert message.html is not None
    assert len(message.html) == 4 * 2**20
    assert message.text_truncated


def test_a_text_from_html_that_was_not_read_to_its_end_says_so() -> None:
    message = checked(b"Content-Type: text/html\n\n" + b"<i></i>" * 400_000 + b"the end")

    assert "the end" not in message.text
    assert message.text_truncated


def test_texts_that_come_to_nothing_are_not_read_without_end() -> None:
    message = checked(multipart("mixed", *[part("<i></i>" * 250_000, "text/html") for _ in range(8)]))

    assert message.text_truncated
    assert message.text_blob in [blob.sha256 for blob in message.blobs]


def test_a_message_that_is_not_parsed_is_kept_whole() -> None:
    small, large = InMemory(b"small"), InMemory(b"large" * LITERAL_BYTES)

    for raw in (small, large):
        message = unparsed(raw, "worker: took too long")
        check(raw, message)
        assert message.parse.status == "failed"
        assert message.parse.defects == ("worker: took too long",)
        assert message.parse.version == PARSE_VERSION

    assert encodings(unparsed(small, "x")) == [None]
    assert encodings(unparsed(large, "x")) == ["identity"]


def test_an_empty_message_is_a_message() -> None:
    message = checked(b"")

    assert message.segments == ()
    assert message.blobs == ()
    assert message.size_bytes == 0
