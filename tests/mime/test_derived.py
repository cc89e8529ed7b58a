"""Files within the content of parts: uuencoded, in yEnc or BinHex in text, or in a message that was sent encoded."""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256

import pytest

from ingestd.message import Attachment, Message
from ingestd.mime.parse import parse
from ingestd.mime.transfer import decoded
from ingestd.raw import InMemory
from tests.mime.enclosing import BINHEX, in_yenc, uuencoded
from tests.mime.letters import attached, crlf, in_base64, multipart, part
from tests.mime.rebuild import check

CONTENT = bytes(range(256)) * 20 + b"\x00\x00end"


def checked(data: bytes | str) -> tuple[InMemory, Message]:
    raw = InMemory(data if isinstance(data, bytes) else crlf(data))
    message = parse(raw)
    check(raw, message)
    return raw, message


def content(raw: InMemory, attachment: Attachment) -> bytes:
    return b"".join(decoded(raw, attachment.span))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_uuencoded_file_in_text_is_an_attachment_and_no_text(end: str) -> None:
    text = f"Subject: x{end}{end}Look at this:{end}{uuencoded(CONTENT, end=end)}Yours{end}"

    raw, message = checked(text.encode())

    (file,) = message.attachments
    assert (file.part, file.derived_from, file.filename, file.kind) == ("1~1", "1", "photo.jpg", "image")
    assert content(raw, file) == CONTENT
    assert message.text == "Look at this:\nYours\n"


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_uuencoded_files_are_found_in_text_that_is_encoded_once_more(encoding: str) -> None:
    text = "Two:\n" + uuencoded(CONTENT) + "and\n" + uuencoded(b"second", "b.txt")
    encoded = in_base64(text.encode()) if encoding == "base64" else binascii.b2a_qp(text.encode(), istext=True).decode()

    raw, message = checked(f"Content-Transfer-Encoding: {encoding}\n\n{encoded}")

    assert [content(raw, file) for file in message.attachments] == [CONTENT, b"second"]
    assert message.text.replace("\r", "").strip() == "Two:\nand"


@pytest.mark.parametrize(
    "text",
    [
        "begin 644 things at once\nand then\nend\n",
        "begin 644 x\nend\n",
        "begin 644 x\n" + "M" * 61 + "\nno, not that\nend\n",
        uuencoded(b"x" * 30).partition("`\nend")[0],
        "begin 644 x\n" + ("M" * 61 + "\n") * 2 + "no, not that\n",
        "begin 644 x\n" + "MERELY WORDS IN CAPITALS\n" * 9,
        " " + uuencoded(b"indented").replace("\n", "\n "),
        "=ybegin of a sentence\n=yend\n",
    ],
)
def test_words_that_look_like_the_beginning_of_a_file_stay_text(text: str) -> None:
    _, message = checked("Subject: x\n\n" + text)

    assert message.attachments == ()
    assert message.text == text


WITHOUT_END = uuencoded(CONTENT).removesuffix("`\nend\n")


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        (WITHOUT_END, ""),
        (WITHOUT_END + "`\n", ""),
        (WITHOUT_END + " \n", ""),
        (WITHOUT_END + "-- \nAnn Smith\nEXAMPLE LTD\n", "-- \nAnn Smith\nEXAMPLE LTD\n"),
        (WITHOUT_END + "`\n\nSEE YOU\n", "\nSEE YOU\n"),
        (WITHOUT_END + "\n!\n", "\n!\n"),
        (WITHOUT_END.replace("\n", "\n\n"), "\n"),
    ],
)
def test_a_uuencoded_file_may_have_no_end(text: str, rest: str) -> None:
    raw, message = checked("Subject: x\n\nLook:\n" + text)

    assert [content(raw, file) for file in message.attachments] == [CONTENT]
    assert message.text == "Look:\n" + rest
    assert message.parse.defects == ("uuencode: no end",)


@pytest.mark.parametrize("characters", [1, 30, 60])
def test_a_file_that_is_cut_off_within_a_line_ends_at_the_line_before(characters: int) -> None:
    whole = "".join(uuencoded(CONTENT).splitlines(keepends=True)[:20])

    raw, message = checked("Subject: x\n\n" + whole + "M" * characters)

    assert [content(raw, file) for file in message.attachments] == [CONTENT[: 19 * 45]]
    assert message.text == "M" * characters


