"""The tree of parts of a message, as offsets into its bytes: one pass, bounded memory, nothing decoded.

Every part has a header, and a body between two offsets. A multipart has parts; a message/rfc822 that was sent as it is
has the message within. Whatever is beyond the limits stays a leaf, or unseen: the raw message is kept anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..message import Span
from ..raw import Raw
from . import block, transfer
from .block import Block, Field
from .boundaries import Boundaries, Hit
from .charsets import eight_bit
from .parameters import Structured, structured
from .transfer import PLAIN
from .window import Window

DEPTH = 50  # multiparts within multiparts
PARTS = 2000
BOUNDARY_BYTES = 200
EMBEDDED = 4  # messages within messages
_PART_FIELD_BYTES = 16 * 1024
_PART_FIELDS_BYTES = 1 << 20  # of all parts together: the root's header is kept apart
EMBEDDING = frozenset({"message/rfc822", "message/global"})
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


@dataclass(slots=True, eq=False)
class Part:
    """A node of the tree. Offsets are of the raw message; *end* is before the line break of the next boundary."""

    start: int
    body: int
    block: Block
    type: Structured  # Content-Type
    disposition: Structured  # Content-Disposition, main "" when there is none
    encoding: str  # Content-Transfer-Encoding, lower-case, "" when there is none
    depth: int  # multiparts around it
    level: int  # messages around it
    end: int = -1
    number: str = ""  # as IMAP numbers it; "" for the root of a multipart message
    parts: list[Part] = field(default_factory=list)
    message: Part | None = None
    beyond: bool = False  # a multipart that was not looked into, because of a limit

    @property
    def content_type(self) -> str:
        return self.type.main

    @property
    def filename(self) -> str | None:
        """The name that the sender gave to the part, decoded."""
        return self.disposition.text("filename") or self.type.text("name") or None

    @property
    def content_id(self) -> str | None:
        value = self.block.first(b"content-id")
        return eight_bit(value).strip("<> \t\r\n") or None if value else None

    def span(self, raw: Raw) -> Span:
        """Where the body lies in *raw*, and the transfer encoding to undo."""
        return transfer.span_of(raw, self.body, self.end, self.encoding)

    def walk(self) -> Iterator[Part]:
        """This part and all below, embedded messages included, in the order of the bytes."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            waiting.extend(reversed(part.parts))
            if part.message:
                waiting.append(part.message)

    def leaves(self) -> Iterator[Part]:
        """The parts without parts at or below this one; a message within is one of them."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            if not part.parts:
                yield part
            waiting.extend(reversed(part.parts))


@dataclass(frozen=True, slots=True)
class Tree:
    root: Part
    defects: frozenset[str]
    limits: frozenset[str]


def scan(raw: Raw) -> Tree:
    """Return the tree of parts. The same for the same bytes, wherever they lie."""
    scanner = _Scanner(raw)
    root = scanner.run()
    if "boundary_never_found" in scanner.defects and not root.parts and (guess := _guessed_boundary(raw, root)):
        scanner = _Scanner(raw, guess)
        root = scanner.run()
    _number(root)
    return Tree(root, frozenset(scanner.defects), frozenset(scanner.limits))


class _Scanner:
    """Walks the message once. `_open` holds the part at hand and everything around it, the root first."""

    def __init__(self, raw: Raw, guess: bytes = b"") -> None:
        self.defects: set[str] = {"boundary_guessed"} if guess else set()
        self.limits: set[str] = set()
        self._guess = guess  # used instead of the boundary that the root announces
        self._raw = raw
        self._window = Window(raw)
        self._boundaries = Boundaries(self._window)
        self._open: list[Part] = []
        self._count = 0
        self._room = _PART_FIELDS_BYTES

    def run(self) -> Part:
        at = self._begin(0, _TEXT)
        root = self._open[0]
        while self._boundaries and (hit := self._boundaries.next(at)):
            self._end_within(hit)
            if hit.closes:
                self._boundaries.close(hit.owner)
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
        value = header.first(b"content-type")
        kind = structured(value) if value and value.strip() else default
        self.limits.update(kind.limits)
        if "/" not in kind.main.strip("/"):
            kind = Structured("text/plain", kind.parameters)
            self.defects.add("content_type")
        value = header.first(b"content-disposition")
        disposition = structured(value) if value else _NOTHING
        self.limits.update(disposition.limits)
        part = Part(at, header.body, header, kind, disposition, _encoding(header), 0, 0)
        if around:
            part.block = self._slim(header)
            part.depth = around.depth + around.content_type.startswith("multipart/")
            part.level = around.level + (around.content_type in EMBEDDING)
            if around.content_type in EMBEDDING:
                around.message = part
            else:
                around.parts.append(part)
        self._count += 1
        return part

    def _slim(self, header: Block) -> Block:
        """Keep of a part's header what is read of it, within the room that all parts share."""
        fields: list[Field] = []
        for name, value in header.fields:
            if name.lower() in _OF_PARTS:
                self._room -= len(name) + min(len(value), _PART_FIELD_BYTES)
                fields.append((name, value[:_PART_FIELD_BYTES]))
        if self._room < 0:
            self.limits.add("header_block")
            fields = []
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
        if part.content_type not in EMBEDDING or part.encoding not in PLAIN:
            return False
        if part.level >= EMBEDDED or self._count >= PARTS:
            self.limits.add("embedded" if part.level >= EMBEDDED else "parts")
            return False
        return True

    def _end_within(self, hit: Hit) -> None:
        """End every part within the owner of a boundary line, where the line break before the line begins."""
        end = hit.before
        if self._window.line_break == b"\n" and end and self._raw.read(end - 1, end) == b"\r":
            end -= 1
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


def _number(root: Part, around: str = "") -> None:
    """Number the parts of a message as IMAP does (RFC 9051, section 6.4.5.1); *around* is the part that holds it."""
    if root.parts:
        root.number = f"{around}.TEXT" if around else ""
        _number_parts(root, f"{around}." if around else "")
    else:
        root.number = f"{around}.1" if around else "1"
        if root.message:
            _number(root.message, root.number)


def _number_parts(part: Part, prefix: str) -> None:
    for count, child in enumerate(part.parts, 1):
        child.number = f"{prefix}{count}"
        _number_parts(child, f"{child.number}.")
        if child.message:
            _number(child.message, child.number)
