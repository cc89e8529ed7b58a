"""Attachments as Outlook makes them (MS-OXTNEF), and the compressed RTF in them (MS-OXRTFCP)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from ingestd.mime.lzfu import DICTIONARY

BINARY, STRING, UNICODE, OBJECT, NUMBER = 0x102, 0x1E, 0x1F, 0x0D, 0x03
PLAIN_BODY, RICH_BODY, HTML_BODY, BODY_CODE_PAGE = 0x1000, 0x1009, 0x1013, 0x3FDE


def attribute(level: int, name: int, value: bytes) -> bytes:
    return struct.pack("<BIL", level, name, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)


def properties(*values: tuple[int, int, bytes]) -> bytes:
    """Properties: name, type, value."""
    out = struct.pack("<L", len(values))
    for name, kind, value in values:
        head = struct.pack("<HH", kind, name) + (b"" if kind == NUMBER else struct.pack("<LL", 1, len(value)))
        out += head + value + bytes(-len(value) % 4)
    return out


def tnef(*attributes: bytes) -> bytes:
    return b"\x78\x9f\x3e\x22\x01\x00" + b"".join(attributes)


def with_bodies(*values: tuple[int, int, bytes]) -> bytes:
    """A winmail.dat with nothing but these properties of the message."""
    return tnef(attribute(1, 0x69007, struct.pack("<LL", 1252, 0)), attribute(1, 0x69003, properties(*values)))


def file_in_tnef(content: bytes, *more: tuple[int, int, bytes], title: bytes = b"PHOTO~1.JPG\x00") -> bytes:
    return (
        attribute(2, 0x69002, bytes(14))
        + attribute(2, 0x18010, title)
        + attribute(2, 0x6800F, content)
        + (attribute(2, 0x69005, properties(*more)) if more else b"")
    )


def compressed(rtf: bytes) -> bytes:
    """*rtf* as Outlook stores it."""
    items = [*_items(rtf), None]
    content = b""
    for at in range(0, len(items), 8):
        flags, taken = 0, b""
        for bit, item in enumerate(items[at : at + 8]):
            if isinstance(item, bytes):
                taken += item
            else:
                flags |= 1 << bit
                place, length = item or ((len(DICTIONARY) + len(rtf)) % 4096, 2)
                taken += struct.pack(">H", place << 4 | length - 2)
        content += bytes([flags]) + taken
    checksum = zlib.crc32(content, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return struct.pack("<LL4sL", len(content) + 12, len(rtf), b"LZFu", checksum) + content


def stored(rtf: bytes) -> bytes:
    """*rtf* behind the same header, but not compressed."""
    return struct.pack("<LL4sL", len(rtf) + 12, len(rtf), b"MELA", 0) + rtf


def _items(rtf: bytes) -> Iterator[bytes | tuple[int, int]]:
    """The bytes of *rtf*, and references to what came before: where it stands in the window, and its length."""
    known, at = DICTIONARY, len(DICTIONARY)
    known += rtf
    while at < len(known):
        length = min(17, len(known) - at)
        while length > 1 and (found := known.rfind(known[at : at + length], max(at - 4095, 0), at + length - 1)) < 0:
            length -= 1
        if length > 1:
            yield found % 4096, length
        else:
            yield known[at : at + 1]
        at += max(length, 1)
