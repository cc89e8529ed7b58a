"""`ingestd anchor`: what the logs end with, to be kept where nobody who writes to the database can reach it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from ..errors import IngestError, Refused
from .choice import StoreUri, configured, stored_or_configured
from .command import FINDING, KEEP, Session, command
from .kept import ENDING, minisign, signature_of

if TYPE_CHECKING:
    from ..archive.anchors import Anchor
    from ..archive.minisign import SecretKey

KINDS = ("file", "credential", "env", "command")

Accounts = Annotated[
    list[str] | None, typer.Argument(metavar="ACCOUNT", help="Only these accounts.", show_default=False)
]
To = Annotated[
    Path | None, typer.Option("--to", metavar="PATH", help="Write a new file; in a directory, one named by the time.")
]
Sign = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Sign it: file:PATH, credential:NAME, env:NAME or command:ARGV of a key of minisign."
    ),
]
NewKey = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Make a key to sign with, and say its public key; nothing else.")
]


def register(app: typer.Typer) -> None:
    command(app, anchor, KEEP)


def anchor(
    session: Session,
    accounts: Accounts = None,
    to: To = None,
    sign: Sign = None,
    new_key: NewKey = None,
    store: StoreUri = None,
) -> int | None:
    """Note what the log of each account ends with: a line of JSON each, to be kept outside the database.

    Whoever can write to the database could cut the end off a log, or write it all anew. `ingestd verify --anchor PATH`
    finds that out. Keep anchors where such a person cannot reach them: mail them, print them, commit them elsewhere.
    With --sign there is a signature beside the file, which `minisign -V` checks as well.
    """
    if new_key is not None:
        _make_key(session, new_key)
        return None
    if sign is not None and to is None:
        raise Refused("--sign: only with --to, since the signature is a file beside it")
    key = _secret_key(sign) if sign is not None else None
    taken, errors = _taken(session, accounts, store)
    for error in errors:
        session.output.complain(str(error))
    if not taken and not errors:
        session.output.note("nothing is sealed yet")
    elif to is not None and taken:
        _write(session, taken, to, key)
    else:
        for each in taken:
            session.output.emit(each.data, each.line)
    return FINDING if errors else None


def _taken(session: Session, wanted: Sequence[str] | None, store: str | None) -> tuple[list[Anchor], list[IngestError]]:
    from ..archive import log
    from ..daemon import reading

    config, now = configured(session, store), datetime.now(UTC).replace(microsecond=0)
    taken: list[Anchor] = []
    errors: list[IngestError] = []
    with reading(config) as database:
        for name in stored_or_configured(config, database, wanted):
            try:
                taken += filter(None, [log.anchor(database, name, now)])
            except log.Broken as error:
                errors.append(error)
    return taken, errors


def _write(session: Session, taken: Sequence[Anchor], to: Path, key: SecretKey | None) -> None:
    at = taken[0].at
    path = to / f"anchor-{at:%Y%m%dT%H%M%SZ}{ENDING}" if to.is_dir() else to
    content = "".join(f"{each.line}\n" for each in taken).encode()
    if key is not None:
        # First, so that there is never a file whose signature is still to come.
        _create(signature_of(path), key.sign(content, f"anchors of ingestd, {at:%Y-%m-%d %H:%M:%S} UTC").encode())
    _create(path, content)
    names = [each.account for each in taken]
    said = {"file": path, "signed": key is not None, "accounts": names}
    session.output.emit(said, f"{path}: {_many(len(names))}{', signed' if key else ''}")


def _many(count: int) -> str:
    return f"{count:,} anchor{'s' if count != 1 else ''}"


def _create(path: Path, content: bytes, mode: int = 0o644) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}; name a new file") from error


# --- keys


def _make_key(session: Session, path: Path) -> None:
    key = minisign().SecretKey.new()
    _create(path, f"{key.text}\n".encode(), 0o600)
    public = key.public.text
    said = f"{path}: a new secret key, for you alone\npublic key, to check signatures with: {public}"
    session.output.emit({"file": path, "public_key": public}, said)


def _secret_key(reference: str) -> SecretKey:
    from ..sources.credentials import SecretReference

    kind, _, value = reference.partition(":")
    if kind not in KINDS or not value:
        raise Refused(
            f"--sign: begins with one of {', '.join(f'{kind}:' for kind in KINDS)}, then says where the key is"
        )
    what = tuple(shlex.split(value)) if kind == "command" else value
    secret = SecretReference(cast(Literal["file", "credential", "command", "env"], kind), what)
    return cast("SecretKey", minisign().SecretKey.parse(secret.resolve()))
