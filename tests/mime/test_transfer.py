"""Transfer encodings, undone and put back, in pieces of any size."""

from __future__ import annotations

import base64
import binascii
import quopri
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestd.message import Encoding, Span
from ingestd.mime.layout import layout
from ingestd.mime.transfer import decoded, digest, encoded, span_of, start_of
from ingestd.raw import PIECE, InMemory, OnDisk


def undone(data: bytes, encoding: Encoding) -> bytes:
    return b"".join(decoded(InMemory(data), Span(0, len(data), encoding)))


def lines(content: bytes, length: int, end: bytes) -> bytes:
    text = base64.b64encode(content)
    return end.join(text[at : at + length] for at in range(0, len(text), length))


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        (b"QUJD", b"ABC"),
        (b"QUI=", b"AB"),
        (b"QU JD\r\n!*RE VG\n", b"ABCDEF"),
        (b"QUI", b"AB"),  # the padding is missing
        (b"QUJDR", b"ABC"),  # a lone last character holds no byte
        (b"QQ==Qg==", b"AB"),  # encoded in chunks, and the chunks joined
        (b"====", b""),
        (b"", b""),
    ],
)
def test_base64_is_decoded_as_far_as_it_means_anything(sent: bytes, content: bytes) -> None:
    assert undone(sent, "base64") == content


def test_base64_is_decoded_the_same_wherever_a_piece_ends() -> None:
    content = bytes(range(256)) * 3000
    sent = lines(content, 71, b"\r\n")
    assert len(sent) > 3 * PIECE

    pieces = list(decoded(InMemory(sent), Span(0, len(sent), "base64")))

    assert len(pieces) > 3
    assert b"".join(pieces) == content


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        (b"a=3Db", b"a=b"),
        (b"soft=\r\nbreak=\nhere", b"softbreakhere"),
        (b"soft= \t\r\nbreak", b"softbreak"),
        (b"hard==\r\n= \r\nbreak", b"hard=\r\nbreak"),
        (b"lone=\rcarriage return", b"lonecarriage return"),
        (b"=ZZ and =4", b"=ZZ and =4"),
        (b"caf=C3=A9=", b"caf\xc3\xa9"),
    ],
)
def test_quoted_printable_is_decoded_as_far_as_it_means_anything(sent: bytes, content: bytes) -> None:
    assert undone(sent, "quoted-printable") == content


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=500), st.integers(1, 700))
def test_quoted_printable_of_any_size_comes_back(seed: bytes, repeats: int) -> None:
    content = seed * repeats
    sent = quopri.encodestring(content)

    assert undone(sent, "quoted-printable") == content


@pytest.mark.parametrize("elsewhere", [b"", b"a lone \r ends nothing\n", b"blanks before a break \r\n", b"a = b\n"])
@pytest.mark.parametrize("sent", [b"==\r\n=41", b"=3D=\r\n=41", b"=\r\n=\r\n=41", b"= \n=41"])
def test_quoted_printable_is_decoded_the_same_whatever_else_is_odd(sent: bytes, elsewhere: bytes) -> None:
    assert undone(sent + b"\n" + elsewhere, "quoted-printable").startswith(undone(sent, "quoted-printable"))


def test_a_quoted_printable_line_without_end_is_decoded_without_waiting_for_it() -> None:
    sent = b"=41" * 200_000

    pieces = list(decoded(InMemory(sent), Span(0, len(sent), "quoted-printable")))

    assert len(pieces) > 1
    assert b"".join(pieces) == b"A" * 200_000


def uuencoded(content: bytes) -> bytes:
    rows = [binascii.b2a_uu(content[at : at + 45]) for at in range(0, len(content), 45)]
    return b"begin 644 name\n" + b"".join(rows) + b"`\nend\n"


def test_uuencode_of_any_size_comes_back() -> None:
    content = bytes(range(256)) * 2000

    assert undone(uuencoded(content), "uuencode") == content
    assert undone(uuencoded(content).replace(b"\n", b"\r\n"), "uuencode") == content


def test_broken_uuencode_lines_cost_only_themselves() -> None:
    sent = b"some words\nbegin 644 x\n" + binascii.b2a_uu(b"one") + b"~~~~\n" + binascii.b2a_uu(b"two") + b"`\nend\n"

    assert undone(sent, "uuencode").startswith(b"one")
    assert undone(sent, "uuencode").endswith(b"two")


