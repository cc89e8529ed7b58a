"""Secrets, kept elsewhere and read at the moment of use.

A reference names a file, a systemd credential, a command or an environment variable. `resolve` reads it anew each time,
so that a changed password needs no restart. No secret is part of any `repr`, message or exception here, and neither is
the output of a command.
"""

from __future__ import annotations

import os
import selectors
import signal
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal

from ..budget import release
from ..errors import Refused

SIZE_LIMIT = 64 * 1024  # bytes; a file or an output this long is no password
TIMEOUT = 30.0  # seconds a command may take


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret is kept. Holds the way to it, never the secret."""

    kind: Literal["file", "credential", "command", "env"]
    value: str | tuple[str, ...]  # the path, the credential's name, the argv, the variable

    def resolve(self, timeout: float = TIMEOUT) -> str:
        """Return the secret; raise Refused, naming the mend, when it cannot be had.

        Only a command blocks, for *timeout* seconds at most.
        """
        match self.kind, self.value:
            case "file", str(path):
                return _from_file(Path(path))
            case "credential", str(name):
                return _from_credential(name)
            case "command", tuple(argv) if argv:
                return _from_command(argv, timeout)
            case "env", str(name):
                return _from_environment(name)
        raise Refused(f"{self}: not a reference to a secret")

    def __str__(self) -> str:
        # Arguments of a command may be secrets themselves.
        shown = self.value if isinstance(self.value, str) else "".join(self.value[:1])
        return f"{self.kind} {shown}"

    def __repr__(self) -> str:
        return f"SecretReference({self}: ***)"


def _from_file(path: Path) -> str:
    try:
        # Opened once and judged by the descriptor, since the name may lead to another file a moment later; and without
        # blocking, since it may be a pipe that nobody writes to.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            _check_file(path, os.fstat(opened.fileno()))
            content = opened.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise Refused(
            f"file {path}: {error.strerror}; put the secret there, readable by you alone (chmod 600)"
        ) from error
    return _secret(content, f"file {path}")


def _check_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"file {path}: not a regular file; name the file that holds the secret")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused(f"file {path}: others than its owner may use it; run: chmod 600 {path}")
    if status.st_uid not in (os.geteuid(), 0):
        raise Refused(f"file {path}: belongs to another user; run: chown {os.geteuid()} {path}")


def _from_credential(name: str) -> str:
    mend = f"add LoadCredential={name}:/path/of/the/secret to the service"
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise Refused(f"credential {name}: systemd gave this process none; {mend}")
    if "/" in name or name in ("", ".", ".."):
        raise Refused(f"credential {name}: a name has no slash; a path is written as a file")
    try:
        # Its mode is not judged: systemd keeps the directory to the service, and some files in it at 0440.
        with (Path(directory) / name).open("rb") as opened:
            content = opened.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise Refused(f"credential {name}: {error.strerror}; {mend}") from error
    return _secret(content, f"credential {name}")


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise Refused(f"env {name}: not set; set the variable for this process")
    return _secret(os.fsencode(value), f"env {name}")


def _from_command(argv: tuple[str, ...], timeout: float) -> str:
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own command, and no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # so that whatever it started can be ended with it
        )
    except (OSError, ValueError) as error:
        raise Refused(f"command {argv[0]}: cannot be run; give its full path and see that it is executable") from error
    with process:
        release(process.pid)
        try:
            content = _output(process, monotonic() + timeout)
        except TimeoutError:
            raise Refused(f"command {argv[0]}: not done after {timeout:g} s; does it wait for somebody?") from None
        finally:
            # Not yet waited for, so the number cannot have passed to another process.
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
    if len(content) > SIZE_LIMIT:
        raise Refused(f"command {argv[0]}: writes more than a secret can be; see that it gives the secret alone")
    if process.returncode:
        raise Refused(f"command {argv[0]}: ended with exit code {process.returncode}; run it by hand to see why")
    return _secret(content.partition(b"\n")[0], f"command {argv[0]}")


def _output(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Return what *process* writes, until it ends or has written too much; raise TimeoutError at the deadline."""
    assert process.stdout is not None
    taken = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(taken) <= SIZE_LIMIT:
            if not selector.select(max(0.0, deadline - monotonic())):
                raise TimeoutError
            piece = os.read(process.stdout.fileno(), SIZE_LIMIT)
            if not piece:
                break
            taken += piece
        else:
            return taken
    try:
        process.wait(max(0.0, deadline - monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return taken


def _secret(content: bytes, where: str) -> str:
    """Return *content* without its line end, if it can be a password."""
    if len(content) > SIZE_LIMIT:
        raise Refused(f"{where}: longer than a secret can be; see that it gives the secret alone")
    try:
        secret = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        # Not chained: the original carries the bytes.
        raise Refused(f"{where}: not UTF-8 text; see that it gives the secret alone") from None
    if not secret:
        raise Refused(f"{where}: empty; put the secret there")
    if set(secret) & set("\r\n\0"):
        raise Refused(f"{where}: more than one line; see that it gives the secret alone")
    return secret
