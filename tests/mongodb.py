"""Databases for tests: a real wire server, mongomock, or one after the other.

The server is the one that `INGESTD_TEST_MONGODB_URI` names, else SecantusDB, started once for the session. Whatever it
is, every command sent to it is held against the rules of `mongodb_commands`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import mongomock
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from tests import mongomock_shim
from tests.mongodb_commands import CommandRules

Document = dict[str, Any]

OPTIONS: dict[str, Any] = {"tz_aware": True, "w": "majority", "journal": True, "heartbeatFrequencyMS": 500}
START_SECONDS = 30


@pytest.fixture(scope="session")
def mongodb_uri() -> Iterator[str]:
    """The URI of a server that speaks MongoDB's wire protocol, alive for the whole session."""
    named = os.environ.get("INGESTD_TEST_MONGODB_URI")
    if named:
        yield named
    elif importlib.util.find_spec("secantus"):
        with _secantus() as uri:
            yield uri
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


def missing_server(reason: str) -> NoReturn:
    """Skip on a laptop, fail where everything should be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def _secantus() -> Iterator[str]:
    root = Path(tempfile.mkdtemp(prefix="ingestd-mongodb-"))
    port = _free_port()
    arguments = ["--config", root / "empty.toml", "--host", "127.0.0.1", "--port", port, "--cache-size", "128M"]
    (root / "empty.toml").touch()
    with (root / "log").open("wb") as log:
        command = [sys.executable, "-m", "secantus", *map(str, arguments), "--storage-path", str(root / "data")]
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(port, server)
        yield f"mongodb://127.0.0.1:{port}/"
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(root)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the MongoDB wire server for the tests did not start")
