"""What machines write to machines within mail: delivery status notifications and invitations.

Read from the start of the part that holds them, as pairs of short strings; what is not there is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..raw import Raw
from .charsets import decode
from .clean import one_line
from .parts import Part
from .transfer import start_of

Pairs = tuple[tuple[str, str], ...]

STATUS_BYTES = 64 * 1024
CALENDAR_BYTES = 256 * 1024
VALUE = 500  # characters

_UNFOLD = re.compile(r"\r?\n[ \t]")
_GROUPS = re.compile(r"\n\s*\n")
_STATUS_FIELDS = {"action": "action", "status": "status", "diagnostic-code": "diagnostic"}
_STATUS_ORDER = ("action", "status", "recipient", "diagnostic")
_EVENT_ORDER = ("method", "uid", "start", "end", "timezone", "organizer")
_FOLD = re.compile(rb"\r?\n[ \t]")
_CONTENT_LINE = re.compile(r'([A-Za-z0-9-]{1,60})((?:;[^":]*(?:"[^"]*"[^":]*)*)?):(.*)', re.DOTALL)
_TZID = re.compile(r';TZID=("[^"]*"|[^;:"]*)', re.IGNORECASE)
_ESCAPED = re.compile(r"\\([\\;,])")  # of text values
_EVENT_FIELDS = {"UID": "uid", "DTSTART": "start", "DTEND": "end", "ORGANIZER": "organizer"}


def delivery_status(raw: Raw, part: Part) -> Pairs:
    """The first recipient of a message/delivery-status part: action, status, recipient, diagnostic (RFC 3464)."""
    text = _text(raw, part, STATUS_BYTES).replace("\r\n", "\n")
    groups = [_status_fields(group) for group in _GROUPS.split(text)]
    first = next((group for group in groups if "final-recipient" in group or "action" in group), {})
    found = {ours: first.get(theirs, "") for theirs, ours in _STATUS_FIELDS.items()}
    recipient = first.get("final-recipient") or first.get("original-recipient") or ""
    found["recipient"] = recipient.rpartition(";")[2].strip().strip("<>").lower()
    return tuple((name, found[name][:VALUE]) for name in _STATUS_ORDER if found[name])


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


def _text(raw: Raw, part: Part, size_bytes: int) -> str:
    data, whole = start_of(raw, part.span(raw), size_bytes)
    return decode(data, part.type.text("charset") or "utf-8", whole=whole).text


def _status_fields(group: str) -> dict[str, str]:
    lines = (line.partition(":") for line in _UNFOLD.sub(" ", group).split("\n"))
    return {name.strip().lower(): one_line(value) for name, colon, value in lines if colon}
