"""Something that stands between clients and a server on this machine."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import Self


class Between(ABC):
    """Listens on loopback, at `port`, within its `with` block, in front of the server on another port."""

    def __init__(self, behind: int) -> None:
        self._behind = behind

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

    @abstractmethod
    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """Stand between the two until one of them ends."""

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, _ = self._listener.accept()
                Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        # Either side may go away at any time.
        with suppress(OSError, EOFError), client, socket.create_connection(("127.0.0.1", self._behind)) as server:
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._serve(client, server)
