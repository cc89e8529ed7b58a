"""A TCP proxy that fails on command: late, slow, cut, reset, silent, corrupt, without an answer, refusing.

It stands between ingestd and any server, forwards bytes, and understands none of them, so TLS passes through it too.
What it does can be changed at any moment, for one direction, and from then on, for all its connections:

    proxy.towards_client = after(3000, cut)      # the client gets 3,000 bytes more, then FIN, once
    proxy.towards_server = on(b"UID MOVE", answer_lost)
    proxy.heal()

A fault is a function that gets each piece of a stream in the place of forwarding it.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from tests.waiting import DEADLINE

PIECE = 65536


class Flow:
    """One direction of one connection."""

    def __init__(self, proxy: Proxy, source: socket.socket, target: socket.socket) -> None:
        self.proxy, self.source, self.target = proxy, source, target
        self.back = self  # the other direction; set as soon as there is one
        self.next: Fault | None = None  # what happens to the next piece alone
        self.muted = False

    def forward(self, piece: bytes) -> None:
        self.target.sendall(piece)

    def pause(self, seconds: float) -> None:
        """Let *seconds* pass, or less when the test is over."""
        self.proxy.over.wait(seconds)

    def end(self) -> None:
        """Close both sides in good order (FIN)."""
        for side in (self.source, self.target):
            with suppress(OSError):  # it may be closed already
                side.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close both sides with RST."""
        self.muted = self.back.muted = True
        for side in (self.source, self.target):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):  # it may be closed already
                side.shutdown(socket.SHUT_RD)  # or the thread that waits for it would keep it open
            os.close(side.detach())


Fault = Callable[[Flow, bytes], None]

# --- what can happen to a piece


def forwarded(flow: Flow, piece: bytes) -> None:
    flow.forward(piece)


def cut(flow: Flow, piece: bytes) -> None:
    flow.end()


def reset(flow: Flow, piece: bytes) -> None:
    flow.reset()


def silent(flow: Flow, piece: bytes) -> None:
    """Half open: from now on nothing comes through in either direction, and nobody is told."""
    flow.muted = flow.back.muted = True


def corrupted(flow: Flow, piece: bytes) -> None:
    """One bit of the first byte is wrong."""
    flow.forward(bytes([piece[0] ^ 1]) + piece[1:])


def torn(flow: Flow, piece: bytes) -> None:
    """Half of it arrives, and then the end."""
    flow.forward(piece[: len(piece) // 2])
    flow.end()


def answer_lost(flow: Flow, piece: bytes) -> None:
    """It arrives, and what the other side says to it does not."""
    flow.back.next = cut
    flow.forward(piece)


def late(seconds: float) -> Fault:
    def fault(flow: Flow, piece: bytes) -> None:
        flow.pause(seconds)
        flow.forward(piece)

    return fault


def first(do: Callable[[], object]) -> Fault:
    """Before it goes on, *do* something."""

    def fault(flow: Flow, piece: bytes) -> None:
        do()
        flow.forward(piece)

    return fault


def throttled(bytes_per_second: int) -> Fault:
    """A tenth of a second's worth at a time, and a byte at least."""
    portion = max(1, bytes_per_second // 10)

    def fault(flow: Flow, piece: bytes) -> None:
        for at in range(0, len(piece), portion):
            flow.forward(piece[at : at + portion])
            flow.pause(portion / bytes_per_second)

    return fault


# --- and when


def after(count: int, fault: Fault) -> Fault:
    """Let *count* bytes through, over all connections, then do *fault* once, and then forward everything."""
    left, lock = [count], Lock()

    def counted(flow: Flow, piece: bytes) -> None:
        with lock:
            taken = len(piece) if left[0] < 0 else min(left[0], len(piece))
            due = taken < len(piece)
            left[0] -= taken + due
        flow.forward(piece[:taken])
        if due:
            flow.proxy.struck(fault)(flow, piece[taken:])

    return counted


def each(count: int, fault: Fault) -> Fault:
    """Do *fault* to every connection that *count* bytes have come through."""
    passed = Counter[Flow]()

    def counted(flow: Flow, piece: bytes) -> None:
        passed[flow] += len(piece)
        if (over := passed[flow] - count) <= 0:
            flow.forward(piece)
        else:
            flow.forward(piece[:-over])
            flow.proxy.struck(fault)(flow, piece[-over:])

    return counted


def on(pattern: bytes, fault: Fault, nth: int = 1) -> Fault:
    """Do *fault* to the *nth* piece that holds *pattern*, once. Commands of a few bytes come in one piece."""
    return when(lambda piece: pattern in piece, fault, nth)


def always(pattern: bytes, fault: Fault, others: Fault = forwarded) -> Fault:
    """Do *fault* to every piece that holds *pattern*, and *others* to the others."""
    return lambda flow, piece: (fault if pattern in piece else others)(flow, piece)


def when(meant: Callable[[bytes], bool], fault: Fault, nth: int = 1) -> Fault:
    """Do *fault* to the *nth* piece that is *meant*, once."""
    left, lock = [nth], Lock()

    def counted(flow: Flow, piece: bytes) -> None:
        with lock:
            left[0] -= meant(piece)
            due = left[0] == 0 and meant(piece)
        (flow.proxy.struck(fault) if due else forwarded)(flow, piece)

    return counted


# --- the proxy


class Proxy:
    """Listens on `port` of loopback within its `with` block, and forwards to *server*."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.port = 0
        self.towards_client: Fault = forwarded
        self.towards_server: Fault = forwarded
        self.connections = 0  # made so far
        self.strikes = 0  # faults that were to happen once and did
        self.over = Event()
        self._threads: list[Thread] = []
        self._flows: list[Flow] = []

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.over.set()
        self._close()
        for thread in self._threads:
            thread.join(DEADLINE)
        for flow in self._flows:
            flow.source.close()

    def heal(self) -> None:
        """Forward everything again. A connection that was silenced stays so, as in a network that forgot it."""
        self.towards_client = self.towards_server = forwarded

    @contextmanager
    def down(self) -> Iterator[None]:
        """During the block, connections are refused, and those that were made are cut."""
        self._close()
        yield
        self._listen()

    def struck(self, fault: Fault) -> Fault:
        """Note that *fault* happens now, for the one time that it was to happen."""
        self.strikes += 1
        return fault

    def pieces(self, source: socket.socket) -> Iterable[bytes]:
        """Cut what comes from *source* into the pieces that a fault may happen to."""
        return iter(lambda: source.recv(PIECE), b"")

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def _close(self) -> None:
        with suppress(OSError):  # nobody listened
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for flow in self._flows:
            flow.end()

    def _start(self, work: Callable[..., None], *of: object) -> None:
        thread = Thread(target=work, args=of, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, _ = listener.accept()
                self.connections += 1
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self.server, timeout=DEADLINE)
        except OSError:
            client.close()
            return
        for side in (client, server):
            side.settimeout(None)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there, back = Flow(self, client, server), Flow(self, server, client)
        there.back, back.back = back, there
        self._flows += [there, back]
        self._start(self._carry, there, lambda: self.towards_server)
        self._start(self._carry, back, lambda: self.towards_client)

    def _carry(self, flow: Flow, usual: Callable[[], Fault]) -> None:
        with suppress(OSError):  # one of the two sides has gone
            for piece in self.pieces(flow.source):
                fault, flow.next = flow.next or usual(), None
                if not flow.muted:
                    fault(flow, piece)
        if not flow.muted:
            flow.end()
