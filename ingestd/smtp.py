"""Hand a message to a mail server: encrypted, verified, logged in, within a time.

A wrong certificate or login and an answer of 5xx are `Refused`; 4xx and a network that fails are `Unavailable`. The
server's words are not repeated, since they may hold an address; its numbers are.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from os import uname
from threading import Timer

from .errors import IngestError, Refused, Unavailable
from .sources import sasl
from .sources.server import NO_TLS, Server, TokenRejected, advice, distrust, rejected
from .sources.wire import Broken, Switch, connect, tls_context

SECONDS = 60.0  # for all of it; a step may take the server's timeout
STEPS = 10.0  # seconds without progress
CHALLENGES = 2  # that are answered at login


def send(server: Server, message: EmailMessage, recipients: Sequence[str], switch: Switch | None = None) -> None:
    """Send *message* by *server*; raise Unavailable or Refused. Tried once more when only an access token was old.

    *server* without a user takes mail from anybody. When this raises, it may have been sent all the same; *switch*,
    turned off in another thread, ends it.
    """
    for last in (False, True):
        try:
            with _session(server, switch or Switch()) as smtp:
                _greet(server, smtp)
                if server.user:
                    _log_in(server, smtp)
                smtp.send_message(message, to_addrs=list(recipients))
                return
        except TokenRejected:
            if last:
                raise


class _Smtp(smtplib.SMTP):
    """One conversation that its switch can end from the first moment on, which smtplib's own TLS cannot be."""

    def __init__(self, server: Server, switch: Switch) -> None:
        # Its own name would be looked up in DNS, and told.
        super().__init__(local_hostname=uname().nodename or "localhost", timeout=min(server.timeout, STEPS))
        self._server, self._switch = server, switch
        self._host = server.host  # what a certificate has to be for, after STARTTLS too

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection = connect(host, port, timeout)
        self._switch.watch(connection)
        if self._server.tls == "implicit":
            connection = _context(self._server).wrap_socket(
                connection, server_hostname=host, do_handshake_on_connect=False
            )
            self._encrypted(connection)
        return connection

    def encrypt(self) -> None:
        """STARTTLS."""
        _check(*self.starttls(context=_context(self._server)))
        if self.sock is not None:
            self._switch.watch(self.sock)
        self.ehlo()

    def _encrypted(self, connection: ssl.SSLSocket) -> None:
        try:
            self._switch.watch(connection)
            connection.do_handshake()
        except BaseException:
            connection.close()
            raise


@contextmanager
def _session(server: Server, switch: Switch) -> Iterator[_Smtp]:
    smtp = _Smtp(server, switch)
    # Another bound than that of each step: a server that says a byte a second would have us for ever.
    timer = Timer(SECONDS, switch.turn_off)
    timer.start()
    try:
        with _sorted(server):
            _check(*smtp.connect(server.host, server.port))
            yield smtp
            with suppress(OSError, smtplib.SMTPException):  # it is sent, and nobody waits for the goodbye
                smtp.quit()
    finally:
        timer.cancel()
        smtp.close()


def _context(server: Server) -> ssl.SSLContext:
    try:
        return tls_context(server.ca_file)
    except OSError as error:
        raise Refused(
            f"alerts: cannot read certificates from {server.ca_file}; check {server.table}.ca_file"
        ) from error


def _greet(server: Server, smtp: _Smtp) -> None:
    smtp.ehlo_or_helo_if_needed()
    if server.tls != "starttls":
        return
    if not smtp.has_extn("starttls"):
        raise Refused(f"alerts: {server.host} does not offer STARTTLS, so nothing was sent; check {server.table}.tls")
    smtp.encrypt()


def _log_in(server: Server, smtp: smtplib.SMTP) -> None:
    offered = smtp.esmtp_features.get("auth", "").upper().split()
    password = server.password()
    if server.rejected:
        mechanism = sasl.bearer(offered)
        if mechanism is None:
            raise Refused(f"alerts: {server.host} takes no OAuth 2 token; use a password")
        words = [sasl.token(mechanism, server.user, password, server.host, server.port)]
    elif "PLAIN" in offered:
        mechanism, words = "PLAIN", [sasl.plain(server.user, password)]
    elif "LOGIN" in offered:
        _authenticated(server, password, smtp, "LOGIN", [server.user.encode(), password.encode()])
        return
    else:
        raise Refused(f"alerts: {server.host} offers no way to log in that we know; check {server.table}.port")
    _authenticated(server, password, smtp, f"{mechanism} {_base64(words.pop())}", [])


def _authenticated(server: Server, password: str, smtp: smtplib.SMTP, first: str, answers: list[bytes]) -> None:
    code, _ = smtp.docmd("AUTH", first)
    for answer in (*answers, *[sasl.GIVING_UP] * (CHALLENGES - len(answers))):
        if code == 334:
            code, _ = smtp.docmd(_base64(answer))
    if code in (235, 503):
        return
    if 400 <= code < 500:
        raise Unavailable(f"alerts: login put off by {server.host} ({code})")
    said = Refused(f"alerts: login refused by {server.host} ({code}); {advice(server)}")
    raise rejected(server, password, said)


def _base64(words: bytes) -> str:
    return b64encode(words).decode("ascii")


def _check(code: int, _: bytes) -> None:
    if not 200 <= code < 300:
        raise smtplib.SMTPResponseException(code, b"")


@contextmanager
def _sorted(server: Server) -> Iterator[None]:
    """Turn what smtplib, socket and ssl raise into what to do about it."""
    what = f"alerts: {server.host} port {server.port}"
    try:
        yield
    except IngestError:
        raise
    except smtplib.SMTPRecipientsRefused as error:
        # Not `from error`: with a traceback the server's words would get into the log.
        raise _answered(what, "a recipient", max(code for code, _ in error.recipients.values())) from None
    except smtplib.SMTPResponseException as error:
        raise _answered(what, "the message", error.smtp_code) from None
    except smtplib.SMTPException as error:
        raise Unavailable(f"{what}: the conversation broke off ({type(error).__name__})") from None
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"alerts: the certificate of {server.host} {distrust(error, server.table)}") from error
    except ssl.SSLError as error:
        if error.reason in NO_TLS:
            raise Refused(f"{what} does not speak TLS; check {server.table}.port and {server.table}.tls") from error
        raise Unavailable(f"{what}: TLS failed ({error.reason or type(error).__name__})") from error
    except OSError as error:
        raise Unavailable(f"{what}: cannot connect: {error.strerror or type(error).__name__}") from error
    except Broken as error:
        raise Unavailable(f"{what}: {error}") from error


def _answered(what: str, about: str, code: int) -> IngestError:
    if 400 <= code < 500:
        return Unavailable(f"{what} did not take {about} for now ({code})")
    return Refused(f"{what} refused {about} ({code}); check alerts.from, alerts.to and alerts.user")
