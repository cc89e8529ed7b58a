"""The directory of an embedded store: what lies in it, who may read it, and the locks by which processes agree.

    PATH/            0700, ours alone
      start.lock     held by whoever starts the server, until it answers
      holders.lock   shared by everyone who uses the server; whoever gets it alone may stop the server
      running.lock   held by the server and by the process beside it, for as long as one of them lives
      password       of our user; lives as long as the data
      server.json    how to reach the server; only while it runs
      server.log     what the server says, and before that server.log.1
      data/          the database, complete with our user; data.new/ until then

The locks are flocks: the kernel drops them with their last holder, however it died, so nothing here goes stale but
`server.json`, which nobody believes unless `running.lock` is held and the server answers to our password.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import Refused, StoreUnavailable

USER = "ingestd"
LOCK_POLL = 0.05  # seconds; flock itself cannot wait until a deadline


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs: the content of `server.json`."""

    pid: int
    port: int
    user: str
    password: str
    started_at: str

    @property
    def uri(self) -> str:
        return f"mongodb://{self.user}:{self.password}@127.0.0.1:{self.port}/ingestd?authSource=admin"


@dataclass(frozen=True, slots=True)
class Directory:
    """The directory of one embedded store, by its absolute path."""

    path: Path

    def __str__(self) -> str:
        return f"embedded store {self.path}"

    @property
    def starting(self) -> Path:
        return self.path / "start.lock"

    @property
    def holders(self) -> Path:
        return self.path / "holders.lock"

    @property
    def in_use(self) -> Path:
        return self.path / "running.lock"

    @property
    def log(self) -> Path:
        return self.path / "server.log"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def unfinished(self) -> Path:
        return self.path / "data.new"

    def prepare(self) -> None:
        """Make the directory; raise Refused when it is not ours alone, or somebody's home rather than a store."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._demand_private(self.path, "700")
        names = set(self.path.iterdir())  # one look: another starter may be filling it, and makes start.lock first
        if names and self.starting not in names:
            raise Refused(f"{self}: the directory is not empty and holds no store; name another one")

    def password(self) -> str:
        """Return the password of our user, made up when there is no data yet."""
        path = self.path / "password"
        if path.exists():
            self._demand_private(path, "600")
            return path.read_text().strip()
        if self.data.exists():
            raise Refused(f"{self}: {path} is gone, and nothing else opens the data; restore it or move data/ away")
        password = secrets.token_urlsafe(32)
        _write(path, password)
        return password

    def publish(self, running: Running) -> None:
        _write(self.path / "server.json", json.dumps(asdict(running), indent=2) + "\n")

    def withdraw(self) -> None:
        (self.path / "server.json").unlink(missing_ok=True)

    def published(self) -> Running | None:
        """Return what `server.json` says, which is only true while the server answers to it."""
        try:
            return Running(**json.loads((self.path / "server.json").read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def lock(self, path: Path, kind: int, deadline: float, waiting_for: str) -> int:
        """Return a descriptor that holds the lock at *path*; raise StoreUnavailable when *deadline* passes."""
        while (held := try_lock(path, kind)) is None:
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"{self}: waited too long for {waiting_for}; see {self.log}")
            time.sleep(LOCK_POLL)
        return held

    @contextmanager
    def locked(self, path: Path, deadline: float, waiting_for: str) -> Iterator[int]:
        """Hold the lock at *path* alone until the block ends."""
        held = self.lock(path, fcntl.LOCK_EX, deadline, waiting_for)
        try:
            yield held
        finally:
            os.close(held)

    def _demand_private(self, path: Path, mode: str) -> None:
        found = path.stat()
        if found.st_uid != os.geteuid():
            raise Refused(f"{self}: {path} belongs to another user; name a directory of your own")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise Refused(f"{self}: others may read {path}; chmod {mode} it if it is meant to hold mail")


def try_lock(path: Path, kind: int) -> int | None:
    """Return a descriptor that holds the lock at *path*, or None when somebody has it.

    Give it back by closing, never with LOCK_UN: that would take it from those who inherited the descriptor, too.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock at *path*. Ask only where nobody tries to take it at the same time."""
    held = try_lock(path, fcntl.LOCK_EX)
    if held is not None:
        os.close(held)
    return held is None


def sync(directory: Path) -> None:
    """Make the names in *directory* durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, text: str) -> None:
    """Put a private file in place, whole and durable or not at all."""
    unfinished = path.with_name(path.name + ".new")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    sync(path.parent)
