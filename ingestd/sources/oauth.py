"""Access tokens, for servers that take no password (OAuth 2): fetched when one is needed, kept until they expire.

A token endpoint may give a new refresh token for the old one, which then is worth nothing: the new one is handed to a
`Vault` before it is relied on, so that every daemon that may serve the account has it. A refresh token that is refused
for good is `NeedsLogin`: only a person can give another one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, Literal, Protocol

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client

from ..errors import IngestError, NeedsLogin, Refused, Unavailable

Grant = Literal["refresh_token", "client_credentials"]

TIMEOUT = 20.0  # seconds, for each step of a request
LEEWAY = 60.0  # seconds that a token must still live to be used
LIFETIME = 300.0  # seconds, when the server does not say
ANSWER_BYTES = 256 * 1024  # of a token endpoint
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
BUSY = {"temporarily_unavailable", "server_error", "slow_down"}
GIVEN_UP = {"invalid_grant", "interaction_required", "consent_required", "login_required"}
_CODE = re.compile(r"[a-z_]{1,60}")


class Vault(Protocol):
    """Where the newest refresh token of an account is kept, for every daemon that may serve it."""

    def read(self) -> str | None:
        """The refresh token that was kept last, if any."""

    def keep(self, token: str, instead: str | None) -> None:
        """Keep *token*, which replaces *instead*; raise StoreUnavailable when that cannot be done now."""


@dataclass(frozen=True, slots=True)
class Client:
    """Us, as an authorization server knows us, and where to find it."""

    token_url: str
    client_id: str
    client_secret: Callable[[], str] | None = field(default=None, repr=False)
    grant: Grant = "refresh_token"
    refresh_token: Callable[[], str] | None = field(default=None, repr=False)  # to begin with
    scope: str = ""
    device_url: str | None = None  # RFC 8628
    authorize_url: str | None = None


class Tokens:
    """The access tokens of one account. Safe to use from several threads."""

    def __init__(self, account: str, client: Client, vault: Vault, clock: Callable[[], float] = monotonic) -> None:
        """Begin with the refresh token in *vault*, or else with the one that *client* came with."""
        self._account, self._client, self._vault, self._clock = account, client, vault, clock
        self._lock = Lock()
        self._token, self._good_until = "", float("-inf")
        self._unkept: tuple[str, str | None] | None = None  # a refresh token that the vault could not take yet

    def __call__(self) -> str:
        """An access token that is good for a while. Raises Unavailable, NeedsLogin or Refused; may take TIMEOUT."""
        with self._lock:
            self._keep()
            if self._clock() >= self._good_until:
                self._renew()
            return self._token

    def rejected(self, token: str) -> None:
        """The mail server did not take *token*: do not give it again."""
        with self._lock:
            if token == self._token:
                self._good_until = float("-inf")

    def _renew(self) -> None:
        with requesting(self._account, self._client) as session:
            if self._client.grant == "client_credentials":
                self._take(session.fetch_token(self._client.token_url, grant_type="client_credentials"))
            else:
                self._take(self._refreshed(session), self._last)

    def _refreshed(self, session: OAuth2Client) -> Mapping[str, Any]:
        self._last = self._refresh_token()
        try:
            return dict(session.refresh_token(self._client.token_url, refresh_token=self._last))
        except OAuthError as error:
            # Another daemon may have used it in the meantime, and have been given a new one for it.
            newer = self._vault.read() if error.error in GIVEN_UP else None
            if newer is None or newer == self._last:
                raise
            self._last = newer
            return dict(session.refresh_token(self._client.token_url, refresh_token=newer))

    def _refresh_token(self) -> str:
        if self._unkept:
            return self._unkept[0]
        token = self._vault.read() or (given() if (given := self._client.refresh_token) else None)
        if token is None:
            raise needs_login(self._account)
        return token

    def _take(self, answer: Mapping[str, Any], used: str | None = None) -> None:
        token, lifetime, refresh = answer.get("access_token"), answer.get("expires_in"), answer.get("refresh_token")
        if not isinstance(token, str) or not token:
            raise Unavailable(f"account {self._account}: the token endpoint gave no access token")
        seconds = float(lifetime) if isinstance(lifetime, int | float) and lifetime > 0 else LIFETIME
        self._token, self._good_until = token, self._clock() + max(seconds - LEEWAY, seconds / 2)
        if isinstance(refresh, str) and refresh and refresh != used and used is not None:
            self._unkept = (refresh, used)
            self._keep()

    def _keep(self) -> None:
        if self._unkept:
            self._vault.keep(*self._unkept)
            self._unkept = None


def needs_login(account: str) -> NeedsLogin:
    return NeedsLogin(f"account {account}: its login has ended or was never made; run: ingestd auth login {account}")


@contextmanager
def requesting(account: str, client: Client) -> Iterator[OAuth2Client]:
    """Give a session with the authorization server; what goes wrong becomes what to do about it.

    Its own words are not repeated, since they may name people; its error codes are.
    """
    secret = client.client_secret() if client.client_secret else None
    where = f"account {account}: {httpx2.URL(client.token_url).host}"
    session = OAuth2Client(
        client.client_id,
        secret,
        scope=client.scope or None,
        token_endpoint_auth_method="client_secret_post" if secret else "none",
        timeout=TIMEOUT,
        follow_redirects=False,
        transport=_Bounded(),
    )
    try:
        with session:
            yield session
    except OAuthError as error:
        raise _said_no(account, where, error.error) from None
    except httpx2.HTTPStatusError as error:
        raise Unavailable(f"{where}: answered HTTP {error.response.status_code}") from None
    except (httpx2.HTTPError, ValueError) as error:
        raise Unavailable(f"{where}: no token could be had ({type(error).__name__})") from None


def _said_no(account: str, where: str, code: object) -> IngestError:
    said = code if isinstance(code, str) and _CODE.fullmatch(code) else "an unknown error"
    if said in GIVEN_UP:
        return needs_login(account)
    if said in BUSY:
        return Unavailable(f"{where} is busy ({said})")
    return Refused(f"{where} gives no token ({said}); check account.oauth")


class _Bounded(httpx2.BaseTransport):
    """HTTP whose answers end at ANSWER_BYTES."""

    def __init__(self) -> None:
        self._plain = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = self._plain.handle_request(request)
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _Stream(response.stream)
        return response

    def close(self) -> None:
        self._plain.close()


class _Stream(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._stream:
            size += len(piece)
            if size > ANSWER_BYTES:
                raise ValueError("no token endpoint says that much")
            yield piece

    def close(self) -> None:
        self._stream.close()
