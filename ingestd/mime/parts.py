"""A part of a message: a node of the tree that the scan builds, as offsets into the raw message.

A multipart has parts; a message/rfc822 that was sent as it is has a message. All else is a leaf.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..message import Span
from ..raw import Raw
from .block import Block
from .charsets import eight_bit
from .parameters import Structured
from .transfer import span_of

EMBEDDING = frozenset({"message/rfc822", "message/global"})


@dataclass(slots=True, eq=False)
class Part:
    """A node of the tree. Offsets are of the raw message; *end* is before the line break of the next boundary."""

    start: int
    body: int
    block: Block
    type: Structured  # Content-Type
    disposition: Structured  # Content-Disposition, main "" when there is none
    encoding: str  # Content-Transfer-Encoding, lower-case, "" when there is none
    depth: int = 0  # multiparts around it
    level: int = 0  # messages around it
    end: int = -1
    number: str = ""  # as IMAP numbers it; "" for the root of a multipart message
    parts: list[Part] = field(default_factory=list)
    message: Part | None = None
    first: int = -1  # of a multipart: where the line break before its first boundary begins
    closed: int = -1  # where the line after its closing boundary begins; -1 when there is none
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
        return span_of(raw, self.body, self.end, self.encoding)

    def walk(self) -> Iterator[Part]:
        """This part and all below, embedded messages included, in the order of the bytes."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            waiting.extend(reversed(part.parts))
            if part.message:
                waiting.append(part.message)

    def multiparts(self) -> Iterator[Part]:
        """The parts with parts at or below this one; those of a message within are its own."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            if part.parts:
                yield part
            waiting.extend(reversed(part.parts))

    def leaves(self) -> Iterator[Part]:
        """The parts without parts at or below this one; a message within is one of them."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            if not part.parts:
                yield part
            waiting.extend(reversed(part.parts))


def number(root: Part, around: str = "") -> None:
    """Number the parts of a message as IMAP does (RFC 9051, section 6.4.5.1); *around* is the part that holds it."""
    if root.parts:
        root.number = f"{around}.TEXT" if around else ""
        _number_parts(root, f"{around}." if around else "")
    else:
        root.number = f"{around}.1" if around else "1"
        if root.message:
            number(root.message, root.number)


def _number_parts(part: Part, prefix: str) -> None:
    for count, child in enumerate(part.parts, 1):
        child.number = f"{prefix}{count}"
        _number_parts(child, f"{child.number}.")
        if child.message:
            number(child.message, child.number)
