"""The process beside an embedded server: it starts the server, guards it, and stops it when nobody holds it any more.

`embedded` runs it as `python -m ingestd.store.embedded_server PATH LOCK SECONDS`. It says on stdout how the start went,
as one line of JSON, and detaches. One loop then carries the server's words to a bounded log and asks for the holders'
lock; getting it means that the last holder is gone. Should this process be killed, the kernel kills the server with it.

SecantusDB makes users only while it runs without authentication, so a new store is made in three steps that nobody sees
until all are done: without authentication on an empty directory, make our user; with it, see that there is nothing
else; move the directory into place. What anyone on this host slipped in meanwhile is found, and nothing is ever read
from a server without authentication, since only an empty one runs that way.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from ..budget import release
from ..errors import IngestError, Refused, StoreUnavailable
from .embedded_directory import USER, Directory, Running, sync, try_lock

CACHE = "256M"  # of WiredTiger; its default of 1 GB is much for a try-out
LOG_BYTES = 1 << 20  # of server.log and again of server.log.1
LOOK_SECONDS = 0.2  # between two looks at the holders' lock
STOP_SECONDS = 20  # the server gets to close its data before it is killed
ANSWER_SECONDS = 10
RESTARTS = 5  # in all, of a server that died by itself
OWN_DATABASES = {"admin", "config", "local"}
LISTENING = re.compile(rb"listening on 127\.0\.0\.1:(\d+)")
AUTHENTICATION_FAILED = 18

# Runs as the server's process before it becomes the server. PR_SET_PDEATHSIG (1) has the kernel send SIGKILL (9) when
# the process beside it dies; if that had happened already, there is nothing to become.
LAUNCH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, "-P", "-m", "secantus", *sys.argv[2:]])
"""


def main() -> None:
    """Detach, serve the directory named on the command line, and say how the start went."""
    path, starting, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    if os.fork():
        os._exit(0)  # the starter need not wait for us, nor reap us
    os.umask(0o077)
    release()  # whoever starts us may be held to less than a server needs
    signal.signal(signal.SIGTERM, _leave)
    report = _Report(starting)
    try:
        serve(Directory(path), report.ready, seconds)
    except Refused as error:
        report.say("refused", str(error))
    except IngestError as error:
        report.say("unavailable", str(error))
    except Exception as error:  # noqa: BLE001 - the starter must hear of it, whatever it is
        traceback.print_exc()  # into the log
        report.say("unavailable", f"embedded store {path}: {type(error).__name__}; see {path}/server.log")


def serve(directory: Directory, ready: Callable[[], None], seconds: float) -> None:
    """Run the server until its last holder is gone. Calls *ready* when it can be used."""
    with directory.locked(directory.in_use, time.monotonic() + seconds, "the server before it to end") as in_use:
        directory.withdraw()
        password = directory.password()
        launch = _Launch(directory, in_use, seconds)
        if not directory.data.exists():
            _create(directory, launch, password)
        try:
            _keep_up(directory, launch, password, ready)
        finally:
            directory.withdraw()


def _keep_up(directory: Directory, launch: _Launch, password: str, ready: Callable[[], None]) -> None:
    """Run the server, and start it again where its holders' clients look for it, should it die under them."""
    port = 0
    for _ in range(1 + RESTARTS):
        with launch.server(directory.data, "--auth", port=port) as server:
            port, running = server.port, server.running(password)
            _demand_own_users(directory, running)
            directory.publish(running)
            ready()
            if _unheld(directory, server):
                return
    raise StoreUnavailable(f"{directory}: the server keeps dying; see {directory.log}")


def _create(directory: Directory, launch: _Launch, password: str) -> None:
    """Make the data directory with our user in it, whole or not at all."""
    fresh = directory.unfinished
    if fresh.exists():
        shutil.rmtree(fresh)
    with launch.server(fresh) as server, _client(f"mongodb://127.0.0.1:{server.port}/") as client:
        roles = [{"role": "root", "db": "admin"}]
        client.admin.command("createUser", USER, pwd=password, roles=roles)
    with launch.server(fresh, "--auth") as server:
        running = server.running(password)
        _demand_own_users(directory, running)
        with _client(running.uri) as client:
            if not OWN_DATABASES.issuperset(client.list_database_names()):
                raise Refused(f"{directory}: somebody else wrote to the server while it was made; try again")
    if server.process.returncode != 0:  # it was killed rather than closed: not a state to build on
        raise StoreUnavailable(f"{directory}: the new server did not close its data; see {directory.log}")
    fresh.rename(directory.data)
    sync(directory.path)


def _demand_own_users(directory: Directory, running: Running) -> None:
    """Raise Refused unless our user, and no other, can log in."""
    try:
        with _client(running.uri) as client:
            # Not usersInfo: SecantusDB answers it for one database only, and admin.system.users for all.
            users = [user["_id"] for user in client.admin["system.users"].find({}, {"_id": 1})]
    except OperationFailure as error:
        if error.code != AUTHENTICATION_FAILED:
            raise
        raise Refused(
            f"{directory}: the password does not open the data; restore {directory.path}/password, or move data/ away"
        ) from error
    if users != [f"admin.{USER}"]:
        raise Refused(f"{directory}: it has users that ingestd did not make; move {directory.data} away and start anew")


