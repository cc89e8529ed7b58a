"""The first words of a login, as SASL has them (RFC 4616, RFC 7628, and XOAUTH2, which Google wrote down)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

Mechanism = Literal["PLAIN", "OAUTHBEARER", "XOAUTH2"]

BEARERS: tuple[Mechanism, ...] = ("OAUTHBEARER", "XOAUTH2")  # the standard one first
GIVING_UP = b"\1"  # the answer to a challenge that says why not (RFC 7628, section 3.2.3); XOAUTH2 takes anything


def bearer(offered: Collection[str]) -> Mechanism | None:
    """The mechanism that takes an access token, of those a server offers."""
    return next((mechanism for mechanism in BEARERS if mechanism in offered), None)


def plain(user: str, password: str) -> bytes:
    return f"\0{user}\0{password}".encode()


def token(mechanism: Mechanism, user: str, access_token: str, host: str, port: int) -> bytes:
    """The words that carry *access_token* for *mechanism*."""
    if mechanism == "XOAUTH2":
        return f"user={user}\1auth=Bearer {access_token}\1\1".encode()
    return f"n,a={_saslname(user)},\1host={host}\1port={port}\1auth=Bearer {access_token}\1\1".encode()


def _saslname(user: str) -> str:
    return user.replace("=", "=3D").replace(",", "=2C")  # RFC 5801, section 4
