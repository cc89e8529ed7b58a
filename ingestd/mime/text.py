"""Readable text: from HTML, and the first line of it that a list of messages shows."""

from __future__ import annotations

import html
import re

SNIPPET = 200  # characters
SIGNATURE = "-- "  # the line before one; its blank joins nothing
_SNIPPET_SOURCES = 400, 4000  # characters that it is made of; the more are needed where many are blank

# What is never shown; an end that is missing swallows the rest, as in a browser, and keeps this linear.
_HIDDEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|head|title|template|noscript)\b[^<>]*>.*?(?:</\1\s*>|\Z)|<![^<>]*>|<\?[^<>]*>",
    re.IGNORECASE | re.DOTALL,
)
_BLANKS = re.compile(r"[ \t\r\n\f\xa0]+")
_LINE = re.compile(
    r"</?(?:br|p|div|tr|li|ul|ol|dl|dt|dd|h[1-6]|table|hr|blockquote|pre|section|article|header|footer|center|form)"
    r"\b[^<>]*>",
    re.IGNORECASE,
)
_CELL = re.compile(r"</t[dh]\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_AROUND_LINES = re.compile(r" *\n *")
_EMPTY_LINES = re.compile(r"\n{3,}")


def from_html(source: str) -> str:
    """The text of an HTML document, blocks on lines of their own. Nothing is fetched, run or trusted."""
    text = _HIDDEN.sub(" ", source) if "<" in source else source
    text = _BLANKS.sub(" ", text)
    text = _LINE.sub("\n", text)
    text = _CELL.sub(" ", text)
    text = html.unescape(_TAG.sub("", text)).replace("\xa0", " ")
    return _EMPTY_LINES.sub("\n\n", _AROUND_LINES.sub("\n", text)).strip()


def unflowed(text: str, *, delete_space: bool) -> str:
    """Text in format=flowed (RFC 3676) with every paragraph on one line, quoted ones after their ">"s and a space."""
    lines: list[str] = []
    open_at = -1  # the depth of the paragraph that goes on; -1: none does
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")  # put there so that it looks like no quote
        flows = content.endswith(" ") and content != SIGNATURE
        if flows and delete_space:
            content = content[:-1]
        if depth == open_at and content != SIGNATURE:
            lines.append(content)
        else:
            lines.append(("\n" if lines else "") + (">" * depth + " " if depth else "") + content)
        open_at = depth if flows else -1
    return "".join(lines)


def snippet(text: str) -> str:
    """The start of *text* on one line."""
    for source in _SNIPPET_SOURCES:
        line = " ".join(text[:source].split())
        if len(line) >= SNIPPET:
            break
    return line[:SNIPPET].rstrip()
