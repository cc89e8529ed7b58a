"""A mail server that somebody may have, as it is known or was told, before it is tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Offer:
    """An IMAP server, and who one is there."""

    host: str
    port: int
    tls: Literal["implicit", "starttls"]
    user: str
    by: str  # who says so
    told: bool = False  # by somebody who may lie, since DNS is rarely signed

    @property
    def oauth(self) -> Literal["google", "microsoft"] | None:
        """Where to log in, if it takes no usual password."""
        return next((provider.oauth for provider in KNOWN if provider.host == self.host.lower()), None)

    def strange(self, address: str) -> bool:
        """Whether a person should say yes before a password goes there: it was told, and is no host of the domain."""
        domain = address.rpartition("@")[2].lower()
        ours = f".{self.host.lower()}".endswith(f".{domain}")
        return self.told and not ours and self.host.lower() not in {provider.host for provider in KNOWN}


@dataclass(frozen=True, slots=True)
class Known:
    """A provider whose server everybody knows."""

    host: str
    domains: frozenset[str]  # of addresses
    exchangers: tuple[str, ...]  # domains of the hosts that take its mail, also for other people's domains
    oauth: Literal["google", "microsoft"] | None = None


KNOWN = (
    Known("imap.gmail.com", frozenset({"gmail.com", "googlemail.com"}), ("google.com", "googlemail.com"), "google"),
    Known(
        "outlook.office365.com",
        frozenset({"outlook.com", "hotmail.com", "live.com", "msn.com"}),
        ("mail.protection.outlook.com", "mx.microsoft"),
        "microsoft",
    ),
    Known("imap.mail.yahoo.com", frozenset({"yahoo.com", "ymail.com", "rocketmail.com"}), ("yahoodns.net",)),
    Known("imap.mail.me.com", frozenset({"icloud.com", "me.com", "mac.com"}), ("mail.icloud.com",)),
    Known("imap.fastmail.com", frozenset({"fastmail.com", "fastmail.fm"}), ("messagingengine.com",)),
)


def known(address: str, exchanger: str | None = None) -> Offer | None:
    """The server for *address*, if everybody knows it by its domain, or by the host that takes the mail for it."""
    domain = address.rpartition("@")[2].lower()
    for provider in KNOWN:
        if domain in provider.domains:
            return Offer(provider.host, 993, "implicit", address, "it is well known")
        if exchanger and any(f".{exchanger.lower()}".endswith(f".{parent}") for parent in provider.exchangers):
            return Offer(provider.host, 993, "implicit", address, f"its mail goes to {exchanger}")
    return None
