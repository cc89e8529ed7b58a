"""One conversation with an IMAP server: commands go out, whole answers come back.

One command at a time with `ask`; or several at once with `send`, whose answers are then read one by one with `receive`
(message bodies only come that way). `Broken` ends a session: nothing that still comes is trusted.
"""

from __future__ import annotations

import imaplib
import itertools
import re
from collections.abc import Callable
from contextlib import suppress

from .imap_answers import Answer, Pieces, tagged, untagged
from .imap_login import log_in
from .server import Server
from .wire import Broken, Channel, Sink, Switch

Opener = Callable[[Pieces, int], Sink]  # gives the sink for a body of so many bytes, knowing what came before it

PATIENCE = 10  # an answer may take that many timeouts in all, as long as no silence lasts for one
GOODBYE = 5.0  # seconds

_LITERAL = re.compile(rb"~?\{(\d{1,19})\+?\}\r\n\Z")
_BODY = re.compile(rb"\bBODY\[\](?:<\d+>)? \Z", re.I)
_TEXT = re.compile(
    rb"(?:\* (?:OK|NO|BAD|BYE|PREAUTH)\b|[^*])", re.I
)  # its end may look like a literal and mean nothing


class Session:
    """A logged-in connection. One thread at a time; whoever made it closes it."""

    def __init__(self, account: str, server: Server, switch: Switch) -> None:
        """Connect and log in; raise Unavailable or Refused."""
        self.server = server
        self._client = log_in(account, server, switch)
        self.capabilities = tuple(sorted({str(name, "ascii", "replace") for name in self._client.capabilities()}))
        self._wire = self._client.wire
        self._numbers = itertools.count(1)
        self._closed = False

    @property
    def channel(self) -> Channel:
        """What it speaks over."""
        return self._wire.channel

    def close(self) -> None:
        """Drop the connection without a word; without effect the second time."""
        self._wire.shutdown()
        if not self._closed:
            self._closed = True
            self.server.meter.close()

    def log_out(self) -> None:
        """Take leave, if the server still listens, and close."""
        with suppress(Broken, imaplib.IMAP4.error):  # it owes us nothing any more
            self._wire.allow(min(self.server.timeout, GOODBYE))
            self._client.logout()
        self.close()

    def ask(self, command: bytes) -> Answer:
        """Send one command and return its whole answer. Raises `Broken`; NO and BAD are answers."""
        tag = self.send([command])[0]
        self.allow(PATIENCE * self.server.timeout)
        responses: list[Pieces] = []
        while True:
            pieces = self.receive(no_body)
            if answer := tagged(pieces, tag):
                return answer.with_responses(responses)
            responses.append(untagged(pieces))

    def send(self, commands: list[bytes]) -> list[bytes]:
        """Send *commands* at once and return their tags."""
        tags = [b"i%d" % next(self._numbers) for _ in commands]
        self._wire.send(b"".join(b"%s %s\r\n" % pair for pair in zip(tags, commands, strict=True)))
        return tags

    def allow(self, seconds: float) -> None:
        """Give the answer that is read next that much time; it gets more for as long as it comes fast enough."""
        self._wire.allow(seconds)

    def receive(self, body: Opener) -> Pieces:
        """Return one response; a message body in it goes to the sink that *body* opens, and leaves `{0}` behind."""
        pieces = Pieces()
        while True:
            line = self._wire.readline()
            if not line.endswith(b"\r\n"):
                raise Broken("the server ended a line without CR LF")
            found = _LITERAL.search(line) if pieces or not _TEXT.match(line) else None
            if not found:
                pieces.append(line[:-2])
                return pieces
            pieces.append(self._literal(line[: found.start()], int(found[1]), pieces, body))

    def _literal(self, text: bytes, size: int, before: Pieces, body: Opener) -> tuple[bytes, bytes]:
        if not _BODY.search(text):
            return text + b"{%d}" % size, self._wire.read(size)
        self._wire.channel.stream(size, body([*before, text], size))
        return text + b"{0}", b""


def no_body(before: Pieces, size: int) -> Sink:
    """The opener where no message is expected."""
    raise Broken("the server sent a message that nobody asked for")
