"""Where worker processes come from: a process that does nothing but fork them.

What is forked inherits every lock that some thread held in that moment, and nobody will ever release it there. So the
nursery is forked while there is no other thread here: then the imports are done, and the memory they take is shared.
Where there are threads already, as after the death of a nursery, it is a program of its own.

    here       sends a pipe over a socket; gets the pid of a child, and a descriptor of it (pidfd_open(2))
    nursery    forks a child for each pipe; tells how a dead one ended when it is asked
    child      lives at the end of its pipe
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from select import POLLIN, poll
from typing import Any, NoReturn

ANSWERS = 30.0  # seconds; a nursery that takes longer is given up
WORDS = 64 * 1024  # bytes of what a nursery is told at its beginning
PROGRAM = "from ingestd.nursery import main; main()"
OFTEN = 2_000, 10, 10  # objects between two searches for garbage, as in any process: there is little to be searched
STANDARD_ERROR = 2
NUMBER = struct.Struct("=i")

Life = Callable[[Connection], Any]


class Nursery:
    """Gives children that live *life*. Safe to use from several threads."""

    def __init__(self, life: Life) -> None:
        """*life* is called in a child with its end of the pipe. It can be pickled."""
        self._life = life
        self._pid: int | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()  # one question at a time

    def start(self) -> None:
        """Begin now: for whoever is about to start threads. Raises OSError."""
        with self._lock:
            self._begun()

    def bear(self) -> tuple[Child, Connection]:
        """Return a child and our end of its pipe. Raises OSError; then the next call begins anew."""
        with self._lock, self._doubted():
            return self._bear(self._begun())

    def stop(self) -> None:
        """End the nursery. Its children live on."""
        with self._lock:
            self._stop()

    def _begun(self) -> socket.socket:
        if self._socket is None:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._socket.settimeout(ANSWERS)
            with theirs:
                self._pid = self._forked(theirs) if threading.active_count() == 1 else self._spawned(theirs)
        return self._socket

    def _forked(self, theirs: socket.socket) -> int:
        return os.fork() or _lived(partial(_begin, theirs, self._life))

    def _spawned(self, theirs: socket.socket) -> int:
        assert self._socket is not None
        for words in (sys.path, self._life):
            self._socket.send(pickle.dumps(words))
        as_stdin = (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)
        return os.posix_spawn(sys.executable, [sys.executable, "-c", PROGRAM], os.environ, file_actions=[as_stdin])

    def _bear(self, nursery: socket.socket) -> tuple[Child, Connection]:
        ours, theirs = socket.socketpair()
        with closing(ours), theirs:  # as long as we held theirs we would not see the end of the child
            socket.send_fds(nursery, [b"+"], [theirs.fileno()])
            said, pidfds, _, _ = socket.recv_fds(nursery, NUMBER.size, 1)
            if not pidfds:
                raise ConnectionResetError("the nursery has ended")
            (pid,) = NUMBER.unpack(said)
            return Child(pid, pidfds[0], partial(self._bury, nursery, pid)), Connection(ours.detach())

    def _bury(self, nursery: socket.socket, pid: int) -> int | None:
        """The exit code of a child of *nursery* that is dead, or None when that is gone, too."""
        with self._lock, suppress(OSError), self._doubted():
            if nursery is self._socket:
                nursery.send(NUMBER.pack(pid))
                if said := nursery.recv(NUMBER.size):
                    return int(NUMBER.unpack(said)[0])
        return None

    @contextmanager
    def _doubted(self) -> Iterator[None]:
        """Stop at an error: what is still said would be taken for the answer to something else."""
        try:
            yield
        except OSError:
            self._stop()
            raise

    def _stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)  # it has nothing to finish
            os.waitpid(self._pid, 0)
            self._pid = None


class Child:
    """A child of a nursery, and so none of ours for the kernel: its descriptor stands for it."""

    def __init__(self, pid: int, pidfd: int, bury: Callable[[], int | None]) -> None:
        self.pid, self._pidfd, self._bury = pid, pidfd, bury

    def lives(self, seconds: float | None = 0.0) -> bool:
        """Whether it still lives after *seconds*; None waits for its end."""
        watch = poll()
        watch.register(self._pidfd, POLLIN)
        return not watch.poll(None if seconds is None else seconds * 1000)

    def kill(self) -> None:
        """Kill it, if it lives."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def bury(self) -> int | None:
        """Wait for its end and forget it; return its exit code, or None when nobody can tell."""
        self.lives(None)
        os.close(self._pidfd)
        return self._bury()


# --- in the nursery


def main() -> None:
    """Be a nursery that is a program: its standard input is the socket."""
    server = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a child that held the socket would hide our end
    sys.path[:] = pickle.loads(server.recv(WORDS))  # noqa: S301 - from the one who started us
    _lived(partial(_begin, server, pickle.loads(server.recv(WORDS))))  # noqa: S301 - so is this


def _begin(server: socket.socket, life: Life) -> None:
    """Make this process a nursery: leave behind what belongs to the one that it was forked from."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for that one
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for descriptor in [int(each.name) for each in Path("/proc/self/fd").iterdir()]:
        if descriptor > STANDARD_ERROR and descriptor != server.fileno():
            with suppress(OSError):  # the directory that was read is closed already
                os.close(descriptor)
    gc.freeze()  # a search for garbage writes to all that it looks at, and what is written to is not shared any more
    gc.set_threshold(*OFTEN)
    while _served(server, life):
        continue


def _served(server: socket.socket, life: Life) -> bool:
    """Do what is asked next; False when nobody is there to ask."""
    asked, pipes, _, _ = socket.recv_fds(server, NUMBER.size, 1)
    if pipes:
        pid = os.fork()
        if not pid:
            server.close()
            _lived(partial(life, Connection(pipes[0])))
        pidfd = os.pidfd_open(pid)
        socket.send_fds(server, [NUMBER.pack(pid)], [pidfd])
        for descriptor in (pidfd, *pipes):
            os.close(descriptor)
    elif asked:
        (pid,) = NUMBER.unpack(asked)
        _, status = os.waitpid(pid, 0)
        server.send(NUMBER.pack(os.waitstatus_to_exitcode(status)))
    return bool(asked)


def _lived(life: Callable[[], object]) -> NoReturn:
    """Live *life* and end, without all that the process would do that this one was forked from."""
    code = 1
    try:
        life()
        code = 0
    finally:
        os._exit(code)
