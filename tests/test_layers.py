"""The architecture as a test: who may import whom, and which third-party package lives where."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ingestd

ROOT = Path(ingestd.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

# From the bottom up; a station may import what stands below it.
LAYERS = (
    {"throttle"},
    {"errors", "uidset", "raw", "units", "systemd", "steps", "pulse", "breaker", "quiet", "cron", "nursery", "signals"},
    {"message", "caps", "budget"},
    {"config_file", "config_edit"},
    {"config_values"},
    {"config_tables"},
    {"mime", "spool", "config", "logs"},
    {"sources", "store"},
    {"candidates", "flags", "reconcile", "acknowledge"},
    {"ingest"},
    {"maildrop"},
    {"pool", "watcher", "scheduler", "summary", "shares", "governor", "connections", "abreast"},
    {"access", "smtp", "alerts", "metrics"},
    {"workers"},
    {"archive", "visit", "holding", "chores"},
    {"maildrop_visit", "fallback"},
    {"push", "reload"},
    {"daemon"},
    {"postman"},
    {"service", "once", "check", "audit"},
    {"demo"},
    {"cli"},
    {"__main__"},
)
RANK = {station: rank for rank, layer in enumerate(LAYERS) for station in layer}

HOMES = {
    "imapclient": {"sources", "demo"},  # the demo delivers mail to the server it plays
    "imaplib": {"sources"},
    "authlib": {"sources"},
    "httpx2": {"sources"},
    "dns": {"sources"},
    "cryptography": {"sources", "archive"},  # OAuth 2; signatures of anchors
    "pymongo": {"store", "archive"},
    "bson": {"store", "archive"},
    "mailparser": {"mime"},
    "charset_normalizer": {"mime"},
    "pybase64": {"mime"},
    "apscheduler": {"scheduler", "cron"},
    "prometheus_client": {"metrics"},
    "pydantic": {"config", "config_file", "config_tables", "config_values"},
    "typer": {"cli"},
    "rich": {"cli"},
}
# These may name pymongo's Database in a signature.
TYPES_ONLY = {"access", "alerts", "governor", "postman", "workers", "chores", "daemon", "visit", "maildrop_visit"}
TYPES_ONLY |= {"fallback", "check", "audit", "demo", "cli"}


def imported(path: Path) -> Iterator[str]:
    """Yield absolute names; those of our own package begin with "ingestd."."""
    package = ("ingestd", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(package[: len(package) - node.level + 1])
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (f"{base}.{name}" for name in names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def station(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    here = station(path)
    if here == "__init__":
        return
    for name in imported(path):
        if name.startswith("ingestd."):
            there = name.split(".")[1]
            assert there == here or RANK[there] < RANK[here], name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_third_party_package_lives_in_its_home(path: Path) -> None:
    for name in imported(path):
        allowed = HOMES.get(name.split(".")[0])
        if allowed and not (name == "pymongo.database" and station(path) in TYPES_ONLY):
            assert station(path) in allowed, name


def test_mail_parser_is_used_by_the_header_engine_alone() -> None:
    users = [path.name for path in MODULES if "mailparser" in {name.split(".")[0] for name in imported(path)}]

    assert users == ["headers.py"]


def test_sources_and_store_do_not_know_each_other() -> None:
    for path in MODULES:
        for name in imported(path):
            assert not (station(path) == "sources" and name.startswith("ingestd.store"))
            assert not (station(path) == "store" and name.startswith("ingestd.sources"))


def test_the_reading_side_needs_no_mail_server() -> None:
    for path in (ROOT / "archive").glob("*.py"):
        for name in imported(path):
            assert not name.startswith(("ingestd.sources", "ingestd.ingest", "ingestd.daemon", "ingestd.config")), name
