"""The header block of a part: where it ends, and the fields it holds, as bytes.

Nothing is decoded here. A field is a name and the value as it lies in the raw message, folding included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .boundaries import Boundaries
from .window import Window

BLOCK_BYTES = 256 * 1024
LINE_BYTES = 64 * 1024
FIELDS = 1000
_USUAL_BYTES = 16 * 1024  # of a block; a longer one may take the slower way

Field = tuple[bytes, bytes]

_NAME = rb"[!-9;-~\x80-\xff]++[ \t]*+:"
# Possessive throughout: a block is taken in one step, or not at all.
_FIELD_LINES = re.compile(rb"(?:" + _NAME + rb"[^\n]*+\n(?:[ \t][^\n]*+\n)*+)*+")
_FIELD_LINE = re.compile(_NAME)
_BAD_LINE = re.compile(rb"[!-9;-~][ -9;-~]{0,100}:")
_FIELD = re.compile(rb"([!-9;-~\x80-\xff]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)")
_BLANK = frozenset({b"\n", b"\r\n", b"\r\r\n", b"\r"})
_BLANK_LINE = re.compile(rb"\n\r?\r?\n|\r\r")


@dataclass(frozen=True, slots=True)
class Block:
    """A header block, and the offset where the body begins."""

    fields: tuple[Field, ...]
    body: int
    defects: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    def first(self, name: bytes) -> bytes | None:
        """The value of the topmost field called *name*, which is lower-case."""
        return next((value for field, value in self.fields if field.lower() == name), None)


def read(window: Window, at: int, boundaries: Boundaries) -> Block:
    """Read the header block at *at*. A boundary line ends it as well as a blank one."""
    return _plain(window, at, boundaries) or _irregular(window, at, boundaries)


def _plain(window: Window, at: int, boundaries: Boundaries) -> Block | None:
    """Read a block in which every line is in order, or return None."""
    index = window.look(at, _USUAL_BYTES)
    match = _FIELD_LINES.match(window.data, index)
    if not match or not window.data.startswith((b"\n", b"\r\n"), match.end()):
        return None
    block = match.group()
    if boundaries and (block.startswith(b"--") or b"\n--" in block):
        return None
    body = match.end() + (1 if window.data.startswith(b"\n", match.end()) else 2)
    fields, limits = _fields(block)
    return Block(fields, at + body - index, (), limits)


def _irregular(window: Window, at: int, boundaries: Boundaries) -> Block:
    """Read a block line by line, as far as it can be called one."""
    kept: list[bytes] = []
    size_bytes = 0
    defects: set[str] = set()
    limits: set[str] = set()
    while at < window.size_bytes:
        line, after = window.line(at, LINE_BYTES)
        if line in _BLANK:
            at = after
            break
        if boundaries.owner_of(line):
            break
        if _FIELD_LINE.match(line) or (kept and line[:1] in b" \t"):
            kept.append(_ended(line, window.line_break))
        elif not kept and line.startswith((b"From ", b">From ")):
            defects.add("mbox_separator")
        elif _BAD_LINE.match(line) or (not kept and not line.strip()):
            defects.add("header_line")
        else:
            defects.add("missing_header_body_separator")
            break
        if after - at > LINE_BYTES:
            limits.add("header_line")
        size_bytes += len(line)  # of lines that are passed over too, so that nonsense has an end
        if size_bytes > BLOCK_BYTES:
            limits.add("header_block")
            at = _end_of_long(window, after, boundaries)
            break
        at = after
    fields, more = _fields(b"".join(kept))
    return Block(fields, at, tuple(defects), (*limits, *more))


def _ended(line: bytes, line_break: bytes) -> bytes:
    """The line with "\\n" at its end, whatever ended it before."""
    if line_break == b"\r":
        line = line.replace(b"\r", b"\n")
    return line if line.endswith(b"\n") else line + b"\n"


def _end_of_long(window: Window, at: int, boundaries: Boundaries) -> int:
    """Return where the body begins after a block that is too long to be kept, without reading its lines."""
    # The boundary first: it bounds the search for a blank line, of which there may be none for a long way.
    hit = boundaries.next(at - 1) if boundaries else None
    end = hit.before + 1 if hit else window.size_bytes
    blank = window.search(_BLANK_LINE, at - 1, 4, end)
    return blank[1] if blank else end


def _fields(block: bytes) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    fields: list[Field] = _FIELD.findall(block)
    limits = []
    if len(fields) > FIELDS:
        del fields[FIELDS:]
        limits.append("headers")
    if any(len(value) > LINE_BYTES for _, value in fields):
        fields = [(name, value[:LINE_BYTES]) for name, value in fields]
        limits.append("header_line")
    return tuple(fields), tuple(limits)
