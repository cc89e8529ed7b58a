"""Compressed RTF, in which Outlook keeps what was written (MS-OXRTFCP): decompressed forward, in bounded pieces.

What is broken never stops it: it gives what lies before. Two bytes can become seventeen, so there is a limit.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from .stream import Stream

LIMIT_BYTES = 16 << 20  # decompressed
COMPRESSED, STORED = b"LZFu", b"MELA"
KIND = slice(8, 12)  # of the header: one of these two
_HEADER = struct.Struct("<LL4sL")  # bytes that follow the first number, bytes decompressed, kind, checksum
_COUNTED = 12  # bytes of the header among those that follow
_INVERTED = 0xFFFFFFFF  # the checksum is the usual one, but with no bits turned over at either end
_PIECE = 64 * 1024
_WINDOW = 4096
DICTIONARY = (  # what every text may refer to
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor "
    rb"MS Sans SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)


def decompressed(source: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the RTF in *source*, which begins with its header; nothing if that is none."""
    items = chain.from_iterable(source)
    header = bytes(islice(items, _HEADER.size))
    if len(header) < _HEADER.size:
        return
    following, _, kind, _ = _HEADER.unpack(header)
    content = islice(items, max(following - _COUNTED, 0))
    left = LIMIT_BYTES
    for piece in _expanded(content) if kind == COMPRESSED else _stored(content) if kind == STORED else ():
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return


def is_sound(source: Iterable[bytes], size_bytes: int) -> bool:
    """Whether *source*, of which *size_bytes* were decompressed, is all that its header says, without an error."""
    stream = Stream(source)
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return False
    following, size, kind, checksum = _HEADER.unpack(header)
    left, found = following - _COUNTED, _INVERTED
    while left > 0 and (piece := stream.read(min(left, _PIECE))):
        left -= len(piece)
        found = zlib.crc32(piece, found)
    whole = bool(left == 0 and size == size_bytes)
    return whole and (kind == STORED or bool(checksum == found ^ _INVERTED))


def _stored(content: Iterator[int]) -> Iterator[bytes]:
    while piece := bytes(islice(content, _PIECE)):
        yield piece


def _expanded(content: Iterator[int]) -> Iterator[bytes]:
    out = bytearray(_WINDOW) + DICTIONARY  # what may be referred to; its length, modulo the window, is where it goes on
    given = len(out)
    for flags in content:
        ended = _end_within(flags, content, out)
        if ended or len(out) - given >= _PIECE:
            yield bytes(out[given:])
            del out[: (len(out) - _WINDOW) // _WINDOW * _WINDOW]
            given = len(out)
        if ended:
            return
    yield bytes(out[given:])


def _end_within(flags: int, content: Iterator[int], out: bytearray) -> bool:
    """Add up to eight items to *out*, bytes or references; return whether they were the last ones."""
    for bit in range(8):
        if (byte := next(content, None)) is None:
            return True
        if not flags >> bit & 1:
            out.append(byte)
            continue
        if (low := next(content, None)) is None:
            return True
        distance = (len(out) - (byte << 4 | low >> 4)) % _WINDOW
        if not distance:
            return True  # the mark of the end
        length = (low & 15) + 2
        start = len(out) - distance
        run = out[start : start + length]
        out += (run * (length // len(run) + 1))[:length]  # it may refer to what it is just writing
    return False
