"""Files within the content of a part: in its text, in a winmail.dat. They are attachments beside the part itself.

A file is found by where it lies, and decoded like everything else; the raw message stays as it is. To get at one, what
lies before it has to be decoded too, so that work has a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..message import Attachment, Span
from ..raw import Raw
from . import attachments, lzfu, tnef
from .attachments import Found
from .enclosed import Enclosed
from .parts import Part
from .transfer import decoded

FILES = 200  # of one message
WORK_BYTES = 256 << 20  # decoded to get at all of them, e.g. forty files in a winmail.dat of 12 MB
_DECOMPRESSING = 16  # bytes decoded in the time that one is decompressed in
DEPTH = 4  # of a winmail.dat within a winmail.dat
_NAMES = frozenset({"winmail.dat", "win.dat"})


class Budget:
    """What may still be derived from one message; `limits` says if there was more."""

    __slots__ = ("_bytes", "_files", "limits")

    def __init__(self) -> None:
        self._files, self._bytes = FILES, WORK_BYTES
        self.limits: set[str] = set()

    def allows(self, span: Span) -> bool:
        """Take what it costs to decode *span*, if there is enough left."""
        cost = _cost(span)
        if self._files < 1 or self._bytes < cost:
            self.limits.add("derived")
            return False
        self._files -= 1
        self._bytes -= cost
        return True


def from_text(raw: Raw, part: Part, files: Sequence[Enclosed], budget: Budget) -> Iterator[Found]:
    """The *files* that were found in the text of *part*."""
    return _found(raw, part.number, part.span(raw), files, budget)


def from_attachment(raw: Raw, holder: Attachment, budget: Budget, depth: int = DEPTH) -> Iterator[Found]:
    """What lies in *holder*, if it is a winmail.dat, and in those that lie in it."""
    if not depth or not _is_tnef(holder):
        return
    if not budget.allows(holder.span):  # going through it is work too
        return
    files = tnef.files(decoded(raw, holder.span))
    for found in _found(raw, holder.part, holder.span, files, budget):
        yield found
        yield from from_attachment(raw, found.attachment, budget, depth - 1)


def within(span: Span, holder: Span) -> Span:
    """*span*, which is one of the content of *holder*, as a span of the message."""
    return replace(span, within=within(span.within, holder) if span.within else holder)


def _found(
    raw: Raw, number: str, holder: Span, files: Sequence[Enclosed] | Iterator[Enclosed], budget: Budget
) -> Iterator[Found]:
    for count, file in enumerate(files, 1):
        span = Span(file.start, file.end, file.encoding, holder)
        if holder.encoding == "identity":  # its content is a slice of what it lies in itself
            span = Span(holder.start + file.start, holder.start + file.end, file.encoding, holder.within)
        if budget.allows(span):
            found = attachments.derived(raw, number, f"{number}~{count}", file, span)
            yield _judged(raw, found, budget) if span.encoding == "lzfu" else found


def _judged(raw: Raw, found: Found, budget: Budget) -> Found:
    """*found*, which is compressed, with its defect if it is not what it says of itself."""
    size_bytes, source = found.attachment.size_bytes, decoded(raw, replace(found.attachment.span, encoding="identity"))
    if size_bytes >= lzfu.LIMIT_BYTES:
        budget.limits.add("derived")
    elif found.enclosed and not lzfu.is_sound(source, size_bytes):
        return replace(found, enclosed=replace(found.enclosed, defect="rtf: damaged"))
    return found


def _cost(span: Span) -> int:
    """The bytes to decode before the last one of *span* is there."""
    cost = (span.end - span.start) * (_DECOMPRESSING if span.encoding == "lzfu" else 1)
    return cost + span.start + _cost(span.within) if span.within else cost


def _is_tnef(holder: Attachment) -> bool:
    kind = holder.content_type
    named = kind == "application/octet-stream" and (holder.filename or "").lower() in _NAMES
    return named or kind in (tnef.CONTENT_TYPE, "application/vnd.ms-tnef")
