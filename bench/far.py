"""The way to a mail server that is far away: every byte comes late, and a connection brings only so many a second."""

from __future__ import annotations

import socket
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from time import monotonic, sleep

from bench.between import Between

PIECE = 64 * 1024
TICK = 0.005  # seconds of bandwidth that are sent at once


class Far(Between):
    """The server on *port* of this machine, as if it was far away."""

    def __init__(self, port: int, round_trip: float, bytes_per_second: int) -> None:
        """*round_trip* is in seconds; the bandwidth is that of one connection in one direction."""
        super().__init__(port)
        self._late, self._rate = round_trip / 2, bytes_per_second

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        threads = []
        for side, other in ((client, server), (server, client)):
            on_their_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
            threads.append(Thread(target=self._take, args=(side, on_their_way), daemon=True))
            threads.append(Thread(target=self._bring, args=(other, on_their_way), daemon=True))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

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
