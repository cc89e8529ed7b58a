"""Small messages to parse."""

from __future__ import annotations

import base64

from ingestd.message import Message
from ingestd.mime.parse import parse
from ingestd.raw import InMemory


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def read(text: str | bytes) -> Message:
    """Parse *text*, with CRLF line ends when it is str."""
    return parse(InMemory(crlf(text) if isinstance(text, str) else text))


def part(body: str, kind: str = "text/plain", *headers: str) -> str:
    return "\n".join([f"Content-Type: {kind}", *headers, "", body])


def multipart(subtype: str, *parts: str, boundary: str = "b", more: str = "") -> str:
    """A multipart, header included, so that it may be a message or a part of one."""
    lines = [f'Content-Type: multipart/{subtype}; boundary="{boundary}"{more}', ""]
    for each in parts:
        lines += [f"--{boundary}", each]
    return "\n".join([*lines, f"--{boundary}--", ""])


def in_base64(content: bytes) -> str:
    return base64.encodebytes(content).decode().rstrip("\n")


def attached(content: bytes, kind: str = "application/octet-stream", *headers: str) -> str:
    return part(in_base64(content), kind, "Content-Transfer-Encoding: base64", *headers)
