"""Undo the transfer encoding of a part, and put base64 back as it was: in pieces, whatever the size.

What a sender got wrong never stops a decoder: characters that mean nothing are skipped. The result is a function of the
bytes alone, so content that was hashed while parsing comes out the same when it is stored.
"""

from __future__ import annotations

import binascii
import codecs
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain

from pybase64 import b64decode, b64encode

from ..message import Encoding, Span
from ..raw import Raw, pieces
from . import lzfu

LINE = 64 * 1024  # bytes of one line that a decoder holds while it waits for the end
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(byte for byte in range(256) if byte not in _ALPHABET)
_PADDING = re.compile(rb"=+")
_LONE_CR = re.compile(rb"\r(?!\n)")
_BLANK_BREAK = re.compile(rb"\n(?:(?<=[ \t]\n)|(?<=[ \t]\r\n))")
_SOFT_BREAK = re.compile(rb"(?<!=)=[ \t]*(?:\r\n|\n|\r)")  # "==" stands for "=", whatever follows
_YENC_ESCAPE = re.compile(rb"=(.)", re.DOTALL)
_UNYENC = bytes((byte - 42) % 256 for byte in range(256))
_UUBEGIN = re.compile(rb"(?:^|[\r\n])begin [0-7]{3,4} ")
_NAMES: dict[str, Encoding] = {
    "base64": "base64",
    "quoted-printable": "quoted-printable",
    "x-uuencode": "uuencode",
    "uuencode": "uuencode",
    "x-uue": "uuencode",
    "uue": "uuencode",
}
PLAIN = frozenset({"", "7bit", "8bit", "binary"})
KNOWN = PLAIN | _NAMES.keys()


def span_of(raw: Raw, start: int, end: int, name: str) -> Span:
    """A body and how to undo its Content-Transfer-Encoding, *name* in lower case; unknown ones are left as they are."""
    encoding = _NAMES.get(name, "identity")
    if encoding == "uuencode" and not _UUBEGIN.search(raw.read(start, min(start + LINE, end))):
        encoding = "identity"  # it only says so; without a "begin" there is nothing to decode
    return Span(start, end, encoding)


def decoded(raw: Raw, span: Span) -> Iterator[bytes]:
    """Yield the content of *span* with its transfer encoding undone, in order and in bounded pieces.

    The same bytes every time; bad data is skipped, never an error.
    """
    if span.within:
        source = _slice(decoded(raw, span.within), span.start, span.end)
    else:
        source = pieces(raw, span.start, span.end)
    undo = _UNDO.get(span.encoding)
    return undo(source) if undo else source


def digest(raw: Raw, span: Span) -> tuple[str, int]:
    """Return the SHA-256, in hex, and the size of the content of *span*."""
    sha, size_bytes = sha256(), 0
    for piece in decoded(raw, span):
        sha.update(piece)
        size_bytes += len(piece)
    return sha.hexdigest(), size_bytes


def start_of(raw: Raw, span: Span, size_bytes: int) -> tuple[bytes, bool]:
    """Return at most the first *size_bytes* of the content of *span*, and whether that is all of it."""
    return start(decoded(raw, span), size_bytes)


def start(content: Iterable[bytes], size_bytes: int, without: Sequence[tuple[int, int]] = ()) -> tuple[bytes, bool]:
    """Return at most the first *size_bytes* of *content*, which comes in pieces, and whether that is all of it.

    What lies in *without*, ranges in order, is left out.
    """
    taken, size = [], 0
    for piece in _left(content, without) if without else content:
        taken.append(piece)
        size += len(piece)
        if size > size_bytes:
            return b"".join(taken)[:size_bytes], False
    return b"".join(taken), True


def _slice(source: Iterator[bytes], start: int, end: int) -> Iterator[bytes]:
    """The bytes of *source* from *start* up to *end*; what follows is not even decoded."""
    at = 0
    for piece in source:
        if at + len(piece) > start:
            yield piece[max(start - at, 0) : end - at]
        at += len(piece)
        if at >= end:
            return


