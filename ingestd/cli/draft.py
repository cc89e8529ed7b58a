"""Write an account that was found into a configuration, and its password into a file of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import config_edit
from ..config import ConfigError, load
from ..config_file import find
from ..errors import Refused
from ..sources.credentials import SecretReference
from ..sources.offer import Offer
from .command import Session


@dataclass(frozen=True, slots=True)
class Draft:
    """An account that is about to be written down."""

    name: str
    offer: Offer
    ca_file: Path | None = None
    password_file: Path | None = None  # that a person keeps
    password: str | None = field(default=None, repr=False)  # that goes into a file of its own
    client_id: str | None = None  # of OAuth 2, instead

    def resolved(self) -> str:
        """The password; raises Refused when it cannot be read."""
        if self.password_file:
            return SecretReference("file", str(self.password_file)).resolve()
        return self.password or ""


def place(session: Session) -> Path:
    """The configuration to write into: the one that is found, or where a new one belongs."""
    try:
        return find(session.options.config)
    except ConfigError:
        return Path("~/.config/ingestd/ingestd.toml").expanduser()


def content(file: Path) -> str | None:
    """What stands in *file*, None when there is none; raise Refused when it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file}: cannot be read; mend it, or name another: --config FILE") from error


def write(session: Session, file: Path, draft: Draft, store: str) -> None:
    """Write the secret and the account; when the configuration would not do, neither. A new one gets *store*."""
    text = config_edit.with_account(content(file) or config_edit.begun(store), _table(draft))
    with ExitStack() as stack:

        def check(written: Path) -> None:
            _load(written, file)
            stack.enter_context(_secret(file, draft))

        try:
            config_edit.replaced(file, text, check)
        except OSError as error:
            raise Refused(f"{file}: cannot be written: {error.strerror}") from error
    secret = draft.password_file or (_beside(file, draft) if draft.password else None)
    named = f"--config {file} " if session.options.config else ""
    following = f"auth login {draft.name}" if draft.client_id else f"check {draft.name}"
    data = {"written": file, "account": draft.name, "host": draft.offer.host, "secret": secret}
    session.output.emit(data, f"{file}: account {draft.name} added; next: ingestd {named}{following}")


def _load(written: Path, file: Path) -> None:
    """Make sure that what is *written*, which is to become *file*, can be used."""
    try:
        load(written)
    except ConfigError as error:
        raise Refused(str(error).replace(str(written), str(file))) from error


def _table(draft: Draft) -> dict[str, Any]:
    offer, secret = draft.offer, draft.password_file or Path(f"{draft.name}.secret")
    imap = {
        "host": offer.host,
        "tls": None if offer.tls == "implicit" else offer.tls,
        "port": None if offer.port == (993 if offer.tls == "implicit" else 143) else offer.port,
        "ca_file": draft.ca_file,
        "user": offer.user,
        "password": None if draft.client_id else {"file": secret},
    }
    if draft.client_id is None:
        return {"name": draft.name, "imap": imap}
    return {"name": draft.name, "imap": imap, "oauth": {"provider": offer.oauth, "client_id": draft.client_id}}


@contextmanager
def _secret(file: Path, draft: Draft) -> Iterator[None]:
    """Keep the password in a file of its own, beside *file*; not if the block fails."""
    if draft.password is None:
        yield
        return
    path = _beside(file, draft)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Refused(f"{path}: cannot be written: {error.strerror}; give the account another name") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as written:
        written.write(f"{draft.password}\n")
    try:
        yield
    except BaseException:
        path.unlink()
        raise


def _beside(file: Path, draft: Draft) -> Path:
    return file.resolve().parent / f"{draft.name}.secret"
