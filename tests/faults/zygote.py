"""Starts ingestd in milliseconds: a process that has imported all of it, and forks for each command.

A thousand kills need a thousand starts, and nine tenths of a start are imports. What is forked here is a process as any
other: it runs `main`, leads a group of its own, and is killed for good.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from tests.waiting import DEADLINE

WARM = ("cli.app", "cli.once", "cli.run", "service", "archive.rebuild", "mime.parse")


class Zygote:
    """Where ingestd is forked from, within its `with` block; whatever still runs at the end is killed."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._codes: dict[int, int] = {}
        self._heard = b""
        self._hear(DEADLINE)  # that it is warm
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._process.communicate(timeout=DEADLINE)

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, *words: str, log: Path, **environment: str) -> Life:
        """Start ingestd with *words* as its arguments; what it says is added to *log*."""
        self._say({"words": words, "log": str(log), "environment": environment})
        while True:
            heard = self._hear(DEADLINE)
            if heard is not None and "started" in heard:
                return Life(self, heard["started"])

    def kill(self, pid: int) -> None:
        """Kill the process *pid* and all of its group, unless it has ended. Returns when it has."""
        self._say({"kill": pid})
        self.wait(pid)

    def wait(self, pid: int, seconds: float = DEADLINE) -> int | None:
        """Return how *pid* ended (negative: by which signal), as soon as it has; None when it has not in time."""
        while pid not in self._codes:
            if self._hear(seconds) is None:
                return None
        return self._codes[pid]

    def _say(self, words: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")

    def _hear(self, seconds: float) -> dict[str, Any] | None:
        """One line of it, or None after so much silence."""
        assert self._process.stdout is not None
        while b"\n" not in self._heard:
            if not select.select([self._process.stdout], [], [], seconds)[0]:
                return None
            piece = os.read(self._process.stdout.fileno(), 65536)
            assert piece, "the zygote has ended"
            self._heard += piece
        line, _, self._heard = self._heard.partition(b"\n")
        heard: dict[str, Any] = json.loads(line)
        if "ended" in heard:
            self._codes[heard["ended"]] = heard["code"]
        return heard


@dataclass(frozen=True, slots=True)
class Life:
    """One process of ingestd, from its start to its end."""

    zygote: Zygote
    pid: int

    def kill(self) -> None:
        self.zygote.kill(self.pid)

    def wait(self, seconds: float = DEADLINE) -> int | None:
        return self.zygote.wait(self.pid, seconds)


# --- the process itself


def main() -> None:
    for name in WARM:
        import_module(f"ingestd.{name}")
    children, wakes = set[int](), os.pipe()
    os.set_blocking(wakes[1], False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wakes[1])
    _tell(warm=True)
    while True:
        ready, _, _ = select.select([0, wakes[0]], [], [])
        if wakes[0] in ready:
            os.read(wakes[0], 4096)
            _reap(children)
        elif not (line := _line()):
            for pid in children:
                _kill(pid)
            return
        else:
            _do(json.loads(line), children)


def _do(command: dict[str, Any], children: set[int]) -> None:
    if command.get("kill") in children:
        _kill(command["kill"])
    elif "words" in command:
        pid = os.fork()
        if not pid:
            _become(command["words"], command["environment"], command["log"])
        children.add(pid)
        _tell(started=pid)


def _kill(pid: int) -> None:
    """Kill *pid* and its group, which it does not have yet when it is very young."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)  # nobody else has its number before it is reaped


def _become(words: Sequence[str], environment: Mapping[str, str], log: str) -> NoReturn:
    code = 99
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ.update(environment)
        sys.argv = ["ingestd", *words]
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(said, 1)
        os.dup2(said, 2)
        code = import_module("ingestd.__main__").main()
        sys.stdout.flush()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        os._exit(code)


def _reap(children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        children.discard(pid)
        _tell(ended=pid, code=os.waitstatus_to_exitcode(status))


def _line() -> bytes:
    """The next command, byte by byte: what is read ahead would not wake `select`."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


def _tell(**words: Any) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    main()
