"""From bytes and the charset they claim to text: tolerant of labels that are wrong, careful with what codecs may do."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from .detect import detected

_ASCII = bytes(range(128))
_LABEL = 60  # characters of a charset label worth looking at
_ESCAPE_JP = b"\x1b$"

# Python has codecs that are no charsets (zlib, idna, unicode_escape): mail never chooses among those.
_CODEC_NAMES = """
ascii utf-8 utf-8-sig utf-16 utf-16-le utf-16-be utf-32 utf-32-le utf-32-be utf-7
iso8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9 iso8859-10 iso8859-11
iso8859-13 iso8859-14 iso8859-15 iso8859-16 tis-620
cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258
cp437 cp720 cp737 cp775 cp850 cp852 cp855 cp856 cp857 cp858 cp860 cp861 cp862 cp863 cp864 cp865 cp866 cp869 cp874
cp1125 cp932 cp949 cp950 koi8-r koi8-t koi8-u kz1048 ptcp154
mac-roman mac-cyrillic mac-greek mac-iceland mac-latin2 mac-turkish mac-croatian mac-romanian
gb18030 gbk gb2312 hz big5 big5hkscs euc_jp euc_jis_2004 euc_jisx0213 euc_kr johab
shift_jis shift_jis_2004 shift_jisx0213 hp-roman8
iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_2004 iso2022_jp_3 iso2022_jp_ext iso2022_kr
"""
_CODECS = frozenset(_CODEC_NAMES.split())

# Labels that in mail mean more than they say, and some that Python does not know.
_MEANT = {
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "ansi_x3.4-1968": "cp1252",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "hz-gb-2312": "hz",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "cp-932": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "euc-kr": "cp949",
    "unicode-1-1-utf-7": "utf-7",
    "utf8": "utf-8",
    "utf-8mb4": "utf-8",
    "unicode": "utf-8",
    "default": "utf-8",
    "macintosh": "mac-roman",
    "x-mac-roman": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "cp-850": "cp850",
    "x-unknown": "",
    "unknown-8bit": "",
    "binary": "",
}
_CODE_PAGES = {
    10000: "macintosh",
    1361: "johab",
    20127: "us-ascii",
    20866: "koi8-r",
    21866: "koi8-u",
    50220: "iso-2022-jp",
    50221: "iso-2022-jp",
    50222: "iso-2022-jp",
    50225: "iso-2022-kr",
    51932: "euc-jp",
    51949: "euc-kr",
    52936: "hz-gb-2312",
    54936: "gb18030",
    65000: "utf-7",
    65001: "utf-8",
}
_ASCII_LABELS = frozenset({"", "us-ascii", "ascii", "ansi_x3.4-1968"})
_NOT_ASCII = frozenset({"utf-7", "hz", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"})
_PLAUSIBLE = frozenset({"utf-8", "utf-8-sig", "iso2022_jp_ext"})  # where nothing is declared
_WINDOWS = re.compile(r"^(?:charset=)?(?:cp|windows)?[ _-]*(12\d\d)$")


@dataclass(frozen=True, slots=True)
class Hints:
    """The bytes are text that may be judged by its looks; *label* is what it says of itself, if at all."""

    label: str | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text, not yet cleaned, and what was wrong with the charset it claimed."""

    text: str
    defect: str | None = None


def decode(data: bytes, charset: str | None, *, whole: bool = True, hints: Hints | None = None) -> Decoded:
    """Decode *data*, whatever *charset* says it is. Without *whole*, the last character may be cut off.

    With *hints*, bytes that claim nothing, or cannot be what they claim, are what those say or look like.
    """
    label = (charset or "")[:_LABEL].strip(" \"';\x00").lower()
    name = codec(label)
    if data.isascii() and name not in _NOT_ASCII and b"\x1b" not in data:
        known = name is not None or label in _ASCII_LABELS
        return Decoded(data.decode("ascii"), None if known else f"charset: {_printable(label)}")
    vague = label in _ASCII_LABELS or name is None
    for attempt, expected in _attempts(data, name, hints, vague=vague):
        try:
            text = _strict(data, attempt, whole=whole)
        except (UnicodeError, ValueError):
            continue
        fine = expected or (label in _ASCII_LABELS and attempt in _PLAUSIBLE)
        return Decoded(text, None if fine else f"charset: {_printable(label or 'undeclared')}")
    return Decoded(_replacing(data, name, hints), f"charset: {_printable(label or 'undeclared')}")


@lru_cache(maxsize=512)
def codec(label: str) -> str | None:
    """The codec that the lower-case *label* means, or None when it means none that mail may use."""
    windows = _WINDOWS.match(label)
    label = f"cp{windows[1]}" if windows else label.removeprefix("charset=")
    label = _MEANT.get(label, label)
    if not label or not label.isascii() or "\x00" in label:
        return None
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError, UnicodeError):
        return None
    return _MEANT.get(name, name) if name in _CODECS else None


def code_page(number: int) -> str:
    """The label of the charset that Windows knows as *number*, e.g. "cp1251"."""
    if 28591 <= number <= 28605:
        return f"iso-8859-{number - 28590}"
    return _CODE_PAGES.get(number, f"cp{number}")


def eight_bit(data: bytes) -> str:
    """Decode header bytes that claim no charset: UTF-8 where they can be, else what Western senders meant."""
    if data.isascii() and b"\x1b" not in data:
        return data.decode("ascii")
    return decode(data, None).text


def _attempts(data: bytes, name: str | None, hints: Hints | None, *, vague: bool) -> Iterator[tuple[str, bool]]:
    """What to try, in order, and whether it is what was claimed; one is asked for when all before it have failed."""
    hinted = codec(hints.label.lower()) if hints and hints.label else None
    if data.startswith(codecs.BOM_UTF8):
        yield "utf-8-sig", name is not None
    if vague:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            yield "utf-16", True
        if _ESCAPE_JP in data:
            yield "iso2022_jp_ext", False
        yield "utf-8", False
    elif name:
        yield name, True
    if hinted and hinted not in _NOT_ASCII:
        yield hinted, vague
    if vague and hints and (found := detected(data)):
        yield found, False
    if vague and name:
        yield name, True


def _strict(data: bytes, name: str, *, whole: bool) -> str:
    if whole:
        return data.decode(name)
    return codecs.getincrementaldecoder(name)("strict").decode(data, final=False)


def _replacing(data: bytes, name: str | None, hints: Hints | None) -> str:
    """Decode what no charset fits: as what it nearly is, UTF-8 or what it claims, else as what it looks like."""
    text = data.decode("utf-8", "replace")
    bad, beyond = text.count("\ufffd"), len(data.translate(None, _ASCII))
    if len(text) - bad - (len(data) - beyond) > 4 * bad:
        return text
    claimed = name if name and name != "utf-8" else "cp1252"
    text = data.decode(claimed, "replace")
    if not hints or (name == claimed and text.count("\ufffd") * 20 < beyond):
        return text
    found = detected(data)
    return data.decode(found, "replace") if found else text


def _printable(label: str) -> str:
    return re.sub(r"[^a-z0-9_.:+-]", "?", label)[:40]
