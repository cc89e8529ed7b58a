"""Log in as a person, once: by a code that is typed on any device (RFC 8628), or by a page and the address it ends at.

Gives the refresh token with which `oauth.Tokens` goes on without anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from secrets import token_urlsafe
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, urlsplit

from authlib.integrations.base_client import OAuthError

from ..errors import Refused, Unavailable
from .oauth import Client, requesting

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL = 5  # seconds between questions, when the server does not say (RFC 8628, section 3.2)
PATIENCE = 1800.0  # seconds, whatever the server says
REDIRECT = "http://127.0.0.1:1/"  # nobody listens there: its address bar is what we are after


@dataclass(frozen=True, slots=True)
class Device:
    """What a person has to do: open the page, and type the code."""

    page: str
    code: str
    device_code: str
    interval: float
    lifetime: float


def begin_device(account: str, client: Client) -> Device:
    """Ask for a code; raise Unavailable or Refused."""
    if client.device_url is None:
        raise Refused(f"account {account}: its provider has no login by code; run it with --paste")
    with requesting(account, client) as session:
        said = session.request(
            "POST", client.device_url, withhold_token=True, data={"client_id": client.client_id, "scope": client.scope}
        ).json()
        if "error" in said:
            raise OAuthError(error=said["error"])
    try:
        return Device(
            str(said.get("verification_uri") or said["verification_url"]),  # Google's own name for it
            str(said["user_code"]),
            str(said["device_code"]),
            float(said.get("interval", INTERVAL)),
            min(float(said["expires_in"]), PATIENCE),
        )
    except (KeyError, TypeError, ValueError):
        raise Unavailable(f"account {account}: what the authorization server said makes no sense") from None


def await_device(account: str, client: Client, device: Device, pause: Callable[[float], object]) -> str:
    """Wait until the person has done it; return the refresh token. Raises Refused when the time is up."""
    until, interval = monotonic() + device.lifetime, device.interval
    while monotonic() < until:
        pause(interval)
        with requesting(account, client) as session:
            try:
                return _refresh_token(
                    account,
                    session.fetch_token(
                        client.token_url,
                        grant_type=DEVICE_CODE,
                        device_code=device.device_code,
                        client_id=client.client_id,
                    ),
                )
            except OAuthError as error:
                if error.error == "slow_down":
                    interval += INTERVAL
                elif error.error != "authorization_pending":
                    raise
    raise Refused(f"account {account}: nobody typed the code in time; run: ingestd auth login {account}")


@dataclass(frozen=True, slots=True)
class Page:
    """What a person has to open, and what has to come back with it."""

    url: str
    state: str
    verifier: str


def begin_page(account: str, client: Client) -> Page:
    """Make the address of the login page (authorization code with PKCE, RFC 7636)."""
    if client.authorize_url is None:
        raise Refused(f"account {account}: set account.oauth.authorize_url, or log in by code, without --paste")
    verifier = token_urlsafe(48)
    with requesting(account, client) as session:
        session.code_challenge_method = "S256"
        session.redirect_uri = REDIRECT
        url, state = session.create_authorization_url(
            client.authorize_url, code_verifier=verifier, access_type="offline", prompt="consent"
        )
    return Page(url, state, verifier)


def finish_page(account: str, client: Client, page: Page, pasted: str) -> str:
    """Return the refresh token for the address that the page ended at; raise Refused when that is another."""
    said = {name: values[0] for name, values in parse_qs(urlsplit(pasted.strip()).query).items()}
    if said.get("state") != page.state or "code" not in said:
        raise Refused(
            f"account {account}: that is not the address the page ended at; it begins with {REDIRECT}?, copy all of it"
        )
    with requesting(account, client) as session:
        return _refresh_token(
            account,
            session.fetch_token(
                client.token_url,
                grant_type="authorization_code",
                code=said["code"],
                code_verifier=page.verifier,
                redirect_uri=REDIRECT,
            ),
        )


def _refresh_token(account: str, answer: Mapping[str, Any]) -> str:
    token = answer.get("refresh_token")
    if not isinstance(token, str) or not token:
        raise Refused(
            f"account {account}: the login gave no refresh token; account.oauth.scope may lack offline_access"
        )
    return token
