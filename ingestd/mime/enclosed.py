"""Files that lie within the content of a part, under no header of their own: uuencoded or in yEnc, in plain text.

That is how mail carried files before MIME, and how some programs still do. A "begin" that nothing valid follows, up to
an "end", is a word of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..message import Encoding
from .charsets import eight_bit
from .stream import Stream

FILES = 100  # within one text
_LINE = 1024  # bytes of a line that are looked at
_BEGINS = re.compile(rb"\n(?:begin [0-7]{3}|=ybegin )")
_ENDS_YENC = re.compile(rb"\n=yend[ \r\n]")
_UU_BEGIN = re.compile(rb"begin [0-7]{3,4} ([^\r\n]{1,500}?)[ \t]*\r?\n?")
_UU_LINE = re.compile(rb"[ -`]{1,90}")
_YENC_BEGIN = re.compile(rb"=ybegin (?=[^\r\n]*\bline=\d)[^\r\n]*?\bname=([^\r\n]{1,500}?)[ \t]*\r?\n?")


@dataclass(frozen=True, slots=True)
class Enclosed:
    """A file: where it lies in the content of its part, what to undo there, and what is said of it."""

    start: int
    end: int
    encoding: Encoding
    name: str | None
    content_type: str = "application/octet-stream"
    content_id: str | None = None


def in_text(pieces: Iterable[bytes]) -> Iterator[Enclosed]:
    """The files within plain text, in order. Linear in the text, however it tries not to be."""
    stream, count = Stream(pieces), 0
    while count < FILES and stream.seek(_BEGINS):
        start, line = stream.at, stream.peek_line(_LINE)
        stream.skip(len(line))
        if match := _UU_BEGIN.fullmatch(line):
            encoding, end = _UUENCODE, _end_of_uuencoded(stream)
        elif match := _YENC_BEGIN.fullmatch(line):
            encoding, end = _YENC, _end_of_yenc(stream)
        else:
            continue
        if end is not None:
            count += 1
            yield Enclosed(start, end, encoding, eight_bit(match[1]))


_UUENCODE: Encoding = "uuencode"
_YENC: Encoding = "yenc"


def _end_of_uuencoded(stream: Stream) -> int | None:
    """Where the "end" line ends; None, at the first line that is not of the file, when there is none."""
    lines = 0
    while line := stream.peek_line(_LINE):
        content = line.rstrip(b"\r\n")
        if content == b"end":
            if not lines:
                return None
            stream.skip(len(line))
            return stream.at
        if content and not _is_uuencoded(content, strict=not lines):
            return None
        lines += bool(content)
        stream.skip(len(line))
    return None


def _is_uuencoded(line: bytes, *, strict: bool) -> bool:
    """Whether *line* is as long as its first character says; but for the first one, blanks at its end may be gone."""
    if not _UU_LINE.fullmatch(line):
        return False
    content_bytes = (line[0] - 32) & 63
    characters = (content_bytes + 2) // 3 * 4
    return len(line) - 1 <= characters + 2 and (not strict or len(line) - 1 >= (content_bytes * 4 + 2) // 3)


def _end_of_yenc(stream: Stream) -> int | None:
    if not stream.seek(_ENDS_YENC):
        return None
    stream.skip(len(stream.peek_line(_LINE)))
    return stream.at
