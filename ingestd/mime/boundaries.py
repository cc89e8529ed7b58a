"""The boundaries of the multiparts that are open, and the next line of the message that is one of them.

A boundary counts only as a whole line: one may be the beginning of another (RFC 2046, section 5.1.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .window import Window

LINE = 1024  # bytes of a line that are compared: a boundary has at most 200, then blanks
_MISSES = 64  # lines that merely look like a boundary, before a pattern is compiled


@dataclass(frozen=True, slots=True)
class Hit:
    """A boundary line: the line break before it, where the next line begins, whose it is, and whether it closes."""

    before: int
    after: int
    owner: int
    closes: bool


class Boundaries:
    """A stack of boundaries, the innermost last; each belongs to an owner, a number that rises inwards."""

    __slots__ = ("_delimiters", "_needle", "_owners", "_window")

    def __init__(self, window: Window) -> None:
        self._window = window
        self._delimiters: list[bytes] = []
        self._owners: list[int] = []
        self._needle = b""

    def __bool__(self) -> bool:
        return bool(self._delimiters)

    def open(self, boundary: bytes, owner: int) -> None:
        self._delimiters.append(b"--" + boundary)
        self._owners.append(owner)
        self._changed()

    def close(self, owner: int) -> int:
        """Drop the boundaries of *owner* and of everything within it; return how many there were."""
        kept = sum(1 for other in self._owners if other < owner)
        dropped = len(self._owners) - kept
        if dropped:
            del self._delimiters[kept:], self._owners[kept:]
            self._changed()
        return dropped

    def owner_of(self, line: bytes) -> tuple[int, bool] | None:
        """Return whose boundary *line* is, and whether it closes; the innermost where several could be meant."""
        if not line.startswith(b"--"):
            return None
        line = line.rstrip(b" \t\r\n")
        for delimiter, owner in zip(reversed(self._delimiters), reversed(self._owners), strict=True):
            if line.startswith(delimiter):
                if len(line) == len(delimiter):
                    return owner, False
                if len(line) == len(delimiter) + 2 and line.endswith(b"--"):
                    return owner, True
        return None

    def next(self, at: int) -> Hit | None:
        """Return the first boundary line whose preceding line break lies at or after *at*."""
        misses, pattern = 0, None
        while True:
            if pattern:
                match = self._window.search(pattern, at, LINE, self._window.size_bytes)
                found = match[0] if match else -1
            else:
                found = self._window.find(self._needle, at)
            if found < 0:
                return None
            line, after = self._window.line(found + 1, LINE)
            if owned := self.owner_of(line):
                return Hit(found, after, *owned)
            at, misses = found + 1, misses + 1
            if misses == _MISSES:
                pattern = self._pattern()

    def _changed(self) -> None:
        wanted = self._delimiters[0] if len(self._delimiters) == 1 else b"--"
        self._needle = self._window.line_break + wanted

    def _pattern(self) -> re.Pattern[bytes]:
        choices = b"|".join(re.escape(delimiter) for delimiter in self._delimiters)
        return re.compile(self._window.line_break + b"(?:" + choices + rb")(?:--)?[ \t]*(?:[\r\n]|\Z)")
