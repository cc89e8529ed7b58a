"""A mail server: where it is, how to get to it safely, and what to do when that fails.

A wrong certificate is `Refused`; a network that fails is `Unreachable`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from ..errors import IngestError, Refused, Unavailable, Unreachable
from .wire import Broken, tls_context

Tls = Literal["implicit", "starttls", "none"]

# OpenSSL's verify codes, and what to do about them.
UNKNOWN_AUTHORITY = "is signed by an unknown authority; if that is your own, name its file in {table}.ca_file"
CERTIFICATE = {
    9: "is not valid yet; check the clock of this machine",
    10: "has expired; it must be renewed",
    62: "is for another host; check {table}.host",
    64: "is for another host; check {table}.host",
    **dict.fromkeys((18, 19, 20, 21), UNKNOWN_AUTHORITY),
}
# What OpenSSL calls the first bytes of a server that does not speak TLS.
NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"}


class Meter(Protocol):
    """Counts what an account uses of its provider, and says when that is enough."""

    def open(self) -> None:
        """Before a connection and its login; raises Unavailable when there are enough. Then `close` is owed."""

    def close(self) -> None:
        """A connection that was opened is no more."""

    def refused(self) -> None:
        """The server refused a login."""

    def fetched(self, size_bytes: int) -> None:
        """So much of a message came."""

    @property
    def more(self) -> bool:
        """Whether more messages may be asked for, as far as is known."""

    def check(self) -> None:
        """Before more messages are asked for; raises Unavailable when there were enough."""

    @property
    def beside(self) -> Meter:
        """The meter for connections that only make faster what goes on over another one."""

    def failed_beside(self, error: IngestError) -> None:
        """Such a connection is not used any more, because of *error*."""


class Unmetered:
    """The meter where nobody counts."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def refused(self) -> None: ...

    def fetched(self, size_bytes: int) -> None: ...

    @property
    def more(self) -> bool:
        return True

    def check(self) -> None: ...

    @property
    def beside(self) -> Meter:
        return self

    def failed_beside(self, error: IngestError) -> None: ...


@dataclass(frozen=True, slots=True)
class Server:
    """Where an account's mail is, and how to log in there."""

    host: str
    port: int
    tls: Tls
    user: str
    password: Callable[[], str] = field(repr=False)  # read anew at each login
    ca_file: Path | None = None
    password_from: str = ""  # where it is kept, for people, such as " in file /etc/ingestd/work.secret"
    timeout: float = 60.0  # seconds without progress
    table: str = "account.imap"  # of the configuration
    # The password is an access token (OAuth 2); this is told of one that the server did not take.
    rejected: Callable[[str], None] | None = field(default=None, repr=False)
    meter: Meter = field(default_factory=Unmetered, repr=False)


class TokenRejected(Refused):
    """The server did not take an access token. It may only have ended early: a fresh one may do."""


T = TypeVar("T")


def logged_in(server: Server, attempt: Callable[[], T]) -> T:
    """Do *attempt*, and once more when only its access token was not taken; raise what is raised then.

    Whoever closes the connection owes `server.meter` a `close`.
    """
    with suppress(TokenRejected):  # no wrong password: only the second time it counts as refused
        return _metered(server, attempt)
    try:
        return _metered(server, attempt)
    except TokenRejected:
        server.meter.refused()
        raise


def _metered(server: Server, attempt: Callable[[], T]) -> T:
    server.meter.open()
    try:
        return attempt()
    except BaseException:
        server.meter.close()
        raise


def advice(server: Server) -> str:
    """What to do about a login that is refused."""
    if server.rejected:
        return "check account.oauth.scope, and whether the user may use this protocol"
    return f"check the password{server.password_from}"


def rejected(server: Server, password: str, refusal: IngestError) -> IngestError:
    """The same as *refusal*, a `TokenRejected` if that may be mended by another access token."""
    if not isinstance(refusal, Refused):
        return refusal
    if server.rejected is None:
        server.meter.refused()
        return refusal
    server.rejected(password)
    return TokenRejected(str(refusal))


def secured(account: str, server: Server) -> ssl.SSLContext | None:
    """The terms for TLS, None where there is none; raise Refused when the authorities cannot be read."""
    if server.tls == "none":
        return None
    try:
        return tls_context(server.ca_file)
    except OSError as error:  # ssl.SSLError is one, for a file without certificates
        raise Refused(
            f"account {account}: cannot read certificates from {server.ca_file}; check {server.table}.ca_file"
        ) from error


@contextmanager
def sorted_errors(account: str, server: Server) -> Iterator[None]:
    """Turn what socket and ssl raise, and `Broken`, into what to do about it."""
    host, what = server.host, f"account {account}: {server.host} port {server.port}"
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"account {account}: the certificate of {host} {distrust(error, server.table)}") from error
    except ssl.SSLError as error:
        if error.reason in NO_TLS:
            raise Refused(f"{what} does not speak TLS; check {server.table}.port and {server.table}.tls") from error
        kind = Unreachable if isinstance(error, ssl.SSLEOFError) else Unavailable
        raise kind(f"{what}: TLS failed ({error.reason or type(error).__name__})") from error
    except socket.gaierror as error:
        raise Unreachable(f"account {account}: cannot resolve {host}; check {server.table}.host") from error
    except TimeoutError as error:
        raise Unreachable(f"{what} did not answer within {server.timeout:g} s") from error
    except OSError as error:
        raise Unreachable(f"{what}: cannot connect: {error.strerror or type(error).__name__}") from error
    except Broken as error:
        raise Unreachable(f"{what}: {error}") from error


def distrust(error: ssl.SSLCertVerificationError, table: str) -> str:
    """Why a certificate was not believed, and what to do about it."""
    known = CERTIFICATE.get(error.verify_code)
    if known:
        return known.format(table=table)
    return (
        f"does not verify ({error.verify_message}); Python 3.13 and newer also refuse a private authority whose "
        "certificate lacks keyUsage"
    )
