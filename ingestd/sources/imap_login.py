"""Get into an IMAP server: connect, encrypt, log in, and say plainly why not.

A wrong password or certificate is `Refused`; a busy server or a network that fails is `Unavailable`. The server's own
words are not repeated, since they may hold an address; its response codes are.
"""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from imapclient.exceptions import LoginError

from ..errors import IngestError, PutOff, Refused, Unavailable, Unreachable
from ..throttle import throttle
from . import sasl
from .imap_answers import Answer, quoted, refusal
from .imap_wire import Client
from .server import Server, advice, logged_in, rejected, secured, sorted_errors
from .wire import Switch

LOGIN_TIMEOUTS = 2  # servers answer a wrong password late, on purpose

_ATOM = re.compile(r"[A-Za-z0-9@._+=~!#$&',/:;<>?^`|-]+")


def log_in(account: str, server: Server, switch: Switch) -> Client:
    """Return a connection that is encrypted as asked and logged in; raise Unavailable or Refused."""
    return logged_in(server, lambda: _logged_in(account, server, switch))


def _logged_in(account: str, server: Server, switch: Switch) -> Client:
    context = secured(account, server)
    with sorted_errors(account, server), _imap_errors(account, server):
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
        if server.rejected:
            _send_token(account, server, client, password)
        elif "AUTH=PLAIN" in client.wire.capabilities:
            client.plain_login(server.user, password)
        else:
            _check_plain(account, server, client, password)
            user = server.user if _ATOM.fullmatch(server.user) else quoted(server.user).decode("ascii")
            client.login(user, password)  # imaplib quotes the password, but not the user
    except LoginError as error:
        # Not `from error`: with a traceback the server's words would get into the log.
        raise _login_refusal(account, server, error, password) from None


def _send_token(account: str, server: Server, client: Client, token: str) -> None:
    offered = [name.removeprefix("AUTH=") for name in client.wire.capabilities if name.startswith("AUTH=")]
    mechanism = sasl.bearer(offered)
    if mechanism is None:
        raise Refused(f"account {account}: {server.host} takes no OAuth 2 token over IMAP; use a password")
    words = [sasl.token(mechanism, server.user, token, server.host, server.port)]
    # What comes after the token is a challenge that says why not; it wants an answer all the same.
    client.sasl_login(mechanism, lambda _: words.pop() if words else sasl.GIVING_UP)


def _check_plain(account: str, server: Server, client: Client, password: str) -> None:
    if "LOGINDISABLED" in client.wire.capabilities:
        raise Refused(f"account {account}: {server.host} allows no login this way; check account.imap.tls")
    if not (server.user + password).isascii() or not (server.user + password).isprintable():
        raise Refused(f"account {account}: {server.host} takes only ASCII in user and password; change them there")


@contextmanager
def _imap_errors(account: str, server: Server) -> Iterator[None]:
    try:
        yield
    except imaplib.IMAP4.error as error:
        what = f"account {account}: {server.host} port {server.port}"
        said = str(error).encode("utf-8", "replace")
        raise _ended(Unreachable(f"{what} turned us away before login, or is no IMAP server"), said) from None


def _ended(error: Unavailable, text: bytes) -> Unavailable:
    """The same as *error*, PutOff if *text*, with which the server ended the connection, is about a limit of ours."""
    said = throttle("", text)
    return PutOff(f"{error}: {said}", said) if said else error


def _login_refusal(account: str, server: Server, error: LoginError, password: str) -> IngestError:
    text = str(error).encode("utf-8", "replace")
    if isinstance(error.__context__, imaplib.IMAP4.abort):
        return _ended(Unavailable(f"account {account}: {server.host} ended the connection at login"), text)
    found = re.search(rb"\[([A-Z][A-Z0-9-]*)", text)
    answer = Answer("NO", code=found[1].decode() if found else "", text=text)
    said = refusal(f"account {account}: login", server.host, answer, advice(server))
    return rejected(server, password, said)
