"""An IMAP server on loopback that behaves until it is told not to, for the faults that no real server shows on demand.

It knows one mailbox with a fixed UIDVALIDITY. A test replaces the answer to a command, named by how it begins, with a
function that writes whatever it likes.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock

from ingestd.sources.imap import Server
from ingestd.uidset import UIDSet
from tests.scripted import DEADLINE, Listener


@dataclass(frozen=True, slots=True)
class Turn:
    """One command, and the means to answer it."""

    server: ImapScript
    connection: socket.socket
    tag: bytes
    command: str
    count: int  # how often a command that begins like this has come, this one included

    def send(self, text: bytes) -> None:
        """Send *text*; `%t` stands for the tag, and a line end is added."""
        self.write(text.replace(b"%t", self.tag) + b"\r\n")

    def write(self, data: bytes) -> None:
        self.connection.sendall(data)

    def default(self) -> None:
        """Answer as a server should."""
        self.server.answer(self)

    def close(self) -> None:
        """End the connection in good order (FIN)."""
        self.connection.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """End the connection with RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def hang(self) -> None:
        """Say nothing more until the test is over."""
        self.server.over.wait(DEADLINE)

    def drip(self, data: bytes, seconds: float) -> None:
        """Send *data* byte by byte, until the client has enough of it."""
        for byte in data:
            self.write(bytes([byte]))
            if self.server.over.wait(seconds):
                return


Answer = Callable[[Turn], None]


class ImapScript(Listener):
    """A server within its `with` block; `replies` holds the answers that differ, by the beginning of the command."""

    def __init__(
        self,
        messages: dict[int, bytes] | None = None,
        *,
        capabilities: str = "IMAP4rev1 AUTH=PLAIN",
        greeting: bytes = b"* OK ready",
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__()
        self.messages = messages or {}
        self.capabilities, self.greeting, self.context = capabilities, greeting, context
        self.replies: dict[str, Answer] = {}
        self.sizes: dict[int, int] = {}  # where RFC822.SIZE is to be a lie
        self.uidvalidity, self.uidnext = 7, max(self.messages, default=0) + 1
        self.modseq = 1
        self.commands: list[str] = []
        self._tags: dict[socket.socket, bytes] = {}  # of the last command of each connection
        self._lock = Lock()

    def account(self, *, timeout: float = 5.0) -> Server:
        """How to reach it."""
        return Server("127.0.0.1", self.port, "none", "user", lambda: "secret", timeout=timeout)

    def count(self, beginning: str) -> int:
        return sum(command.startswith(beginning) for command in self.commands)

    # --- the server

    def serve(self, connection: socket.socket) -> None:
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True)
        with connection, connection.makefile("rb") as lines:
            connection.sendall(self.greeting + b"\r\n")
            for line in lines:
                self._turn(connection, line)
                if line.upper().rstrip().endswith(b"LOGOUT"):
                    break
                if b"AUTHENTICATE" in line.upper():
                    lines.readline()
                    connection.sendall(line.partition(b" ")[0] + b" OK welcome\r\n")

    def _turn(self, connection: socket.socket, line: bytes) -> None:
        tag, _, command = line.rstrip(b"\r\n").partition(b" ")
        if tag == b"DONE":  # which has no tag: it ends the command before
            tag, command = self._tags[connection], tag
        self._tags[connection] = tag
        text = command.decode("utf-8", "replace")  # who takes us for a TLS server says hello in binary
        with self._lock:
            self.commands.append(text)
        beginnings = [beginning for beginning in self.replies if text.startswith(beginning)]
        chosen = max(beginnings, key=len, default="")
        turn = Turn(self, connection, tag, text, self.count(chosen))
        self.replies.get(chosen, Turn.default)(turn)

    def answer(self, turn: Turn) -> None:
        """The answer of a server in good order."""
        command = turn.command
        if command.startswith("AUTHENTICATE"):
            turn.write(b"+ \r\n")
            return
        for line in self._lines(command):
            turn.send(line)
        if body := re.fullmatch(r"UID FETCH (\d+) \(UID BODY\.PEEK\[\]\)", command):
            turn.write(self.body(int(body[1])))
        turn.send(b"%t OK done")

    def _lines(self, command: str) -> Iterable[bytes]:
        if command == "CAPABILITY":
            yield b"* CAPABILITY " + self.capabilities.encode()
        elif command == "LOGOUT":
            yield b"* BYE see you"
        elif command.startswith(("EXAMINE", "SELECT")):
            yield b"* %d EXISTS" % len(self.messages)
            yield b"* OK [UIDVALIDITY %d] valid" % self.uidvalidity
            yield b"* OK [UIDNEXT %d] next" % self.uidnext
            if command.endswith("(CONDSTORE)"):
                yield b"* OK [HIGHESTMODSEQ %d] highest" % self.modseq
        elif command.startswith("LIST"):
            yield b'* LIST () "/" INBOX'
        elif command.startswith("UID SEARCH"):
            yield b"* SEARCH " + b" ".join(b"%d" % uid for uid in self.messages)
        elif metadata := re.fullmatch(r"UID FETCH ([\d:,]+) \(UID( FLAGS.*)?\)", command):
            yield from map(self.metadata, self.messages.keys() & set(UIDSet.parse(metadata[1])))

    def metadata(self, uid: int) -> bytes:
        size = self.sizes.get(uid, len(self.messages[uid]))
        date = b'"01-Jan-2026 12:00:%02d +0100"' % (uid % 60)
        return b"* %d FETCH (UID %d FLAGS (\\Seen) INTERNALDATE %s RFC822.SIZE %d)" % (uid, uid, date, size)

    def body(self, uid: int) -> bytes:
        """A whole FETCH response, or nothing for a message that is not there."""
        if uid not in self.messages:
            return b""
        content = self.messages[uid]
        return b"* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n" % (uid, uid, len(content), content)
