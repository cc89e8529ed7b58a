"""The texts of a message, for those who read them one after the other: each is decoded once, unless it is large."""

from __future__ import annotations

from collections.abc import Iterable

from ..raw import Raw
from .parts import Part
from .transfer import decoded

KEPT_BYTES = 4 << 20  # of all texts of a message together


class Texts:
    """Decoded contents of parts, the first few of them held in memory."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._room = KEPT_BYTES
        self._kept: dict[Part, bytes] = {}

    def pieces(self, part: Part) -> Iterable[bytes]:
        """The content of *part* with its transfer encoding undone, in order."""
        if part in self._kept:
            return (self._kept[part],)
        span = part.span(self._raw)
        if span.end - span.start > self._room:  # no encoding of text takes less room than the text
            return decoded(self._raw, span)
        content = self._kept[part] = b"".join(decoded(self._raw, span))
        self._room -= len(content)
        return (content,)
