"""The bytes of a connection to a mail server, within bounds: of time, of line length, of a whole answer.

Certificates are always verified. Whatever goes wrong after connecting is `Broken`: then nothing that still comes over
the connection means anything.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock, local

CONNECT_SECONDS = 15.0  # for each address of the server, at most
MAX_LINE = 16 << 20  # bytes; a SEARCH answer of two million UIDs is one line
MAX_LITERAL = 1 << 20  # bytes; of anything but a message
MAX_ANSWER = 64 << 20  # bytes of lines and such literals between one `allow` and the next
MAX_UNASKED = 4 << 20  # bytes of what nobody asked for, at once
MIN_RATE = 1024  # bytes a second; slower than that, a connection is as good as dead
PIECE = 64 * 1024  # bytes read at a time
LARGE = 256 * 1024  # of a large message: to ask the system for less is a fifth of all that its fetch takes

Sink = Callable[[bytes | memoryview], None]

_of_thread = local()


class Broken(Exception):
    """The connection ended, stalled, or made no sense. The text names the fault and holds nothing that was sent."""


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that verifies certificate and host name, by the system's authorities and those of *ca_file*.

    Connections share one for as long as the authorities are the same: all of them take 800 KiB and 15 ms to read.
    """
    usual = ssl.get_default_verify_paths()
    files = [Path(path) for path in (usual.cafile, usual.capath) if path]
    states = [_state(file) for file in files if file.exists()]
    return _context(ca_file, (*states, _state(ca_file)) if ca_file else tuple(states))


def _state(file: Path) -> tuple[str, int, int]:
    """What is another one when the file has changed."""
    found = file.stat()
    return str(file), found.st_ino, found.st_mtime_ns