def test_a_file_of_one_line_without_end_is_one_if_nothing_follows() -> None:
    small = uuencoded(CONTENT[:60]).removesuffix("`\nend\n")

    for rest in ("", "\nthen words"):
        raw, message = checked("Subject: x\n\n" + small + rest)
        assert [content(raw, file) for file in message.attachments] == [CONTENT[:60]]

    assert checked("Subject: x\n\n" + small + "words at once")[1].attachments == ()


def test_a_file_without_end_hides_none_after_it() -> None:
    raw, message = checked("Subject: x\n\n" + WITHOUT_END + uuencoded(b"second", "b.txt") + "bye\n")

    assert [content(raw, file) for file in message.attachments] == [CONTENT, b"second"]
    assert message.text == "bye\n"
    assert message.parse.defects == ("uuencode: no end",)


def test_blanks_that_a_gateway_took_from_the_ends_of_lines_do_not_end_a_file() -> None:
    sparse = CONTENT[:450] + bytes(450) + CONTENT[:450]
    lines = [line.replace("`", " ").rstrip(" ") for line in uuencoded(sparse).split("\n")]

    raw, message = checked("Subject: x\n\n" + "\n".join(lines[:-2]))

    assert [content(raw, file) for file in message.attachments] == [sparse]


def test_a_broken_beginning_hides_no_file_after_it() -> None:
    raw, message = checked("Subject: x\n\nbegin 644 a\n" + uuencoded(CONTENT))

    assert [content(raw, file) for file in message.attachments] == [CONTENT]
    assert message.text == "begin 644 a\n"


def test_a_file_in_yenc_is_an_attachment() -> None:
    raw, message = checked(b"Subject: x\r\n\r\nhello\r\n" + in_yenc(CONTENT) + b"bye\r\n")

    (file,) = message.attachments
    assert (file.filename, content(raw, file)) == ("photo.jpg", CONTENT)
    assert message.text == "hello\nbye\n"


def test_a_file_in_yenc_that_does_not_end_hides_none_after_it() -> None:
    cut = in_yenc(CONTENT).partition(b"=yend")[0]

    raw, message = checked(b"Subject: x\r\n\r\n" + cut + in_yenc(b"second"))

    assert [content(raw, file) for file in message.attachments] == [b"second"]


def test_a_file_in_binhex_is_an_attachment_named_as_such_and_kept_as_it_is() -> None:
    raw, message = checked("Subject: x\n\nLook:\n" + BINHEX + "Yours\n")

    (file,) = message.attachments
    assert (file.part, file.derived_from, file.filename_safe) == ("1~1", "1", "part-1~1.hqx")
    assert (file.content_type, file.kind) == ("application/mac-binhex40", "archive")
    assert content(raw, file) == crlf(BINHEX)
    assert (message.text, message.parse.defects) == ("Look:\nYours\n", ())


def test_a_file_in_binhex_may_be_cut_off() -> None:
    cut = BINHEX.partition("d0R")[0]

    raw, message = checked("Subject: x\n\n" + cut + "d0R-l")

    assert [content(raw, file) for file in message.attachments] == [crlf(cut)]
    assert (message.text, message.parse.defects) == ("d0R-l", ("binhex: no end",))


@pytest.mark.parametrize(
    "text",
    [
        "(This file must be converted with BinHex 4.0)\n",
        "(This file must be converted with BinHex 4.0)\n:\n",
        "(This file must be converted with BinHex 4.0)\n\nas I said, with a colon:\n",
        "(This file must be converted by hand)\n:$'*XG:\n",
        "".join(BINHEX.splitlines(keepends=True)[:4]),
    ],
)
def test_words_about_binhex_stay_text(text: str) -> None:
    _, message = checked("Subject: x\n\n" + text)

    assert message.attachments == ()
    assert message.text == text


def test_text_after_a_large_file_is_not_cut() -> None:
    text = "Subject: x\n\nbefore\n" + uuencoded(CONTENT * 400) + "after\n"

    raw, message = checked(text)

    assert len(crlf(text)) > 2 << 20
    assert (message.text, message.text_truncated) == ("before\nafter\n", False)
    assert [content(raw, file) for file in message.attachments] == [CONTENT * 400]


