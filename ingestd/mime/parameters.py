"""Structured header values: `text/plain; charset=utf-8` and its parameters (RFC 2045, section 5.1; RFC 2231)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from .charsets import decode
from .clean import one_line
from .words import header_text

PARAMETERS = 500
VALUE_BYTES = 16 * 1024
SHORT = 100  # bytes; a longer value is hardly met again
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_MAIN = re.compile(rb"[^\s;]*")
_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"?|[^;]*)', re.DOTALL)
_CONTINUED = re.compile(rb"([^*]+)(?:\*(\d{1,3}))?(\*?)")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_COMMENT = re.compile(rb"\s*\([^()]*\)\s*$")


@dataclass(frozen=True, slots=True)
class Structured:
    """The main value, lower-case, and the parameters by lower-case name: bytes as sent, or str where RFC 2231 says."""

    main: str
    parameters: Mapping[str, bytes | str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()

    def text(self, name: str) -> str | None:
        """The parameter *name*, decoded, or None."""
        value = self.parameters.get(name)
        return header_text(value) if isinstance(value, bytes) else value

    def raw(self, name: str) -> bytes | None:
        """The parameter *name* as bytes, for comparing with the body."""
        value = self.parameters.get(name)
        return value.encode("utf-8", "replace") if isinstance(value, str) else value


def structured(value: bytes) -> Structured:
    """Read a structured header value as leniently as mail needs it."""
    return _remembered(value) if len(value) <= SHORT else _read(value)


def _read(value: bytes) -> Structured:
    value = _FOLD.sub(b"", value[:VALUE_BYTES]).strip()
    match = _MAIN.match(value)
    main = one_line(match.group().lower().decode("ascii", "replace")) if match else ""
    if b";" not in value:
        return Structured(main)
    plain: dict[str, bytes | str] = {}
    continued: dict[str, list[tuple[int, bool, bytes]]] = {}
    limits: tuple[str, ...] = ()
    for count, found in enumerate(_PARAMETER.finditer(value)):
        if count == PARAMETERS:
            limits = ("parameters",)
            break
        name, text = found[1].lower(), _unquoted(found[2])
        parts = _CONTINUED.fullmatch(name) if b"*" in name else None
        if parts:
            continued.setdefault(_name(parts[1]), []).append((int(parts[2] or 0), bool(parts[3]), text))
        else:
            plain.setdefault(_name(name), text)
    # RFC 2231 values win over plain ones of the same name: they are the ones with a charset (RFC 6266, 4.3).
    return Structured(main, plain | {name: _joined(pieces) for name, pieces in continued.items()}, limits)


_remembered = lru_cache(maxsize=1024)(_read)  # most are of a few programs, and the same


def _name(name: bytes) -> str:
    return name.decode("ascii", "replace")


def _unquoted(text: bytes) -> bytes:
    text = text.strip()
    if not text.startswith(b'"'):
        return _COMMENT.sub(b"", text) if text.endswith(b")") else text
    text = text[1:-1] if len(text) > 1 and text.endswith(b'"') else text[1:]
    return _QUOTED_PAIR.sub(rb"\1", text) if b"\\" in text else text


def _joined(pieces: list[tuple[int, bool, bytes]]) -> str:
    charset, whole = b"", []
    for index, (_, extended, text) in enumerate(sorted(pieces, key=lambda piece: piece[0])):
        if extended and index == 0 and text.count(b"'") >= 2:
            charset, _, text = text.split(b"'", 2)
        if extended:
            text = _PERCENT.sub(lambda match: bytes([int(match[1], 16)]), text)
        whole.append(text)
    return one_line(decode(b"".join(whole), charset.decode("ascii", "replace") or None).text)
