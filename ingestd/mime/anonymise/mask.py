"""Other letters and digits in the place of those that are there, decided by a key.

Without the key nothing leads back. Under one key the same thing always gets the same replacement, so that what was
equal stays equal: two addresses, or two copies of a file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256, shake_256
from io import StringIO

Kinds = tuple[bytes, ...]  # sets of bytes that are as good as each other

LINE = 1024  # bytes of a line that relations between lines are kept for; a boundary is shorter
_REMEMBERED = 4096  # lines
_PIECE = 64 * 1024  # bytes changed at a time
_NOT_CP1252 = frozenset({0x81, 0x8D, 0x8F, 0x90, 0x9D})
# What a byte beyond ASCII may become without a change to what is valid UTF-8 (RFC 3629, section 4) or cp1252.
_OF_UTF_8 = ((0x80, 0x8F), (0x90, 0x9F), (0xA0, 0xBF), (0xC0, 0xC1), (0xC2, 0xDF))
_OF_UTF_8_TOO = ((0xE1, 0xEC), (0xEE, 0xEF), (0xF1, 0xF3), (0xF5, 0xFF))
_ROLES = tuple(
    bytes(byte for byte in range(a, b + 1) if byte not in _NOT_CP1252) for a, b in (*_OF_UTF_8, *_OF_UTF_8_TOO)
)
LETTERS: Kinds = (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz", b"0123456789", *_ROLES)


@lru_cache(maxsize=16)
def _tables(kinds: Kinds) -> tuple[bytes, ...]:
    return tuple(_shifted(kinds, shift) for shift in range(256))


def _shifted(kinds: Kinds, shift: int) -> bytes:
    """The table that moves every byte to another one of its kind."""
    table = bytearray(range(256))
    for kind in kinds:
        for place, byte in enumerate(kind):
            # Never by nothing: no letter stays where it is.
            table[byte] = kind[(place + 1 + shift % (len(kind) - 1)) % len(kind)]
    return bytes(table)


@dataclass(frozen=True, slots=True)
class Mask:
    """A key, and what is replaced by it. Everything keeps its length."""

    key: bytes = field(repr=False)
    _lines: dict[bytes, bytes] = field(default_factory=dict, repr=False)

    def noise(self, salt: bytes, size_bytes: int) -> bytes:
        """*size_bytes* that nobody can foretell; the same for the same *salt*."""
        return shake_256(self.key + sha256(salt).digest()).digest(size_bytes)

    def exchanged(self, data: bytes, salt: bytes, kinds: Kinds = LETTERS) -> bytes:
        """*data* with every byte that is of one of *kinds* exchanged for another one of its kind."""
        tables, noise, changed = _tables(kinds), self.noise(salt, len(data)), bytearray()
        for at in range(0, len(data), _PIECE):
            pairs = zip(noise[at : at + _PIECE], data[at : at + _PIECE], strict=True)
            changed += bytearray([tables[shift][byte] for shift, byte in pairs])
        return bytes(changed)

    def text(self, text: str, alphabet: str, salt: bytes) -> str:
        """*text* with every letter and digit exchanged for one of its kind that *alphabet* can write as long."""
        written = self.exchanged(text.encode("ascii", "replace"), salt).decode("ascii")
        if text.isascii():
            return written
        beyond = sum(map(len, _BEYOND.findall(text)))
        numbers = iter(memoryview(self.noise(b"beyond " + salt, 4 * beyond)).cast("I"))
        changed, at = StringIO(newline=""), 0  # rather than a list of letters, of which there may be millions
        for match in _BEYOND.finditer(text):
            changed.write(written[at : match.start()])
            changed.writelines(_other(letter, alphabet, next(numbers)) for letter in match[0])
            at = match.end()
        changed.write(written[at:])
        return changed.getvalue()

    def word(self, text: str) -> str:
        """A name for *text* that is the same wherever it stands, however it is capitalised there."""
        return self.text(text, UTF_8, b"word " + text.lower().encode("utf-8", "surrogatepass"))

    def line(self, line: bytes) -> bytes:
        """What follows the "--" of a line, or the boundary that it may be.

        One that is another one, or begins another one, still does: each character is exchanged for one that depends on
        all before it. So boundaries keep their relation, and no other line becomes one.
        """
        head = line[:LINE]
        if head not in self._lines:
            if len(self._lines) == _REMEMBERED:
                self._lines.clear()
            self._lines[head] = bytes(self._unfolding(head))
        return self._lines[head] + self.exchanged(line[LINE:], line)

    def _unfolding(self, line: bytes) -> Iterator[int]:
        state, tables = sha256(b"line " + self.key), _tables(LETTERS)
        for byte in line:
            yield tables[state.copy().digest()[0]][byte]
            state.update(bytes([byte]))


UTF_8 = "utf-8"
BYTES = "latin-1"  # of bytes that are in no charset; what UTF-8 makes of each of them stays
_BEYOND = re.compile("[^\x00-\x7f]+")
_FIRST, _LAST = 0x80, 0x2FFFF  # where scripts lie


def _other(letter: str, alphabet: str, number: int) -> str:
    others = _roles()[letter] if alphabet == BYTES else _alike(_kind(letter), alphabet, _size(letter, alphabet))
    if len(others) < 2 or letter not in others:
        return letter
    return others[(others.index(letter) + 1 + number % (len(others) - 1)) % len(others)]


@lru_cache(maxsize=1)
def _roles() -> dict[str, str]:
    alone = {chr(byte): chr(byte) for byte in range(_FIRST, 256)}
    return alone | {chr(byte): role.decode(BYTES) for role in _ROLES for byte in role}


@lru_cache(maxsize=1024)
def _alike(kind: str, alphabet: str, size_bytes: int) -> str:
    """All letters of a kind that *alphabet* writes in *size_bytes*."""
    return "".join(letter for letter in _kinds().get(kind, "") if _size(letter, alphabet) == size_bytes)


@lru_cache(maxsize=1)
def _kinds() -> dict[str, str]:
    kinds: dict[str, list[str]] = {}
    for number in range(_FIRST, _LAST + 1):
        if kind := _kind(chr(number)):
            kinds.setdefault(kind, []).append(chr(number))
    return {kind: "".join(letters) for kind, letters in kinds.items()}


@lru_cache(maxsize=8192)
def _kind(letter: str) -> str:
    """Its script and what it is in it, such as "CYRILLIC Lu"; "" for what is no letter, number or mark."""
    category = unicodedata.category(letter)
    if category[0] not in "LMN":
        return ""
    return f"{unicodedata.name(letter, '').partition(' ')[0]} {category}"


@lru_cache(maxsize=65536)
def _size(letter: str, alphabet: str) -> int:
    try:
        return len(letter.encode(alphabet))
    except UnicodeError:
        return 0
