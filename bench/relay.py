"""Between ingestd and its store: which commands are sent, and how long the store takes over each.

Of the time that a message takes, this tells the store's part from ours, without a look inside either.
"""

from __future__ import annotations

import socket
import struct
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock, Thread
from time import perf_counter
from types import TracebackType
from typing import Self

import bson

OP_MSG = 2013
PACE = frozenset({"hello", "isMaster", "ismaster", "ping", "endSessions", "saslStart", "saslContinue"})


@dataclass(slots=True)
class Asked:
    """How often something was asked, and how long the store took over all of that."""

    times: int = 0
    seconds: float = 0.0


class Relay:
    """Listens on loopback within its `with` block, in front of the server on *port* of this machine.

    A client has to be told `directConnection=true`, or the server behind tells it to go there; and
    `serverMonitoringMode=poll`, since a request gets one answer here.
    """

    def __init__(self, port: int) -> None:
        self._behind, self._lock = port, Lock()
        self.asked: dict[str, Asked] = defaultdict(Asked)  # by command and collection; not what only keeps it going

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, _ = self._listener.accept()
                Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # Either side may go away at any time.
        with suppress(OSError, EOFError), client, socket.create_connection(("127.0.0.1", self._behind)) as server:
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                request = _message(client)
                if (said := self._answer(request)) is not None:
                    client.sendall(said)
                    continue
                began = perf_counter()
                server.sendall(request)
                answer = _message(server)
                took = perf_counter() - began
                client.sendall(answer)
                self._note(_asked(request), took)

    def _answer(self, request: bytes) -> bytes | None:
        """What to say to *request*, or None where the server behind is to be asked."""
        return None

    def _note(self, what: str, seconds: float) -> None:
        if what.partition(" ")[0] not in PACE:
            with self._lock:
                self.asked[what].times += 1
                self.asked[what].seconds += seconds


def _message(connection: socket.socket) -> bytes:
    """Read one message of the wire protocol; raise EOFError where there is none."""
    (size,) = struct.unpack("<i", head := _exactly(connection, 4))
    return head + _exactly(connection, size - 4)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        count = connection.recv_into(view[at:])
        if not count:
            raise EOFError
        at += count
    return bytes(data)


def _asked(request: bytes) -> str:
    """The command and what it is about, as in `find messages`."""
    if struct.unpack_from("<12xi", request)[0] != OP_MSG:
        return "hello"
    (size,) = struct.unpack_from("<i", request, 21)
    command = bson.decode(request[21 : 21 + size])  # ours come first, what is written after them
    verb = next(iter(command))
    return f"{verb} {command[verb]}" if isinstance(command[verb], str) else verb
