"""Whatever the bytes: the parser never raises, says the same twice, and the raw message comes back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestd.mime import enclosed, tnef
from ingestd.mime.parse import parse
from ingestd.raw import InMemory, OnDisk
from tests.mime.enclosing import ENCLOSING
from tests.mime.letters import attached, crlf, multipart, part
from tests.mime.rebuild import check

MAIL = Path(__file__).parents[2] / "ingestd" / "demo" / "mail"
SMALL = [path.read_bytes() for path in sorted(MAIL.glob("*.eml")) if path.stat().st_size < 25_000]
SMALL.append(
    crlf(
        multipart(
            "mixed",
            multipart("alternative", part("plain"), part("<p>rich</p>", "text/html"), boundary="inner"),
            attached(
                bytes(range(256)) * 6, "image/png", "Content-Disposition: attachment; filename*=utf-8''%C3%BC.png"
            ),
            part("Subject: fwd\n" + multipart("mixed", part("x"), boundary="deep"), "message/rfc822"),
        )
    )
)
SMALL += ENCLOSING
TOKENS = [
    *(
        b"\n",
        b"\r\n",
        b"\r",
        b"\n\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"\x00",
        b"\xff",
        b"\x1b$B",
        b";",
        b":",
        b'"',
        b"<",
        b">",
    ),
    *(b"--b", b"--b--", b"--bb\n", b"boundary=b", b'boundary="b"', b"Content-Type: ", b"multipart/mixed; boundary=b"),
    *(
        b"message/rfc822",
        b"text/plain; charset=",
        b"utf-7",
        b"utf-16",
        b"iso-2022-jp",
        b"x-foo",
        b"text/html",
        b"text/calendar",
        b"application/ms-tnef",
        b"\x78\x9f\x3e\x22\x01\x00",
        b"LZFu",
        b"MELA",
        b"{\\rtf1",
        b"\\'e9",
        b"\\u1234?",
        b"message/delivery-status",
        b"multipart/report; report-type=delivery-status; boundary=b",
        b"Final-Recipient: rfc822; ",
        b"Action: failed",
    ),
    *(
        b"Content-Transfer-Encoding: ",
        b"base64",
        b"quoted-printable",
        b"x-uuencode",
        b"begin 644 x\n",
        b"M" + b"!" * 60 + b"\n",
        b"#0V%T\n",
        b"`\n",
        b"end\n",
        b"=ybegin line=128 size=1 name=x\n",
        b"=yend size=1\n",
        b"(This file must be converted with BinHex 4.0)\n",
        b":" + b"!" * 63 + b"\n",
        b"!" * 64 + b"\n",
        b"QUJD",
        b"=",
    ),
    *(
        b"From: ",
        b"To: ",
        b"Date: ",
        b"Received: ",
        b"Subject: ",
        b"References: ",
        b"=?utf-8?q?=00?=",
        b"=?utf-7?b?2AA?=",
    ),
    *(
        b"a@b.c",
        b"Wed, 1 May 2019 10:20:30 +0300",
        b"31 Dec 9999 23:59:59 -2359",
        b"filename*=utf-16''%00%D8",
        b"x" * 2000,
    ),
]


def check_everything(data: bytes) -> None:
    raw = InMemory(data)
    message = parse(raw)
    assert message.parse.status in ("ok", "partial")
    check(raw, message)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with OnDisk(Path(file.name), len(data)).open() as opened:
            assert parse(opened) == message


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_message_may_end_anywhere(data: st.DataObject) -> None:
    mail = data.draw(st.sampled_from(SMALL))

    check_everything(mail[: data.draw(st.integers(0, len(mail)))])


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_bytes_of_a_message_may_be_wrong(data: st.DataObject) -> None:
    mail = bytearray(data.draw(st.sampled_from(SMALL)))
    places = st.tuples(st.integers(0, len(mail) - 1), st.integers(0, 255))

    for at, byte in data.draw(st.lists(places, min_size=1, max_size=20)):
        mail[at] = byte

    check_everything(bytes(mail))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_pieces_of_messages_may_be_put_together_in_any_way(data: st.DataObject) -> None:
    spliced = b""
    for mail in data.draw(st.lists(st.sampled_from(SMALL), min_size=2, max_size=4)):
        start = data.draw(st.integers(0, len(mail)))
        spliced += mail[start : start + data.draw(st.integers(0, 2000))]

    check_everything(spliced)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8)), max_size=60))
def test_the_words_of_mail_may_come_in_any_order(tokens: list[bytes]) -> None:
    check_everything(b"".join(tokens))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_files_within_content_are_found_the_same_wherever_a_piece_ends(data: st.DataObject) -> None:
    mail = bytearray(data.draw(st.sampled_from(ENCLOSING)).partition(b"\r\n\r\n")[2])
    for at in data.draw(st.lists(st.integers(0, len(mail) - 1), max_size=5)):
        mail[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.one_of(st.sampled_from(TOKENS), st.binary(max_size=3))
        )
    content, step = bytes(mail), data.draw(st.integers(1, 50))
    pieces = [content[at : at + step] for at in range(0, len(content), step)]

    assert list(enclosed.in_text(pieces)) == list(enclosed.in_text([content]))
    assert list(tnef.files(pieces)) == list(tnef.files([content]))


class Failing(InMemory):
    """A message that raises *error* when it is read for the first time after the scan, once."""

    def __init__(self, data: bytes, error: BaseException) -> None:
        super().__init__(data)
        object.__setattr__(self, "left", [error])

    def read(self, start: int, end: int) -> bytes:
        left: list[BaseException] = self.left  # type: ignore[attr-defined]
        if start and left:
            raise left.pop()
        return super().read(start, end)


MESSAGE = crlf(multipart("mixed", part("hello"), attached(b"x" * 2000)))


@pytest.mark.parametrize("error", [RecursionError(), ValueError("private"), AssertionError()])
def test_what_breaks_the_parser_is_kept_raw(error: Exception) -> None:
    raw = Failing(MESSAGE, error)

    message = parse(raw)

    assert message.parse.status == "failed"
    assert message.parse.defects == (f"parser: {type(error).__name__}",)
    check(raw, message)


@pytest.mark.parametrize("error", [OSError("spool file ended"), MemoryError(), KeyboardInterrupt(), SystemExit()])
def test_what_is_not_about_the_mail_is_raised(error: BaseException) -> None:
    raw = Failing(MESSAGE, error)

    with pytest.raises(type(error)):
        parse(raw)
