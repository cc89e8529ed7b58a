"""Text in whatever charset: its letters and digits are exchanged, its addresses and hosts replaced.

The result is as long as what it stands for, and as good or bad at being the charset that it claims.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO

from ..charsets import Hints, codec, decode
from .mask import BYTES, UTF_8, Mask
from .names import ADDRESS, HOST, address, domain, identifier

Replace = Callable[[Mask, re.Match[str]], str]

CHECKED_BYTES = 1 << 20  # of a text whose charset is looked at; the parser reads no more of it
_TRIES = 4  # times that another text is made, until it fits its charset as well as the old one
# What begins and ends characters of two bytes in seven bits: ISO-2022 (RFC 1468) and HZ (RFC 1843).
_SHIFT = re.compile(rb"(\x1b\$[@AB]|\x1b\$\([A-Z@]|\x1b\([A-Z])")
_HZ_SHIFT = re.compile(rb"(~[{}])")
_WIDE_BEGINS = (b"\x1b$", b"~{")
_PAIR = re.compile(rb"[\x21-\x7e]{2}")
_UTF_7 = re.compile(rb"\+([A-Za-z0-9+/]{3,}+)")
_META = re.compile(rb"<meta\b[^<>]*\bcharset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_META_BYTES = 4096
_LITTLE = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}


@dataclass(frozen=True, slots=True)
class Words:
    """What is not just letters: a pattern of named groups, and how what each of them finds is replaced.

    What no way to replace is given for stays as it is.
    """

    pattern: re.Pattern[str]
    replace: Mapping[str, Replace] = field(default_factory=dict)


def _address(mask: Mask, match: re.Match[str]) -> str:
    return address(mask, match[0])


def _host(mask: Mask, match: re.Match[str]) -> str:
    return domain(mask, match[0])


def _reference(mask: Mask, match: re.Match[str]) -> str:
    return match[0][:4] + identifier(mask, match[0][4:])


_ELEMENTS = (
    "a abbr address area article aside b base blockquote body br button caption center code col colgroup dd del div dl"
    " dt em fieldset font footer form frame frameset h1 h2 h3 h4 h5 h6 head header hr html i iframe img input ins label"
    " legend li link map meta noscript object ol option p param pre q s script section select small span strike strong"
    " style sub sup table tbody td textarea tfoot th thead title tr tt u ul var"
)
# After a boundary that no header names, the scan goes by this.
_SIGN = r"(?P<sign>(?:\A|(?<=\n))(?i:content-))"
PLAIN = Words(
    re.compile(rf"(?P<address>{ADDRESS})|(?<=//)(?P<host>{HOST})|{_SIGN}"), {"address": _address, "host": _host}
)
MARKUP = Words(
    re.compile(
        rf"(?P<cid>cid:[^\"'\s<>()]{{1,300}})|{PLAIN.pattern.pattern}"
        rf"|(?P<tag></?(?:{_ELEMENTS.replace(' ', '|')})\b)|(?P<entity>&(?:nbsp|amp|lt|gt|quot);)"
        r"|(?P<charset>\bcharset\s*=\s*[\"']?[A-Za-z0-9_.:-]{1,40})",
        re.IGNORECASE | re.ASCII,
    ),
    {**PLAIN.replace, "cid": _reference},
)


def text(mask: Mask, data: bytes, label: str | None = None, words: Words = PLAIN) -> bytes:
    """Other text in the place of *data*, which claims to be in the charset *label*."""
    name = codec((label or "").strip(" \"';\x00").lower())
    if data.isascii() and b"\x1b" not in data and (name is None or _is_plain(name)):
        return rewritten(mask, data.decode("ascii"), UTF_8, words).encode("ascii")
    standing = _Standing.of(data, label, words)
    other = data
    for other in _others(mask, data, name, words):
        if len(other) == len(data) and standing.shared_by(other):
            break
    return other


def rewritten(mask: Mask, text: str, alphabet: str, words: Words, attempt: int = 0) -> str:
    """Other text in the place of *text*, written in *alphabet*, with its *words* replaced as they want to be."""
    salt = b"text %d " % attempt + text.encode("utf-8", "surrogatepass")
    masked = mask.text(text, alphabet, salt)
    changed, at = StringIO(newline=""), 0
    for match in words.pattern.finditer(text):
        replace = words.replace.get(match.lastgroup or "")
        changed.write(masked[at : match.start()])
        changed.write(replace(mask, match) if replace else match[0])
        at = match.end()
    changed.write(masked[at:])
    return changed.getvalue()


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the parser thinks of how text is written."""

    label: str | None
    markup: bool
    defect: str | None

    @classmethod
    def of(cls, data: bytes, label: str | None, words: Words) -> _Standing:
        return cls(label, words is MARKUP, _defect(data, label, words is MARKUP))

    def shared_by(self, data: bytes) -> bool:
        return _defect(data, self.label, self.markup) == self.defect


