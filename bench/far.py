"""The way to a mail server that is far away: every byte comes late, and a connection brings only so many a second."""

from __future__ import annotations

import socket
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from time import monotonic, sleep
from types import TracebackType
from typing import Self

PIECE = 64 * 1024
TICK = 0.005  # seconds of bandwidth that are sent at once


class Far:
    """Listens on loopback within its `with` block, in front of the server on *port* of this machine."""

    def __init__(self, port: int, round_trip: float, bytes_per_second: int) -> None:
        """*round_trip* is in seconds; the bandwidth is that of one connection in one direction."""
        self._behind, self._late, self._rate = port, round_trip / 2, bytes_per_second

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
                server = socket.create_connection(("127.0.0.1", self._behind))
                for side, other in ((client, server), (server, client)):
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    on_their_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
                    Thread(target=self._take, args=(side, on_their_way), daemon=True).start()
                    Thread(target=self._bring, args=(other, on_their_way), daemon=True).start()

    def _take(self, side: socket.socket, on_their_way: SimpleQueue[tuple[float, bytes]]) -> None:
        """Take what *side* sends, as fast as the line takes it; an end of it, too, comes late."""
        free_at, most = monotonic(), max(1, int(self._rate * TICK))
        with suppress(OSError):  # either side may go away at any time
            while piece := side.recv(min(PIECE, most)):
                free_at = max(free_at, monotonic()) + len(piece) / self._rate
                on_their_way.put((free_at + self._late, piece))
                sleep(max(0.0, free_at - monotonic() - TICK))
        on_their_way.put((monotonic() + self._late, b""))

    def _bring(self, side: socket.socket, on_their_way: SimpleQueue[tuple[float, bytes]]) -> None:
        with suppress(OSError):
            while True:
                due, piece = on_their_way.get()
                sleep(max(0.0, due - monotonic()))
                if not piece:
                    side.shutdown(socket.SHUT_WR)
                    return
                side.sendall(piece)
