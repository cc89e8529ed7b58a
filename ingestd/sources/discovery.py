"""Find the mail server of an address: well known, or as its domain says in DNS (RFC 6186) or over https.

What is found is an offer, and nothing was sent there yet: DNS can lie, so a person should see the host before any
password goes to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import dns.exception
import dns.resolver

from .autoconfig import Web, asked
from .offer import Offer, known

SECONDS = 5.0  # for one question to DNS, attempts included
# RFC 8314 prefers the first.
SERVICES: tuple[tuple[str, Literal["implicit", "starttls"]], ...] = (
    ("_imaps._tcp", "implicit"),
    ("_imap._tcp", "starttls"),
)

Resolver = dns.resolver.Resolver


def discover(address: str, resolver: Resolver | None = None, web: Web | None = None) -> Iterator[Offer]:
    """Yield what can be found for *address*, the surest first; each is looked for when it is asked for."""
    domain = address.rpartition("@")[2].lower()
    if offer := known(address):
        yield offer
    if "." not in domain:  # nothing of this is told of a machine of one's own
        return
    answers = resolver or _usual()
    if answers is not None:
        yield from by_service(address, answers)
    yield from asked(address, web or Web())
    if answers is not None:
        yield from by_exchanger(address, answers)


def by_service(address: str, resolver: Resolver) -> Iterator[Offer]:
    """Yield the IMAP servers that DNS names as the domain's, by their priority (RFC 6186)."""
    domain = address.rpartition("@")[2]
    for service, tls in SERVICES:
        records = [record for record in _asked(resolver, f"{service}.{domain}", "SRV") if _host(record.target)]
        for record in sorted(records, key=lambda record: (record.priority, -record.weight)):
            said = f"DNS says so ({service}.{domain})"
            yield Offer(_host(record.target), record.port, tls, address, said, told=True)


def by_exchanger(address: str, resolver: Resolver) -> Iterator[Offer]:
    """Yield the server of the provider that takes the domain's mail, if it is one that everybody knows."""
    records = _asked(resolver, address.rpartition("@")[2], "MX")
    for record in sorted(records, key=lambda record: record.preference):
        if offer := known(address, _host(record.exchange)):
            yield offer
            return


def _asked(resolver: Resolver, name: str, kind: str) -> list[Any]:
    """The records of *name*; none when DNS has none, or does not answer."""
    try:
        return list(resolver.resolve(name, kind, lifetime=SECONDS))
    except (dns.exception.DNSException, ValueError):  # ValueError: no name that DNS could hold
        return []


def _host(name: Any) -> str:
    """The name as text, "" for the root: that is how a domain says that it has no such server."""
    return str(name).rstrip(".").lower()


def _usual() -> Resolver | None:
    """The resolver of this machine, if it has one."""
    try:
        return dns.resolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        return None