def _unheld(directory: Directory, server: _Server) -> bool:
    """Wait, and return True when nobody holds the server any more, False when it has died.

    The lock that says so is kept until this process ends: whoever comes meanwhile waits, and then starts anew.
    """
    while server.carry_log(LOOK_SECONDS):
        if try_lock(directory.holders, fcntl.LOCK_EX) is not None:
            return True
    return False


@dataclass(frozen=True, slots=True)
class _Launch:
    """How to start the server, and how long it may take."""

    directory: Directory
    in_use: int
    seconds: float

    @contextmanager
    def server(self, data: Path, *options: str, port: int = 0) -> Iterator[_Server]:
        """Run the server on *data* until the block ends; raise StoreUnavailable when it does not come up."""
        settings = self.directory.path / "secantusd.toml"
        settings.touch()  # named and empty, so that no other one is picked up from ~ or /etc
        where = ["--config", str(settings), "--host", "127.0.0.1", "--port", str(port), "--storage-path", str(data)]
        process = subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, "-P", "-c", LAUNCH, str(os.getpid()), *where, "--cache-size", CACHE, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(self.in_use,),
        )
        server = _Server(process, _Log(self.directory.log))
        try:
            server.wait_until_listening(self.directory, self.seconds)
            yield server
        finally:
            server.stop()


class _Server:
    """The server's process: where it listens and what it says."""

    def __init__(self, process: subprocess.Popen[bytes], log: _Log) -> None:
        assert process.stdout is not None
        self.process, self.log, self.port = process, log, 0
        self._output = process.stdout.fileno()
        self._readable = select.poll()
        self._readable.register(self._output, select.POLLIN)

    def running(self, password: str) -> Running:
        return Running(self.process.pid, self.port, USER, password, datetime.now(UTC).isoformat(timespec="seconds"))

    def wait_until_listening(self, directory: Directory, seconds: float) -> None:
        said, deadline = b"", time.monotonic() + seconds
        while time.monotonic() < deadline:
            piece = self._read(LOOK_SECONDS)
            if piece is None:
                raise StoreUnavailable(f"{directory}: the server ended while starting; see {directory.log}")
            said = (said + piece)[-LOG_BYTES:]
            if found := LISTENING.search(said):
                self.port = int(found[1])  # --port 0 tells its port nowhere else
                return
        raise StoreUnavailable(f"{directory}: the server did not start in time; see {directory.log}")

    def carry_log(self, seconds: float) -> bool:
        """Write what the server says within *seconds* to the log; return whether the server still runs."""
        return self._read(seconds) is not None

    def stop(self) -> None:
        """Ask the server to close its data and go; kill it when it does not."""
        self.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        self._knock()
        while time.monotonic() < deadline and self.carry_log(LOOK_SECONDS):
            # Its main thread waits on a lock, and Python wakes it for a signal only if the kernel hands the signal to
            # that very thread. So as long as it lets us in, it has not heard; and its accept() has to be woken, too.
            if self._knock():
                self.process.terminate()
        self.process.kill()
        self.process.wait()

    def _knock(self) -> bool:
        """Connect and hang up; return whether somebody opened."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def _read(self, seconds: float) -> bytes | None:
        """Return and log what comes within *seconds*, or None when the server has ended."""
        if not self._readable.poll(seconds * 1000):
            return b""
        piece = os.read(self._output, 65536)
        self.log.write(piece)
        return piece or None


class _Log:
    """A private log file of bounded size: when full, it becomes the previous one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, piece: bytes) -> None:
        with suppress(OSError):  # a full disk costs the log; that the store fails, its clients are told
            with self._path.open("ab") as file:
                file.write(piece)
                full = file.tell() > LOG_BYTES
            if full:
                self._path.replace(self._path.with_name(self._path.name + ".1"))


class _Report:
    """The one line that the starter waits for. Once it is said, the starter's lock and pipe are let go."""

    def __init__(self, starting: int) -> None:
        self._starting: int | None = starting

    def ready(self) -> None:
        if self._starting is not None:
            self.say("ready", "")

    def say(self, outcome: str, text: str) -> None:
        if self._starting is None:
            sys.stderr.write(text + "\n")  # nobody waits any more; the log does
            return
        with suppress(BrokenPipeError):  # the starter is gone; the holders' lock will tell
            os.write(1, json.dumps({outcome: text}).encode())
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        os.close(self._starting)
        self._starting = None


@contextmanager
def _client(uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(uri, serverSelectionTimeoutMS=ANSWER_SECONDS * 1000)
    try:
        yield client
    finally:
        client.close()


def _leave(number: int, frame: FrameType | None) -> None:
    """On SIGTERM: unwind, so that the server is stopped on the way out."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