def test_blank_lines_within_uuencode_mean_nothing() -> None:
    content = bytes(range(256))

    assert undone(uuencoded(content).replace(b"\n", b"\r\n\r\n"), "uuencode") == content
    assert undone(uuencoded(content).partition(b"`\nend")[0], "uuencode") == content


@pytest.mark.parametrize("shift", range(4))
def test_utf_16_becomes_utf_8_wherever_a_piece_ends(shift: int) -> None:
    text = "👋" * PIECE
    sent = bytes(shift) + text.encode("utf-16-le")

    assert b"".join(decoded(InMemory(sent), Span(shift, len(sent), "utf-16"))) == text.encode()


def test_utf_16_that_is_none_becomes_utf_8_all_the_same() -> None:
    assert undone(b"a\0\x00\xd8b\0c", "utf-16").decode() == "a\ufffdb\ufffd"


def test_an_unknown_encoding_and_uuencode_without_a_beginning_are_left_as_they_are() -> None:
    raw = InMemory(b"what is this")

    assert span_of(raw, 0, 12, "x-foo") == Span(0, 12, "identity")
    assert span_of(raw, 0, 12, "x-uuencode") == Span(0, 12, "identity")
    assert span_of(InMemory(b"begin 644 x\n"), 0, 12, "x-uue") == Span(0, 12, "uuencode")


def test_the_start_of_a_content_says_whether_it_is_all() -> None:
    raw = InMemory(b"QUJDREVG")

    assert start_of(raw, Span(0, 8, "base64"), 6) == (b"ABCDEF", True)
    assert start_of(raw, Span(0, 8, "base64"), 5) == (b"ABCDE", False)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=200), max_size=20),
    st.integers(1, 100),
    st.sampled_from([b"\r\n", b"\n", b"\r"]),
)
def test_content_is_encoded_the_same_however_it_is_cut(pieces: list[bytes], length: int, end: bytes) -> None:
    assert b"".join(encoded(pieces, length, end)) == lines(b"".join(pieces), length, end)


def test_content_on_a_single_line_is_encoded_piece_by_piece() -> None:
    parts = list(encoded([b"abcd", b"efgh"], 12, b""))

    assert b"".join(parts) == base64.b64encode(b"abcdefgh")
    assert len(parts) > 1


@pytest.mark.parametrize("length", [4, 60, 72, 73, 76, 998])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("size", [1, 57, 171, 300_000])
def test_the_layout_of_regular_base64_puts_it_back(length: int, end: bytes, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    sent = b"\r\n" + lines(content, length, end) + end + end
    raw = InMemory(sent)

    found = layout(raw, 0, len(sent))

    assert found is not None
    assert (found.sha256, found.size_bytes) == digest(raw, Span(0, len(sent), "base64"))
    assert b"".join(encoded([content], found.line_length, found.line_end)) == sent[found.start : found.end]
    assert not sent[found.end :].strip()
    assert not sent[: found.start].strip()


@pytest.mark.parametrize(
    "sent",
    [
        b"QUJD\r\nQUJDQUJD\r\n",  # lines that grow
        b"QUJDQUJD\r\nQUJD\r\nQUJDQUJD",
        b"QUJDQUJD\r\nQUJDQUJD\nQUJD",  # two kinds of line end
        b"QUJD\n\nQUJD",
        b"QUI\n",  # no padding
        b"QUJ=",  # bits that no encoder sets
        b"QQ==\nQQ==",
        b"QU-_",
        b"QUJD QUJD",
        b"\r\n \r\n",
        b"",
    ],
)
def test_irregular_base64_has_no_layout(sent: bytes) -> None:
    assert layout(InMemory(sent), 0, len(sent)) is None


def test_padding_in_the_middle_is_found_though_it_falls_between_two_blocks() -> None:
    line = base64.b64encode(bytes(57))
    sent = b"\n".join([*[line] * 4000, base64.b64encode(bytes(55)), *[line] * 4000])

    for shift in range(8):
        moved = b"\n".join([line] * shift) + b"\n" + sent if shift else sent
        assert layout(InMemory(moved), 0, len(moved)) is None


def test_content_is_decoded_the_same_from_memory_and_from_disk(tmp_path: Path) -> None:
    sent = lines(bytes(range(256)) * 5000, 76, b"\r\n")
    path = tmp_path / "sent"
    path.write_bytes(sent)

    with OnDisk(path, len(sent)).open() as raw:
        assert digest(raw, Span(0, len(sent), "base64")) == digest(InMemory(sent), Span(0, len(sent), "base64"))
        assert layout(raw, 0, len(sent)) == layout(InMemory(sent), 0, len(sent))
