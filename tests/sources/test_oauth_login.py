"""Logging in with an access token, at a Dovecot that asks an authorization server about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ingestd.demo.dovecot import Dovecot
from ingestd.errors import NeedsLogin, Refused
from ingestd.sources.imap import ImapAccount
from ingestd.sources.oauth import Client, Tokens
from ingestd.sources.pop3_login import log_in
from ingestd.sources.server import Server
from ingestd.sources.wire import Switch

from ..token_server import TokenServer, trusting

USER = "me"


class NoVault:
    def read(self) -> str | None:
        return None

    def keep(self, token: str, instead: str | None) -> None:
        raise AssertionError("no token was replaced")


@pytest.fixture(scope="module")
def issuer() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@pytest.fixture(scope="module", params=["xoauth2", "oauthbearer"])
def mail(request: pytest.FixtureRequest, issuer: TokenServer) -> Iterator[Dovecot]:
    with trusting(issuer, request.param) as server:
        yield server


@pytest.fixture
def tokens(issuer: TokenServer) -> Tokens:
    issuer.users.clear()
    issuer.refresh_tokens = {"first": USER}
    issuer.asked.clear()
    return Tokens("work", Client(issuer.url("/token"), "ingestd", refresh_token=lambda: "first"), NoVault())


Protocol = Callable[[Dovecot, Tokens], None]


def by_imap(mail: Dovecot, tokens: Tokens) -> None:
    server = Server("localhost", mail.imaps_port, "implicit", USER, tokens, mail.ca_file, rejected=tokens.rejected)
    with ImapAccount("work", server) as account:
        assert account.mailboxes(["INBOX"]) == ["INBOX"]


def by_pop3(mail: Dovecot, tokens: Tokens) -> None:
    server = Server(
        "localhost",
        mail.pop3s_port,
        "implicit",
        USER,
        tokens,
        mail.ca_file,
        table="account.pop3",
        rejected=tokens.rejected,
    )
    session, _ = log_in("work", server, Switch())
    try:
        assert session.ask(b"STAT").ok
    finally:
        session.close()


PROTOCOLS = pytest.mark.parametrize("enter", [by_imap, by_pop3])


@PROTOCOLS
def test_a_good_token_lets_in(mail: Dovecot, tokens: Tokens, enter: Protocol) -> None:
    enter(mail, tokens)


@PROTOCOLS
def test_a_token_that_ended_early_is_replaced_at_once(
    mail: Dovecot, tokens: Tokens, issuer: TokenServer, enter: Protocol
) -> None:
    ended = tokens()
    del issuer.users[ended]

    enter(mail, tokens)

    assert tokens() != ended


@PROTOCOLS
def test_a_long_token_lets_in_too(mail: Dovecot, tokens: Tokens, issuer: TokenServer, enter: Protocol) -> None:
    issuer.users["t" * 2000] = USER
    issuer.answers["/token"] = lambda form: (200, {"access_token": "t" * 2000, "expires_in": 3600})
    try:
        enter(mail, tokens)
    finally:
        issuer.answers["/token"] = issuer.token


@PROTOCOLS
def test_a_token_that_is_never_taken_is_refused_after_one_more(
    mail: Dovecot, tokens: Tokens, issuer: TokenServer, enter: Protocol
) -> None:
    issuer.answers["/introspect"] = lambda form: (200, {"active": False})
    try:
        with pytest.raises(Refused, match=r"login refused by localhost.*account\.oauth\.scope"):
            enter(mail, tokens)
    finally:
        issuer.answers["/introspect"] = issuer.introspect

    assert len([form for form in issuer.asked if form.get("grant_type")]) == 2


@PROTOCOLS
def test_a_login_that_was_revoked_needs_a_person(
    mail: Dovecot, tokens: Tokens, issuer: TokenServer, enter: Protocol
) -> None:
    tokens()
    issuer.users.clear()
    issuer.refresh_tokens.clear()

    with pytest.raises(NeedsLogin, match="ingestd auth login work"):
        enter(mail, tokens)
