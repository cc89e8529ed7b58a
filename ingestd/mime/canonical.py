"""What a letter is, whichever protocol brought it: POP3 can give other bytes than IMAP of one and the same.

Dovecot puts 0x80 for a NUL over IMAP, where none may be, and leaves it over POP3; a server that keeps marks in the
header shows them (`Status`, `X-UIDL`) or not; and POP3 ends the last line when the letter does not. The canonical bytes
have none of these differences. They serve to find pairs, and are never stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256

from ..raw import Raw, pieces

HEAD = 64 * 1024  # bytes of the header that are looked at
NUL, INSTEAD = b"\x00", b"\x80"
CR_LF = b"\r\n"

_END = re.compile(rb"\n\r?\n")
_MARKS = re.compile(rb"^(?:Status|X-Status|X-UIDL)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.I | re.M)


def canonical(raw: Raw) -> str | None:
    """Return the SHA-256 of the canonical bytes of *raw*, hex; None when they are its own."""
    head = _head(raw)
    rest = _MARKS.sub(b"", head)
    tail = b"" if raw.read(raw.size_bytes - len(CR_LF), raw.size_bytes) == CR_LF else CR_LF
    if rest == head and not tail and raw.find(NUL, 0, raw.size_bytes) < 0:
        return None
    digest = sha256()
    for piece in _all(raw, rest, len(head), tail):
        digest.update(piece.replace(NUL, INSTEAD))
    return digest.hexdigest()


def _head(raw: Raw) -> bytes:
    """The lines of the header, as far as they are looked at."""
    first = raw.read(0, HEAD)
    found = _END.search(first)
    return first[: found.start() + 1] if found else first[: first.rfind(b"\n") + 1]


def _all(raw: Raw, rest: bytes, start: int, tail: bytes) -> Iterator[bytes]:
    yield rest
    yield from pieces(raw, start, raw.size_bytes)
    yield tail
