"""A mail server that takes messages, over TLS and after a login, and remembers them."""

from __future__ import annotations

import ssl
from base64 import b64decode
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from socket import create_server
from types import TracebackType
from typing import Any, Literal, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from ingestd.demo.certificates import make_certificates
from ingestd.sources.server import Server

USER, PASSWORD = "ingestd@example.org", "sesam öffne"


class SmtpServer:
    """Lets in USER with PASSWORD, and whoever has a token that *knows* says is good."""

    def __init__(
        self,
        directory: Path,
        tls: Literal["implicit", "starttls", "none"] = "implicit",
        *,
        without: tuple[str, ...] = (),
        knows: Callable[[str], bool] = lambda token: False,
    ) -> None:
        make_certificates(directory)
        self.ca_file, self.tls, self.knows = directory / "ca.pem", tls, knows
        self.messages: list[EmailMessage] = []
        self.logins: list[str] = []  # mechanisms
        self.answer = "250 taken"  # to a message
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(directory / "server.pem", directory / "server.key")
        with create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        options: dict[str, Any] = {"ssl_context": context} if tls == "implicit" else {}
        options |= {"tls_context": context, "require_starttls": True} if tls == "starttls" else {}
        self._controller = Controller(
            self,
            "127.0.0.1",
            self.port,
            authenticator=self._authenticate,
            auth_required=tls == "starttls",
            auth_require_tls=tls == "starttls",
            auth_exclude_mechanism=without,
            **options,
        )

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._controller.stop()

    def server(self, password: str = PASSWORD, **more: Any) -> Server:
        """How to reach it."""
        user = "" if self.tls == "none" else USER
        return Server("localhost", self.port, self.tls, user, lambda: password, self.ca_file, table="alerts", **more)

    # --- what aiosmtpd asks

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802 - so it is called there
        if self.answer.startswith("250"):
            self.messages.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return self.answer

    def _authenticate(self, server: SMTP, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        good = (given.login.decode(), given.password.decode()) == (USER, PASSWORD)
        return self._result(mechanism, good)

    async def auth_XOAUTH2(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802 - the same
        return await self._bearer(server, "XOAUTH2", args)

    async def auth_OAUTHBEARER(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802 - the same
        return await self._bearer(server, "OAUTHBEARER", args)

    async def _bearer(self, server: SMTP, mechanism: str, args: list[str]) -> AuthResult:
        words = b64decode(args[1]).decode()
        good = USER in words and self.knows(words.partition("auth=Bearer ")[2].rstrip("\1"))
        if not good:
            await server.challenge_auth(b'{"status":"401"}')
        return self._result(mechanism, good)

    def _result(self, mechanism: str, good: bool) -> AuthResult:
        if good:
            self.logins.append(mechanism)
        return AuthResult(success=good, handled=False)
