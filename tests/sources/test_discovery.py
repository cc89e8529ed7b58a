"""Finding mail servers, by a DNS server and an https server of our own on loopback."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import dns.flags
import dns.message
import dns.resolver
import dns.rrset
import pytest

from ingestd.demo.certificates import make_certificates
from ingestd.sources.autoconfig import SIZE_BYTES, Web, fetched, offered
from ingestd.sources.discovery import by_exchanger, by_service, discover
from ingestd.sources.offer import Offer

ADDRESS = "ann@example.org"
CONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1"><emailProvider id="example.org">
  <incomingServer type="pop3"><hostname>pop.example.org</hostname><port>995</port></incomingServer>
  <incomingServer type="imap"><hostname>IMAP.example.org</hostname><port>993</port><socketType>SSL</socketType>
    <username>%EMAILLOCALPART%</username><authentication>password-cleartext</authentication></incomingServer>
  <incomingServer type="imap"><hostname>imap.example.org</hostname><port>143</port><socketType>STARTTLS</socketType>
    <username>%EMAILADDRESS%</username></incomingServer>
</emailProvider></clientConfig>"""


@contextmanager
def dns_server(*records: str) -> Iterator[dns.resolver.Resolver]:
    """A name server that knows *records* ("NAME TYPE DATA") and nothing else; give a resolver that asks it."""
    known = dict[tuple[str, str], list[str]]()
    for record in records:
        name, kind, data = record.split(" ", 2)
        known.setdefault((f"{name}.", kind), []).append(data)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        thread = Thread(target=_serve, args=(server, known))
        thread.start()
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.getsockname()[1]
        try:
            yield resolver
        finally:
            server.sendto(b"", server.getsockname())
            thread.join()


def _serve(server: socket.socket, known: dict[tuple[str, str], list[str]]) -> None:
    while wire := server.recvfrom(4096):
        if not wire[0]:
            return
        query = dns.message.from_wire(wire[0])
        (question,) = query.question
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        kind = dns.rdatatype.to_text(question.rdtype)
        if data := known.get((question.name.to_text(), kind)):
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *data))
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)
        server.sendto(response.to_wire(), wire[1])


def hosts(offers: Iterator[Offer]) -> list[tuple[str, int, str]]:
    return [(offer.host, offer.port, offer.tls) for offer in offers]


# --- DNS


def test_dns_names_servers_by_priority_and_encryption_from_the_start_goes_first() -> None:
    with dns_server(
        "_imap._tcp.example.org SRV 0 1 143 old.example.org.",
        "_imaps._tcp.example.org SRV 20 1 993 spare.example.org.",
        "_imaps._tcp.example.org SRV 10 1 993 one.example.org.",
        "_imaps._tcp.example.org SRV 10 5 1993 two.example.org.",
    ) as resolver:
        found = hosts(by_service(ADDRESS, resolver))

    assert found == [
        ("two.example.org", 1993, "implicit"),
        ("one.example.org", 993, "implicit"),
        ("spare.example.org", 993, "implicit"),
        ("old.example.org", 143, "starttls"),
    ]


def test_a_host_of_another_domain_that_only_dns_names_is_for_a_person_to_say_yes_to() -> None:
    with dns_server(
        "_imaps._tcp.example.org SRV 1 1 993 imap.example.org.",
        "_imaps._tcp.example.org SRV 2 1 993 imap.gmail.com.",
        "_imaps._tcp.example.org SRV 3 1 993 imap.elsewhere.example.com.",
        "_imaps._tcp.example.org SRV 4 1 993 notexample.org.",
    ) as resolver:
        strange = [offer.strange(ADDRESS) for offer in by_service(ADDRESS, resolver)]

    assert strange == [False, False, True, True]


def test_a_domain_that_says_it_has_no_such_server_has_none() -> None:
    with dns_server("_imaps._tcp.example.org SRV 0 0 0 .") as resolver:
        assert not list(by_service(ADDRESS, resolver))


def test_a_dns_server_that_does_not_answer_has_found_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestd.sources.discovery.SECONDS", 0.2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], silent.getsockname()[1]

        assert not list(by_service(ADDRESS, resolver))