INNER = crlf(
    "From: Ann <ann@example.org>\nSubject: within\nMessage-ID: <i@x>\nDate: Wed, 1 May 2019 10:20:30 +0300\n"
    + multipart(
        "mixed",
        part("private"),
        attached(CONTENT, "image/png", "Content-Disposition: attachment; filename=a.png"),
        part("Subject: deeper\n\ndeep", "message/rfc822"),
    )
)


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_a_forwarded_message_may_be_encoded_in_spite_of_the_rules(encoding: str) -> None:
    body = in_base64(INNER) if encoding == "base64" else binascii.b2a_qp(INNER).decode()
    body = body.replace("\r\n", "\n")
    head = f"Content-Transfer-Encoding: {encoding}"

    raw, message = checked(multipart("mixed", part("outer"), part(body, "message/rfc822", head), boundary="outer"))

    (forwarded,) = message.attachments
    assert (forwarded.part, forwarded.in_raw, content(raw, forwarded)) == ("2", False, INNER)
    within, deeper = message.embedded
    assert (within.part, within.offset, within.size_bytes) == ("2", None, len(INNER))
    assert within.sha256 == sha256(INNER).hexdigest()
    assert (within.subject, within.message_id) == ("within", "i@x")
    assert [(a.part, a.filename, a.derived_from) for a in within.attachments] == [
        ("2.2", "a.png", "2"),
        ("2.3", None, "2"),
    ]
    assert [content(raw, a) for a in within.attachments] == [CONTENT, b"Subject: deeper\r\n\r\ndeep"]
    assert (deeper.part, deeper.offset, deeper.subject) == ("2.3", None, "deeper")
    assert message.text == "outer"


def test_encoded_messages_within_encoded_messages_are_followed_as_far_as_the_limit() -> None:
    message = b"Subject: 0\r\n\r\nend"
    for level in range(1, 8):
        body = base64.encodebytes(message)
        message = b"Subject: %d\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" % level + body

    _, parsed = checked(message)

    assert [embedded.subject for embedded in parsed.embedded] == ["6", "5", "4", "3"]
    assert "embedded" in parsed.parse.limits


def test_a_message_that_only_claims_to_be_in_base64_is_read_as_it_is() -> None:
    raw, message = checked(
        multipart("mixed", part("Subject: plain\n\nhi", "message/rfc822", "Content-Transfer-Encoding: base64"))
    )

    assert [embedded.subject for embedded in message.embedded] == ["plain"]
    assert [content(raw, a) for a in message.attachments] == [b"Subject: plain\r\n\r\nhi"]
    assert message.parse.defects == ("transfer_encoding",)


def test_a_large_encoded_message_is_told_of_as_far_as_it_is_looked_into() -> None:
    inner = crlf(
        "From: Ann <ann@example.org>\nSubject: large\nMessage-ID: <i@x>\n"
        + multipart("mixed", part("private"), attached(CONTENT, "image/png"), attached(b"x" * (5 << 20)), boundary="i")
    )

    raw, message = checked(multipart("mixed", attached(inner, "message/rfc822"), part("outer"), boundary="outer"))

    (forwarded,) = message.attachments
    (within,) = message.embedded
    assert (within.part, within.offset, within.size_bytes) == ("1", None, len(inner))
    assert (within.subject, within.message_id, within.sha256) == ("large", "i@x", forwarded.sha256)
    assert [(a.part, content(raw, a)) for a in within.attachments] == [("1.2", CONTENT)]  # the other one is cut
    assert (message.text, message.parse.defects, message.parse.limits) == ("outer", (), ("embedded",))


def test_nothing_is_told_of_a_message_that_lies_across_the_limit() -> None:
    deepest = attached(crlf("Subject: deepest\n\n") + b"x" * (4 << 20), "message/rfc822")
    inner = crlf("Subject: large\n" + multipart("mixed", part("private"), deepest, boundary="i"))

    _, message = checked(multipart("mixed", attached(inner, "message/rfc822"), boundary="outer"))

    assert [(told.part, told.subject) for told in message.embedded] == [("1", "large")]
    assert message.embedded[0].attachments == ()
