"""The stores to measure with: the one that INGESTD_BENCH_MONGODB_URI names, else an embedded one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pymongo import MongoClient

from ingestd.store.embedded import embedded

NAMED = "INGESTD_BENCH_MONGODB_URI"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@contextmanager
def store(directory: Path) -> Iterator[str]:
    """Give the URI of a store until the block ends; an embedded one lies in *directory*."""
    if given := os.environ.get(NAMED):
        yield given
        return
    with embedded(directory, allow_embedded=True) as uri:
        yield uri


@contextmanager
def client(uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](uri, tz_aware=True) as made:
        yield made


def port(uri: str) -> int:
    """Where the server listens, or, of several, the one that takes writes."""
    return _address(uri)[1]


def local_port(uri: str) -> int | None:
    """The same, if that is on this machine."""
    host, port = _address(uri)
    return port if host in LOOPBACK else None


def is_plain(uri: str) -> bool:
    """Whether what is said to the server can be listened to on the way."""
    options = {name.lower(): value for name, value in parse_qsl(urlsplit(uri).query)}
    return not uri.startswith("mongodb+srv") and "true" not in (options.get("tls"), options.get("ssl"))


def _address(uri: str) -> tuple[str, int]:
    with client(uri) as made:
        made.admin.command("ping")
        assert made.address is not None
        return made.address


def described(uri: str) -> str:
    """Which store it is, for whoever reads the figures."""
    with client(uri) as made:
        version = made.server_info().get("version")
    which = f"given by {NAMED}" if NAMED in os.environ else "embedded (SecantusDB)"
    return f"{which}, says that it is MongoDB {version}"
