"""Access tokens are had when they are needed, and what goes wrong says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ingestd.errors import IngestError, NeedsLogin, Refused, StoreUnavailable, Unavailable
from ingestd.sources.oauth import Client, Tokens

from ..token_server import Answer, TokenServer


class Memory:
    """A vault that may be out of reach."""

    def __init__(self) -> None:
        self.token: str | None = None
        self.away = False

    def read(self) -> str | None:
        return self.token

    def keep(self, token: str, instead: str | None) -> None:
        if self.away:
            raise StoreUnavailable("store: away")
        self.token = token


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        server.refresh_tokens["first"] = "me"
        yield server


def client(server: TokenServer) -> Client:
    return Client(server.url("/token"), "ingestd", lambda: "client-secret", refresh_token=lambda: "first", scope="mail")


def tokens(server: TokenServer, vault: Memory | None = None) -> Tokens:
    return Tokens("work", client(server), vault or Memory())


def test_a_token_is_kept_until_shortly_before_it_expires(server: TokenServer) -> None:
    now = 1000.0
    ours = Tokens("work", client(server), Memory(), lambda: now)

    assert ours() == "access-1"
    now += server.expires_in - 61
    assert ours() == "access-1"
    now += 2
    assert ours() == "access-2"


def test_a_token_that_was_not_taken_is_not_given_again(server: TokenServer) -> None:
    ours = tokens(server)
    first = ours()

    ours.rejected("another one")
    assert ours() == first

    ours.rejected(first)
    assert ours() == "access-2"


def test_the_client_may_be_its_own_grant(server: TokenServer) -> None:
    ours = Tokens("work", replace(client(server), grant="client_credentials"), Memory())

    assert ours() == "access-1"
    assert server.asked[0] == {
        "grant_type": "client_credentials",
        "client_id": "ingestd",
        "client_secret": "client-secret",
        "scope": "mail",
    }


def test_a_new_refresh_token_is_kept_for_all_daemons(server: TokenServer) -> None:
    server.rotate, vault = True, Memory()

    tokens(server, vault)()

    assert vault.token is not None
    assert tokens(server, vault)()  # the first one is worth nothing any more


def test_a_new_refresh_token_outlives_a_store_that_is_away(server: TokenServer) -> None:
    server.rotate, vault = True, Memory()
    ours = tokens(server, vault)
    vault.away = True

    with pytest.raises(StoreUnavailable):
        ours()
    vault.away = False

    assert ours()
    assert vault.token in server.refresh_tokens


def test_what_another_daemon_was_given_meanwhile_is_used(server: TokenServer) -> None:
    server.rotate, vault = True, Memory()
    vault.token = "first"
    ours, theirs = tokens(server, vault), tokens(server, vault)
    stale = _Stale(vault)
    theirs()

    assert Tokens("work", client(server), stale)()
    assert ours()


class _Stale(Memory):
    """Gives what was kept before, the first time."""

    def __init__(self, vault: Memory) -> None:
        super().__init__()
        self._vault, self._reads = vault, 0

    def read(self) -> str | None:
        self._reads += 1
        return "first" if self._reads == 1 else self._vault.read()

    def keep(self, token: str, instead: str | None) -> None:
        self._vault.keep(token, instead)


def test_a_refresh_token_that_is_no_good_needs_a_person(server: TokenServer) -> None:
    server.refresh_tokens.clear()

    with pytest.raises(NeedsLogin) as caught:
        tokens(server)()

    assert str(caught.value) == ("account work: its login has ended or was never made; run: ingestd auth login work")


def test_without_any_refresh_token_a_person_is_needed(server: TokenServer) -> None:
    with pytest.raises(NeedsLogin):
        Tokens("work", replace(client(server), refresh_token=None), Memory())()
    assert not server.asked


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ((401, {"error": "invalid_client"}), Refused, "(invalid_client); check account.oauth"),
        ((400, {"error": "me@example.org is unknown"}), Refused, "(an unknown error); check account.oauth"),
        ((400, {"error": "temporarily_unavailable"}), Unavailable, "is busy"),
        ((503, b"<html>me@example.org</html>"), Unavailable, "HTTP 503"),
        ((429, b"slow down"), Unavailable, "HTTP 429"),
        ((200, b"[]"), Unavailable, "no token could be had"),
        ((200, {"token_type": "Bearer"}), Unavailable, "gave no access token"),
        ((200, b" " * 300_000), Unavailable, "no token could be had"),
        ((302, {}), Unavailable, ""),
    ],
)
def test_other_answers_are_sorted_and_not_repeated(
    server: TokenServer, answer: Answer, kind: type[IngestError], said: str
) -> None:
    server.answers["/token"] = lambda form: answer

    with pytest.raises(IngestError) as caught:
        tokens(server)()

    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert "example.org" not in str(caught.value)


def test_a_server_that_is_not_there_is_waited_for() -> None:
    gone = Client("http://127.0.0.1:1/token", "ingestd", refresh_token=lambda: "first")

    with pytest.raises(Unavailable, match=r"127\.0\.0\.1: no token could be had"):
        Tokens("work", gone, Memory())()
