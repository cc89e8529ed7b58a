"""An OAuth 2 authorization server on loopback: a token endpoint, a device endpoint, and what Dovecot asks of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from ingestd.demo.dovecot import Dovecot

from .dovecot import private_dovecot

PASSDB = """
auth_mechanisms = plain {mechanism}
passdb {{
  driver = oauth2
  mechanisms = {mechanism}
  args = {file}
}}
"""
ASKING = """
introspection_mode = post
introspection_url = {url}
username_attribute = email
active_attribute = active
active_value = true
"""

Form = dict[str, str]
Answer = tuple[int, dict[str, Any] | bytes]


class TokenServer:
    """Gives access tokens for refresh tokens. A test may replace the answer of a path."""

    def __init__(self) -> None:
        self.users: dict[str, str] = {}  # access token -> the user whom it lets in; a revoked one is not there
        self.refresh_tokens: dict[str, str] = {}  # refresh token -> user
        self.rotate = False
        self.expires_in = 3600
        self.asked: list[Form] = []
        self.answers: dict[str, Callable[[Form], Answer]] = {
            "/token": self.token,
            "/device": self.device,
            "/introspect": self.introspect,
        }
        self.approved: str | None = None  # the user who typed the device's code
        self._count = 0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._http.server_port}{path}"

    def issue(self, user: str) -> dict[str, Any]:
        self._count += 1
        token = f"access-{self._count}"
        self.users[token] = user
        return {"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in}

    def token(self, form: Form) -> Answer:
        match form["grant_type"]:
            case "client_credentials":
                return 200, self.issue(form.get("client_id", ""))
            case "refresh_token":
                return self._refresh(form["refresh_token"])
            case _:
                if self.approved is None:
                    return 400, {"error": "authorization_pending"}
                return 200, {**self.issue(self.approved), "refresh_token": self._refresh_token(self.approved)}

    def device(self, form: Form) -> Answer:
        return 200, {
            "device_code": "device",
            "user_code": "ABCD-EFGH",
            "verification_uri": "https://example.org/device",
            "expires_in": 60,
            "interval": 0,
        }

    def introspect(self, form: Form) -> Answer:
        """For Dovecot: whose token it is."""
        user = self.users.get(form.get("token", ""))
        return 200, {"active": True, "email": user} if user else {"active": False}

    def _refresh(self, used: str) -> Answer:
        user = self.refresh_tokens.get(used)
        if user is None:
            return 400, {"error": "invalid_grant", "error_description": "no token of somebody@example.org"}
        if not self.rotate:
            return 200, self.issue(user)
        del self.refresh_tokens[used]
        return 200, {**self.issue(user), "refresh_token": self._refresh_token(user)}

    def _refresh_token(self, user: str) -> str:
        self._count += 1
        self.refresh_tokens[f"refresh-{self._count}"] = user
        return f"refresh-{self._count}"


def _handler(server: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(_form(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()))

        def _answer(self, form: Form) -> None:
            url = urlsplit(self.path)
            form |= _form(url.query)
            server.asked.append(form)
            status, said = server.answers[url.path](form)
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    return Handler


def _form(text: str) -> Form:
    return {name: values[0] for name, values in parse_qs(text).items()}


@contextmanager
def trusting(issuer: TokenServer, mechanism: str) -> Iterator[Dovecot]:
    """Run a Dovecot that lets in whoever has a token of *issuer*."""
    with NamedTemporaryFile("w", prefix="ingestd-", suffix=".conf") as file:
        file.write(ASKING.format(url=issuer.url("/introspect")))
        file.flush()
        Path(file.name).chmod(0o644)  # for the unprivileged user that Dovecot becomes
        with private_dovecot(more=PASSDB.format(mechanism=mechanism, file=file.name)) as server:
            yield server
