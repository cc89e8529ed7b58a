"""A message that parses like another one and says nothing of what it says: start reading here.

Every letter and digit of its text is exchanged for another one; addresses, hosts, identifiers and dates for others of
their kind that belong to nobody. Field names, content types, charsets, transfer encodings, the layout of lines, and all
that is wrong with any of them stay, and so does its size, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ...raw import InMemory
from ..scan import EMBEDDED, scan
from ..window import Window
from .body import body, lines
from .header import header
from .mask import Mask
from .text import text


def anonymised(data: bytes, mask: Mask, level: int = 0) -> bytes:
    """Return another message in the place of *data*, as long. The same for the same bytes and *mask*.

    It is held in memory a few times over. *level* is how many messages are around it.
    """
    return b"".join(_pieces(data, mask, level))


def _pieces(data: bytes, mask: Mask, level: int) -> Iterator[bytes]:
    raw = InMemory(data)
    line_break = Window(raw).line_break
    at = 0
    for part in scan(raw, level).root.walk():
        yield lines(data[at : part.start], mask, partial(text, mask))
        yield header(mask, data[part.start : part.body], line_break)
        at = part.body
        if not part.parts and not part.message:
            encoding = part.span(raw).encoding
            looked_into = encoding != "identity" and part.level < EMBEDDED
            within = partial(anonymised, mask=mask, level=part.level + 1) if looked_into else partial(text, mask)
            yield body(mask, part, data[at : part.end], encoding, within)
            at = max(at, part.end)
    yield lines(data[at:], mask, partial(text, mask))
