"""The header of a message, occurrence by occurrence, with caps on everything that can be repeated.

A cap that cut something off is a limit, and what could not be read is a defect; both are collected here while reading.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..message import Address, Header, Hop
from . import headers
from .block import Block
from .clean import one_line
from .headers import Moment
from .words import header_text

ADDRESSES = 1000
RECEIVED = 100
REFERENCES = 200
AUTH_RESULTS = 50
NAME = 200  # characters of a field name

_COMMENT = re.compile(r"\([^()]*\)")
_METHOD = re.compile(r";\s*(spf|dkim|dmarc|arc)\s*=\s*([a-z]{1,20})", re.IGNORECASE)
_LIST_ID = re.compile(r"<([^<>]*)>\s*$")


class Fields:
    """Reads the fields of one header block. `defects` and `limits` grow as it does."""

    __slots__ = ("_all", "_room", "_texts", "_values", "defects", "limits")

    def __init__(self, block: Block) -> None:
        self.defects: set[str] = set()
        self.limits: set[str] = set()
        self._all = block.fields
        self._room = ADDRESSES
        self._texts: dict[bytes, str] = {}
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in block.fields:
            self._values.setdefault(name.lower(), []).append(value)

    def __contains__(self, name: str) -> bool:
        return name.encode() in self._values

    def values(self, name: str) -> list[bytes]:
        """Every occurrence of the field *name* (lower-case), the topmost first."""
        return self._values.get(name.encode(), [])

    def text(self, name: str) -> str | None:
        """The topmost *name*, decoded, on one line."""
        values = self.values(name)
        return self._text(values[0]) if values else None

    def token(self, name: str) -> str:
        """The first word of the topmost *name*, lower-case, "" when there is none."""
        return (self.text(name) or "").partition(";")[0].strip().lower()

    def all(self) -> tuple[Header, ...]:
        return tuple(Header(_name(name), self._text(value)) for name, value in self._all)

    def _text(self, value: bytes) -> str:
        """*value* decoded, which is done once."""
        if value not in self._texts:
            self._texts[value] = header_text(value)
        return self._texts[value]

    def addresses(self, name: str) -> tuple[Address, ...]:
        """The addresses of every occurrence of *name*, in order, each once."""
        found: list[Address] = []
        for value in self.values(name):
            read = headers.addresses(value)
            found += read.found
            if not read.complete:
                self.defects.add(f"address: {name}")
        found = list(dict.fromkeys(found))
        if len(found) > self._room:
            self.limits.add("addresses")
            del found[self._room :]
        self._room -= len(found)
        return tuple(found)

    def moment(self, name: str) -> Moment | None:
        """The date-time of the topmost *name*."""
        values = self.values(name)
        if not values or not values[0].strip():
            return None
        found = headers.moment(values[0])
        if found is None:
            self.defects.add(name)
        return found

    def hops(self) -> tuple[Hop, ...]:
        """The Received fields, the topmost (the last hop) first."""
        values = self.values("received")
        if len(values) > RECEIVED:
            self.limits.add("received")
        return tuple(map(headers.hop, values[:RECEIVED]))

    def id(self, name: str) -> str | None:
        values = self.values(name)
        return headers.first_id(values[0]) if values else None

    def references(self) -> tuple[str, ...]:
        """The References: the first one, which names the thread, and as many of the last as there is room for."""
        values = self.values("references")
        found = headers.ids(values[0]) if values else ()
        if len(found) > REFERENCES:
            self.limits.add("references")
            return found[:1] + found[1 - REFERENCES :]
        return found

    def list_id(self) -> str | None:
        text = self.text("list-id")
        match = _LIST_ID.search(text or "")
        return one_line((match[1] if match else text or "").strip("<> ").lower()) or None

    def auth_results(self) -> tuple[tuple[str, str, str], ...]:
        """(authserv-id, method, result) of SPF, DKIM, DMARC and ARC, as the headers claim them (RFC 8601)."""
        found: dict[tuple[str, str, str], None] = {}
        for value in self.values("authentication-results"):
            text = _COMMENT.sub(" ", self._text(value))
            server = text.partition(";")[0].strip()
            if "=" in server:  # some leave out who says so
                server, text = "", f";{text}"
            server = one_line(server.partition(" ")[0].lower())[:NAME]
            found |= {(server, method.lower(), result.lower()): None for method, result in _METHOD.findall(text)}
        return tuple(found)[:AUTH_RESULTS]


@lru_cache(maxsize=1024)
def _name(name: bytes) -> str:
    return one_line(name[:NAME].decode("latin-1"))
