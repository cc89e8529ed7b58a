"""The configuration as a whole.

`load` reads the file and returns a `Config`, or raises a `ConfigError` that names every mistake with its mend. What may
be written stands in `config_tables.py`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from .budget import Budget, TooLittle
from .config_file import ConfigError, Written, find, included, mistakes, read, unknown
from .config_tables import Account, Alerts, Daemon, Imap, Limits, OAuth, Pop3, Secret, Store, Table

__all__ = [
    "Account",
    "Alerts",
    "Config",
    "ConfigError",
    "Daemon",
    "Imap",
    "Limits",
    "OAuth",
    "Pop3",
    "Secret",
    "Store",
    "load",
    "store_alone",
]

STORE_PASSWORD = "INGESTD_STORE_PASSWORD"  # noqa: S105 - the name of a variable
TABLES = ("include", "store", "daemon", "alerts", "account")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything an operator decided. There is at least one account, and their names are distinct.

    But there is none where only a store was named.
    """

    file: Path
    store: Store
    daemon: Daemon
    accounts: tuple[Account, ...]
    alerts: Alerts | None = None

    def budget(self, workers: int | None = None) -> Budget:
        """How `memory_limit` is divided, with *workers* if there are to be others than configured."""
        daemon = self.daemon
        count = daemon.workers if workers is None else workers
        beside = [account.fetch_connections - 1 for account in self.accounts]
        return Budget.of(daemon.memory_limit, count, daemon.spool_memory, len(self.accounts), beside)


def load(path: Path | None = None) -> Config:
    """Read the configuration at *path*, or at the first of the usual places; raise ConfigError for any mistake."""
    file = find(path)
    tables = read(file)
    lines = [f"{file}: {key}: {unknown(key, TABLES)}" for key in tables if key not in TABLES]
    store = _checked(Store, "store", Written(file, tables.get("store", {})), lines)
    daemon = _checked(Daemon, "daemon", Written(file, tables.get("daemon", {})), lines)
    alerts = _checked(Alerts, "alerts", Written(file, tables["alerts"]), lines) if "alerts" in tables else None
    written = list(_accounts(file, tables))
    accounts = tuple(filter(None, [_checked(Account, "account", table, lines) for table in written]))
    lines += _none_or_twice(file, written)
    if lines or store is None or daemon is None:
        raise ConfigError.of(lines)
    config = Config(file, store, daemon, accounts, alerts)
    try:
        config.budget()
    except TooLittle as error:
        raise ConfigError(f"{file}: [daemon] memory_limit: {error}") from error
    return config


def store_alone(uri: str) -> Config:
    """A configuration of a store and nothing else, for what needs no accounts; raise ConfigError for a *uri* amiss.

    A password, if one is asked for, is in $INGESTD_STORE_PASSWORD.
    """
    lines: list[str] = []
    secret = {"password": {"env": STORE_PASSWORD}} if STORE_PASSWORD in os.environ else {}
    store = _checked(Store, "store", Written(Path("--store"), {"uri": uri, **secret}), lines)
    if store is None:
        raise ConfigError.of(lines)
    return Config(Path("--store"), store, Daemon(), ())


# --- from what was written to tables

T = TypeVar("T", bound=Table)


def _checked(model: type[T], table: str, written: Written, lines: list[str]) -> T | None:
    """Return *written* as a *model*, or None with every mistake added to *lines*."""
    try:
        return model.model_validate(written.values, context={"directory": written.file.parent})
    except ValidationError as error:
        lines += mistakes(table, written, error, model)
        return None


def _accounts(file: Path, tables: dict[str, Any]) -> Iterator[Written]:
    yield from _listed(file, tables)
    for other in included(file, tables["include"]) if "include" in tables else ():
        content = read(other)
        if strange := [key for key in content if key != "account"]:
            raise ConfigError(f"{other}: {strange[0]}: an included file holds [[account]] only; move this to {file}")
        yield from _listed(other, content)


def _listed(file: Path, tables: dict[str, Any]) -> Iterator[Written]:
    accounts = tables.get("account", [])
    if not isinstance(accounts, list):
        raise ConfigError(f"{file}: account: must be a list of tables; write [[account]], with two brackets")
    return (Written(file, account) for account in accounts)


def _none_or_twice(file: Path, written: list[Written]) -> Iterator[str]:
    if not written:
        yield f"{file}: no account; add [[account]] with a name, and [account.imap] with host, user and password"
    names = Counter(table.name for table in written if table.name)
    for name in (name for name, count in names.items() if count > 1):
        files = ", ".join(sorted({str(table.file) for table in written if table.name == name}))
        yield f'{file}: [[account]] name: {names[name]} accounts are called "{name}" (in {files}); give each its own'
