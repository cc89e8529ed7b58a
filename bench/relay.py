"""Between ingestd and its store: which commands are sent, and how long the store takes over each.

Of the time that a message takes, this tells the store's part from ours, without a look inside either.
"""

from __future__ import annotations

import socket
import struct
from collections import defaultdict
from dataclasses import dataclass
from threading import Lock
from time import perf_counter

import bson

from bench.between import Between

OP_MSG = 2013
PACE = frozenset({"hello", "isMaster", "ismaster", "ping", "endSessions", "saslStart", "saslContinue"})


@dataclass(slots=True)
class Asked:
    """How often something was asked, and how long the store took over all of that."""

    times: int = 0
    seconds: float = 0.0


class Relay(Between):
    """Passes on what a client asks, and takes note of it.

    A client has to be told `directConnection=true`, or the server behind tells it to go there; and
    `serverMonitoringMode=poll`, since a request gets one answer here.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._lock = Lock()
        self.asked: dict[str, Asked] = defaultdict(Asked)  # by command and collection; not what only keeps it going

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
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
