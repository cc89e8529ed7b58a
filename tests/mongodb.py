"""Databases for tests: a real wire server, mongomock, or one after the other.

The server is the one that `INGESTD_TEST_MONGODB_URI` names, else an embedded one, held for the whole session. Whatever
it is, every command sent to it is held against the rules of `mongodb_commands`.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from typing import Any, NoReturn
from uuid import uuid4

import mongomock
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from ingestd.store.embedded import embedded
from tests import mongomock_shim
from tests.mongodb_commands import CommandRules

Document = dict[str, Any]

OPTIONS: dict[str, Any] = {"tz_aware": True, "w": "majority", "journal": True, "heartbeatFrequencyMS": 500}


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a server that speaks MongoDB's wire protocol, alive for the whole session."""
    named = os.environ.get("INGESTD_TEST_MONGODB_URI")
    if named:
        yield named
    elif importlib.util.find_spec("secantus"):
        # Held rather than started here: however this process ends, the server does not outlive it.
        with embedded(tmp_path_factory.mktemp("mongodb") / "store", allow_embedded=True) as uri:
            yield uri.replace("/ingestd?", "/?")
    else:
        missing_server("no MongoDB: set INGESTD_TEST_MONGODB_URI or pip install 'ingestd[embedded]'")


@pytest.fixture
def command_rules() -> Iterator[CommandRules]:
    """The listener for clients that a test opens itself; the test fails when a command it heard left the rules."""
    rules = CommandRules()
    yield rules
    rules.check()


@pytest.fixture
def database(mongodb_uri: str, command_rules: CommandRules) -> Iterator[Database[Document]]:
    """A fresh database on the wire server, dropped after the test."""
    client: MongoClient[Document] = MongoClient(mongodb_uri, event_listeners=[command_rules], **OPTIONS)
    name = f"test_{uuid4().hex[:16]}"
    try:
        yield client[name]
    finally:
        client.drop_database(name)
        client.close()


@pytest.fixture
def mock_database() -> Database[Document]:
    """A fresh database of mongomock: fast, and no proof of anything that a server decides."""
    mongomock_shim.install()
    client: Any = mongomock.MongoClient(tz_aware=True)
    return client["test"]  # type: ignore[no-any-return]  # as good as one of pymongo's, as far as mongomock goes


@pytest.fixture(params=["mongomock", "wire"])
def any_database(request: pytest.FixtureRequest) -> Database[Document]:
    """The same test on both."""
    fixture = "mock_database" if request.param == "mongomock" else "database"
    return request.getfixturevalue(fixture)  # type: ignore[no-any-return]  # what a fixture gives, pytest cannot say


def need_embedded() -> None:
    """Go on only where there is a server of ours to kill. It is looked for, not imported: others test its absence."""
    if not importlib.util.find_spec("secantus"):
        missing_server("no embedded store: pip install 'ingestd[embedded]'")


def missing_server(reason: str) -> NoReturn:
    """Skip on a laptop, fail where everything should be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
