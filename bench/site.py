"""A place to measure at: a private Dovecot, an embedded store, and `ingestd run` between them."""

from __future__ import annotations

import signal
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from ingestd.demo.dovecot import Dovecot
from ingestd.store.embedded import embedded

Document = dict[str, Any]

STOPS = 60.0  # seconds that the daemon may take to stop
ACCOUNT = """
[[account]]
name = "{name}"
every = "{every}"
select = "all"
{more}
[account.imap]
host = "localhost"
port = {port}
{tls}
user = "{name}"
password = {{ file = "secret" }}
"""


@dataclass(frozen=True, slots=True)
class Site:
    directory: Path
    server: Dovecot
    database: Database[Document]
    uri: str  # of the store

    def account(self, name: str, every: str, port: int | None = None, more: str = "") -> str:
        """A table of the configuration, with *more* keys; *port* is another one than Dovecot's, without TLS."""
        tls = 'tls = "none"' if port else f'ca_file = "{self.server.ca_file}"'
        return ACCOUNT.format(name=name, every=every, more=more, port=port or self.server.imaps_port, tls=tls)

    def configured(self, accounts: Sequence[str], store: str = 'uri = "embedded:store"') -> list[str]:
        """Write the configuration, with *accounts* and another *store* (tables); return how to call ingestd with it."""
        config = self.directory / "ingestd.toml"
        config.write_text(f'[store]\n{store}\n[daemon]\nspool_dir = "spool"\n' + "".join(accounts))
        secret = self.directory / "secret"
        secret.touch(mode=0o600)
        secret.write_text(self.server.password)
        return [sys.executable, "-m", "ingestd", "--config", str(config)]

    @contextmanager
    def serving(self, accounts: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
        """Run the daemon for *accounts* (tables) during the block."""
        command = [*self.configured(accounts), "run"]
        with (self.directory / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(STOPS)

    @property
    def log(self) -> str:
        """What the daemon said."""
        return (self.directory / "log").read_text()

    def deliver(self, user: str, name: str) -> str:
        """Have *user* get a message by LMTP; return its Message-ID."""
        named = f"{name}@example.org"
        head = f"From: ann@example.org\r\nTo: {user}@example.org\r\nSubject: {name}\r\nMessage-ID: <{named}>\r\n\r\n"
        with smtplib.LMTP("127.0.0.1", self.server.lmtp_port) as lmtp:
            lmtp.sendmail("ann@example.org", [user], head + "A line of text.\r\n" * 50)
        return named


@contextmanager
def site() -> Iterator[Site]:
    """Make one, below the usual directory for temporary files."""
    with tempfile.TemporaryDirectory(prefix="ingestd-") as named:
        directory = Path(named)
        directory.chmod(0o711)  # Dovecot runs as another user
        with (
            Dovecot(directory / "dovecot", "secret") as server,
            embedded(directory / "store", allow_embedded=True) as uri,
            MongoClient[Document](uri, tz_aware=True) as client,
        ):
            yield Site(directory, server, client.get_default_database(), uri)


def until(true: Callable[[], object], seconds: float, pause: float = 0.003) -> float:
    """Return when *true* was, by the clock of `perf_counter`; raise TimeoutError when it was not in time."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        if true():
            return time.perf_counter()
        time.sleep(pause)
    raise TimeoutError(f"not within {seconds:.0f} s")
