"""Programs of other packages, and the unprivileged user whom a private mail server runs as."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..errors import Refused

PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))


def installed(name: str) -> bool:
    return shutil.which(name, path=PATH) is not None


def path_of(name: str) -> str:
    """Where the program *name* is; without it, its name, so that whoever starts it is told what is missing."""
    return shutil.which(name, path=PATH) or name


@dataclass(frozen=True, slots=True)
class Owner:
    """Who Dovecot runs as, and so to whom its files belong."""

    user: str
    group: str
    uid: int
    gid: int

    @classmethod
    def found(cls) -> Owner:
        """The calling user; for root, whom Dovecot refuses to serve mail as, the one its package made, else nobody."""
        names = [pwd.getpwuid(os.getuid()).pw_name] if os.getuid() else ["dovecot", "_dovecot", "nobody"]
        for name in names:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(name, grp.getgrgid(entry.pw_gid).gr_name, entry.pw_uid, entry.pw_gid)
        raise Refused("private mail server: there is no unprivileged user to run Dovecot as; run this as one")

    def command(self) -> list[str]:
        """What starts a program as this user, to be stopped when the thread that started it is gone."""
        program = [path_of("setpriv"), "--pdeathsig", "TERM"]
        return program if os.getuid() else [*program, f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]

    def own(self, path: Path) -> None:
        if os.getuid() == 0:
            os.chown(path, self.uid, self.gid)

    def make(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.own(directory)

    def write(self, path: Path, text: str) -> None:
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        self.own(path)

    def can_enter(self, directory: Path) -> bool:
        if os.getuid():
            return os.access(directory, os.X_OK)
        status = directory.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        return bool(status.st_mode & (0o010 if status.st_gid == self.gid else 0o001))
