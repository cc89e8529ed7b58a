"""The programs that are measured: ingestd with a store that discards and with a real one, and its peers.

Each takes the whole INBOX of one user from the same server, and leaves what it brought in a directory or a database.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bench import stores
from bench.discard import Discard
from bench.inventory import Kept, in_database, in_lines, in_maildir
from bench.servers import Server
from ingestd.demo.dovecot import Dovecot

PEERS = Path(__file__).parent / "peers"
WORKERS = 2
RELAYED = "&directConnection=true&serverMonitoringMode=poll"  # see bench.relay


@dataclass(frozen=True, slots=True)
class Task:
    """What a program has to do: bring the INBOX of *user*, with an empty *directory* to itself."""

    server: Dovecot
    user: str
    directory: Path
    database: str  # a name that was never used


@dataclass(frozen=True, slots=True)
class Program:
    """*command* prepares a task and says how to do it; *kept* says what is there afterwards."""

    name: str
    command: Callable[[Task], Sequence[str]]
    kept: Callable[[Task], Kept]
    store_port: int | None = None  # on this machine

    def store(self) -> Server:
        """The store that it writes to."""
        return Server.listening(self.store_port)


def programs(real: str, behind: str, discarding: Discard) -> list[Program]:
    """Those that can be run here.

    ingestd works once with the store at *real* (a URI), and once with *discarding*, which asks *behind*.
    """
    found = [
        Program(
            "ingestd, store discards",
            lambda task: ingestd(task, behind, discarding.port),
            lambda _: Kept("SHA-256", discarding.taken()),
        ),
        Program(
            "ingestd", lambda task: ingestd(task, real), lambda task: _in_database(task, real), stores.local_port(real)
        ),
    ]
    if shutil.which("mbsync"):
        found.append(Program("mbsync, fsync", lambda task: _mbsync(task, "yes"), _in_maildir))
        found.append(Program("mbsync, no fsync", lambda task: _mbsync(task, "no"), _in_maildir))
    if shutil.which("node") and (PEERS / "node_modules" / "imap").is_dir():
        found.append(
            Program("node-imap + mailparser", _node_imap, lambda task: in_lines(task.directory / "mail.jsonl"))
        )
    return found


# --- ingestd


def ingestd(task: Task, uri: str, port: int | None = None) -> list[str]:
    """As a person would run it."""
    return [sys.executable, "-m", "ingestd", "--config", str(configured(task, uri, port)), "-q", "once"]


def configured(task: Task, uri: str, port: int | None = None, mailboxes: Sequence[str] = ("INBOX",)) -> Path:
    """Write a configuration. Through *port*, if that is given, to whatever answers there for the store."""
    store = urlsplit(uri)
    host = f"127.0.0.1:{port}" if port else store.netloc.rpartition("@")[2]
    options = store.query + (RELAYED if port else "")
    for name, secret in (("store", unquote(store.password or "")), ("mail", task.server.password)):
        path = task.directory / name
        path.touch(mode=0o600)
        path.write_text(secret)
    login = f"{store.username}@" if store.username else ""
    config = task.directory / "ingestd.toml"
    config.write_text(
        f'[store]\nuri = "{store.scheme}://{login}{host}/{task.database}?{options}"\ntls = "none"\n'
        + ('password = { file = "store" }\n' if login else "")
        + f'[daemon]\nworkers = {WORKERS}\nspool_dir = "spool"\n'
        f'[[account]]\nname = "work"\nmailboxes = {json.dumps(mailboxes)}\n'
        '[account.imap]\nhost = "127.0.0.1"\ntls = "none"\npassword = { file = "mail" }\n'
        f'port = {task.server.imap_port}\nuser = "{task.user}"\n'
    )
    return config


def _in_database(task: Task, uri: str) -> Kept:
    with stores.client(uri) as client:
        try:
            return in_database(client[task.database])
        finally:
            client.drop_database(task.database)


# --- peers


def _mbsync(task: Task, fsync: str) -> list[str]:
    (task.directory / "mbsyncrc").write_text(
        f"FSync {fsync}\nIMAPStore far\nHost 127.0.0.1\nPort {task.server.imap_port}\nUser {task.user}\n"
        f"Pass {task.server.password}\nAuthMechs LOGIN\nSSLType None\n\n"
        f"MaildirStore near\nPath {task.directory}/\nInbox {task.directory}/Maildir\n\n"
        "Channel all\nFar :far:INBOX\nNear :near:INBOX\nCreate Near\nSync Pull\nSyncState *\n"
    )
    return ["mbsync", "-q", "-c", str(task.directory / "mbsyncrc"), "all"]


def _in_maildir(task: Task) -> Kept:
    return in_maildir(task.directory / "Maildir")


def _node_imap(task: Task) -> list[str]:
    login = [str(task.server.imap_port), task.user, task.server.password]
    return ["node", str(PEERS / "node_imap.js"), *login, str(task.directory)]
