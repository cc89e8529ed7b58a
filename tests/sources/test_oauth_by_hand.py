"""Logging in as a person, and where what that gives is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from ingestd.errors import NeedsLogin, Refused, Unavailable
from ingestd.sources.oauth import Client, Tokens
from ingestd.sources.oauth_login import await_device, begin_device, begin_page, finish_page
from ingestd.sources.vault import EncryptedVault, new_key

from ..token_server import Form, TokenServer


class Board:
    """A shelf in memory."""

    def __init__(self) -> None:
        self.content: bytes | None = None

    def read(self) -> bytes | None:
        return self.content

    def write(self, new: bytes) -> None:
        self.content = new


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@pytest.fixture
def client(server: TokenServer) -> Client:
    return Client(
        server.url("/token"),
        "ingestd",
        scope="mail",
        device_url=server.url("/device"),
        authorize_url="https://login.example.org/authorize",
    )


def test_a_code_that_somebody_types_gives_a_refresh_token(server: TokenServer, client: Client) -> None:
    device = begin_device("work", client)
    asked: list[float] = []

    def pause(seconds: float) -> None:
        asked.append(seconds)
        server.approved = "me" if len(asked) == 3 else None

    token = await_device("work", client, device, pause)

    assert (device.page, device.code) == ("https://example.org/device", "ABCD-EFGH")
    assert server.refresh_tokens[token] == "me"
    assert len(asked) == 3


def test_a_server_that_is_asked_too_often_is_asked_less(server: TokenServer, client: Client) -> None:
    waited: list[float] = []

    def token(form: Form) -> tuple[int, dict[str, str] | bytes]:
        if len(waited) < 2:
            return 400, {"error": "slow_down"}
        return 200, {"access_token": "a", "refresh_token": "r"}

    server.answers["/token"] = token

    assert await_device("work", client, begin_device("work", client), waited.append) == "r"
    assert waited == [0, 5]


@pytest.mark.parametrize(
    ("said", "kind"), [("access_denied", Refused), ("expired_token", Refused), ("invalid_grant", NeedsLogin)]
)
def test_whoever_says_no_is_believed(server: TokenServer, client: Client, said: str, kind: type[Exception]) -> None:
    server.answers["/token"] = lambda form: (400, {"error": said})

    with pytest.raises(kind):
        await_device("work", client, begin_device("work", client), lambda seconds: None)


def test_nobody_is_waited_for_for_ever(server: TokenServer, client: Client) -> None:
    device = replace(begin_device("work", client), lifetime=0.0)

    with pytest.raises(Refused, match="in time"):
        await_device("work", client, device, lambda seconds: None)


@pytest.mark.parametrize("said", [{}, {"device_code": "x"}, {"error": "unauthorized_client"}])
def test_an_answer_without_a_code_is_said(server: TokenServer, client: Client, said: dict[str, str]) -> None:
    server.answers["/device"] = lambda form: (200, said)

    with pytest.raises((Unavailable, Refused)):
        begin_device("work", client)


def test_the_address_that_a_page_ends_at_gives_a_refresh_token(server: TokenServer, client: Client) -> None:
    server.answers["/token"] = lambda form: (200, {"access_token": "a", "refresh_token": "r"})
    page = begin_page("work", client)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}

    token = finish_page("work", client, page, f"http://127.0.0.1:1/?state={page.state}&code=xyz\n")

    assert token == "r"
    assert asked["code_challenge_method"] == "S256"
    assert page.verifier not in page.url
    assert server.asked[-1]["code_verifier"] == page.verifier
    assert server.asked[-1]["code"] == "xyz"


@pytest.mark.parametrize("pasted", ["", "http://127.0.0.1:1/?state=other&code=xyz", "https://example.org/"])
def test_another_address_is_refused(server: TokenServer, client: Client, pasted: str) -> None:
    with pytest.raises(Refused, match="copy all of it"):
        finish_page("work", client, begin_page("work", client), pasted)
    assert not server.asked


# --- the vault


def test_what_is_kept_can_be_read_with_the_key_alone() -> None:
    board, key = Board(), new_key()
    EncryptedVault("work", board, lambda: key).keep("secret token", None)

    assert EncryptedVault("work", board, lambda: key).read() == "secret token"
    assert b"secret" not in (board.content or b"")
    with pytest.raises(Refused, match="another key"):
        EncryptedVault("work", board, new_key).read()


def test_without_a_key_nothing_is_kept() -> None:
    board = Board()

    assert EncryptedVault("work", board).read() is None
    with pytest.raises(Refused, match=r"daemon\.token_key"):
        EncryptedVault("work", board).keep("token", None)
    with pytest.raises(Refused, match="ingestd auth key"):
        EncryptedVault("work", board, lambda: "no key").keep("token", None)


def test_what_a_person_logged_in_with_serves_a_daemon(server: TokenServer, client: Client) -> None:
    server.approved, server.rotate = "me", True
    board, key = Board(), new_key()
    vault = EncryptedVault("work", board, lambda: key)
    vault.keep(await_device("work", client, begin_device("work", client), lambda seconds: None), None)

    first = Tokens("work", client, vault)()
    second = Tokens("work", client, EncryptedVault("work", board, lambda: key))()

    assert server.users[first] == server.users[second] == "me"
