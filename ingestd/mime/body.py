"""The body of a message as text and as HTML, decoded and cut to what a document may hold.

Where the message itself says nothing, as what Outlook sends to Outlook, the body in its winmail.dat is its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import unquote

from ..raw import Raw
from .attachments import Found
from .bodies import Bodies
from .charsets import Decoded, Hints, decode
from .clean import clean, limited
from .enclosed import Enclosed
from .parts import Part
from .rtf import from_rtf
from .text import from_html, unflowed
from .texts import Texts
from .transfer import start, start_of

TEXT_BYTES = 1 << 20  # as UTF-8
HTML_BYTES = 4 << 20  # as UTF-8
READ_BYTES = 8 << 20  # of all parts together
_READABLE = 2 << 20  # characters of HTML that are turned into text
_RICH_BYTES = 1 << 20  # of RTF that are turned into text
GUESSES = 50  # parts whose charset is guessed
_PLAIN, _HTML, _RICH = "text/plain", "text/html", "application/rtf"  # the best first
_READ = {_PLAIN: TEXT_BYTES, _HTML: _READABLE, _RICH: _RICH_BYTES}
_META_BYTES = 4096  # of HTML; browsers look at the first 1024
_META = re.compile(rb"<meta\b[^<>]*\bcharset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_LONE_CR = re.compile("\r(?!\n)")
_CID = re.compile(r"cid:([^\"'\s<>()]{1,300})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Body:
    """What the message says. *cut* is what holds a text that did not fit, so that it is kept whole elsewhere."""

    text: str
    source: Literal["plain", "html", "tnef"] | None
    html: str | None
    cut: Part | Found | None
    defects: frozenset[str]
    limits: frozenset[str]

    def content_ids(self) -> frozenset[str]:
        """The Content-IDs that the HTML refers to."""
        if not self.html or "cid:" not in self.html.lower():
            return frozenset()
        return frozenset(unquote(found) for found in _CID.findall(self.html))


@dataclass(frozen=True, slots=True)
class _Content:
    part: Part
    text: str
    whole: bool


def body(texts: Texts, found: Bodies, files: Mapping[Part, Sequence[Enclosed]]) -> Body:
    """Read the parts that are the body, without the *files* within them.

    At most a few MiB are read of each, however large.
    """
    return _Reader(texts, files).body(found)


def or_in_tnef(raw: Raw, said: Body, found: Iterable[Found]) -> Body:
    """Return *said* or, if that says nothing, the best body among the files *found* in a winmail.dat of the message."""
    if said.text.strip() or (said.html and said.html.strip()):
        return said
    bodies: dict[str, Found] = {}  # the first of each type: to read more of them would be work without end
    for each in found:
        if each.enclosed and each.enclosed.body and _is_of_message(each):
            bodies.setdefault(each.attachment.content_type, each)
    for kind in (_PLAIN, _HTML, _RICH):
        if kind in bodies and (read := _from_tnef(raw, bodies[kind], said)).text.strip():
            return read
    return said


def _is_of_message(found: Found) -> bool:
    """Whether *found* lies in a part of the message, and not in a message within a winmail.dat."""
    return "~" not in (found.attachment.derived_from or "")


def _from_tnef(raw: Raw, found: Found, said: Body) -> Body:
    data, whole = start_of(raw, found.attachment.span, _READ[found.attachment.content_type])
    decoded = _decoded(found, data, whole=whole)
    text = _cleaned(decoded.text)
    fitting = limited(text, TEXT_BYTES)
    cut = None if whole and fitting == text else found
    defects = said.defects | ({decoded.defect} if decoded.defect else frozenset())
    return replace(said, text=fitting, source="tnef", cut=cut, defects=defects)


def _decoded(found: Found, data: bytes, *, whole: bool) -> Decoded:
    kind = found.attachment.content_type
    if kind == _RICH:
        return Decoded(from_rtf(data))
    charset = found.enclosed.charset if found.enclosed else None
    decoded = decode(data, charset, whole=whole, hints=_hints(data, html=kind == _HTML))
    text = decoded.text.rstrip("\x00")
    return replace(decoded, text=from_html(text) if kind == _HTML else text)


class _Reader:
    """Decodes each part once, though its text may be wanted twice."""

    def __init__(self, texts: Texts, files: Mapping[Part, Sequence[Enclosed]]) -> None:
        self._texts = texts
        self._files = files
        self._room = READ_BYTES
        self._contents: dict[Part, _Content] = {}
        self._defects: set[str] = set()
        self._limits: set[str] = set()

    def body(self, found: Bodies) -> Body:
        html, html_cut = _joined(map(self._content, found.html), HTML_BYTES)
        if html_cut:
            self._limits.add("html")
        text, cut = _joined(map(self._readable, found.text), TEXT_BYTES)
        plain = any(not is_html(part) for part in found.text)
        if html and plain and not text.strip():
            text, cut = _joined(map(self._readable, found.html), TEXT_BYTES)
            plain = False  # that version is there for form's sake only
        source: Literal["plain", "html"] | None = "plain" if plain else "html" if found.text else None
        whole = html if found.html else None
        return Body(text, source, whole, cut, frozenset(self._defects), frozenset(self._limits))

    def _readable(self, part: Part) -> _Content:
        content = self._content(part)
        if not is_html(part):
            return content
        read = content.text[:_READABLE]
        return _Content(part, clean(from_html(read)), content.whole and len(read) == len(content.text))

    def _content(self, part: Part) -> _Content:
        if part not in self._contents:
            # A character takes at least a byte, so what is cut here would hardly have fitted.
            size_bytes = min(HTML_BYTES if is_html(part) else TEXT_BYTES, self._room)
            without = [(file.start, file.end) for file in self._files.get(part, ())]
            data, whole = start(self._texts.pieces(part), size_bytes, without)
            self._room -= len(data)
            decoded = decode(data, part.type.text("charset"), whole=whole, hints=self._hints(part, data))
            if decoded.defect:
                self._defects.add(decoded.defect)
            text = _cleaned(decoded.text)
            if _is_flowed(part):
                text = unflowed(text, delete_space=(part.type.text("delsp") or "").lower() == "yes")
            self._contents[part] = _Content(part, text, whole)
        return self._contents[part]

    def _hints(self, part: Part, data: bytes) -> Hints | None:
        if len(self._contents) >= GUESSES:
            return None
        return _hints(data, html=is_html(part))


def _hints(data: bytes, *, html: bool) -> Hints:
    found = _META.search(data, 0, _META_BYTES) if html else None
    return Hints(found[1].decode("ascii") if found else None)


def _cleaned(text: str) -> str:
    """*text*, clean, with LF for every line break."""
    if _LONE_CR.search(text):
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return clean(text.replace("\r", ""))


def _joined(contents: Iterable[_Content], size_bytes: int) -> tuple[str, Part | None]:
    """Join texts as far as they fit, and return the part that was cut, if any; nothing after it is even read."""
    texts: list[str] = []
    for content in contents:
        fitting = limited(content.text, max(size_bytes, 0))
        texts.append(fitting)
        size_bytes -= (len(fitting) if fitting.isascii() else len(fitting.encode())) + 1
        if len(fitting) < len(content.text) or not content.whole:
            return "\n".join(texts), content.part
    return "\n".join(texts), None


def is_html(part: Part) -> bool:
    return part.content_type == _HTML


def _is_flowed(part: Part) -> bool:
    return part.content_type == _PLAIN and (part.type.text("format") or "").lower() == "flowed"