def test_a_domain_whose_mail_goes_to_a_known_provider_is_served_by_that() -> None:
    with dns_server(
        "example.org MX 10 aspmx.l.google.com.",
        "example.com MX 0 example-com.mail.protection.outlook.com.",
        "example.net MX 0 mail.notgoogle.com.",
    ) as resolver:
        google = list(by_exchanger(ADDRESS, resolver))
        microsoft = list(by_exchanger("ann@example.com", resolver))
        neither = list(by_exchanger("ann@example.net", resolver))

    assert [(offer.host, offer.oauth) for offer in google] == [("imap.gmail.com", "google")]
    assert [(offer.host, offer.oauth) for offer in microsoft] == [("outlook.office365.com", "microsoft")]
    assert not neither


def test_a_well_known_address_is_not_looked_for_anywhere() -> None:
    offer = next(discover("somebody@GMAIL.com", dns.resolver.Resolver(configure=False)))

    assert (offer.host, offer.user, offer.oauth) == ("imap.gmail.com", "somebody@GMAIL.com", "google")


def test_a_machine_of_ones_own_is_not_asked_about() -> None:
    assert not list(discover("ann@localhost", dns.resolver.Resolver(configure=False)))


# --- https

Answer = Callable[[BaseHTTPRequestHandler], None]


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has enough goes away, and may."""


@contextmanager
def https_server(directory: Path, answer: Answer) -> Iterator[Web]:
    """An https server whose certificate an authority of its own gives, for `localhost`; give the way to it."""
    make_certificates(directory, "good")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = _Quiet(("127.0.0.1", 0), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Web(directory / "ca.pem", server.server_address[:2], seconds=5.0)  # type: ignore[arg-type]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def said(content: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def test_what_a_provider_writes_down_is_fetched_and_read(tmp_path: Path) -> None:
    with https_server(tmp_path, said(CONFIG.encode())) as web:
        content = fetched("https://localhost/mail/config-v1.1.xml", web)

    assert content is not None
    assert list(offered(content, ADDRESS, "it")) == [
        Offer("imap.example.org", 993, "implicit", "ann", "it"),
        Offer("imap.example.org", 143, "starttls", ADDRESS, "it"),
    ]


def test_a_server_that_nobody_vouches_for_is_not_believed(tmp_path: Path) -> None:
    with https_server(tmp_path, said(CONFIG.encode())) as web:
        assert fetched("https://localhost/", Web(None, web.connect_to)) is None
        assert fetched("https://autoconfig.example.org/", web) is None  # a certificate for another host


@pytest.mark.parametrize(
    "answer",
    [
        said(b"no such thing", 404),
        said(b" " * (SIZE_BYTES + 1)),
        said(b"", 302, Location="http://localhost/plain"),
        said(b"", 302, Location="https://localhost/again"),
        said(b"", 302),
    ],
)
def test_what_is_not_a_plain_answer_is_none(tmp_path: Path, answer: Answer) -> None:
    with https_server(tmp_path, answer) as web:
        assert fetched("https://localhost/", web) is None


def test_a_redirect_is_followed(tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        here = handler.path == "/there"
        (said(b"found") if here else said(b"", 301, Location="/there"))(handler)

    with https_server(tmp_path, answer) as web:
        assert fetched("https://localhost/", web) == b"found"


def test_a_server_that_drips_is_left_in_time(tmp_path: Path) -> None:
    over = Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not over.wait(0.02):
            handler.wfile.write(b" ")

    with https_server(tmp_path, drip) as web:
        assert fetched("https://localhost/", Web(web.ca_file, web.connect_to, seconds=0.3)) is None
        over.set()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not XML",
        CONFIG.encode("utf-16"),
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><clientConfig>&a;</clientConfig>',
        b"<html><body>a page for people</body></html>",
        CONFIG.replace("SSL", "plain").replace("STARTTLS", "plain").encode(),
        CONFIG.replace("imap.example.org", "imap example org").replace("IMAP.example.org", "-").encode(),
        CONFIG.replace(">993<", ">99999<").replace(">143<", ">-1<").encode(),
        CONFIG.replace("%EMAIL", "a&#10;%EMAIL").encode(),
    ],
)
def test_what_makes_no_sense_names_no_server(content: bytes) -> None:
    assert not list(offered(content, ADDRESS, "it"))
