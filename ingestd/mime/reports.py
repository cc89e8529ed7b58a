"""What machines write to machines within mail: delivery status and disposition notifications, and invitations.

Read from the start of the part that holds them, as short strings; what is not there is unknown, or left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..message import Address, DeliveryReport, DeliveryStatus, Disposition
from ..raw import Raw
from . import headers
from .charsets import decode
from .clean import one_line
from .parts import Part
from .transfer import start_of

Pairs = tuple[tuple[str, str], ...]

STATUS_BYTES = 128 * 1024
RECIPIENTS = 100
CALENDAR_BYTES = 256 * 1024
VALUE = 500  # characters

_LINE_END = re.compile(r"\r{0,2}\n|\r")
_UNFOLD = re.compile(r"\n[ \t]+(?=\S)")
_COMMENT = re.compile(r"\((?:[^()]++|\([^()]*+\))*+\)")  # with at most one level of others in it
_CHARACTER = re.compile(r"\\x\{([0-9A-Fa-f]{2,5})\}")  # of an address that had to be written in ASCII (RFC 6533)
_RECIPIENT_FIELDS = frozenset({"original-recipient", "final-recipient", "action", "status"})
_EVENT_ORDER = ("method", "uid", "start", "end", "timezone", "organizer")
_FOLD = re.compile(rb"\r?\n[ \t]")
_CONTENT_LINE = re.compile(r'([A-Za-z0-9-]{1,60})((?:;[^":]*(?:"[^"]*"[^":]*)*)?):(.*)', re.DOTALL)
_TZID = re.compile(r';TZID=("[^"]*"|[^;:"]*)', re.IGNORECASE)
_ESCAPED = re.compile(r"\\([\\;,])")  # of text values
_EVENT_FIELDS = {"UID": "uid", "DTSTART": "start", "DTEND": "end", "ORGANIZER": "organizer"}


def delivery_report(raw: Raw, part: Part, limits: set[str]) -> DeliveryReport:
    """What a message/delivery-status part says of each recipient (RFC 3464); a cut is noted in *limits*."""
    text, whole = _text(raw, part)
    found: list[DeliveryStatus] = []
    server = ""
    for group in _groups(text):
        server = server or group.get("reporting-mta", "")
        if not _RECIPIENT_FIELDS.isdisjoint(group):
            found.append(_delivery(group))
        if len(found) > RECIPIENTS:
            break
    if not whole or len(found) > RECIPIENTS:
        limits.add("dsn")
    return DeliveryReport(_typed(server) or None, tuple(found[:RECIPIENTS]))


def disposition(raw: Raw, part: Part) -> Disposition:
    """What a message/disposition-notification part says (RFC 8098)."""
    text, _ = _text(raw, part)
    found = next((group for group in _groups(text) if "disposition" in group), {})
    kind = _typed(found.get("disposition", "")).partition("/")[0].strip()
    original = headers.first_id(found.get("original-message-id", "").encode())
    return Disposition(kind or None, _recipient(found), original)


def calendar(raw: Raw, part: Part) -> Pairs:
    """The method of a text/calendar part, and uid, start, end, timezone and organizer of its first event (RFC 5545)."""
    found: dict[str, str] = {}
    method = part.type.text("method")
    if method:
        found["method"] = method.lower()
    depth = 0  # of components within the event, e.g. an alarm
    for line in _content_lines(raw, part):
        if line.name == "METHOD":
            found.setdefault("method", line.value.lower())
        elif depth or (line.name, line.value.upper()) == ("BEGIN", "VEVENT"):
            depth += (line.name == "BEGIN") - (line.name == "END")
            if not depth:
                break
            if depth == 1:
                _note(found, line)
    return tuple((name, one_line(found[name])[:VALUE]) for name in _EVENT_ORDER if found.get(name))


@dataclass(frozen=True, slots=True)
class _Line:
    """A content line of a calendar, unfolded."""

    name: str
    parameters: str
    value: str


def _content_lines(raw: Raw, part: Part) -> Iterator[_Line]:
    data, whole = start_of(raw, part.span(raw), CALENDAR_BYTES)
    # Unfolded as bytes: a line may be folded in the middle of a character (RFC 5545, section 3.1).
    text = decode(_FOLD.sub(b"", data), part.type.text("charset") or "utf-8", whole=whole).text
    for line in text.replace("\r", "\n").split("\n"):
        if match := _CONTENT_LINE.match(line):
            yield _Line(match[1].upper(), match[2], match[3].strip())


def _note(found: dict[str, str], line: _Line) -> None:
    """Add what *line* says of the event, unless something was said before."""
    name = _EVENT_FIELDS.get(line.name)
    if name is None or name in found:
        return
    found[name] = line.value
    if name == "organizer":
        found[name] = line.value.lower().removeprefix("mailto:")
    elif name == "uid":
        found[name] = _ESCAPED.sub(r"\1", line.value)
    elif name == "start" and not line.value.endswith("Z") and (zone := _TZID.search(line.parameters)):
        found["timezone"] = zone[1].strip('"')


def _text(raw: Raw, part: Part) -> tuple[str, bool]:
    data, whole = start_of(raw, part.span(raw), STATUS_BYTES)
    return decode(data, part.type.text("charset") or "utf-8", whole=whole).text, whole


def _groups(text: str) -> Iterator[dict[str, str]]:
    """The groups of fields, with blank lines between them. A second Final-Recipient begins one without."""
    group: dict[str, str] = {}
    for line in _UNFOLD.sub(" ", _LINE_END.sub("\n", text)).split("\n"):
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not line.strip() or (name == "final-recipient" and name in group):
            yield group
            group = {}
        if colon:
            group.setdefault(name, one_line(value)[:VALUE])
    yield group


def _delivery(group: Mapping[str, str]) -> DeliveryStatus:
    return DeliveryStatus(
        action=_plain(group.get("action", "")) or None,
        status=_plain(group.get("status", "")) or None,
        recipient=_recipient(group),
        diagnostic=group.get("diagnostic-code") or None,
    )


def _recipient(group: Mapping[str, str]) -> Address | None:
    found = _typed(group.get("final-recipient", "")) or _typed(group.get("original-recipient", ""))
    spec = found.rpartition("<")[2].partition(">")[0]
    return headers.address("", _CHARACTER.sub(lambda match: chr(int(match[1], 16)), spec))


def _typed(value: str) -> str:
    """What stands after the type of a value, such as "rfc822;"; all of it where there is none."""
    kind, semicolon, rest = _plain(value).partition(";")
    return rest.strip() if semicolon else kind


def _plain(value: str) -> str:
    """A value without its comments, lower-case."""
    return one_line(_COMMENT.sub("", value).lower())
