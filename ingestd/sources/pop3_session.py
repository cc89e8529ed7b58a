"""One conversation with a POP3 server (RFC 1939): commands go out one at a time, answers come back.

`Broken` ends a session: nothing that still comes is trusted. A message that is deleted is gone only when the session
ends with `log_out`; one that breaks has changed nothing.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from . import sasl
from .pop3_lines import stream
from .wire import Broken, Channel, Sink

COMMAND_BYTES = 253  # of a line with its end: 255 (RFC 2449, section 4)
LISTED_BYTES = 256 << 20  # of a UIDL or LIST answer: two million messages
HEAD_BYTES = 1 << 20  # of a message's header, as TOP gives it
_STATUS = re.compile(rb"(\+OK|-ERR)(?: \[([A-Za-z][A-Za-z0-9/-]*)\])?(?= |\Z)", re.I)


@dataclass(frozen=True, slots=True)
class Reply:
    """The status line of an answer. Its text may hold an address, and is shown to nobody."""

    ok: bool
    code: str  # RFC 2449, section 8: "IN-USE", "SYS/TEMP"; "" when there is none
    text: bytes

    @property
    def bracketed(self) -> str:
        return f" [{self.code}]" if self.code else ""


class Session:
    """A connection that was greeted. One thread at a time; whoever made it closes it."""

    def __init__(self, channel: Channel, timeout: float) -> None:
        """Hear the greeting; raise `Broken` when there is none."""
        self.channel, self._timeout = channel, timeout
        self.greeting = self._reply()

    def ask(self, command: bytes, *, seconds: float | None = None) -> Reply:
        """Send a command whose answer is one line. Raises `Broken`; -ERR is an answer."""
        self.channel.allow(seconds or self._timeout)
        self.channel.send(command + b"\r\n")
        return self._reply()

    def read(self, command: bytes, sink: Sink) -> Reply:
        """Send a command whose answer has lines, and hand those to *sink*, byte for byte; none when it is -ERR."""
        reply = self.ask(command)
        if reply.ok:
            stream(self.channel, sink)
        return reply

    def lines(self, command: bytes) -> list[bytes] | None:
        """The lines of an answer that is not large; None when it is -ERR."""
        whole = bytearray()
        if not self.read(command, _bounded(whole, LISTED_BYTES)).ok:
            return None
        return bytes(whole).split(b"\r\n")[:-1]

    def capabilities(self) -> dict[str, tuple[str, ...]]:
        """What the server can do (RFC 2449), in capitals, with arguments: {"SASL": ("PLAIN",)}; empty when unsaid."""
        words = [line.decode("ascii", "replace").upper().split() for line in self.lines(b"CAPA") or ()]
        return {first: tuple(rest) for first, *rest in filter(None, words)}

    def head(self, number: int) -> bytes | None:
        """The header of a message, as far as HEAD_BYTES; None when the server has no TOP or no such message."""
        kept = bytearray()

        def keep(piece: bytes | memoryview) -> None:
            kept.extend(piece[: HEAD_BYTES - len(kept)])

        return bytes(kept) if self.read(b"TOP %d 0" % number, keep).ok else None

    def authenticate(self, mechanism: str, words: bytes) -> Reply:
        """Log in with SASL (RFC 5034)."""
        first, initial = b"AUTH " + mechanism.encode(), b64encode(words)
        whole = first + b" " + initial
        for line in (*((whole,) if len(whole) <= COMMAND_BYTES else (first, initial)), b64encode(sasl.GIVING_UP)):
            self.channel.send(line + b"\r\n")
            answer = self.channel.readline().rstrip(b"\r\n")
            if answer[:1] != b"+" or answer[:3].upper() == b"+OK":
                return _reply(answer)
        raise Broken("the server does not come to an end at login")

    def log_out(self) -> Reply | None:
        """End the session: only now are messages deleted. None when it broke over that."""
        with suppress(Broken):
            return self.ask(b"QUIT")
        return None

    def close(self) -> None:
        """Drop the connection without a word: nothing is deleted."""
        self.channel.close()

    def _reply(self) -> Reply:
        return _reply(self.channel.readline().rstrip(b"\r\n"))


def _reply(line: bytes) -> Reply:
    found = _STATUS.match(line)
    if not found:
        raise Broken("the server sent a line that is no POP3 answer")
    return Reply(found[1].upper() == b"+OK", (found[2] or b"").decode().upper(), line[found.end() :].strip())


def _bounded(whole: bytearray, size_bytes: int) -> Callable[[bytes | memoryview], None]:
    def add(piece: bytes | memoryview) -> None:
        whole.extend(piece)
        if len(whole) > size_bytes:
            raise Broken(f"the server sent an answer longer than {size_bytes} bytes")

    return add
