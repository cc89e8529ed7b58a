"""The stretch of a message that the scanner looks at: a bounded window that only moves forward.

Reading ahead in one place keeps a message of a hundred thousand boundaries linear, and gives the same result whether
the message lies in memory or on disk.
"""

from __future__ import annotations

import re

from ..raw import Raw

SIZE = 256 * 1024  # bytes in view


class Window:
    """Sees the bytes of *raw* around where it was last asked to look."""

    __slots__ = ("_base", "_raw", "data", "line_break", "size_bytes")

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._base = 0
        self.size_bytes = raw.size_bytes
        self.data = raw.read(0, SIZE)
        self.line_break = _line_break(self.data)

    def look(self, at: int, length: int) -> int:
        """Bring *length* bytes from *at* into `data`, as far as there are any; return where in it they begin."""
        end = self._base + len(self.data)
        if at < self._base or (at + length > end and end < self.size_bytes):
            self._base = at
            self.data = self._raw.read(at, at + SIZE)
        return at - self._base

    def find(self, needle: bytes, at: int) -> int:
        """Return where *needle* first lies at or after *at*, or -1."""
        while True:
            index = self.look(at, len(needle))  # on a line of its own, since it may exchange the data
            found = self.data.find(needle, index)
            if found >= 0:
                return self._base + found
            if self.at_end:
                return -1
            at = max(at, self._base + len(self.data) - len(needle) + 1)

    def search(self, pattern: re.Pattern[bytes], at: int, longest: int, end: int) -> tuple[int, int] | None:
        """Return the bounds of the first match that begins from *at* to *end*; one is at most *longest* bytes long."""
        while at < end:
            index = self.look(at, longest)
            if match := pattern.search(self.data, index):
                begin = self._base + match.start()
                return (begin, self._base + match.end()) if begin < end else None
            if self.at_end:
                return None
            at = max(at + 1, self._base + len(self.data) - longest + 1)
        return None

    def line(self, at: int, longest: int) -> tuple[bytes, int]:
        """Return the line at *at* with its end, cut at *longest* bytes, and where the next line begins."""
        index = self.look(at, longest)
        end = self.data.find(self.line_break, index, index + longest)
        if end >= 0:
            return self.data[index : end + 1], self._base + end + 1
        line = self.data[index : index + longest]
        end = self.find(self.line_break, at + len(line))
        return line, end + 1 if end >= 0 else self.size_bytes

    @property
    def at_end(self) -> bool:
        """No byte follows those in view."""
        return self._base + len(self.data) >= self.size_bytes


def _line_break(data: bytes) -> bytes:
    """The byte that ends a line: "\\n", or "\\r" in a message that came from a system which knew nothing else."""
    return b"\r" if b"\r" in data and b"\n" not in data else b"\n"
