"""Text that belongs to no part: what comes before the first boundary of a multipart, and after its closing one.

No mail program shows it, so most of it says nothing ("This is a multi-part message in MIME format."), some of it was
meant to be read by programs that know no MIME, and now and then something is hidden there. It is told of wherever it is
not blank.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ..message import Outside
from ..raw import Raw, pieces
from .charsets import decode
from .clean import clean, limited
from .parts import Part

PLACES = 50  # of one message
TEXT_BYTES = 4 * 1024  # of each, as UTF-8

_Place = Literal["preamble", "epilogue"]


class Outsides:
    """Collects what lies outside of the parts of a message, and of those within it; `limits` says if it did not fit."""

    __slots__ = ("found", "limits")

    def __init__(self) -> None:
        self.found: list[Outside] = []
        self.limits: set[str] = set()

    def add(self, raw: Raw, root: Part, *, whole: bool = True) -> None:
        """Look at the multiparts of the message whose root part is *root*; without *whole*, *raw* is its beginning."""
        for part in root.multiparts():
            for place, start, end in _stretches(part):
                if (begin := _not_blank(raw, start, end)) is None or (end == raw.size_bytes and not whole):
                    continue
                if len(self.found) == PLACES:
                    self.limits.add("outside")
                    return
                self.found.append(Outside(part.number, place, self._text(raw, begin, end), end - start))

    def _text(self, raw: Raw, begin: int, end: int) -> str:
        cut = _not_blank(raw, begin + TEXT_BYTES, end) is not None
        read = decode(raw.read(begin, min(begin + TEXT_BYTES, end)), None, whole=not cut).text
        text = clean(read.replace("\r\n", "\n").replace("\r", "\n").rstrip(" \t\n"))
        fitting = limited(text, TEXT_BYTES)
        if cut or len(fitting) < len(text):
            self.limits.add("outside")
        return fitting


def _stretches(part: Part) -> Iterator[tuple[_Place, int, int]]:
    yield "preamble", part.body, part.first
    if part.closed >= 0:
        yield "epilogue", part.closed, part.end


def _not_blank(raw: Raw, start: int, end: int) -> int | None:
    """Where the first byte lies that is not blank; however many blank lines come before it."""
    at = start
    for piece in pieces(raw, start, end):
        if rest := piece.lstrip():
            return at + len(piece) - len(rest)
        at += len(piece)
    return None
