"""The bytes of one message, wherever they lie: in memory when small, in a spool file when large.

Everyone who reads a message reads it through `Raw`, a slice or a search at a time, so nobody has to hold a large one.
Both kinds can be sent to a worker process: the bytes themselves, or the path of the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

PIECE = 256 * 1024  # bytes read at a time


class Raw(Protocol):
    """Random access to the bytes of one message. Offsets behave as in slices: they are clipped, never an error."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from *start* up to *end*."""

    def find(self, needle: bytes, start: int, end: int) -> int:
        """Return where *needle* first lies wholly within *start* and *end*, or -1."""


class Content(Protocol):
    """The bytes of one message, not yet opened. Can be pickled."""

    @property
    def size_bytes(self) -> int: ...

    @contextmanager
    def open(self) -> Iterator[Raw]:
        """Give access to the bytes until the block ends."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """A message held as bytes: its own `Content` and its own `Raw`."""

    data: bytes = field(repr=False)

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    @contextmanager
    def open(self) -> Iterator[Raw]:
        yield self

    def read(self, start: int, end: int) -> bytes:
        return self.data[start:end]

    def find(self, needle: bytes, start: int, end: int) -> int:
        return self.data.find(needle, start, end)


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A message held as a file, which somebody else removes."""

    path: Path
    size_bytes: int

    @contextmanager
    def open(self) -> Iterator[Raw]:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            yield _OpenFile(descriptor, self.size_bytes)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _OpenFile:
    """Read with pread rather than mmap: mapped pages would count as ours, however large the message."""

    descriptor: int
    size_bytes: int

    def read(self, start: int, end: int) -> bytes:
        end = min(end, self.size_bytes)
        taken, start = [], max(start, 0)
        while start < end:
            piece = os.pread(self.descriptor, end - start, start)
            if not piece:
                raise OSError(f"spool file ended at {start} of {self.size_bytes} bytes")
            taken.append(piece)
            start += len(piece)
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def find(self, needle: bytes, start: int, end: int) -> int:
        end = min(end, self.size_bytes)
        while start + len(needle) <= end:
            window = self.read(start, min(start + PIECE, end))
            found = window.find(needle)
            if found >= 0:
                return start + found
            start += len(window) - len(needle) + 1
        return -1


def pieces(raw: Raw, start: int, end: int, size_bytes: int = PIECE) -> Iterator[bytes]:
    """Yield the bytes from *start* up to *end* in order, *size_bytes* at a time."""
    end = min(end, raw.size_bytes)
    for at in range(start, end, size_bytes):
        yield raw.read(at, min(at + size_bytes, end))
