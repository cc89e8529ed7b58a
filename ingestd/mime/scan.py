"""The tree of parts of a message, as offsets into its bytes: one pass, bounded memory, nothing decoded.

Every part has a header, and a body between two offsets. A multipart has parts; a message/rfc822 that was sent as it is
has the message within. Whatever is beyond the limits stays a leaf, or unseen: the raw message is kept anyway.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from dataclasses import dataclass

from ..raw import Raw
from . import block
from .block import Block, Field
from .boundaries import Boundaries, Hit
from .parameters import Structured, structured
from .parts import EMBEDDING, Part, number
from .transfer import KNOWN, PLAIN
from .window import Window

DEPTH = 50  # multiparts within multiparts
PARTS = 2000
BOUNDARY_BYTES = 200
EMBEDDED = 4  # messages within messages
_PART_FIELD_BYTES = 16 * 1024
_SHORT_FIELD_BYTES = 500
_PART_FIELDS_BYTES = 1 << 20  # of all parts together: the root's header is kept apart
_OF_PARTS = frozenset(
    {
        b"content-type",
        b"content-transfer-encoding",
        b"content-disposition",
        b"content-id",
        b"message-id",
        b"subject",
        b"from",
        b"date",
    }
)
_GUESS_BYTES = 64 * 1024
_PART_BEGINS = re.compile(rb"^--([^\r\n]{1,200}?)[ \t]*\r?\ncontent-", re.IGNORECASE | re.MULTILINE)
_TEXT = Structured("text/plain")
_MESSAGE = Structured("message/rfc822")
_NOTHING = Structured("")


@dataclass(frozen=True, slots=True)
class Tree:
    root: Part
    defects: frozenset[str]
    limits: frozenset[str]


def scan(raw: Raw, level: int = 0, around: str = "") -> Tree:
    """Return the tree of parts. The same for the same bytes, wherever they lie.

    A message that had to be decoded first is *level* messages deep within another, in the part numbered *around*.
    """
    scanner = _Scanner(raw, level)
    root = scanner.run()
    if "boundary_never_found" in scanner.defects and not root.parts and (guess := _guessed_boundary(raw, root)):
        scanner = _Scanner(raw, level, guess)
        root = scanner.run()
    number(root, around)
    return Tree(root, frozenset(scanner.defects), frozenset(scanner.limits))


class _Scanner:
    """Walks the message once. `_open` holds the part at hand and everything around it, the root first."""

    def __init__(self, raw: Raw, level: int, guess: bytes = b"") -> None:
        self.defects: set[str] = {"boundary_guessed"} if guess else set()
        self.limits: set[str] = set()
        self._level = level
        self._guess = guess  # used instead of the boundary that the root announces
        self._raw = raw
        self._window = Window(raw)
        self._boundaries = Boundaries(self._window)
        self._open: list[Part] = []
        self._count = 0
        self._room = _PART_FIELDS_BYTES

    def run(self) -> Part:
        at = self._begin(len(BOM_UTF8) if self._window.data.startswith(BOM_UTF8) else 0, _TEXT)
        root = self._open[0]
        while self._boundaries and (hit := self._boundaries.next(at)):
            self._end_within(hit)
            if hit.closes:
                self._boundaries.close(hit.owner)
                self._open[hit.owner].closed = hit.after
                at = hit.after - 1
            elif self._count >= PARTS:
                self.limits.add("parts")
                break
            else:
                parent = self._open[hit.owner]
                at = self._begin(hit.after, _MESSAGE if parent.content_type == "multipart/digest" else _TEXT)
        self._end_all()
        return root

    def _begin(self, at: int, default: Structured) -> int:
        """Open the part at *at*, and the messages that begin with it; return where to look for a boundary."""
        while True:
            part = self._part(at, default)
            self._open.append(part)
            if part.content_type.startswith("multipart/"):
                self._open_multipart(part)
            if not self._embeds(part):
                return max(part.body - 1, 0)
            at, default = part.body, _TEXT

    def _part(self, at: int, default: Structured) -> Part:
        around = self._open[-1] if self._open else None
        header = block.read(self._window, at, self._boundaries)
        self.defects.update(header.defects)
        self.limits.update(header.limits)
        if around:
            header = self._slim(header)
        disposition = self._structured(header.first(b"content-disposition"), _NOTHING)
        part = Part(at, header.body, header, self._type(header, default), disposition, _encoding(header))
        part.level = self._level
        if part.encoding not in KNOWN:
            self.defects.add("transfer_encoding")
        if around:
            part.depth = around.depth + around.content_type.startswith("multipart/")
            part.level = around.level + (around.content_type in EMBEDDING)
        if around and around.content_type in EMBEDDING:
            around.message = part
        elif around:
            around.parts.append(part)
        self._count += 1
        return part

    def _type(self, header: Block, default: Structured) -> Structured:
        kind = self._structured(header.first(b"content-type"), default)
        if "/" in kind.main.strip("/"):
            return kind
        self.defects.add("content_type")
        return Structured("text/plain", kind.parameters)

    def _structured(self, value: bytes | None, default: Structured) -> Structured:
        if not value or not value.strip():
            return default
        found = structured(value)
        self.limits.update(found.limits)
        return found

    def _slim(self, header: Block) -> Block:
        """Keep of a part's header what is read of it: little, once the room that all parts share is used up."""
        fields: list[Field] = []
        for name, value in header.fields:
            if name.lower() in _OF_PARTS:
                longest = _PART_FIELD_BYTES if self._room > 0 else _SHORT_FIELD_BYTES
                self._room -= len(name) + min(len(value), longest)
                fields.append((name, value[:longest]))
                if len(value) > longest:
                    self.limits.add("header_block")
        return Block(tuple(fields), header.body)

    def _open_multipart(self, part: Part) -> None:
        boundary = (part.type.raw("boundary") or b"").rstrip()
        if self._guess and len(self._open) == 1:
            boundary = self._guess
        if part.encoding not in PLAIN:
            self.defects.add("multipart_encoding")
        if not boundary:
            self.defects.add("boundary_missing")
            return
        if len(boundary) > BOUNDARY_BYTES or part.depth >= DEPTH:
            self.limits.add("depth" if part.depth >= DEPTH else "boundary")
            part.beyond = True
        else:
            self._boundaries.open(boundary, len(self._open) - 1)

    def _embeds(self, part: Part) -> bool:
        """Whether *part* is a message that we descend into."""
        if part.content_type not in EMBEDDING:
            return False
        if part.encoding == "base64" and self._is_plain(part):
            part.encoding = ""
            self.defects.add("transfer_encoding")
        if part.encoding not in PLAIN:
            return False
        if part.level >= EMBEDDED or self._count >= PARTS:
            self.limits.add("embedded" if part.level >= EMBEDDED else "parts")
            return False
        return True

    def _is_plain(self, part: Part) -> bool:
        """Whether a message that is said to be in base64 begins with a header, as servers that bounce mail do."""
        line, _ = self._window.line(part.body, _SHORT_FIELD_BYTES)
        return b":" in line

    def _end_within(self, hit: Hit) -> None:
        """End every part within the owner of a boundary line, where the line break before the line begins."""
        end = hit.before
        if self._window.line_break == b"\n" and end and self._raw.read(end - 1, end) == b"\r":
            end -= 1
        if not self._open[hit.owner].parts:
            self._open[hit.owner].first = end
        for part in self._open[hit.owner + 1 :]:
            part.end = max(part.body, end)
            self._check(part)
        if self._boundaries.close(hit.owner + 1):
            self.defects.add("missing_close_boundary")
        del self._open[hit.owner + 1 :]

    def _end_all(self) -> None:
        for part in self._open:
            part.end = self._window.size_bytes
            self._check(part)
        if self._boundaries and "parts" not in self.limits:
            self.defects.add("missing_close_boundary")
        self._open.clear()

    def _check(self, part: Part) -> None:
        if part.content_type.startswith("multipart/") and not part.parts and not part.beyond:
            self.defects.add("boundary_never_found")


def _encoding(header: Block) -> str:
    value = header.first(b"content-transfer-encoding")
    if not value:
        return ""
    token = value.strip(b" \t\r\n\"'").split(maxsplit=1)[:1]
    return (token[0] if token else b"").partition(b";")[0].partition(b"(")[0].lower().decode("ascii", "replace")


def _guessed_boundary(raw: Raw, root: Part) -> bytes:
    """The boundary that the body of *root* really uses, where its header names another; b"" when none is in sight."""
    match = _PART_BEGINS.search(raw.read(root.body, root.body + _GUESS_BYTES))
    return match[1] if match else b""
