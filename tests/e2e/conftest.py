"""A site to test at: a mailbox on a real server, a configuration, and the command line, run as a person would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from imapclient import IMAPClient
from pymongo.database import Database
from pymongo.uri_parser import parse_uri

from ingestd.config import load
from ingestd.daemon import reading
from ingestd.demo.dovecot import Dovecot, Letter

Document = dict[str, Any]

SECONDS = 120  # for one command


@dataclass
class Site:
    """One account of one user, and a store for its mail."""

    directory: Path
    server: Dovecot
    user: str
    store: str = 'uri = "embedded:store"'
    select: str = "unseen"
    protocol: str = "imap"  # or "pop3": then the account has no other one

    @property
    def config(self) -> Path:
        return self.directory / "ingestd.toml"

    def deliver(self, letters: Iterable[Letter], mailbox: str = "INBOX") -> int:
        return self.server.deliver(self.user, mailbox, letters)

    def write(self, account: str = "", daemon: str = "workers = 2", imap: str = "", store: str = "") -> None:
        """Write the configuration; what is given is added to its tables."""
        secret = self.directory / "secret"
        secret.touch(mode=0o600)
        secret.write_text(self.server.password + "\n")
        port = self.server.pop3s_port if self.protocol == "pop3" else self.server.imaps_port
        imap = imap or f'port = {port}\nca_file = "{self.server.ca_file}"'
        self.config.write_text(
            f'[store]\n{store or self.store}\n[daemon]\nspool_dir = "spool"\n{daemon}\n'
            f'[[account]]\nname = "work"\nselect = "{self.select}"\n{account}\n'
            f'[account.{self.protocol}]\nhost = "localhost"\nuser = "{self.user}"\n'
            f'password = {{ file = "secret" }}\n{imap}\n'
        )

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "ingestd", "--config", str(self.config), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **environment},
        )

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(*words, **environment)
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            kill(process)
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def once(self, *words: str) -> Document:
        """Run a pass that must succeed; return the summary of its one mailbox."""
        done = self.run("once", "--json", *words)
        assert done.returncode == 0, done.stderr
        (account,) = json.loads(done.stdout)["accounts"]
        (mailbox,) = account["mailboxes"]
        return mailbox  # type: ignore[no-any-return]

    def client(self) -> IMAPClient:
        """Another mail program of the same person."""
        client = IMAPClient("127.0.0.1", self.server.imap_port, ssl=False)
        client.login(self.user, self.server.password)
        return client

    def state(self) -> Document:
        """Everything a pass decides: which place holds which message, which messages there are, and the log."""
        with reading(load(self.config)) as database:
            places = {
                (p["_id"].rpartition("=")[2], p["state"], p["digest"])
                for p in database.placements.find({}, {"state": 1, "digest": 1})
            }
            return {
                "places": places,
                "messages": sorted(m["sha256"] for m in database.messages.find({}, {"sha256": 1})),
                "blobs": sorted(f["_id"] for f in database["blobs.files"].find({}, {"_id": 1})),
                "sealed": sorted(
                    place["_id"].rpartition("=")[2] for seal in database.seals.find() for place in seal["places"]
                ),
            }


def on_the_wire(letter: Letter) -> str:
    """The digest of *letter* as the server hands it over."""
    return sha256(letter.content).hexdigest()


def kill(process: subprocess.Popen[str]) -> None:
    """End a command and all its processes at once, as a power cut would, if there are any."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture
def cold_site(dovecot: Dovecot, mail_user: str, tmp_path: Path) -> Site:
    """A site whose store is started by each command that finds none, and ends with it."""
    made = Site(tmp_path, dovecot, mail_user)
    made.write()
    return made


@pytest.fixture
def site(cold_site: Site, mongodb_uri: str, database: Database[Document]) -> Site:
    """A site whose store is the server of all tests."""
    cold_site.store = store_table(mongodb_uri, database, cold_site.directory)
    cold_site.write()
    return cold_site


def store_table(mongodb_uri: str, database: Database[Document], directory: Path) -> str:
    """The keys of [store] for a configuration in *directory* that means *database*."""
    parsed = parse_uri(mongodb_uri)
    login, _, rest = mongodb_uri.partition("://")[2].rpartition("@")
    options = rest.partition("?")[2]
    hosts = ",".join(f"{host}:{port}" for host, port in parsed["nodelist"])
    user = f"{login.partition(':')[0]}@" if login else ""
    table = f'uri = "mongodb://{user}{hosts}/{database.name}?{options}"\ntls = "none"'
    if not parsed["password"]:
        return table
    file = directory / "store-secret"
    file.touch(mode=0o600)
    file.write_text(parsed["password"])
    return f'{table}\npassword = {{ file = "store-secret" }}'
