"""A MongoDB server of our own, for trying ingestd out and for tests: the store `embedded:PATH`.

The server is SecantusDB, a MongoDB wire server on WiredTiger (extra `embedded`). It runs as a detached process, so that
`ingestd once` and `ingestd search` in two terminals share it: the first one starts it, the others find it, and it stops
when the last of them is gone, however that one ended. `embedded_server` is the process that sees to that;
`embedded_directory` says how they all agree. It is no production store: move to MongoDB for that.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from ..errors import Refused, StoreUnavailable
from .embedded_directory import Directory, Running, is_locked

PING_SECONDS = 2
REPORT_BYTES = 8192


@contextmanager
def embedded(path: Path, *, timeout: float = 60, allow_embedded: bool = False) -> Iterator[str]:
    """Yield the URI of the server at *path*; start it if nobody has; hold it until the block ends.

    Waits at most about *timeout* seconds. Raises Refused when the server is not installed, when *path* is no private
    directory of ours or holds users that we did not make, and under systemd without *allow_embedded*; StoreUnavailable
    when the server does not come up. The data outlives the block, and what was written with `j: true` any crash.
    """
    check_installed(path)
    if _under_systemd() and not allow_embedded:
        raise Refused(
            f"embedded store {path}: it is for trying out, not for a service; use a mongodb:// URI, "
            "or set store.allow_embedded = true"
        )
    holder, running = _hold(Directory(path.absolute()), time.monotonic() + timeout)
    try:
        yield running.uri
    finally:
        os.close(holder)


def check_installed(path: Path) -> None:
    """Raise Refused when there is no server to start for *path*."""
    if find_spec("secantus") is None:  # asked, not imported: its licence and its threads stay in its own process
        raise Refused(
            f"embedded store {path}: its server is not installed; install ingestd with its extra, as in:"
            " pipx install --force '.[embedded]', or pip install '.[embedded]'"
        )


def _hold(directory: Directory, deadline: float) -> tuple[int, Running]:
    """Return a descriptor that keeps the server alive, and the server."""
    try:
        directory.prepare()
        with directory.locked(directory.starting, deadline, "another start of it") as starting:
            holder = directory.lock(directory.holders, fcntl.LOCK_SH, deadline, "the server to stop")
            try:
                return holder, _running(directory, starting, deadline)
            except BaseException:
                os.close(holder)
                raise
    except OSError as error:
        raise Refused(f"{directory}: {error.strerror}; name a local directory that you may write to") from error


def _running(directory: Directory, starting: int, deadline: float) -> Running:
    """Return the server once it answers, started if it does not run. *starting* is the lock that allows it."""
    if not is_locked(directory.in_use):
        _start(directory, starting, deadline)
    while time.monotonic() < deadline:
        running = directory.published()
        if running and _answers(running):
            return running
        if not is_locked(directory.in_use):  # it was on its way out when we came
            _start(directory, starting, deadline)
        time.sleep(0.1)
    raise StoreUnavailable(f"{directory}: the server runs but does not answer; see {directory.log}")


def _answers(running: Running) -> bool:
    """Whether our server listens there: SCRAM makes both sides prove that they know the password."""
    client: MongoClient[dict[str, object]] = MongoClient(running.uri, serverSelectionTimeoutMS=PING_SECONDS * 1000)
    try:
        client.admin.command("ping")
    except PyMongoError:
        return False
    finally:
        client.close()
    return True


def _start(directory: Directory, starting: int, deadline: float) -> None:
    """Start the process beside the server, and return when it says that the server is ready.

    It inherits *starting*: should we die now, nobody else starts one before this one is ready or gone.
    """
    seconds = str(max(deadline - time.monotonic(), 1))
    command = [
        sys.executable,
        "-P",
        "-m",
        f"{__package__}.embedded_server",
        str(directory.path),
        str(starting),
        seconds,
    ]
    # The same modules as here, also when ingestd runs from a checkout; never the working directory.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    log = os.open(directory.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=(starting,),
            env=environment,
            start_new_session=True,  # Ctrl-C in this terminal is not for it: others may use the server
        )
    finally:
        os.close(log)
    with process:
        report = _report(process, deadline)
        if report is None:
            process.kill()  # in case it hangs before it detaches; later its own waits are bounded
            raise StoreUnavailable(f"{directory}: the server did not start in time; see {directory.log}")
    _raise_if_failed(directory, report)


def _report(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """Return what the process says before it closes its stdout, or None when *deadline* passes."""
    assert process.stdout is not None
    descriptor, said = process.stdout.fileno(), b""
    readable = select.poll()
    readable.register(descriptor, select.POLLIN)
    while readable.poll(max(deadline - time.monotonic(), 0) * 1000):
        piece = os.read(descriptor, REPORT_BYTES)
        if not piece or len(said) > REPORT_BYTES:
            return said
        said += piece
    return None


def _raise_if_failed(directory: Directory, report: bytes) -> None:
    outcome = json.loads(report) if report else {"unavailable": f"{directory}: it ended at once; see {directory.log}"}
    if "refused" in outcome:
        raise Refused(outcome["refused"])
    if "unavailable" in outcome:
        raise StoreUnavailable(outcome["unavailable"])


def _under_systemd() -> bool:
    """Whether we are a service. INVOCATION_ID alone does not say: a desktop's terminal hands its own to every shell."""
    if "NOTIFY_SOCKET" in os.environ:
        return True
    started = os.environ.get("SYSTEMD_EXEC_PID")  # since systemd 248
    if started is None:
        return "INVOCATION_ID" in os.environ
    return started in (str(os.getpid()), str(os.getppid()))
