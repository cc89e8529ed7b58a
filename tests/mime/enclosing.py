"""Messages with files within the content of their parts, to begin with when anything may be wrong with them."""

from __future__ import annotations

import binascii
import struct

from tests.mime.letters import attached, crlf, in_base64, multipart, part
from tests.mime.winmail import (
    BINARY,
    OBJECT,
    PLAIN_BODY,
    RICH_BODY,
    STRING,
    UNICODE,
    attribute,
    compressed,
    file_in_tnef,
    properties,
    tnef,
    with_bodies,
)

BINHEX = """(This file must be converted with BinHex 4.0)

:$'*XG@9LB@aX,R"ZC`"#58j"E@4[F`!!!!!&,3!!!!"'dSP36NF0#KS+!!!!$8P
)4&)!!!!E!!!!'`J$!!!!ZJS%C`!!!`"36&4&rrrr!!!)!!!3!!!B!!!!!!JT!""
#!""+!!Ja!""5##&c##Pl##Q%##&V!"KD!!Jj##&M%$QF'%+P'%+Y'%+e%$QP%$'
d0R-l[!!!!"*48j%VN*JJYqd!!!!:
"""


def uuencoded(content: bytes, name: str = "photo.jpg", end: str = "\n") -> str:
    lines = (binascii.b2a_uu(content[at : at + 45]).decode("ascii") for at in range(0, len(content), 45))
    return f"begin 644 {name}{end}" + "".join(line.replace("\n", end) for line in lines) + f"`{end}end{end}"


def in_yenc(content: bytes, name: str = "photo.jpg") -> bytes:
    lines = [b"=ybegin line=128 size=%d name=%s" % (len(content), name.encode())]
    for at in range(0, len(content), 128):
        line = bytes((byte + 42) % 256 for byte in content[at : at + 128])
        escaped = (b"=%c" % ((byte + 64) % 256) if byte in b"\x00\r\n=" else b"%c" % byte for byte in line)
        lines.append(b"".join(escaped))
    return b"\r\n".join([*lines, b"=yend size=%d" % len(content), b""])


CONTENT = bytes(range(256)) * 6
RTF = rb"{\rtf1\ansi\ansicpg1251{\fonttbl{\f1\fcharset204 Arial;}}\f1 caf\'e9\par{\*\x y}\u1082?{\b again and again}}"
INNER = with_bodies((PLAIN_BODY, UNICODE, "private\0".encode("utf-16-le")), (RICH_BODY, BINARY, compressed(RTF)))
IS_MESSAGE = bytes.fromhex("0703020000000000c000000000000046")
WINMAIL = tnef(
    attribute(1, 0x69007, struct.pack("<LL", 1251, 0)),
    attribute(1, 0x69003, properties((RICH_BODY, BINARY, compressed(RTF)), (PLAIN_BODY, STRING, b"hello\0"))),
    file_in_tnef(CONTENT, (0x3707, UNICODE, "photo.jpg\0".encode("utf-16-le")), (0x370E, STRING, b"image/jpeg\0")),
    file_in_tnef(b"", (0x3701, OBJECT, IS_MESSAGE + INNER)),
)


def _as_it_is(content: bytes, kind: str) -> bytes:
    """A message that is nothing but *content*, so that any byte of it can be wrong."""
    return crlf(f"Subject: x\nContent-Type: {kind}\nContent-Transfer-Encoding: binary\n\n") + content


ENCLOSING = [
    _as_it_is(WINMAIL, "application/ms-tnef"),
    _as_it_is(INNER, "application/ms-tnef"),
    _as_it_is(with_bodies((RICH_BODY, BINARY, compressed(RTF))), "application/ms-tnef"),
    _as_it_is(b"look\r\n" + in_yenc(CONTENT) + crlf(uuencoded(b"second", "b.txt")), "text/plain"),
    crlf(multipart("mixed", part("hi"), attached(WINMAIL, "application/ms-tnef"))),
    crlf(
        "Subject: x\n\nlook\n"
        + uuencoded(CONTENT[:300])
        + uuencoded(CONTENT[:200]).partition("`")[0]
        + BINHEX
        + "bye\n"
    ),
    crlf(
        multipart(
            "mixed",
            part("outer"),
            part(
                in_base64(crlf("Subject: within\n\n" + uuencoded(CONTENT[:200]))),
                "message/rfc822",
                "Content-Transfer-Encoding: base64",
            ),
        )
    ),
]
