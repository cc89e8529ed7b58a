"""Other content under the same transfer encoding, written in exactly the same places.

Line ends, padding, blanks, and whatever does not belong there stay where they are, so what was wrong with the encoding
stays wrong with it. All is gone through twice rather than held in pieces, of which there may be millions.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator

Other = Callable[[bytes], bytes]  # other content, as long

_CHARACTERS = re.compile(rb"[A-Za-z0-9+/]+")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PADDED_ALPHABET = _ALPHABET + b"="
_NOT_BASE64 = bytes(byte for byte in range(256) if byte not in _PADDED_ALPHABET)
_RUN = re.compile(rb"[^=]+")
_QUOTED = re.compile(rb"=[0-9A-Fa-f]{2}|=[ \t]*(?:\r\n|\n|\r|\Z)")
_PERCENT = re.compile(rb"%[0-9A-Fa-f]{2}")
_ANY = ord("a")
_SAFE = bytes(_ANY if byte < 128 and (chr(byte).isalnum() or chr(byte) in ".-") else byte for byte in range(256))


def in_base64(data: bytes, other: Other) -> bytes:
    """*data*, in base64, with other content."""
    # Padding ends a run, not the content: some senders encode chunk by chunk and join the results.
    characters = data.translate(None, _NOT_BASE64)
    content = bytearray()
    for run in _RUN.finditer(characters):
        content += _decoded(run[0])
    changed, written, at = other(bytes(content)), bytearray(), 0
    for run in _RUN.finditer(characters):
        size_bytes = len(run[0]) * 3 // 4
        written += _written(run[0], changed[at : at + size_bytes])
        at += size_bytes
    return _in_places(data, written)


def _decoded(run: bytes) -> bytes:
    whole = run[:-1] if len(run) % 4 == 1 else run
    return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))


def _written(run: bytes, content: bytes) -> bytes:
    """*content* in as many characters as *run*, and with the bits of its last one that hold no content."""
    characters = bytearray(binascii.b2a_base64(content, newline=False).rstrip(b"="))
    spare = {2: 4, 3: 2}.get(len(run) % 4, 0)
    if spare:
        characters[-1] = _ALPHABET[_ALPHABET.index(characters[-1]) | (_ALPHABET.index(run[-1]) & (1 << spare) - 1)]
    return bytes(characters) + run[len(characters) :]


def _in_places(data: bytes, characters: bytearray) -> bytes:
    placed, at, end = bytearray(), 0, 0
    for match in _CHARACTERS.finditer(data):
        placed += data[end : match.start()]
        placed += characters[at : at + len(match[0])]
        at, end = at + len(match[0]), match.end()
    return bytes(placed + data[end:])


def in_quoted(data: bytes, other: Other) -> bytes:
    """*data*, in quoted-printable or in an encoded word like it, with other content; what is escaped stays so."""
    return _in_escapes(data, _QUOTED, other)


def in_percent(data: bytes, other: Other) -> bytes:
    """*data*, in the manner of RFC 2231, with other content; what is escaped stays so."""
    return _in_escapes(data, _PERCENT, other)


def _in_escapes(data: bytes, escape: re.Pattern[bytes], other: Other) -> bytes:
    content = bytearray()
    for piece, escaped in _pieces(data, escape):
        content += _unescaped(piece) if escaped else piece
    changed, written, at = other(bytes(content)), bytearray(), 0
    for piece, escaped in _pieces(data, escape):
        size_bytes = len(_unescaped(piece)) if escaped else len(piece)
        new = changed[at : at + size_bytes]
        written += _escaped(piece, new) if escaped else _safe(piece, new)
        at += size_bytes
    return bytes(written)


def _pieces(data: bytes, escape: re.Pattern[bytes]) -> Iterator[tuple[bytes, bool]]:
    at = 0
    for match in escape.finditer(data):
        if at < match.start():
            yield data[at : match.start()], False
        yield match[0], True
        at = match.end()
    yield data[at:], False


def _unescaped(piece: bytes) -> bytes:
    return bytes([int(piece[1:], 16)]) if piece[1:].isalnum() else b""  # else a soft line break


def _escaped(piece: bytes, content: bytes) -> bytes:
    if not content:
        return piece
    form = b"%02x" if piece[1:].islower() else b"%02X"
    return piece[:1] + form % content[0]


def _safe(old: bytes, new: bytes) -> bytes:
    """*new*, without what would be read otherwise there: a byte of a wide character may have become an "="."""
    if new.translate(_SAFE) == old.translate(_SAFE):
        return new
    return bytes(b if a == b or (_SAFE[b] == _ANY and a > 32) else a for a, b in zip(old, new, strict=True))
