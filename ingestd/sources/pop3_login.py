"""Get into a POP3 server: connect, encrypt, log in, and say plainly why not.

A wrong password or certificate is `Refused`; a busy server or a network that fails is `Unavailable`. The server's own
words are not repeated, since they may hold an address; its response codes are.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from hashlib import md5

from ..errors import IngestError, PutOff, Refused, Unavailable
from ..throttle import throttle
from . import sasl
from .pop3_session import Reply, Session
from .server import Server, advice, logged_in, rejected, secured, sorted_errors
from .wire import Channel, Switch

LOGIN_TIMEOUTS = 2  # servers answer a wrong password late, on purpose
BUSY = {"IN-USE", "LOGIN-DELAY", "SYS/TEMP"}  # RFC 2449, section 8.1; RFC 3206
_TIMESTAMP = re.compile(rb"<[!-;=?-~]+@[!-;=?-~]+>")  # of the greeting, if the server knows APOP

Offered = Mapping[str, tuple[str, ...]]


def log_in(account: str, server: Server, switch: Switch) -> tuple[Session, Offered]:
    """Return a session that is encrypted as asked and logged in, and what its server offers.

    Raises Unavailable or Refused.
    """
    return logged_in(server, lambda: _logged_in(account, server, switch))


def _logged_in(account: str, server: Server, switch: Switch) -> tuple[Session, Offered]:
    context = secured(account, server)
    with sorted_errors(account, server):
        channel = Channel(
            server.host, server.port, context if server.tls == "implicit" else None, server.timeout, switch
        )
        try:
            session = Session(channel, server.timeout)
            _greeted(account, server, session.greeting)
            if server.tls == "starttls" and context is not None:
                _encrypt(account, server, session, context)
            _authenticate(account, server, session, session.capabilities())
            return session, session.capabilities()  # some say more to those they know
        except BaseException:
            channel.close()
            raise


def refusal(what: str, host: str, reply: Reply, advice: str) -> IngestError:
    """The error for -ERR: PutOff or Unavailable when the server is only busy, else Refused."""
    if said := throttle(reply.code, reply.text):
        return PutOff(f"{what} put off by {host}{reply.bracketed}: {said}", said)
    if reply.code in BUSY:
        return Unavailable(f"{what} put off by {host}{reply.bracketed}, which is busy")
    return Refused(f"{what} refused by {host}{reply.bracketed}; {advice}")


def _greeted(account: str, server: Server, greeting: Reply) -> None:
    if not greeting.ok:
        what = f"account {account}: {server.host} turned us away before login{greeting.bracketed}"
        said = throttle(greeting.code, greeting.text)
        raise PutOff(f"{what}: {said}", said) if said else Unavailable(what)


def _encrypt(account: str, server: Server, session: Session, context: ssl.SSLContext) -> None:
    if not session.ask(b"STLS").ok:  # asked for at once, since what is offered in the clear proves nothing
        raise Refused(
            f"account {account}: {server.host} does not offer STLS, so no login was sent; "
            f'try {server.table}.tls = "implicit" with port 995'
        )
    session.channel.encrypt(context)


def _authenticate(account: str, server: Server, session: Session, offered: Offered) -> None:
    password = server.password()
    session.channel.allow(LOGIN_TIMEOUTS * server.timeout)
    mechanisms = offered.get("SASL", ())
    if server.rejected:
        reply = _with_token(account, server, session, password, mechanisms)
    elif server.tls == "none" and (stamp := _TIMESTAMP.search(session.greeting.text)):
        reply = _with_digest(session, server.user, password, stamp[0])
    elif "PLAIN" in mechanisms:
        reply = session.authenticate("PLAIN", sasl.plain(server.user, password))
    else:
        reply = _with_password(account, server, session, password)
    if not reply.ok:
        said = refusal(f"account {account}: login", server.host, reply, advice(server))
        raise rejected(server, password, said)


def _with_token(account: str, server: Server, session: Session, token: str, mechanisms: tuple[str, ...]) -> Reply:
    mechanism = sasl.bearer(mechanisms)
    if mechanism is None:
        raise Refused(f"account {account}: {server.host} takes no OAuth 2 token over POP3; use a password")
    return session.authenticate(mechanism, sasl.token(mechanism, server.user, token, server.host, server.port))


def _with_digest(session: Session, user: str, password: str, stamp: bytes) -> Reply:
    """APOP: weak, but better than the password itself where nothing is encrypted."""
    digest = md5(stamp + password.encode(), usedforsecurity=False).hexdigest()
    return session.ask(b"APOP %s %s" % (user.encode(), digest.encode()))


def _with_password(account: str, server: Server, session: Session, password: str) -> Reply:
    if not (server.user + password).isprintable() or " " in server.user:
        raise Refused(f"account {account}: {server.host} takes no such user or password; change them there")
    reply = session.ask(b"USER " + server.user.encode())
    return session.ask(b"PASS " + password.encode()) if reply.ok else reply
