"""Content as it comes out of a decoder, read forward only: a line, a few bytes, or on to the next line of interest.

However large the content, only the piece at hand is held.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LOOK_BACK = 32  # bytes; what is sought begins with fewer


class Stream:
    """Bytes in order; `at` is how many of them were read or passed over."""

    __slots__ = ("_base", "_data", "_index", "_pieces")

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._data = b"\n"  # stands before the first line, so that every line follows a line break
        self._index = 1
        self._base = -1

    @property
    def at(self) -> int:
        return self._base + self._index

    def read(self, size_bytes: int) -> bytes:
        """Return the next *size_bytes*, fewer only at the end."""
        while len(self._data) - self._index < size_bytes and self._more():
            continue
        taken = self._data[self._index : self._index + size_bytes]
        self._index += len(taken)
        return taken

    def skip(self, size_bytes: int) -> None:
        """Pass over the next *size_bytes*, however many they are."""
        end = self.at + size_bytes
        while self._base + len(self._data) < end:
            self._index = len(self._data)
            if not self._more():
                return
        self._index = end - self._base

    def peek_line(self, longest: int) -> bytes:
        """Return the next line with its end, cut at *longest* bytes, and stay before it; b"" at the end."""
        while True:
            end = self._data.find(b"\n", self._index, self._index + longest)
            if end >= 0:
                return self._data[self._index : end + 1]
            if len(self._data) - self._index >= longest or not self._more():
                return self._data[self._index : self._index + longest]

    def seek(self, pattern: re.Pattern[bytes]) -> bool:
        """Go to the next line that *pattern*, which begins with the line break before it, matches; False: none is left.

        What decides whether it matches must be among the first bytes of the line.
        """
        while True:
            match = pattern.search(self._data, self._index - 1)
            if match:
                self._index = match.start() + 1
                return True
            self._index = max(self._index, len(self._data) - _LOOK_BACK)
            if not self._more():
                self._index = len(self._data)
                return False

    def _more(self) -> bool:
        """Add a piece to those in hand; one byte before the next one stays."""
        for piece in self._pieces:
            if piece:
                self._base += self._index - 1
                self._data = self._data[self._index - 1 :] + piece
                self._index = 1
                return True
        return False
