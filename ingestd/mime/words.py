"""Header text: unfolding, raw 8-bit bytes, and encoded words (RFC 2047).

Adjacent words of one charset are joined as bytes first, since many senders cut words in the middle of a character.
Decoded text is cleaned last, so a line break hidden in a word cannot become a header of its own.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from .charsets import codec, decode, eight_bit
from .clean import one_line

# At most eight stray "?" within a word: more only costs time.
WORD = re.compile(r"=\?([^?\s*]{1,60})(?:\*[A-Za-z0-9-]{0,40})?\?([bBqQ])\?([^?]*(?:\?(?!=)[^?]*){0,8})\?=")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


def header_text(value: bytes) -> str:
    """The value of an unstructured header, on one line, decoded and clean."""
    return one_line(words_decoded(unfolded(value)))


def unfolded(value: bytes) -> str:
    """The value on one line, raw 8-bit bytes decoded, encoded words left as they are."""
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"").replace(b"\t", b" ")
    value = value.strip()
    return value.decode("ascii") if value.isascii() and b"\x1b" not in value else eight_bit(value)


def words_decoded(text: str) -> str:
    """*text* with its encoded words decoded. Not cleaned."""
    return "".join(_pieces(text)) if "=?" in text else text


def _pieces(text: str) -> Iterator[str]:
    at, charset, content = 0, "", b""
    for match in WORD.finditer(text):
        gap = text[at : match.start()]
        follows = bool(charset) and not gap.strip(" \t\r\n")
        if charset and not (follows and charset == match[1].lower()):
            yield decode(content, charset).text
            content = b""
        if not follows:
            yield gap
        charset = match[1].lower()
        content += _content(match[2], match[3], charset)
        at = match.end()
    if charset:
        yield decode(content, charset).text
    yield text[at:]


def _content(kind: str, text: str, charset: str) -> bytes:
    if kind in "qQ":
        # Raw 8-bit characters within a word go back to the charset that the word names.
        data = text.encode("ascii" if text.isascii() else codec(charset) or "utf-8", "replace")
        return binascii.a2b_qp(data, header=True)
    characters = _NOT_BASE64.sub("", text)
    if len(characters) % 4 == 1:
        characters = characters[:-1]
    return binascii.a2b_base64(characters + "=" * (-len(characters) % 4))
