"""A MongoDB server that keeps nothing of the mail: it says yes to whatever is written, and has nothing when asked.

What the trip of a message costs us is measured with it: no store takes a share of the CPU. Leases, checkpoints and
seals are passed on to a real server behind it, so that the daemon's own code path is run unchanged.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import Any, Self

import bson
from bson.raw_bson import RawBSONDocument

HEAVY = {"messages", "originals", "placements", "blobs.files", "blobs.chunks"}
ANSWERED = {"insert", "update", "find", "aggregate"}
OP_MSG = 2013
CHECKSUM = 1  # a flag: four bytes follow the sections

Document = dict[str, Any]


class Discard:
    """Listens on loopback within its `with` block, in front of the server at *port*.

    A client has to be told `directConnection=true`, or the server behind tells it to go there.
    """

    def __init__(self, port: int) -> None:
        self._behind = port

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
                message = _message(client)
                answer = _answer(message)
                if answer is None:
                    server.sendall(message)
                    answer = _message(server)
                client.sendall(answer)


def _answer(message: bytes) -> bytes | None:
    """What a server says that has done what was asked, or None where the server behind is to be asked."""
    number, operation = struct.unpack_from("<4xi4xi", message)
    if operation != OP_MSG:
        return None
    command, sequences = _sections(message)
    verb = next(iter(command))
    if verb not in ANSWERED or command[verb] not in HEAVY:
        return None
    body = bson.encode({**_said(verb, command, sequences), "ok": 1.0})
    return struct.pack("<iiiiIB", 21 + len(body), 0, number, OP_MSG, 0, 0) + body


def _said(verb: str, command: Document, sequences: dict[str, list[RawBSONDocument]]) -> Document:
    if verb in ("find", "aggregate"):
        return {"cursor": {"firstBatch": [], "id": 0, "ns": f"{command['$db']}.{command[verb]}"}}
    if verb == "insert":
        return {"n": len(sequences.get("documents") or command["documents"])}
    updates = sequences.get("updates") or command["updates"]
    upserted = [{"index": at, "_id": each["q"]["_id"]} for at, each in enumerate(updates) if each.get("upsert")]
    return {"n": sum(map(_matched, updates)), "nModified": 0, **({"upserted": upserted} if upserted else {})}


def _matched(update: Any) -> int:
    """How many documents an update is about: a touch names all of them."""
    wanted = update["q"].get("_id")
    return len(wanted["$in"]) if isinstance(wanted, RawBSONDocument | dict) else 1


def _message(connection: socket.socket) -> bytes:
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


def _sections(message: bytes) -> tuple[Document, dict[str, list[RawBSONDocument]]]:
    """The command of an OP_MSG, and its document sequences (MongoDB Wire Protocol, "OP_MSG")."""
    (flags,) = struct.unpack_from("<I", message, 16)
    end, at = len(message) - 4 * (flags & CHECKSUM), 20
    command: Document = {}
    sequences: dict[str, list[RawBSONDocument]] = {}
    while at < end:
        kind, (size,) = message[at], struct.unpack_from("<i", message, at + 1)
        if kind == 0:
            command = bson.decode(message[at + 1 : at + 1 + size])
        else:
            name, _, rest = message[at + 5 : at + 1 + size].partition(b"\0")
            sequences[name.decode()] = list(_documents(rest))
        at += 1 + size
    return command, sequences


def _documents(data: bytes) -> Iterator[RawBSONDocument]:
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<i", data, at)
        yield RawBSONDocument(data[at : at + size])
        at += size
