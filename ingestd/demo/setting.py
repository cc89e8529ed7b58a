"""The setting of the demo: a mail server with a sample mailbox, and a configuration that takes it in.

Where no Dovecot can be run, the samples are taken from files instead, and everything else is the same.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from ..config import Config, load
from ..daemon import Daemon
from ..errors import Refused
from ..sources.files import FilesMailbox
from ..store.embedded import check_installed
from ..store.leases import hold
from ..summary import Summary
from ..visit import Order, Watch
from .dovecot import Dovecot
from .mailbox import Sample, messages

ACCOUNT = "demo"
USER = "ann"
PASSWORD = "demo-only"  # noqa: S105 - of a server that lives for a minute, on loopback, with invented mail
OURS = {"ingestd.toml", "ca.pem", "password", "spool", "store"}  # what a demo leaves in its directory
GENERATED = 500  # about two in five are unread

CONFIGURATION = """\
# Written by `ingestd demo`. The mail server is gone; what was stored can still be looked at.
[store]
uri = "embedded:store"
own_domains = ["example.org"]

[daemon]
workers = 2
spool_dir = "spool"

[[account]]
name = "{account}"
authserv_ids = ["mx.example.org"]

[account.imap]
host = "localhost"
port = {port}
ca_file = "ca.pem"
user = "{user}"
password = {{ file = "password" }}
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """A demo that is ready to run."""

    config: Config
    delivered: int  # messages in the sample mailbox
    without_server: str | None  # why there is no mail server, or None
    visit: Callable[[Daemon, Watch], list[Summary]]


@contextmanager
def setting(directory: Path) -> Iterator[Setting]:
    """Make the demo ready in *directory*, which it empties if an earlier demo made it. The server ends with the block.

    Raises Refused when *directory* holds something else.
    """
    check_installed(directory)
    _clear(directory)
    missing = Dovecot.missing()
    if missing:
        yield _from_files(directory, missing)
        return
    with _reachable() as temporary, Dovecot(temporary / "mail", PASSWORD) as server:
        delivered = server.deliver(USER, "INBOX", [*messages(GENERATED), *hard_messages()])
        config = _config(directory, server.imaps_port, server.ca_file)
        yield Setting(config, delivered, None, lambda daemon, watch: _over_imap(config, daemon, watch))


def hard_messages() -> Iterator[Sample]:
    """The 25 messages that other parsers stumble over, unread."""
    for path in hard_paths():
        yield Sample(path.read_bytes(), datetime(2026, 1, 1, tzinfo=UTC), ())


def hard_paths() -> list[Path]:
    """Where they lie; `INDEX.json` beside them says what is hard about each."""
    with resources.as_file(resources.files(__package__) / "mail") as directory:
        return sorted(directory.glob("*.eml"))


@contextmanager
def _reachable() -> Iterator[Path]:
    """A directory for the server's unprivileged user, who cannot reach into a private home."""
    with tempfile.TemporaryDirectory(prefix="ingestd-demo-") as temporary:
        directory = Path(temporary)
        directory.chmod(0o755)
        yield directory


def _over_imap(config: Config, daemon: Daemon, watch: Watch) -> list[Summary]:
    outcome = daemon.serve(config.accounts[0], Order(), watch)
    if outcome.errors:
        raise outcome.errors[0]
    return outcome.summaries


def _from_files(directory: Path, missing: str) -> Setting:
    config = _config(directory, 993, None)
    account = config.accounts[0]
    mailbox = FilesMailbox(ACCOUNT, "samples", hard_paths())

    def visit(daemon: Daemon, watch: Watch) -> list[Summary]:
        with hold(daemon.database, ACCOUNT, daemon.owner) as lease:
            return [daemon.visit(account, lease).one_mailbox(mailbox, Order(), watch)]

    return Setting(config, mailbox.numbers.exists, missing, visit)


def _clear(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise Refused(f"demo {directory}: is no directory; name another one with --directory")
    directory.mkdir(parents=True, exist_ok=True)
    there, marker = {path.name for path in directory.iterdir()}, directory / "ingestd.toml"
    if not there:
        return
    if not there <= OURS or not marker.is_file() or not marker.read_text().startswith(CONFIGURATION.partition("\n")[0]):
        raise Refused(f"demo {directory}: the directory holds something else; name another one with --directory")
    for name in there:
        path = directory / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _config(directory: Path, port: int, ca_file: Path | None) -> Config:
    text = CONFIGURATION.format(account=ACCOUNT, port=port, user=USER)
    kept = [line for line in text.splitlines() if ca_file or not line.startswith("ca_file")]
    if ca_file:
        shutil.copy(ca_file, directory / "ca.pem")
    password = directory / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD + "\n")
    file = directory / "ingestd.toml"
    file.write_text("\n".join(kept) + "\n")
    return load(file)
