"""What lies in a winmail.dat: the files that Outlook put into one attachment, and the body (MS-OXTNEF).

Read forward in one pass, and only where things lie: the files are decoded like any other attachment. The libraries that
read this format hold several copies of it, and take quadratic time over one that is made for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..message import Encoding
from . import lzfu
from .charsets import code_page, decode
from .clean import one_line
from .enclosed import Enclosed
from .stream import Stream

FILES = 100  # of one winmail.dat
CONTENT_TYPE = "application/ms-tnef"

_SIGNATURE = b"\x78\x9f\x3e\x22"
_ATTRIBUTES = 100_000
_PROPERTIES = 5_000
_VALUE_BYTES = 4096  # of a property that is read; a longer one is content
_ATTACHMENT_LEVEL = 2

# Attributes, by the lower half of their identifier.
_TITLE, _DATA, _BEGINS, _MESSAGE_PROPERTIES, _PROPERTIES_OF_ATTACHMENT = 0x8010, 0x800F, 0x9002, 0x9003, 0x9005
_BODY, _CODE_PAGE = 0x800C, 0x9007

# Properties and their types (MS-OXPROPS).
_PLAIN_BODY, _RICH_BODY, _HTML_BODY, _BODY_CODE_PAGE = 0x1000, 0x1009, 0x1013, 0x3FDE
_OF_BODIES = frozenset({_PLAIN_BODY, _RICH_BODY, _HTML_BODY, _BODY_CODE_PAGE})
_CONTENT, _SHORT_NAME, _LONG_NAME, _MEDIA_TYPE, _CONTENT_ID = 0x3701, 0x3704, 0x3707, 0x370E, 0x3712
_STRING, _UNICODE, _OBJECT, _BINARY = 0x1E, 0x1F, 0x0D, 0x102
_FIXED = {0x02: 4, 0x03: 4, 0x04: 4, 0x05: 8, 0x06: 8, 0x07: 8, 0x0A: 4, 0x0B: 4, 0x14: 8, 0x40: 8, 0x48: 16}
_VARIABLE = frozenset({_STRING, _UNICODE, _OBJECT, _BINARY})
_MANY, _NAMED = 0x1000, 0x8000
_INTERFACE_BYTES = 16  # before an object: what it is
_BODY_TYPES = {"txt": "text/plain", "html": "text/html", "rtf": "application/rtf"}
_IS_MESSAGE = bytes.fromhex("0703020000000000c000000000000046")


@dataclass(slots=True)
class _File:
    """An attachment as far as it was read."""

    start: int = 0
    end: int = 0
    title: str = ""
    short_name: str = ""
    long_name: str = ""
    media_type: str = ""
    content_id: str = ""

    def enclosed(self) -> Enclosed:
        name = self.long_name or self.title or self.short_name or None
        kind = self.media_type.lower() if "/" in self.media_type else "application/octet-stream"
        return Enclosed(self.start, self.end, "identity", name, kind, self.content_id or None)


@dataclass(frozen=True, slots=True)
class _Property:
    """A value that is short enough to be read, or else where it lies."""

    id: int
    type: int
    start: int
    end: int
    value: bytes


def files(pieces: Iterable[bytes]) -> Iterator[Enclosed]:
    """The files of the TNEF in *pieces*, and its bodies, in order; none if it is no TNEF.

    One that is cut off or broken gives what lies before that.
    """
    stream = Stream(pieces)
    if stream.read(4) != _SIGNATURE:
        return
    stream.skip(2)
    reader, count = _Reader(stream), 0
    for file in reader.files():
        if file.end > file.start and count < FILES:
            count += 1
            yield file


class _Reader:
    """Goes through the attributes, and through the properties within some of them."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._charset = "cp1252"

    def files(self) -> Iterator[Enclosed]:
        file: _File | None = None
        for _ in range(_ATTRIBUTES):
            head = self._stream.read(9)
            if len(head) < 9:
                break
            level, name = head[0], int.from_bytes(head[1:3], "little")
            start, end = self._stream.at, self._stream.at + int.from_bytes(head[5:9], "little")
            if level == _ATTACHMENT_LEVEL:
                if file is None or name == _BEGINS:
                    yield from [file.enclosed()] if file else ()
                    file = _File()
                self._describe(file, name, start, end)
            else:
                yield from self._bodies(name, start, end)
            # Whatever was read of it, the next attribute follows its checksum.
            self._stream.skip(max(end + 2 - self._stream.at, 0))
            if self._stream.at < end:
                return  # cut off: the file at hand is not whole
        yield from [file.enclosed()] if file else ()

    def _describe(self, file: _File, name: int, start: int, end: int) -> None:
        if name == _TITLE:
            file.title = self._text(self._stream.read(min(end - start, _VALUE_BYTES)), _STRING)
        elif name == _DATA:
            file.start, file.end = start, end
        elif name == _PROPERTIES_OF_ATTACHMENT:
            for each in self._properties(end):
                self._describe_by(file, each)

    def _describe_by(self, file: _File, found: _Property) -> None:
        if found.id == _CONTENT and found.type in (_OBJECT, _BINARY):
            file.start, file.end = found.start, found.end
            if found.type == _OBJECT and found.end - found.start >= _INTERFACE_BYTES:
                file.start += _INTERFACE_BYTES
                if found.value.startswith(_IS_MESSAGE):
                    file.media_type = CONTENT_TYPE
        elif found.id == _LONG_NAME:
            file.long_name = self._text(found.value, found.type)
        elif found.id == _SHORT_NAME:
            file.short_name = self._text(found.value, found.type)
        elif found.id == _MEDIA_TYPE:
            file.media_type = file.media_type or self._text(found.value, found.type)
        elif found.id == _CONTENT_ID:
            file.content_id = self._text(found.value, found.type).strip("<>")

    def _bodies(self, name: int, start: int, end: int) -> Iterator[Enclosed]:
        if name == _CODE_PAGE:
            self._charset = code_page(int.from_bytes(self._stream.read(min(end - start, 4)), "little"))
        elif name == _BODY:
            yield _body(start, end, "identity", "txt", self._charset)
        elif name == _MESSAGE_PROPERTIES:
            found: dict[int, _Property] = {}
            for each in self._properties(end):
                if each.id in _OF_BODIES:
                    found.setdefault(each.id, each)
            page = found.pop(_BODY_CODE_PAGE, None)
            of_html = code_page(int.from_bytes(page.value[:4], "little")) if page else self._charset
            yield from filter(None, (_body_in(each, self._charset, of_html) for each in found.values()))

    def _properties(self, end: int) -> Iterator[_Property]:
        """The properties up to *end*; it stops at the first whose length cannot be known."""
        left = _PROPERTIES  # values of all properties together
        for _ in range(min(self._number(), _PROPERTIES)):
            head = self._stream.read(4)
            if self._stream.at > end or len(head) < 4:
                return
            kind, name = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:], "little")
            if name >= _NAMED:
                self._skip_name()
            many, kind = kind & _MANY, kind & ~_MANY
            values = self._number() if many or kind in _VARIABLE else 1
            for _ in range(min(values, left)):
                left -= 1
                size_bytes = _FIXED.get(kind) or (self._number() if kind in _VARIABLE else 0)
                start = self._stream.at
                if (not size_bytes and kind not in _VARIABLE) or start + size_bytes > end:
                    return
                value = self._stream.read(min(size_bytes, _VALUE_BYTES))
                yield _Property(name, kind, start, start + size_bytes, value)
                self._stream.skip(size_bytes - len(value) + -size_bytes % 4)

    def _skip_name(self) -> None:
        self._stream.skip(16)
        if not self._number():
            self._stream.skip(4)
        else:
            size_bytes = self._number()
            self._stream.skip(size_bytes + -size_bytes % 4)

    def _number(self) -> int:
        return int.from_bytes(self._stream.read(4), "little")

    def _text(self, value: bytes, kind: int) -> str:
        charset = "utf-16-le" if kind == _UNICODE else self._charset
        return one_line(decode(value, charset).text.partition("\x00")[0])


def _body_in(found: _Property, charset: str, of_html: str) -> Enclosed | None:
    """What *found* says of the message, if that is a body. A NUL ends a string, but not what is binary."""
    if found.id == _RICH_BODY and found.value[lzfu.KIND] in (lzfu.COMPRESSED, lzfu.STORED):
        return _body(found.start, found.end, "lzfu", "rtf", None)
    if found.id not in (_PLAIN_BODY, _HTML_BODY):
        return None
    extension = "txt" if found.id == _PLAIN_BODY else "html"
    if found.type == _UNICODE:
        return _body(found.start, found.end - 2, "utf-16", extension, "utf-8")
    if found.type == _STRING:
        return _body(found.start, found.end - 1, "identity", extension, charset)
    return _body(found.start, found.end, "identity", extension, of_html) if found.type == _BINARY else None


def _body(start: int, end: int, encoding: Encoding, extension: str, charset: str | None) -> Enclosed:
    kind = _BODY_TYPES[extension]
    return Enclosed(start, end, encoding, f"body.{extension}", kind, body=True, charset=charset)
