"""IMAPClient over a connection of ours, within its bounds.

IMAPClient greets, encrypts and logs in over it; message bodies are read past IMAPClient, straight into a sink, since it
(like every library we tried) holds them in memory.
"""

from __future__ import annotations

import imaplib
import ssl
from typing import Any

from imapclient import IMAPClient

from .wire import Broken, Channel, Switch


class Wire(imaplib.IMAP4):
    """An IMAP connection over a `Channel`. Replaces what imaplib documents as overridable, and so not its buffers."""

    channel: Channel

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext | None, timeout: float, switch: Switch | None = None
    ) -> None:
        self._context, self._timeout, self._switch = context, timeout, switch
        super().__init__(host, port)

    def allow(self, seconds: float) -> None:
        """See `Channel.allow`."""
        self.channel.allow(seconds)

    # --- what imaplib and IMAPClient call

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        """Connect, and encrypt when there is a context. Raises what socket and ssl raise."""
        self.host, self.port = host, port
        self.channel = Channel(host, port, self._context, self._timeout, self._switch)
        self.sock = self.channel.sock

    def readline(self) -> bytes:
        """Return the next line with its line end."""
        return self.channel.readline()

    def read(self, size: int) -> bytes:
        """Return a literal of *size* bytes: anything but a message, which goes to the channel's `stream`."""
        return self.channel.read(size)

    def send(self, data: Any) -> None:
        self.channel.send(data)

    def shutdown(self) -> None:
        """Close the connection, however it is."""
        self.channel.close()

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Do STARTTLS, and forget all that was said before. Raises what ssl raises, and `Broken` when refused."""
        status, _ = self.xatom("STARTTLS")
        if status != "OK":
            raise Broken("the server refused STARTTLS after offering it")
        self.channel.encrypt(context)
        self.sock = self.channel.sock
        self.untagged_responses.clear()
        _, offered = self.capability()
        self.capabilities = tuple(str(offered[-1] or b"", "ascii", "replace").upper().split())

    def _log(self, line: str) -> None:
        """imaplib keeps its last commands for debugging, the password among them. Keep none."""


class Client(IMAPClient):  # type: ignore[misc]  # IMAPClient ships no types
    """IMAPClient over our wire. Raises what socket and ssl raise while connecting, `Broken` after that."""

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        *,
        implicit: bool,
        timeout: float,
        switch: Switch | None = None,
    ) -> None:
        self._switch = switch
        super().__init__(host, port, ssl=implicit, ssl_context=context, timeout=timeout)
        self.wire.debug = 0  # IMAPClient sets 5, with which imaplib hands every line, the password too, to a logger

    @property
    def wire(self) -> Wire:
        wire: Wire = self._imap
        return wire

    def _create_IMAP4(self) -> Wire:  # noqa: N802 - IMAPClient's name
        context = self.ssl_context if self.ssl else None
        return Wire(self.host, self.port, context, self._timeout.connect, self._switch)