def _left(source: Iterable[bytes], without: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """The bytes of *source* that lie in none of the ranges."""
    ranges = deque(without)
    at = 0
    for piece in source:
        end = at + len(piece)
        while ranges and ranges[0][0] < end:
            start, stop = ranges[0]
            yield piece[: max(start - at, 0)]
            piece, at = piece[max(min(stop, end) - at, 0) :], min(stop, end)
            if stop > end:
                break
            ranges.popleft()
        yield piece
        at = end


def encoded(pieces: Iterable[bytes], line_length: int, line_end: bytes) -> Iterator[bytes]:
    """Yield *pieces* as base64 in lines of *line_length* joined by *line_end*, none after the last.

    The same characters however the content is cut into pieces.
    """
    if not line_end:
        yield from _to_base64(pieces)
        return
    rest = b""
    for characters in _to_base64(pieces):
        rest += characters
        # The last full line stays: only when more follows does it get a line end.
        whole = (len(rest) - 1) // line_length * line_length
        if whole > 0:
            yield line_end.join(rest[at : at + line_length] for at in range(0, whole, line_length)) + line_end
            rest = rest[whole:]
    if rest:
        yield rest


def _to_base64(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        data = rest + piece if rest else piece
        whole = len(data) - len(data) % 3
        if whole:
            yield b64encode(data[:whole])
        rest = data[whole:]
    if rest:
        yield b64encode(rest)


def _from_base64(source: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in source:
        data = rest + piece.translate(None, _NOT_BASE64)
        if b"=" in data:
            # Padding ends a run, not the content: some senders encode chunk by chunk and join the results.
            *runs, data = _PADDING.split(data)
            yield b"".join(map(_run, runs))
        whole = len(data) - len(data) % 4
        if whole:
            yield b64decode(data[:whole], validate=True)
        rest = data[whole:]
    if rest:
        yield _run(rest)


def _run(characters: bytes) -> bytes:
    """Decode base64 without its padding. A lone last character holds no whole byte."""
    if len(characters) % 4 == 1:
        characters = characters[:-1]
    return binascii.a2b_base64(characters + b"=" * (-len(characters) % 4))


def _from_quoted_printable(source: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in source:
        data = rest + piece
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) > LINE:
            escape = data.rfind(b"=", len(data) - 3)  # never between "=" and its digits
            cut = escape if escape > 0 else len(data)
        rest = data[cut:]
        if cut:
            yield _unquoted(data[:cut])
    if rest:
        yield _unquoted(rest)


def _unquoted(data: bytes) -> bytes:
    # a2b_qp takes "=\r" without "\n" for a break that eats everything up to the next line, and "= " for none. To look
    # for the line breaks of those takes a third of the time: there are fewer than "=".
    odd = _LONE_CR.search(data) or _BLANK_BREAK.search(data)
    return binascii.a2b_qp(_SOFT_BREAK.sub(b"", data) if odd else data)


def _from_uuencode(source: Iterator[bytes]) -> Iterator[bytes]:
    begun, rest = False, b""
    for piece in chain(source, (b"\n",)):
        *lines, rest = (rest + piece).split(b"\n")
        rest = rest[:LINE]
        content = []
        for line in lines:
            line = line.rstrip(b"\r")
            if not begun:
                begun = line.startswith(b"begin ")
            elif line == b"end":
                begun = False
            elif line:  # a2b_uu makes zeros of nothing
                content.append(_uuline(line))
        yield b"".join(content)


def _uuline(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        # Some encoders add a checksum or blanks after the characters that the first one announces.
        announced = ((line[0] - 32) & 63) * 4
    try:
        return binascii.a2b_uu(line[: (announced + 5) // 3])
    except binascii.Error:
        return b""


def _from_yenc(source: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in chain(source, (b"\n",)):
        *lines, rest = (rest + piece).split(b"\n")
        rest = rest[:LINE]
        yield b"".join(map(_yline, lines))


def _yline(line: bytes) -> bytes:
    if line.startswith(b"=y"):  # what is said of the file, before and after it
        return b""
    line = line.rstrip(b"\r")
    if b"=" in line:
        line = _YENC_ESCAPE.sub(lambda match: bytes([(match[1][0] - 64) % 256]), line)
    return line.translate(_UNYENC)


def _from_utf_16(source: Iterator[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16-le")("replace")
    for piece in source:
        yield decoder.decode(piece).encode()
    yield decoder.decode(b"", final=True).encode()


_UNDO: dict[Encoding, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
    "base64": _from_base64,
    "quoted-printable": _from_quoted_printable,
    "uuencode": _from_uuencode,
    "yenc": _from_yenc,
    "lzfu": lzfu.decompressed,
    "utf-16": _from_utf_16,
}
