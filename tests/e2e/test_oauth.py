"""An account whose server takes no password, from the first login to a pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo.database import Database

from ingestd.demo.mailbox import messages
from tests.e2e.conftest import Document, Site, store_table
from tests.token_server import TokenServer, trusting

USER = "me"


@pytest.fixture
def issuer() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@pytest.fixture
def locked(issuer: TokenServer, mongodb_uri: str, database: Database[Document], tmp_path: Path) -> Iterator[Site]:
    """A site whose mail server wants a token."""
    with trusting(issuer, "xoauth2") as server:
        site = Site(tmp_path, server, USER)
        site.store = store_table(mongodb_uri, database, tmp_path)
        site.write(daemon='workers = 0\ntoken_key = { file = "key" }')
        password = 'password = { file = "secret" }\n'
        login = f"""[account.oauth]
client_id = "ingestd"
token_url = "{issuer.url("/token")}"
device_url = "{issuer.url("/device")}"
scope = "mail"
"""
        site.config.write_text(site.config.read_text().replace(password, "") + login)
        yield site


def test_a_person_logs_in_once_and_passes_go_on_without_one(locked: Site, issuer: TokenServer) -> None:
    (locked.directory / "key").touch(mode=0o600)
    (locked.directory / "key").write_text(locked.run("auth", "key").stdout)
    locked.deliver(messages(20))
    issuer.rotate = True

    before = locked.run("once")
    issuer.approved = USER
    login = locked.run("auth", "login", "work")
    first, second = locked.once(), locked.once()
    issuer.refresh_tokens.clear()
    after = locked.run("once", "--json")

    assert before.returncode == 1
    assert "ingestd: account work: its login has ended or was never made; run: ingestd auth login work" in before.stderr
    assert (login.returncode, "ABCD-EFGH" in login.stderr) == (0, True)
    assert first["stored"] > 0
    assert second["known_before"] == first["stored"] + first["copies"]
    assert after.returncode == 1
    assert "ingestd auth login work" in json.loads(after.stdout)["accounts"][0]["errors"][0]
    assert not [line for line in (before.stderr + after.stderr).splitlines() if "access-" in line or "refresh-" in line]
