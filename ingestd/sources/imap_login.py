"""Get into an IMAP server: connect, encrypt, log in, and say plainly why not.

A wrong password or certificate is `Refused`; a busy server or a network that fails is `Unavailable`. The server's own
words are not repeated, since they may hold an address; its response codes are.
"""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from imapclient.exceptions import LoginError

from ..errors import IngestError, Refused, Unavailable
from .imap_answers import Answer, quoted, refusal
from .imap_wire import Broken, Client, Switch, tls_context

Tls = Literal["implicit", "starttls", "none"]

LOGIN_TIMEOUTS = 2  # servers answer a wrong password late, on purpose

# OpenSSL's verify codes, and what to do about them.
UNKNOWN_AUTHORITY = "is signed by an unknown authority; if that is your own, name its file in account.imap.ca_file"
CERTIFICATE = {
    9: "is not valid yet; check the clock of this machine",
    10: "has expired; it must be renewed",
    62: "is for another host; check account.imap.host",
    64: "is for another host; check account.imap.host",
    **dict.fromkeys((18, 19, 20, 21), UNKNOWN_AUTHORITY),
}
# What OpenSSL calls the first bytes of a server that does not speak TLS.
NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"}

_ATOM = re.compile(r"[A-Za-z0-9@._+=~!#$&',/:;<>?^`|-]+")


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


def log_in(account: str, server: Server, switch: Switch) -> Client:
    """Return a connection that is encrypted as asked and logged in; raise Unavailable or Refused."""
    context = _context(account, server)
    with _sorted_errors(account, server):
        client = Client(
            server.host,
            server.port,
            context,
            implicit=server.tls == "implicit",
            timeout=server.timeout,
            switch=switch,
        )
        try:
            _encrypt(account, server, client, context)
            _authenticate(account, server, client)
            client.capabilities()  # here, so that a server that will not say is an error here
        except BaseException:
            client.wire.shutdown()
            raise
    return client


def _context(account: str, server: Server) -> ssl.SSLContext | None:
    if server.tls == "none":
        return None
    try:
        return tls_context(server.ca_file)
    except OSError as error:  # ssl.SSLError is one, for a file without certificates
        raise Refused(
            f"account {account}: cannot read certificates from {server.ca_file}; check account.imap.ca_file"
        ) from error


def _encrypt(account: str, server: Server, client: Client, context: ssl.SSLContext | None) -> None:
    if client.wire.state != "NONAUTH":
        # A greeting of PREAUTH rules out STARTTLS, so it is also a way to strip it.
        raise Refused(f"account {account}: {server.host} let us in without a login; check account.imap.port")
    if server.tls != "starttls" or context is None:
        return
    if "STARTTLS" not in client.wire.capabilities:
        raise Refused(
            f"account {account}: {server.host} does not offer STARTTLS, so no login was sent; "
            'try account.imap.tls = "implicit" with port 993'
        )
    client.wire.encrypt(context)


def _authenticate(account: str, server: Server, client: Client) -> None:
    password = server.password()
    client.wire.allow(LOGIN_TIMEOUTS * server.timeout)
    try:
        if "AUTH=PLAIN" in client.wire.capabilities:
            client.plain_login(server.user, password)
        else:
            _check_plain(account, server, client, password)
            user = server.user if _ATOM.fullmatch(server.user) else quoted(server.user).decode("ascii")
            client.login(user, password)  # imaplib quotes the password, but not the user
    except LoginError as error:
        # Not `from error`: with a traceback the server's words would get into the log.
        raise _login_refusal(account, server, error) from None


def _check_plain(account: str, server: Server, client: Client, password: str) -> None:
    if "LOGINDISABLED" in client.wire.capabilities:
        raise Refused(f"account {account}: {server.host} allows no login this way; check account.imap.tls")
    if not (server.user + password).isascii() or not (server.user + password).isprintable():
        raise Refused(f"account {account}: {server.host} takes only ASCII in user and password; change them there")


# --- errors


@contextmanager
def _sorted_errors(account: str, server: Server) -> Iterator[None]:
    """Turn what socket, ssl and imaplib raise into what to do about it."""
    host, what = server.host, f"account {account}: {server.host} port {server.port}"
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"account {account}: the certificate of {host} {_distrust(error)}") from error
    except ssl.SSLError as error:
        if error.reason in NO_TLS:
            raise Refused(f"{what} does not speak TLS; check account.imap.port and account.imap.tls") from error
        raise Unavailable(f"{what}: TLS failed ({error.reason or type(error).__name__})") from error
    except socket.gaierror as error:
        raise Unavailable(f"account {account}: cannot resolve {host}; check account.imap.host") from error
    except TimeoutError as error:
        raise Unavailable(f"{what} did not answer within {server.timeout:g} s") from error
    except OSError as error:
        raise Unavailable(f"{what}: cannot connect: {error.strerror or type(error).__name__}") from error
    except Broken as error:
        raise Unavailable(f"{what}: {error}") from error
    except imaplib.IMAP4.error:
        raise Unavailable(f"{what} turned us away before login, or is no IMAP server") from None


def _distrust(error: ssl.SSLCertVerificationError) -> str:
    known = CERTIFICATE.get(error.verify_code)
    return known or (
        f"does not verify ({error.verify_message}); Python 3.13 and newer also refuse a private authority whose "
        "certificate lacks keyUsage"
    )


def _login_refusal(account: str, server: Server, error: LoginError) -> IngestError:
    if isinstance(error.__context__, imaplib.IMAP4.abort):
        return Unavailable(f"account {account}: {server.host} ended the connection at login")
    text = str(error).encode("utf-8", "replace")
    found = re.search(rb"\[([A-Z][A-Z0-9-]*)", text)
    answer = Answer("NO", code=found[1].decode() if found else "", text=text)
    return refusal(f"account {account}: login", server.host, answer, f"check the password{server.password_from}")
