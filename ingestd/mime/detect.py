"""Which charset bytes are in, where their sender did not say or said what cannot be.

Only scripts other than Latin are told apart: among the charsets of Western and Central Europe a guess is wrong as often
as not, and there cp1252 stays the answer. `charset-normalizer` is pinned, since what it finds becomes part of stored
documents; it is asked about a bounded sample, among the charsets that mail is written in.
"""

from __future__ import annotations

import re

from charset_normalizer import from_bytes

SAMPLE_BYTES = 16 * 1024
_ENOUGH = 12  # bytes beyond ASCII; fewer say too little
_CANDIDATES = ["cp1252", "cp1251", "koi8_r", "cp866", "iso8859_5", "cp1253", "cp1255", "cp1256"]
_CANDIDATES += ["gb18030", "big5", "cp932", "euc_jp", "cp949"]
_LATIN = frozenset({"cp1252"})
_TAG = re.compile(rb"<[^<>]*>")
_ASCII = bytes(range(128))
_BLANK = b" \t\r\n"
# Hiragana in EUC-JP; the same bytes are next to never written in Korean or Chinese.
_HIRAGANA = re.compile(rb"\xa4[\xa1-\xf3]")


def detected(data: bytes) -> str | None:
    """The codec that *data* is most likely in; None when it cannot be told, or is Latin."""
    sample = _sample(data)
    beyond = len(sample.translate(None, _ASCII))
    # Latin text is mostly ASCII, text in any other script mostly not.
    if beyond < _ENOUGH or beyond * 3 < len(sample.translate(None, _BLANK)):
        return None
    best = from_bytes(sample, cp_isolation=_CANDIDATES).best()
    if best is None or best.encoding in _LATIN:
        return None
    if best.encoding in ("cp949", "gb18030") and 10 * len(_HIRAGANA.findall(sample)) > beyond:
        return "euc_jp"
    return best.encoding


def _sample(data: bytes) -> bytes:
    """The start of *data* without markup, up to the end of a word, so that no character is cut."""
    sample = data[: 2 * SAMPLE_BYTES]
    if b"<" in sample:
        sample = _TAG.sub(b" ", sample)
    if len(sample) <= SAMPLE_BYTES and len(data) <= 2 * SAMPLE_BYTES:
        return sample
    sample = sample[:SAMPLE_BYTES]
    end = max(sample.rfind(blank) for blank in (b" ", b"\n", b"\r"))
    return sample[:end] if end > 0 else sample
