"""A private mail server: Dovecot on loopback ports of its own, with its own configuration, certificates and mail.

It shares nothing with a Dovecot that the machine runs anyway, and never touches it. Any user name can log in, with the
one password, and finds a Maildir. All it writes lies below one directory, which stays when it stops.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from imapclient.imap_utf7 import encode as modified_utf7

from ..errors import Refused, Unavailable
from .certificates import Certificate, make_certificates
from .dovecot_configuration import Settings, configuration
from .programs import PATH, Owner, installed, path_of

START_SECONDS = 20.0
STOP_SECONDS = 3.0
START_ATTEMPTS = 3  # a free port may be taken by someone else before Dovecot binds it
SOCKET_PATH_BYTES = 70  # what is left of sun_path's 108 for names such as login/anvil-auth-penalty
INSTALL = "apt-get install --no-install-recommends dovecot-imapd dovecot-pop3d dovecot-lmtpd openssl"
LETTERS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}  # Maildir's flags
PORTS = ("imap", "imaps", "pop3", "pop3s", "lmtp")


class Letter(Protocol):
    """A message to deliver; `ingestd.demo.mailbox.Sample` is one."""

    @property
    def content(self) -> bytes: ...

    @property
    def internal_date(self) -> datetime: ...

    @property
    def flags(self) -> tuple[str, ...]: ...


class Dovecot:
    """The server runs inside the `with` block, and ends with the thread that started it, however that ends.

    As root, Dovecot runs as the unprivileged user that its package made, to whom *directory* then belongs; otherwise as
    the calling user. The password may hold letters, digits, `-` and `_` only.
    """

    def __init__(self, directory: Path, password: str, *, certificate: Certificate = "good", more: str = "") -> None:
        """*more* is further lines of Dovecot's configuration."""
        if not re.fullmatch(r"[A-Za-z0-9_-]+", password):
            raise ValueError("Dovecot's configuration would read more into this password than it says")
        self.directory, self.password = directory.absolute(), password
        self._certificate, self._more = certificate, more
        self._owner = Owner.found()
        self._ports: Mapping[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._serial = itertools.count()

    @staticmethod
    def missing() -> str | None:
        """Say what is missing on this machine and how to get it, or None when a server can be started."""
        for program in ("dovecot", "openssl", "setpriv"):
            if not installed(program):
                return f"{program} is not installed: {INSTALL}"
        if _version() < (2, 3):
            return "Dovecot is older than 2.3: install a newer one"
        for service in ("imap", "pop3", "lmtp"):
            if not any((Path(home) / service).exists() for home in ("/usr/lib/dovecot", "/usr/libexec/dovecot")):
                return f"Dovecot lacks its {service} service: {INSTALL}"
        return None

    def __enter__(self) -> Self:
        """Start the server; raise Refused when it cannot run here, Unavailable when it did not come up."""
        if reason := self.missing():
            raise Refused(f"private mail server: {reason}")
        self._check_directory()
        for name in ("", "etc", "run", "state", "mail", "transcripts"):
            self._owner.make(self.directory / name)
        self._make_certificates()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server; after `stop` on the same ports as before."""
        for _ in range(START_ATTEMPTS):
            self._ports = self._ports or dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
            self._owner.write(self.directory / "etc" / "dovecot.conf", configuration(self._settings))
            self._launch()
            if self._answers():
                return
            self.stop()
            self._ports = {}
        raise Unavailable(f"private mail server did not start; see {self.log_file}")

    def stop(self) -> None:
        """Stop the server and everything it started; the mail stays."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):  # in good order, nobody is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _wait(STOP_SECONDS, lambda: not any(map(_listens, self._ports.values())))

    # --- where to find it

    @property
    def imap_port(self) -> int:
        """Plain text, with STARTTLS on offer."""
        return self._ports["imap"]

    @property
    def imaps_port(self) -> int:
        return self._ports["imaps"]

    @property
    def pop3_port(self) -> int:
        """Plain text, with STLS on offer."""
        return self._ports["pop3"]

    @property
    def pop3s_port(self) -> int:
        return self._ports["pop3s"]

    @property
    def lmtp_port(self) -> int:
        return self._ports["lmtp"]

    @property
    def ca_file(self) -> Path:
        """The authority that signed the server's certificate for `localhost` and `127.0.0.1`."""
        return self.directory / "tls" / "ca.pem"

    @property
    def log_file(self) -> Path:
        return self.directory / "dovecot.log"

    def maildir(self, user: str) -> Path:
        return self.directory / "mail" / user / "Maildir"

    # --- what tests and demos do with it

    def deliver(self, user: str, mailbox: str, messages: Iterable[Letter]) -> int:
        """Put *messages* into a mailbox, in order, and return how many; the mailbox is made when it is missing.

        They are written straight into the Maildir, so thousands take a second, and the internal date is kept.
        """
        folder = self._folder(user, mailbox)
        count = 0
        for message in messages:
            name = f"{int(time.time())}.M{next(self._serial):06}P{os.getpid()}.localhost"
            count += 1
            self._place(folder, name, message)
        return count

    def transcribe(self, user: str) -> None:
        """From the user's next login on, keep what clients send, for `transcript`."""
        self._owner.make(self.directory / "transcripts" / user)

    def transcript(self, user: str) -> bytes:
        """What the user's clients have sent after login, each line behind a time stamp."""
        taken = sorted((self.directory / "transcripts" / user).glob("*.in"))
        return b"".join(path.read_bytes() for path in taken)

    # --- the parts

    @property
    def _settings(self) -> Settings:
        return Settings(_version(), self.directory, self.password, self.log_file, self._owner, self._ports, self._more)

    def _check_directory(self) -> None:
        if len(os.fsencode(self.directory / "run")) > SOCKET_PATH_BYTES:
            raise Refused(f"private mail server: the path {self.directory} is too long for its sockets; choose another")
        for parent in self.directory.parents:
            if parent.exists() and not self._owner.can_enter(parent):
                raise Refused(
                    f"private mail server: Dovecot runs as {self._owner.user} and cannot enter {parent}; "
                    "choose a directory below /tmp or /var/tmp"
                )

    def _make_certificates(self) -> None:
        if not self.ca_file.exists():
            make_certificates(self.ca_file.parent, self._certificate)
            for path in (self.ca_file.parent, *self.ca_file.parent.iterdir()):
                self._owner.own(path)

    def _launch(self) -> None:
        configuration = str(self.directory / "etc" / "dovecot.conf")
        self._owner.write(self.log_file, "")
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - no shell, and only our own words
                [*self._owner.command(), path_of("dovecot"), "-F", "-c", configuration],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,  # a Ctrl-C is for us to answer; and `stop` finds all of it in one group
                env={"PATH": PATH, "HOME": str(self.directory)},
            )

    def _answers(self) -> bool:
        """Whether it is there for every protocol before long."""
        process = self._process
        assert process is not None
        plain = [self.imap_port, self.pop3_port, self.lmtp_port]
        _wait(START_SECONDS, lambda: process.poll() is not None or all(map(_greets, plain)))
        return process.poll() is None and all(map(_listens, self._ports.values()))

    def _folder(self, user: str, mailbox: str) -> Path:
        parts = [] if mailbox == "INBOX" else mailbox.split("/")
        if any("." in part for part in parts):
            raise ValueError("Maildir++ keeps the hierarchy in dots: a mailbox name cannot hold one")
        encoded = [modified_utf7(part).decode("ascii") for part in parts]
        maildir = self.maildir(user)
        folder = maildir / "".join(f".{part}" for part in encoded)
        for path in (maildir.parent, maildir, folder, folder / "tmp", folder / "new", folder / "cur"):
            self._owner.make(path)
        if parts:
            self._owner.write(folder / "maildirfolder", "")
        return folder

    def _place(self, folder: Path, name: str, message: Letter) -> None:
        size = len(message.content)
        lines = size + message.content.count(b"\n") - message.content.count(b"\r\n")  # as IMAP sends them
        letters = "".join(sorted(LETTERS[flag] for flag in message.flags if flag in LETTERS))
        written = folder / "tmp" / name
        with written.open("wb") as file:
            file.write(message.content)
        stamp = message.internal_date.timestamp()
        os.utime(written, (stamp, stamp))
        self._owner.own(written)
        written.rename(folder / "cur" / f"{name},S={size},W={lines}:2,{letters}")


# --- ports and processes


def _free_ports(count: int) -> Iterator[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    yield from (taken.getsockname()[1] for taken in sockets)
    for taken in sockets:
        taken.close()


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(seconds: float, condition: Callable[[], bool]) -> None:
    """Return when *condition* holds, or after *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


def _version() -> tuple[int, ...]:
    command = [path_of("dovecot"), "--version"]
    said = subprocess.run(command, capture_output=True, timeout=10, check=False).stdout  # noqa: S603 - no shell
    found = re.match(rb"(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)
