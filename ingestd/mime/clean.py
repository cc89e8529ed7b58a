"""Text that may leave the parser: encodable as UTF-8, without NUL or other controls, in NFC."""

from __future__ import annotations

import re
import unicodedata

_UNCLEAN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_BREAKING = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_FINE = bytes(byte for byte in range(256) if byte in b"\t\n\r" or byte >= 0x20)
REPLACEMENT = "\ufffd"


def clean(text: str) -> str:
    """*text* with what cannot be stored replaced; tabs and line breaks stay."""
    if not _is_clean(text):
        text = _UNCLEAN.sub(REPLACEMENT, text)
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _is_clean(text: str) -> bool:
    """Whether a pattern would find nothing to replace; told in a fraction of the time."""
    try:
        return not text.encode().translate(None, _FINE)
    except UnicodeEncodeError:  # a surrogate
        return False


def one_line(text: str) -> str:
    """*text* on one line: controls, and with them every line break, become a space."""
    if text.isprintable() and text.isascii():
        return text.strip()
    text = _BREAKING.sub(" ", text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", _SURROGATE.sub(REPLACEMENT, text))
    return text.strip()


def limited(text: str, size_bytes: int) -> str:
    """At most the first *size_bytes* of *text* as UTF-8, cut between characters."""
    if len(text) * 4 <= size_bytes:
        return text
    # No need to encode more characters than could fit.
    return text[:size_bytes].encode("utf-8", "replace")[:size_bytes].decode("utf-8", "ignore")
