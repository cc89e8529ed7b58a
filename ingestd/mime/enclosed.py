"""Files that lie within plain text, under no header of their own: uuencoded, in yEnc, in BinHex.

That is how mail carried files before MIME, and how some programs still do. A "begin" that nothing valid follows, up to
an "end", is a word of the text; so is one without "end", unless enough lines of a file follow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..message import Encoding
from .charsets import eight_bit
from .stream import Stream

FILES = 100  # within one text
BINHEX = "application/mac-binhex40"
_LINE = 1024  # bytes of a line that are looked at
_FULL_LINES = 3  # of a file without end, that no text is made of by chance
_BEGINS = re.compile(rb"\n(?:begin [0-7]{3}|=ybegin |\(This file must be conv)")
_YENC_EDGE = re.compile(rb"\n=y(?:end[ \r\n]|begin )")
_UU_BEGIN = re.compile(rb"begin [0-7]{3,4} ([^\r\n]{1,500}?)[ \t]*\r?\n?")
_UU_LINE = re.compile(rb"[ -`]{1,90}")
_UU_EMPTY = frozenset({b"`", b" "})
_YENC_BEGIN = re.compile(rb"=ybegin (?=[^\r\n]*\bline=\d)[^\r\n]*?\bname=([^\r\n]{1,500}?)[ \t]*\r?\n?")
_BINHEX_BEGIN = re.compile(rb"\(This file must be converted with BinHex[^\r\n]{0,100}()\r?\n?")
_BINHEX_LINE = re.compile(rb":?[!-,0-689@A-NP-VX-Z\[`a-fh-mp-r-]{0,80}:?[ \t]*\r?\n?")
_BINHEX_LINE_BYTES = 64
_BLANK_LINES = 5  # before the first colon


@dataclass(frozen=True, slots=True)
class Enclosed:
    """A file: where it lies in the content of its part, what to undo there, and what is said of it."""

    start: int
    end: int
    encoding: Encoding
    name: str | None
    content_type: str = "application/octet-stream"
    content_id: str | None = None
    defect: str | None = None
    body: bool = False  # it is what the message says, if that says nothing itself
    charset: str | None = None  # of such a body


@dataclass(frozen=True, slots=True)
class _Form:
    """A way to put a file into text."""

    word: str
    begins: re.Pattern[bytes]  # its first line; the group is the name of the file
    end: Callable[[Stream], _End | None]
    encoding: Encoding
    content_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class _End:
    """Where a file ends, and whether it says so itself."""

    at: int
    said: bool = True


def in_text(pieces: Iterable[bytes]) -> Iterator[Enclosed]:
    """The files within plain text, in order. Linear in the text, however it tries not to be."""
    stream, count = Stream(pieces), 0
    while count < FILES and stream.seek(_BEGINS):
        if file := _file(stream):
            count += 1
            yield file


def _file(stream: Stream) -> Enclosed | None:
    """The file that begins at the line at hand, if one does; what was read of it is passed over."""
    start, line = stream.at, stream.peek_line(_LINE)
    stream.skip(len(line))
    for form in _FORMS:
        if (match := form.begins.fullmatch(line)) and (end := form.end(stream)):
            defect = None if end.said else f"{form.word}: no end"
            return Enclosed(start, end.at, form.encoding, eight_bit(match[1]) or None, form.content_type, defect=defect)
    return None


@dataclass(slots=True)
class _Lines:
    """The lines of a uuencoded file so far."""

    count: int = 0
    full: int = 0  # the longest that programs write, and none of it is missing
    whole_to: int = 0  # where the last of them ends; where there is no "end" to be found, the file does
    shorter: bool = False  # so that was the last one
    blank: bool = False  # the line before was none

    def may_be_followed_by(self, line: bytes) -> bool:
        """One blank line may lie between two others: some gateways double them all."""
        return _is_uuencoded(line, strict=not self.count) if line else not self.blank

    def add(self, line: bytes, at: int) -> None:
        self.count += bool(line)
        self.blank = not line
        if line in _UU_EMPTY if self.shorter else line and _is_uuencoded(line, strict=True):
            self.full += line.startswith(b"M")
            self.shorter = not line.startswith(b"M")
            self.whole_to = at


def _end_of_uuencoded(stream: Stream) -> _End | None:
    """Where the "end" line ends, or else the lines of the file, if they can be nothing else."""
    seen = _Lines()
    while line := stream.peek_line(_LINE):
        content = line.rstrip(b"\r\n")
        if content == b"end" and seen.count:
            stream.skip(len(line))
            return _End(stream.at)
        if not seen.may_be_followed_by(content):
            break
        stream.skip(len(line))
        seen.add(content, stream.at)
    alone = not line or seen.blank  # nothing else follows at once
    return _End(seen.whole_to, said=False) if seen.full >= (1 if alone else _FULL_LINES) else None


def _is_uuencoded(line: bytes, *, strict: bool) -> bool:
    """Whether *line* is as long as its first character says; but for the first one, blanks at its end may be gone."""
    if not _UU_LINE.fullmatch(line):
        return False
    content_bytes = (line[0] - 32) & 63
    characters = (content_bytes + 2) // 3 * 4
    return len(line) - 1 <= characters + 2 and (not strict or len(line) - 1 >= (content_bytes * 4 + 2) // 3)


def _end_of_yenc(stream: Stream) -> _End | None:
    if not stream.seek(_YENC_EDGE) or (line := stream.peek_line(_LINE)).startswith(b"=ybegin"):
        return None
    stream.skip(len(line))
    return _End(stream.at)


def _end_of_binhex(stream: Stream) -> _End | None:
    """Where the line with the second colon ends (RFC 1741, appendix A), or else the lines of the file."""
    for _ in range(_BLANK_LINES):
        if not (line := stream.peek_line(_LINE)).strip():
            stream.skip(len(line))
    if not stream.peek_line(_LINE).startswith(b":"):
        return None
    full = 0
    while _BINHEX_LINE.fullmatch(line := stream.peek_line(_LINE)):
        content = line.rstrip()
        closes = content.endswith(b":", 0 if full else 1)
        if not closes and len(content) < _BINHEX_LINE_BYTES:
            break
        stream.skip(len(line))
        if closes:
            return _End(stream.at)
        full += 1
    return _End(stream.at, said=False) if full >= _FULL_LINES else None


_FORMS = (
    _Form("uuencode", _UU_BEGIN, _end_of_uuencoded, "uuencode"),
    _Form("yenc", _YENC_BEGIN, _end_of_yenc, "yenc"),
    _Form("binhex", _BINHEX_BEGIN, _end_of_binhex, "identity", BINHEX),
)
