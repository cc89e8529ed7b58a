"""A POP3 server on loopback that behaves until it is told not to, for faults that no real server shows on demand."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from ingestd.sources.server import Server
from tests.scripted import DEADLINE, Listener


@dataclass(frozen=True, slots=True)
class Turn:
    """One command, and the means to answer it."""

    server: Pop3Script
    connection: socket.socket
    command: str
    count: int  # how often a command that begins like this has come, this one included

    def send(self, line: bytes) -> None:
        self.connection.sendall(line + b"\r\n")

    def send_lines(self, body: bytes) -> None:
        """Send a body as RFC 1939 has it."""
        whole = body if not body or body.endswith(b"\r\n") else body + b"\r\n"
        self.connection.sendall((b"\r\n" + whole).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")

    def default(self) -> None:
        self.server.answer(self)

    def close(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Say nothing more until the test is over."""
        self.server.over.wait(DEADLINE)


class Pop3Script(Listener):
    """A server within its `with` block; `replies` holds the answers that differ, by the beginning of the command."""

    def __init__(self, messages: dict[str, bytes] | None = None, greeting: bytes = b"+OK ready") -> None:
        super().__init__()
        self.messages, self.greeting = messages or {}, greeting
        self.capabilities = [b"UIDL", b"TOP", b"USER"]
        self.replies: dict[str, Callable[[Turn], None]] = {}
        self.commands: list[str] = []

    def account(self, *, timeout: float = 5.0) -> Server:
        """How to reach it."""
        return Server("127.0.0.1", self.port, "none", "me", lambda: "secret", timeout=timeout, table="account.pop3")

    def answer(self, turn: Turn) -> None:
        """Answer as a server should."""
        verb, *arguments = turn.command.split()
        listed = list(self.messages.items())
        match verb.upper():
            case "CAPA":
                turn.send(b"+OK")
                turn.send_lines(b"\r\n".join(self.capabilities))
            case "UIDL":
                turn.send(b"+OK")
                turn.send_lines(b"".join(b"%d %s\r\n" % (n, uidl.encode()) for n, (uidl, _) in enumerate(listed, 1)))
            case "LIST":
                turn.send(b"+OK")
                turn.send_lines(b"".join(b"%d %d\r\n" % (n, len(body)) for n, (_, body) in enumerate(listed, 1)))
            case "RETR":
                turn.send(b"+OK")
                turn.send_lines(listed[int(arguments[0]) - 1][1])
            case "TOP":
                turn.send(b"+OK")
                turn.send_lines(listed[int(arguments[0]) - 1][1].partition(b"\r\n\r\n")[0])
            case _:
                turn.send(b"+OK")

    def serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            connection.sendall(self.greeting + b"\r\n")
            for line in lines:
                command = line.decode("utf-8", "replace").rstrip("\r\n")
                self.commands.append(command)
                verb = command.partition(" ")[0].upper()
                count = sum(each.partition(" ")[0].upper() == verb for each in self.commands)
                self._reply(command)(Turn(self, connection, command, count))

    def _reply(self, command: str) -> Callable[[Turn], None]:
        fitting = (reply for begins, reply in self.replies.items() if command.upper().startswith(begins))
        return next(fitting, self.answer)
