"""How a base64 part is laid out in lines, and whether its content encodes to the very same characters again.

Where it does, the raw message refers to the content instead of holding it a second time. Nearly all base64 mail does.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from pybase64 import b64decode

from ..raw import Raw

LONGEST_LINE = 8 * 1024  # a longer first line counts only when it is the only one
_EDGE = 4096  # bytes of blank lines before and after the characters that are looked through
_BLOCK = 192 * 1024  # bytes taken at a time
_BLANK = b"\r\n\t "


@dataclass(frozen=True, slots=True)
class Layout:
    """Base64 from the first character to the last, in lines of *line_length* joined by *line_end*."""

    start: int
    end: int
    line_length: int
    line_end: bytes
    sha256: str  # hex, of the content
    size_bytes: int  # of the content


def layout(raw: Raw, start: int, end: int) -> Layout | None:
    """Return the layout of the base64 body in *raw*, or None when encoding again would not give the same bytes."""
    start, end = _trimmed(raw, start, end)
    if start >= end:
        return None
    line_length, line_end = _first_line(raw, start, end)
    if not line_length:
        return None
    sha, size_bytes = sha256(), 0
    for content in _contents(raw, start, end, line_length, line_end):
        if content is None:
            return None
        sha.update(content)
        size_bytes += len(content)
    return Layout(start, end, line_length, line_end, sha.hexdigest(), size_bytes)


def _contents(raw: Raw, start: int, end: int, line_length: int, line_end: bytes) -> Iterator[bytes | None]:
    """Decode piece by piece; None where the lines or their encoding are not exactly the expected ones."""
    if line_end:
        stride = line_length + len(line_end)
        # Four lines hold whole groups of four characters, whatever the length of a line.
        block, last = (
            4 * stride * max(_BLOCK // stride // 4, 1),
            start + (end - start - 1) // (4 * stride) * (4 * stride),
        )
        for at in range(start, last, block):
            yield _of_whole_lines(raw.read(at, min(at + block, last)), line_length, line_end)
        start = last
    for at in range(start, end, _BLOCK):
        piece = raw.read(at, min(at + _BLOCK, end))
        yield _of_the_rest(piece, line_length, line_end, last=at + _BLOCK >= end)


def _trimmed(raw: Raw, start: int, end: int) -> tuple[int, int]:
    head = raw.read(start, min(start + _EDGE, end))
    start += len(head) - len(head.lstrip(_BLANK))
    tail = raw.read(max(start, end - _EDGE), end)
    return start, end - (len(tail) - len(tail.rstrip(_BLANK)))


def _first_line(raw: Raw, start: int, end: int) -> tuple[int, bytes]:
    head = raw.read(start, min(start + LONGEST_LINE + 2, end))
    breaks = [at for at in (head.find(b"\n"), head.find(b"\r")) if at >= 0]
    if not breaks:
        return end - start, b""
    length = min(breaks)
    line_end = b"\r\n" if head.startswith(b"\r\n", length) else head[length : length + 1]
    return length, line_end


def _of_whole_lines(piece: bytes, line_length: int, line_end: bytes) -> bytes | None:
    if not _in_lines(piece, line_length, line_end):
        return None
    try:
        content = b64decode(piece)
    except binascii.Error:
        return None
    # That passes over what is not of the alphabet; so only if there is as much as there can be, that was the line ends.
    rows = len(piece) // (line_length + len(line_end))
    return content if len(content) * 4 == rows * line_length * 3 else None


def _of_the_rest(piece: bytes, line_length: int, line_end: bytes, *, last: bool) -> bytes | None:
    characters = piece
    if line_end:
        characters = piece.translate(None, line_end)
        rows = len(piece) // (line_length + len(line_end))
        if len(piece) - len(characters) != rows * len(line_end) or not _in_lines(piece, line_length, line_end):
            return None
    try:
        content = binascii.a2b_base64(characters, strict_mode=True)
    except binascii.Error:
        return None
    if not content or (not last and len(content) * 4 != len(characters) * 3):
        return None
    # Strict decoding takes nothing but the alphabet, and padding at the end only. So all characters come back, but for
    # bits of the last group that hold no content.
    group = binascii.b2a_base64(content[-(len(content) % 3 or 3) :], newline=False)
    return content if characters.endswith(group) else None


def _in_lines(piece: bytes, line_length: int, line_end: bytes) -> bool:
    """Whether the line ends stand where they should."""
    stride = line_length + len(line_end)
    rows = len(piece) // stride
    return all(piece[line_length + i :: stride] == line_end[i : i + 1] * rows for i in range(len(line_end)))
