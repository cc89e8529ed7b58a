"""The body of a part: other content in the same transfer encoding, charset and layout."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from ...message import Encoding
from ..enclosed import BINHEX, Enclosed, in_text
from ..parts import EMBEDDING, Part
from .encoded import in_base64, in_quoted
from .header import header
from .mask import Mask
from .names import named_alike
from .text import MARKUP, text

_BOUNDARY = re.compile(rb"(?:\A|(?<=[\r\n]))--([^\r\n]*)")
_LINE = re.compile(rb"[^\r\n]+")
_REPORTS = frozenset({"text/rfc822-headers"})
_UU_BEGIN = re.compile(rb"(begin [0-7]{3,4} )(.*)")
_YENC_BEGIN = re.compile(rb"(=ybegin[^\r\n]*?\bname=)([^\r\n]*)")
_YENC_KEPT = re.compile(rb"^=y(?:part|end)[^\r\n]*|=.", re.DOTALL | re.MULTILINE)
# What content may consist of; without "-", so that no line becomes like a boundary.
_UU_LETTERS = (bytes(byte for byte in range(ord("!"), ord("`") + 1) if byte != ord("-")),)
_YENC_LETTERS = (bytes(byte for byte in range(1, 256) if chr(byte) not in "\t\n\r =.-"),)
_BINHEX_LETTERS = (b"!\"#$%&'()*+,012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr",)

Other = Callable[[bytes], bytes]


def lines(data: bytes, mask: Mask, other: Other) -> bytes:
    """*data* with other content; lines that are or may be a boundary keep their relation to every other one."""
    between, at, kept = [], 0, []
    for match in _BOUNDARY.finditer(data):
        between.append(data[at : match.start()])
        kept.append(b"--" + mask.line(match[1]))
        at = match.end()
    between.append(data[at:])
    changed, at, pieces = other(b"".join(between)), 0, []
    for piece, line in zip(between, [*kept, b""], strict=True):
        pieces += [changed[at : at + len(piece)], line]
        at += len(piece)
    return b"".join(pieces)


def body(mask: Mask, part: Part, data: bytes, encoding: Encoding, message: Other) -> bytes:
    """Other content in the body *data* of the leaf *part*; *message* makes another one of a message within."""
    content = message if part.content_type in EMBEDDING else _content(mask, part, opaque=encoding == "base64")
    if encoding == "base64":
        return in_base64(data, content)  # whatever "--" there is in it, its letters are content too
    if encoding == "quoted-printable":
        return lines(data, mask, lambda rest: in_quoted(rest, content))
    return lines(data, mask, partial(_uuencoded, mask) if encoding == "uuencode" else content)


def _content(mask: Mask, part: Part, *, opaque: bool) -> Other:
    kind, label = part.content_type, part.type.text("charset")
    if kind.startswith("message/") or kind in _REPORTS:
        return lambda data: header(mask, data, b"\n")
    if kind == "text/html":
        return lambda data: text(mask, data, label, MARKUP)
    if kind.startswith(("text/", "multipart/")):
        return lambda data: _with_files(mask, data, label)
    return partial(_noise, mask) if opaque else partial(text, mask)


def _noise(mask: Mask, data: bytes) -> bytes:
    return mask.noise(b"file " + data, len(data))


# --- files within text


def _with_files(mask: Mask, data: bytes, label: str | None) -> bytes:
    pieces, at = [], 0
    for file in in_text([data]):
        pieces += [text(mask, data[at : file.start], label), _file(mask, file, data[file.start : file.end])]
        at = file.end
    return b"".join((*pieces, text(mask, data[at:], label)))


def _file(mask: Mask, file: Enclosed, data: bytes) -> bytes:
    if file.content_type == BINHEX:
        return _binhex(mask, data)
    return _in_yenc(mask, data) if file.encoding == "yenc" else _uuencoded(mask, data)


def _uuencoded(mask: Mask, data: bytes) -> bytes:
    return _LINE.sub(lambda match: _uuline(mask, match[0]), data)


def _uuline(mask: Mask, line: bytes) -> bytes:
    """The first character says how long a line is, and stays."""
    if match := _UU_BEGIN.fullmatch(line):
        return match[1] + named_alike(match[2], text(mask, match[2]))
    return line if line == b"end" else line[:1] + mask.exchanged(line[1:], line, _UU_LETTERS)


def _in_yenc(mask: Mask, data: bytes) -> bytes:
    """Whatever stands behind an "=" stays: it may be a word of yEnc, or become one."""
    head = _YENC_BEGIN.match(data)
    at = head.end() if head else 0
    pieces = [head[1], named_alike(head[2], text(mask, head[2]))] if head else []
    other = mask.exchanged(data, data, _YENC_LETTERS)
    for match in _YENC_KEPT.finditer(data, at):
        pieces += [other[at : match.start()], match[0]]
        at = match.end()
    return b"".join((*pieces, other[at:]))


def _binhex(mask: Mask, data: bytes) -> bytes:
    """The line that announces it stays."""
    at = data.index(b"\n") if b"\n" in data else 0
    return data[:at] + mask.exchanged(data[at:], data, _BINHEX_LETTERS)
