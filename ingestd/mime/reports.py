"""What machines write to machines within mail: delivery status notifications and invitations.

Read from the start of the part that holds them, as pairs of short strings; what is not there is left out.
"""

from __future__ import annotations

import re

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
    """The method of a text/calendar part, and uid, start, end and organizer of its first event (RFC 5545)."""
    found: dict[str, str] = {}
    method = part.type.text("method")
    if method:
        found["method"] = method.lower()
    within = False
    for line in _UNFOLD.sub("", _text(raw, part, CALENDAR_BYTES)).splitlines():
        name, value = _content_line(line)
        if name == "METHOD":
            found.setdefault("method", value.lower())
        elif (name, value.upper()) == ("BEGIN", "VEVENT"):
            within = True
        elif (name, value.upper()) == ("END", "VEVENT"):
            break
        elif within and name in _EVENT_FIELDS:
            found.setdefault(_EVENT_FIELDS[name], _plain(name, value))
    return tuple((name, one_line(value)[:VALUE]) for name, value in found.items() if value)


def _text(raw: Raw, part: Part, size_bytes: int) -> str:
    data, whole = start_of(raw, part.span(raw), size_bytes)
    return decode(data, part.type.text("charset") or "utf-8", whole=whole).text


def _status_fields(group: str) -> dict[str, str]:
    lines = (line.partition(":") for line in _UNFOLD.sub(" ", group).split("\n"))
    return {name.strip().lower(): one_line(value) for name, colon, value in lines if colon}


def _content_line(line: str) -> tuple[str, str]:
    head, _, value = line.partition(":")
    if '"' in head:  # a quoted parameter may hold a colon
        head, _, value = re.sub(r'"[^"]*"', "", line).partition(":")
    return head.partition(";")[0].strip().upper(), value.strip()


def _plain(name: str, value: str) -> str:
    return value.lower().removeprefix("mailto:") if name == "ORGANIZER" else value