def _defect(data: bytes, label: str | None, markup: bool) -> str | None:
    found = _META.search(data, 0, _META_BYTES) if markup else None
    hints = Hints(found[1].decode("ascii") if found else None)
    return decode(data[:CHECKED_BYTES], label, whole=len(data) <= CHECKED_BYTES, hints=hints).defect


def _others(mask: Mask, data: bytes, name: str | None, words: Words) -> Iterator[bytes]:
    """What may stand in the place of *data*, the best first."""
    if _SHIFT.search(data):
        yield _shifted(mask, data, _SHIFT, words)
    if name == "hz":
        yield _shifted(mask, data, _HZ_SHIFT, words)
    if name == "utf-7":
        yield _in_utf_7(mask, data, words)
    for alphabet in _alphabets(data, name):
        try:
            read = data.decode(alphabet)
            for attempt in range(_TRIES):
                yield rewritten(mask, read, alphabet, words, attempt).encode(alphabet)
        except (UnicodeError, ValueError):
            continue
    for attempt in range(_TRIES):
        yield rewritten(mask, data.decode(BYTES), BYTES, words, attempt).encode(BYTES)


def _is_plain(name: str) -> bool:
    """Whether ASCII in the charset *name* is written as it is, and nothing else is written in ASCII."""
    return name not in ("utf-7", "hz") and "a".encode(name) == b"a"


def _alphabets(data: bytes, name: str | None) -> Iterator[str]:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield "utf-16-le" if data.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    if name and name != "utf-7":
        yield _LITTLE.get(name, name)
    yield UTF_8


def _shifted(mask: Mask, data: bytes, shift: re.Pattern[bytes], words: Words) -> bytes:
    """Text with characters of two bytes between shifts: they become others, from rows that have no gaps."""
    pieces, begun = [], b""
    for piece in shift.split(data):
        if shift.fullmatch(piece):
            pieces.append(piece)
            begun = piece if piece.startswith(_WIDE_BEGINS) else b""
        elif begun and _is_wide(begun + piece):
            noise = iter(mask.noise(b"pairs " + piece, 2 * len(piece)))
            pieces.append(_PAIR.sub(lambda _, n=noise: bytes((0x30 + next(n) % 31, 0x21 + next(n) % 94)), piece))
        else:
            pieces.append(text(mask, piece, None, words))
    return b"".join(pieces)


def _is_wide(data: bytes) -> bool:
    """Whether *data* is what its first shift says; after one that nobody meant comes plain text."""
    try:
        data.decode("hz" if data.startswith(b"~") else "iso2022_jp_ext")
    except UnicodeError:
        return False
    return True


def _in_utf_7(mask: Mask, data: bytes, words: Words) -> bytes:
    """Text in UTF-7 (RFC 2152), with other letters in its runs of base64."""
    pieces, at = [], 0
    for match in _UTF_7.finditer(data):
        pieces += [text(mask, data[at : match.start(1)], None, words), _run_of_utf_7(mask, match[1])]
        at = match.end(1)
    return b"".join((*pieces, text(mask, data[at:], None, words)))


def _run_of_utf_7(mask: Mask, run: bytes) -> bytes:
    """Characters of 16 bits take 8 characters of base64 for 3; the last bits of each are exchanged."""
    bits = "".join(f"{_BASE64.index(byte):06b}" for byte in run)
    units = [int(bits[at : at + 16], 2) for at in range(0, len(bits) - 15, 16)]
    letters = "".join(map(chr, units)).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    other = mask.text(letters, "utf-16-be", b"run " + run).encode("utf-16-be", "surrogatepass")
    changed = "".join(f"{byte:08b}" for byte in other) + bits[len(units) * 16 :]
    return bytes(_BASE64[int(changed[at : at + 6], 2)] for at in range(0, len(bits), 6))


_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
