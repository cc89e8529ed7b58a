"""What a subject is about, whatever was put before and after it on the way (RFC 5256, section 2.1)."""

from __future__ import annotations

import re

LONGEST = 1000  # characters that are looked at

_TRAILERS = re.compile(r"(?:\s*\(fwd\))+$", re.IGNORECASE)
_LEADER = re.compile(r"(?:\[[^\[\]]*\]\s*)*(?:re|fwd?)\s*(?:\[[^\[\]]*\]\s*)?:\s*", re.IGNORECASE)
_BLOB = re.compile(r"\[[^\[\]]*\]\s*(?=\S)")
_FORWARD = re.compile(r"\[fwd:(.*)\]", re.IGNORECASE)


def base(subject: str) -> str:
    """The base subject: without "Re:", "Fwd:", "(fwd)", and list names in brackets."""
    text = " ".join(subject[:LONGEST].split())
    while True:
        before = text
        text = _TRAILERS.sub("", text).strip()
        text = _unled(text)
        if forward := _FORWARD.fullmatch(text):
            text = forward[1].strip()
        if text == before:
            return text


def _unled(text: str) -> str:
    at = 0
    while match := _LEADER.match(text, at) or _BLOB.match(text, at):
        at = match.end()
    return text[at:]