@lru_cache(maxsize=16)
def _context(ca_file: Path | None, states: tuple[tuple[str, int, int], ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


class Switch:
    """Ends connections from another thread, even one that is still being made."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._socket: socket.socket | None = None
        self.off = False

    def watch(self, connection: socket.socket) -> None:
        """Remember *connection*, to end it when the time comes; raise `Broken` when it came already."""
        with self._lock:
            self._socket = connection
            if self.off:
                connection.close()
                raise Broken("it was told to stop")

    def turn_off(self) -> None:
        """End the connection at once, and for good: whoever waits for it wakes up."""
        self.off = True
        self.cut()

    def cut(self) -> None:
        """End the connection that there is now, if there is one: whoever waits for it wakes up."""
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):  # it may have ended by itself
                    # The plain method: that of an SSLSocket would pull the rug from under the thread that reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Channel:
    """A connection whose every wait and every buffer has a bound.

    Time is kept as a budget: `allow` fills it, waiting spends it, each byte that comes refills it at `MIN_RATE`, and
    when it is empty the connection is broken. So a server may be silent for *timeout* and a transfer may take hours,
    but one byte a second is a fault.
    """

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext | None, timeout: float, switch: Switch | None = None
    ) -> None:
        """Connect, and encrypt when there is a context. Raises what socket and ssl raise."""
        self._host, self._timeout, self._switch = host, timeout, switch or Switch()
        self._buffer = bytearray()
        self._piece = memoryview(bytearray(PIECE))
        self.allow(timeout)
        self.sock = connect(host, port, min(timeout, CONNECT_SECONDS))
        self.sock.settimeout(timeout)
        self._switch.watch(self.sock)
        if context is not None:
            self.encrypt(context)

    def allow(self, seconds: float) -> None:
        """Begin a new answer: waiting for it may take *seconds*, and longer for as long as it comes fast enough."""
        self._allowance = self._left = seconds
        self._answered = 0

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Begin TLS. Raises what ssl raises, and `Broken` when something that was said unencrypted is still unread."""
        if self._buffer:
            raise Broken("the server sent more before TLS began, unencrypted")
        self.sock = context.wrap_socket(self.sock, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            self._switch.watch(self.sock)
            self.sock.do_handshake()
        except BaseException:
            self.sock.close()
            raise

    def send(self, data: bytes) -> None:
        try:
            self.sock.settimeout(self._timeout)
            self.sock.sendall(data)
        except OSError as error:
            raise Broken(_said(error)) from error

    def readline(self) -> bytes:
        """Return the next line with its line end."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_LINE:
                raise Broken(f"the server sent a line longer than {MAX_LINE} bytes")
            self._fill()
        return self._counted(end + 1)

    def read(self, size: int) -> bytes:
        """Return the next *size* bytes: of anything but a message, which goes to `stream`."""
        if size > MAX_LITERAL:
            raise Broken(f"the server announced a literal of {size} bytes where none is that large")
        while len(self._buffer) < size:
            self._fill()
        return self._counted(size)

    def stream(self, size: int, sink: Sink) -> None:
        """Hand the next *size* bytes to *sink*, piece by piece. A piece is valid only during the call."""
        if self._buffer and size:
            taken = self._take(min(size, len(self._buffer)))
            size -= len(taken)
            sink(taken)
        piece = self._piece if size <= PIECE else _large_piece()
        while size:
            count = self._receive(piece[: min(size, len(piece))])
            sink(piece[:count])
            size -= count

    def piece(self) -> bytes:
        """Return what comes next, as much as is there: at least a byte."""
        if not self._buffer:
            self._fill()
        return self._take(len(self._buffer))

    def arrived(self) -> Iterator[bytes]:
        """Yield the whole lines that are there by now, with their line ends, without waiting for any.

        Reads all that TLS holds back, too: a selector does not see that. Waiting for more is the caller's.
        """
        ended = self._drain()
        while (end := self._buffer.find(b"\n")) >= 0:
            yield self._take(end + 1)
        if len(self._buffer) > PIECE:
            raise Broken(f"the server sent a line longer than {PIECE} bytes, unasked")
        if ended:
            raise Broken("the server closed the connection")

    def _drain(self) -> bool:
        """Read what is there; return whether the other side has closed the connection."""
        self.sock.setblocking(False)
        try:
            while count := self.sock.recv_into(self._piece):
                self._buffer += self._piece[:count]
                if len(self._buffer) > MAX_UNASKED:
                    raise Broken(f"the server sent more than {MAX_UNASKED} bytes that nobody asked for")
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError as error:
            raise Broken(_said(error)) from error
        return True

    def unread(self, data: bytes) -> None:
        """Put back the end of a `piece` that belongs to what follows."""
        self._buffer[:0] = data

    def close(self) -> None:
        """Close the connection, however it is."""
        with suppress(OSError):  # it may be closed already, from either side
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _counted(self, size: int) -> bytes:
        self._answered += size
        if self._answered > MAX_ANSWER:
            raise Broken(f"the server sent an answer longer than {MAX_ANSWER} bytes")
        return self._take(size)

    def _fill(self) -> None:
        count = self._receive(self._piece)
        self._buffer += self._piece[:count]

    def _receive(self, into: memoryview) -> int:
        if self._left <= 0:
            raise Broken("the server answered too slowly")
        began = time.monotonic()
        try:
            self.sock.settimeout(min(self._timeout, self._left))
            count = self.sock.recv_into(into)
        except OSError as error:
            raise Broken(_said(error)) from error
        if not count:
            raise Broken("the server closed the connection")
        # Only time spent waiting counts, and what came fast at first does not pay for a crawl later.
        spent = time.monotonic() - began
        self._left = min(self._allowance, self._left - spent + count / MIN_RATE)
        return count


def _large_piece() -> memoryview:
    """Room for what comes of a large message: one for each thread that fetches, and not for each connection."""
    if not hasattr(_of_thread, "piece"):
        _of_thread.piece = memoryview(bytearray(LARGE))
    piece: memoryview = _of_thread.piece
    return piece


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """Return a TCP connection that notices a dead peer and does not hold back small commands."""
    connection = socket.create_connection((host, port), timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    return connection


def _said(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "the server did not answer in time"
    return f"the connection failed: {error.strerror or type(error).__name__}"
