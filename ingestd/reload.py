"""What another configuration changes while `ingestd run` is at work: only the accounts that are new, gone or different.

One that cannot be used changes nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from .config import Account, Config, ConfigError, load

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Changes:
    """Accounts, by name."""

    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()

    @classmethod
    def between(cls, before: Mapping[str, Account], after: Mapping[str, Account]) -> Changes:
        both = before.keys() & after.keys()
        changed = frozenset(name for name in both if before[name] != after[name])
        return cls(frozenset(after.keys() - both), frozenset(before.keys() - both), changed)


def reread(config: Config) -> Config:
    """Read the file of *config* again; return *config* itself, and log why, when what it says now cannot be used."""
    try:
        found = load(config.file)
    except ConfigError as error:
        for line in str(error).splitlines():
            log.error("configuration not taken over", reason=line)
        return config
    fixed = {
        "store": config.store != found.store,
        "daemon": config.daemon != found.daemon,
        "alerts": config.alerts != found.alerts,
    }
    fixed["alerts"] = config.alerts != found.alerts
    if differs := [table for table, other in fixed.items() if other]:
        log.warning("only a restart changes this", tables=", ".join(differs))
    return found
