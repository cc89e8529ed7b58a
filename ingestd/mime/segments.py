"""The raw message, stored once: literal bytes, and references to content that is stored on its own anyway.

The segments of a message, one after the other, are the message byte for byte. Whatever cannot be put back exactly from
a blob stays literal; literal runs that are too large for a document become blobs of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..message import Blob, Segment, Span
from ..raw import Raw
from .attachments import Found
from .transfer import digest

REFERENCE_BYTES = 1024  # a smaller part stays literal
LITERAL_BYTES = 256 * 1024  # a longer literal run becomes a blob
INLINE_BYTES = 4 << 20  # of literal bytes in one message; from there on only short runs stay


def segments(raw: Raw, found: Iterable[Found]) -> tuple[tuple[Segment, ...], tuple[Blob, ...]]:
    """Return the segments of *raw* and the blobs of its long literal runs; *found* are all its attachments."""
    references = sorted(filter(None, map(_reference, found)), key=lambda segment: segment.start)
    whole, blobs = [], []
    inline = 0
    for segment in _filled(references, raw.size_bytes):
        size_bytes = segment.end - segment.start
        if segment.sha256 is None and _too_large(size_bytes, inline):
            blob = _blob(raw, segment.start, segment.end)
            blobs.append(blob)
            segment = Segment(segment.start, segment.end, blob.sha256)
        elif segment.sha256 is None:
            inline += size_bytes
        whole.append(segment)
    return tuple(whole), tuple(blobs)


def _reference(found: Found) -> Segment | None:
    attachment, laid_out = found.attachment, found.layout
    if laid_out and laid_out.end - laid_out.start >= REFERENCE_BYTES:
        return Segment(laid_out.start, laid_out.end, laid_out.sha256, "base64", laid_out.line_length, laid_out.line_end)
    if attachment.derived_from:  # the part that holds it is referred to
        return None
    span = attachment.span
    if span.encoding == "identity" and not attachment.in_raw and attachment.size_bytes >= REFERENCE_BYTES:
        return Segment(span.start, span.end, attachment.sha256)
    return None


def _filled(references: Iterable[Segment], size_bytes: int) -> Iterator[Segment]:
    """The references with literal segments between them, so that all together cover the message."""
    at = 0
    for reference in references:
        if at < reference.start:
            yield Segment(at, reference.start)
        yield reference
        at = reference.end
    if at < size_bytes:
        yield Segment(at, size_bytes)


def _too_large(size_bytes: int, inline: int) -> bool:
    if size_bytes > LITERAL_BYTES:
        return True
    return inline + size_bytes > INLINE_BYTES and size_bytes >= REFERENCE_BYTES


def _blob(raw: Raw, start: int, end: int) -> Blob:
    span = Span(start, end)
    return Blob(*digest(raw, span), span)
