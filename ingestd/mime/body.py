"""The body of a message as text and as HTML, decoded and cut to what a document may hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from ..raw import Raw
from .bodies import Bodies
from .charsets import decode
from .clean import clean, limited
from .parts import Part
from .text import from_html
from .transfer import start_of

TEXT_BYTES = 1 << 20  # as UTF-8
HTML_BYTES = 4 << 20  # as UTF-8
_CID = re.compile(r"cid:([^\"'\s<>()]{1,300})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Body:
    """What the message says. *cut* is the part whose text did not fit, so that it is kept whole elsewhere."""

    text: str
    source: Literal["plain", "html"] | None
    html: str | None
    cut: Part | None
    defects: frozenset[str]
    limits: frozenset[str]

    def content_ids(self) -> frozenset[str]:
        """The Content-IDs that the HTML refers to."""
        if not self.html or "cid:" not in self.html.lower():
            return frozenset()
        return frozenset(unquote(found) for found in _CID.findall(self.html))


@dataclass(frozen=True, slots=True)
class _Content:
    text: str
    whole: bool


def body(raw: Raw, found: Bodies) -> Body:
    """Read the parts that are the body. At most a few MiB are read of each, however large."""
    return _Reader(raw).body(found)


class _Reader:
    """Decodes each part once, though its text may be wanted twice."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._contents: dict[Part, _Content] = {}
        self._defects: set[str] = set()
        self._limits: set[str] = set()

    def body(self, found: Bodies) -> Body:
        html = self._html(found.html) if found.html else None
        text, cut = self._joined(found.text)
        plain = any(not _is_html(part) for part in found.text)
        if html and plain and not text.strip():
            text, cut = self._joined(found.html)  # the plain version is there for form's sake only
            plain = False
        source: Literal["plain", "html"] | None = "plain" if plain else "html" if found.text else None
        return Body(text, source, html, cut, frozenset(self._defects), frozenset(self._limits))

    def _joined(self, parts: list[Part]) -> tuple[str, Part | None]:
        texts: list[str] = []
        room = TEXT_BYTES
        for part in parts:
            content = self._readable(part)
            fitting = limited(content.text, max(room, 0))
            texts.append(fitting)
            room -= len(fitting.encode()) + 1
            if len(fitting) < len(content.text) or not content.whole:
                return "\n".join(texts), part
        return "\n".join(texts), None

    def _html(self, parts: list[Part]) -> str:
        contents = [self._content(part) for part in parts]
        whole = "\n".join(content.text for content in contents)
        html = limited(whole, HTML_BYTES)
        if len(html) < len(whole) or not all(content.whole for content in contents):
            self._limits.add("html")
        return html

    def _readable(self, part: Part) -> _Content:
        content = self._content(part)
        if _is_html(part):
            return _Content(clean(from_html(content.text[: 2 * TEXT_BYTES])), content.whole)
        return content

    def _content(self, part: Part) -> _Content:
        if part not in self._contents:
            # A character takes at least a byte, so what is cut here would hardly have fitted.
            size_bytes = HTML_BYTES if _is_html(part) else TEXT_BYTES
            data, whole = start_of(self._raw, part.span(self._raw), size_bytes)
            decoded = decode(data, part.type.text("charset"), whole=whole)
            if decoded.defect:
                self._defects.add(decoded.defect)
            text = decoded.text.replace("\r\n", "\n").replace("\r", "\n")
            self._contents[part] = _Content(clean(text), whole)
        return self._contents[part]


def _is_html(part: Part) -> bool:
    return part.content_type == "text/html"
