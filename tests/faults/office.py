"""Several accounts on one mail server and one store, and any number of daemons for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pymongo.database import Database

from ingestd.demo.dovecot import Dovecot
from ingestd.demo.mailbox import Sample
from tests.fakes import NOON
from tests.faults import state
from tests.faults.zygote import Life, Zygote

Document = dict[str, Any]

LEASE = timedelta(seconds=9)
ACCOUNT = """
[[account]]
name = "{name}"
select = "all"
every = "1s"
[account.imap]
host = "{host}"
port = {port}
ca_file = "{ca}"
user = "{name}"
password = {{ file = "{secret}" }}
"""


@dataclass
class Office:
    """A mail server with a user for each account, a store, and daemons for them."""

    directory: Path
    server: Dovecot
    database: Database[Document]
    store: str
    zygote: Zygote
    host: str = "localhost"
    delivered: Counter[str] = field(default_factory=Counter)
    lives: list[Life] = field(default_factory=list)

    def deliver(self, accounts: Sequence[str], count: int = 1) -> None:
        for name in accounts:
            first = self.delivered[name]
            self.delivered[name] += count
            self.server.deliver(name, "INBOX", (letter(name, first + number) for number in range(count)))

    def configured(self, daemon: str, accounts: Sequence[str], lease: timedelta = LEASE, workers: int = 0) -> Path:
        file, secret = self.directory / f"{daemon}.toml", self.directory / "secret"
        secret.touch(mode=0o600)
        secret.write_text(self.server.password)
        server = {"host": self.host, "port": self.server.imaps_port, "ca": self.server.ca_file, "secret": secret}
        file.write_text(
            f'[store]\n{self.store}\n[daemon]\nspool_dir = "{daemon}-spool"\nworkers = {workers}\n'
            f'lease = "{lease.total_seconds():.0f}s"\n'
            + "".join(ACCOUNT.format(name=name, **server) for name in accounts)
        )
        return file

    def start(self, daemon: str, accounts: Sequence[str], **settings: Any) -> Life:
        return self.start_with(self.configured(daemon, accounts, **settings))

    def start_with(self, file: Path, command: str = "run") -> Life:
        self.lives.append(self.zygote.start("--config", str(file), command, log=file.with_suffix(".log")))
        return self.lives[-1]

    def said(self, daemon: str) -> str:
        return (self.directory / f"{daemon}.log").read_text()

    def run(self, daemon: str, *words: str) -> tuple[int | None, str]:
        """Run a command with the configuration of *daemon* to its end; return its code and what it said."""
        log = self.directory / f"{'-'.join(words)}.log"
        life = self.zygote.start("--config", str(self.directory / f"{daemon}.toml"), *words, log=log)
        return life.wait(), log.read_text()

    def leases(self) -> dict[str, Document]:
        return {found["_id"]: found["lease"] for found in self.database.accounts.find()}

    def holders(self) -> Counter[int]:
        """How many accounts each process holds."""
        now = datetime.now(UTC)
        return Counter(
            lease["owner"]["pid"] for lease in self.leases().values() if lease["owner"] and lease["expires_at"] > now
        )

    def stored(self) -> Counter[str]:
        return Counter(place["account"] for place in self.database.placements.find({"state": "stored"}))

    def all_is_stored(self) -> bool:
        return self.stored() == self.delivered

    def check(self) -> None:
        """Nothing lost, nothing doubled, and no seal of a writer after one of a later holder."""
        found = state.state(self.database)
        assert state.faults(found) == []
        assert state.broken_seals(self.database) == []
        assert len(found["messages"]) == len(found["places"]) == self.delivered.total()


def letter(account: str, number: int) -> Sample:
    return Sample(f"Subject: {number} for {account}\r\n\r\nhello {number}\r\n".encode(), NOON, ())
