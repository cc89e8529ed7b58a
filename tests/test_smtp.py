"""Messages handed to a real mail server, over TLS, by every way to log in."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from ingestd import smtp
from ingestd.errors import IngestError, Refused, Unavailable
from ingestd.postman import trial
from ingestd.smtp import send
from ingestd.sources.oauth import Client, Tokens
from ingestd.sources.server import Server

from .smtp_server import USER, SmtpServer
from .token_server import TokenServer

BEARERS = ("OAUTHBEARER", "XOAUTH2")


def mail() -> EmailMessage:
    message = trial(datetime.now(UTC))
    message["From"], message["To"] = USER, "ops@example.org"
    return message


def why_not(server: Server) -> IngestError:
    with pytest.raises(IngestError) as raised:
        send(server, mail(), ["ops@example.org"])
    return raised.value


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_message_is_handed_over_encrypted_after_a_login(tmp_path: Path, tls: Any, mechanism: str) -> None:
    without = {"PLAIN", "LOGIN", *BEARERS} - {mechanism}
    with SmtpServer(tmp_path, tls, without=tuple(without)) as server:
        send(server.server(), mail(), ["ops@example.org"])

    (message,) = server.messages
    assert message["Subject"] == "ingestd: a test of its alerts"
    assert server.logins == [mechanism]


class Shelf:
    """Keeps a refresh token in memory."""

    def read(self) -> str | None:
        return None

    def keep(self, token: str, instead: str | None) -> None: ...


@pytest.fixture
def issuer() -> Iterator[TokenServer]:
    with TokenServer() as server:
        server.refresh_tokens["first"] = USER
        yield server


def with_tokens(server: SmtpServer, issuer: TokenServer) -> Server:
    tokens = Tokens("alerts", Client(issuer.url("/token"), "us", refresh_token=lambda: "first"), Shelf())
    return Server("localhost", server.port, server.tls, USER, tokens, server.ca_file, rejected=tokens.rejected)


@pytest.mark.parametrize("mechanism", BEARERS)
def test_an_access_token_lets_us_in(tmp_path: Path, issuer: TokenServer, mechanism: str) -> None:
    without = tuple({"PLAIN", "LOGIN", *BEARERS} - {mechanism})
    with SmtpServer(tmp_path, "starttls", without=without, knows=issuer.users.__contains__) as server:
        send(with_tokens(server, issuer), mail(), ["ops@example.org"])

    assert server.logins == [mechanism]
    assert len(server.messages) == 1


@pytest.mark.parametrize("mechanism", BEARERS)
def test_an_access_token_that_ended_early_is_replaced_by_a_fresh_one(
    tmp_path: Path, issuer: TokenServer, mechanism: str
) -> None:
    without = tuple({"PLAIN", "LOGIN", *BEARERS} - {mechanism})
    with SmtpServer(tmp_path, without=without, knows=issuer.users.__contains__) as server:
        reached = with_tokens(server, issuer)
        reached.password()
        issuer.users.clear()
        send(reached, mail(), ["ops@example.org"])

    assert len(server.messages) == 1


def test_a_token_that_nobody_takes_is_refused_and_not_shown(tmp_path: Path, issuer: TokenServer) -> None:
    with SmtpServer(tmp_path, without=("PLAIN", "LOGIN")) as server:
        error = why_not(with_tokens(server, issuer))

    assert isinstance(error, Refused)
    assert "login refused by localhost (535)" in str(error)
    assert "access-" not in str(error)


def test_a_wrong_password_is_refused_and_not_shown(tmp_path: Path) -> None:
    with SmtpServer(tmp_path) as server:
        error = why_not(server.server("not this one", password_from=" in file /etc/ingestd/smtp.secret"))

    assert isinstance(error, Refused)
    said = "alerts: login refused by localhost (535); check the password in file /etc/ingestd/smtp.secret"
    assert str(error) == said


def test_a_server_on_this_machine_may_take_mail_without_a_login(tmp_path: Path) -> None:
    with SmtpServer(tmp_path, "none") as server:
        send(server.server(), mail(), ["ops@example.org"])

    assert len(server.messages) == 1


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_a_server_that_nobody_vouches_for_is_told_nothing(tmp_path: Path, tls: Any) -> None:
    with SmtpServer(tmp_path, tls) as server:
        error = why_not(Server("localhost", server.port, tls, USER, lambda: pytest.fail("asked"), table="alerts"))

    assert isinstance(error, Refused)
    assert "signed by an unknown authority; if that is your own, name its file in alerts.ca_file" in str(error)


def test_a_server_that_hides_starttls_is_told_nothing(tmp_path: Path) -> None:
    with SmtpServer(tmp_path, "none") as server:
        error = why_not(Server("localhost", server.port, "starttls", USER, lambda: pytest.fail("asked")))

    assert isinstance(error, Refused)
    assert "does not offer STARTTLS, so nothing was sent" in str(error)


@pytest.mark.parametrize(("answer", "kind"), [("451 not now", Unavailable), ("554 never", Refused)])
def test_an_answer_is_sorted_by_its_number(tmp_path: Path, answer: str, kind: type[IngestError]) -> None:
    with SmtpServer(tmp_path) as server:
        server.answer = f"{answer}, says ann@example.org"
        error = why_not(server.server())

    assert type(error) is kind
    assert answer[:3] in str(error)
    assert "ann@example.org" not in str(error)


def test_a_server_that_is_away_or_silent_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        error = why_not(Server("127.0.0.1", port, "starttls", USER, lambda: "x", timeout=0.2))
    away = why_not(Server("127.0.0.1", port, "starttls", USER, lambda: "x", timeout=0.2))

    assert type(error) is type(away) is Unavailable


def test_a_server_that_drips_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dripping = Thread(target=_drip, args=(listener,))
        dripping.start()
        error = why_not(Server("127.0.0.1", listener.getsockname()[1], "starttls", USER, lambda: "x", timeout=5))
        dripping.join()

    assert type(error) is Unavailable


def _drip(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        try:
            while True:
                connection.sendall(b"2")
                connection.settimeout(0.02)
                try:
                    if not connection.recv(10):
                        return
                except TimeoutError:
                    continue
        except OSError:
            return
