"""What comes after the first line of a POP3 answer: lines up to one that is a dot (RFC 1939, section 3).

Undone piece by piece, so that a line may be of any length and a dot may lie at the edge of any piece.
"""

from __future__ import annotations

from .wire import Channel, Sink

_DOT = b"\r\n."
_END = b"\r\n.\r\n"


class Lines:
    """Takes pieces of the answer, gives the bytes that were meant, exactly; and says when the end has come.

    Only CR LF ends a line here: what follows a lone LF is part of the line, and a dot there was not doubled.
    """

    def __init__(self) -> None:
        self._held = b"\r\n"  # that of the status line: a dot may be the first thing that comes
        self._at_start = True
        self.rest: bytes | None = None  # what came after the end, once it has come

    def taken(self, piece: bytes) -> bytes:
        """Return the bytes that are certain by now."""
        data, out, start = self._held + piece, [], 0
        while (at := data.find(_DOT, start)) >= 0:
            following = data[at : at + len(_END)]
            if following == _END:
                out.append(data[start : at + 2])
                self.rest, data, start = data[at + len(_END) :], b"", 0
                break
            if _END.startswith(following):  # it may still become the end
                break
            out.append(data[start : at + 2])
            start = at + len(_DOT)
        keep = len(data) - at if at >= 0 else _begun(data, start)
        out.append(data[start : len(data) - keep])
        self._held = data[len(data) - keep :]
        return self._without_first(b"".join(out))

    def _without_first(self, data: bytes) -> bytes:
        if self._at_start and data:
            self._at_start = False
            return data[2:]
        return data


def stream(channel: Channel, sink: Sink) -> None:
    """Hand the lines of an answer, whose status line was read, to *sink*, without the line that ends them."""
    lines = Lines()
    while lines.rest is None:
        if data := lines.taken(channel.piece()):
            sink(data)
    channel.unread(lines.rest)


def _begun(data: bytes, start: int) -> int:
    """How many bytes at the end may be the beginning of a line end with a dot."""
    tail = data[max(start, len(data) - 2) :]
    return 2 if tail.endswith(b"\r\n") else 1 if tail.endswith(b"\r") else 0
