"""The proxy before a MongoDB: it sees whole commands, so a fault can be meant for one of them.

proxy.towards_server = command("update", "placements", answer_lost, nth=3)
proxy.towards_server = command("insert", "seals", refused(10107, "NotWritablePrimary", "RetryableWriteError"))
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import bson

from tests.faults.proxy import Fault, Flow, Proxy, when

HEADER = struct.Struct("<iiii")  # length, request id, what it answers, opcode
OP_MSG = 2013

Document = dict[str, Any]


class MongoProxy(Proxy):
    """A proxy whose pieces are whole messages of MongoDB's wire protocol."""

    def pieces(self, source: socket.socket) -> Iterator[bytes]:
        with source.makefile("rb") as stream:
            while head := stream.read(4):
                yield head + stream.read(int.from_bytes(head, "little") - 4)


def said(message: bytes) -> Document:
    """The document of a message, without the lists that may follow it; empty when it is none of today's (OP_MSG)."""
    _, _, _, opcode = HEADER.unpack_from(message)
    if opcode != OP_MSG or message[20]:  # a kind other than 0: not what drivers begin with
        return {}
    size = int.from_bytes(message[21:25], "little")
    return bson.decode(message[21 : 21 + size])


def command(name: str, collection: str, fault: Fault, nth: int = 1) -> Fault:
    """Do *fault* to the *nth* command *name* on *collection*, once."""
    return when(lambda message: said(message).get(name) == collection, fault, nth)


def refused(code: int, name: str, *labels: str) -> Fault:
    """The server answers with an error, and does nothing."""

    def fault(flow: Flow, message: bytes) -> None:
        _, request, _, _ = HEADER.unpack_from(message)
        error = {"ok": 0.0, "errmsg": name, "code": code, "codeName": name, "errorLabels": list(labels)}
        body = struct.pack("<ib", 0, 0) + bson.encode(error)
        flow.back.forward(HEADER.pack(HEADER.size + len(body), request + 1, request, OP_MSG) + body)

    return fault
