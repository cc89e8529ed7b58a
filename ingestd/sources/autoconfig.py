"""Where a provider's mail servers are, as it writes that down for mail programs (Mozilla's autoconfig format).

Asked for over https only, within seconds, up to a size. A host, a port and a user's name are all that is taken from it,
and a login still needs a certificate for that host.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from threading import Timer
from typing import Literal
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

from .offer import Offer
from .wire import Broken, Switch, tls_context

PLACES = (
    "https://autoconfig.{domain}/mail/config-v1.1.xml",
    "https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml",
)
SECONDS = 10.0  # for all of one answer
SIZE_BYTES = 64 * 1024
REDIRECTS = 3
MOVED = {301, 302, 303, 307, 308}
# Never "plain".
TLS: dict[str, Literal["implicit", "starttls"]] = {"SSL": "implicit", "STARTTLS": "starttls"}

_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+", re.I)


@dataclass(frozen=True, slots=True)
class Web:
    """How https servers are reached: everywhere as usual, but in tests."""

    ca_file: Path | None = None  # an authority to trust beside those of the system
    connect_to: tuple[str, int] | None = None  # instead of the host of an address
    seconds: float = SECONDS


def asked(address: str, web: Web) -> Iterator[Offer]:
    """Yield what the provider of *address* (somebody's, of a mailbox) offers over IMAP, the best first."""
    for place in PLACES:
        url = place.format(domain=address.rpartition("@")[2])
        if content := fetched(url, web):
            yield from offered(content, address, url)


def fetched(url: str, web: Web) -> bytes | None:
    """The content at *url*, which is https; None when it cannot be had, whatever the reason."""
    for _ in range(REDIRECTS + 1):
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            return None
        try:
            with _asked(parts.hostname, parts.port or 443, parts.path or "/", web) as response:
                if response.status not in MOVED:
                    content = response.read(SIZE_BYTES + 1)
                    return content if response.status == 200 and len(content) <= SIZE_BYTES else None
                url = urljoin(url, response.headers.get("Location", ""))
        except (OSError, HTTPException, ValueError, Broken):
            return None
    return None


def offered(content: bytes, address: str, by: str) -> Iterator[Offer]:
    """Yield the IMAP servers that *content* names, in its order; nothing of what makes no sense."""
    try:
        text = content.decode("utf-8")
        # A document type could define entities; no provider needs one.
        root = None if re.search(r"<!\s*(?:DOCTYPE|ENTITY)", text, re.I) else ElementTree.fromstring(text)  # noqa: S314
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError):
        return
    for server in root.iterfind("emailProvider/incomingServer[@type='imap']") if root is not None else ():
        if offer := _offer(server, address, by):
            yield offer


def _offer(server: ElementTree.Element, address: str, by: str) -> Offer | None:
    said = {name: (server.findtext(name) or "").strip() for name in ("hostname", "port", "socketType", "username")}
    host, port, tls = said["hostname"], said["port"], TLS.get(said["socketType"].upper())
    if not _HOST.fullmatch(host) or not re.fullmatch(r"[1-9]\d{0,4}", port) or int(port) > 65535 or tls is None:
        return None
    local, _, domain = address.rpartition("@")
    user = said["username"] or "%EMAILADDRESS%"
    for name, value in (("%EMAILADDRESS%", address), ("%EMAILLOCALPART%", local), ("%EMAILDOMAIN%", domain)):
        user = user.replace(name, value)
    if not user.isprintable() or len(user) > 320:
        return None
    return Offer(host.lower(), int(port), tls, user, by)


@contextmanager
def _asked(host: str, port: int, path: str, web: Web) -> Iterator[HTTPResponse]:
    """Ask for *path*; whatever is not there when the time is over ends in an error."""
    switch = Switch()
    # A timeout of the socket is one of each step: a server that sends a byte a second would have us for ever.
    timer = Timer(web.seconds, switch.turn_off)
    timer.start()
    try:
        with _encrypted(host, port, web, switch) as encrypted, closing(HTTPConnection(host)) as connection:
            connection.sock = encrypted
            connection.request("GET", path, headers={"Accept": "text/xml", "Connection": "close"})
            yield connection.getresponse()
            if switch.off:  # what was read until then looks like an end
                raise Broken("the server took too long")
    finally:
        timer.cancel()


def _encrypted(host: str, port: int, web: Web, switch: Switch) -> ssl.SSLSocket:
    plain = socket.create_connection(web.connect_to or (host, port), web.seconds)
    try:
        switch.watch(plain)
        encrypted = tls_context(web.ca_file).wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    except BaseException:
        plain.close()
        raise
    try:
        switch.watch(encrypted)
        encrypted.do_handshake()
    except BaseException:
        encrypted.close()
        raise
    return encrypted
