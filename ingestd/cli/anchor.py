"""`ingestd anchor`: what the logs end with, to be kept where nobody who writes to the database can reach it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from ..archive.finding import Finding
from ..errors import IngestError, Refused
from .choice import StoreUri, configured, stored_or_configured
from .command import FINDING, KEEP, Session, command

if TYPE_CHECKING:
    from ..archive.anchors import Anchor
    from ..archive.minisign import PublicKey, SecretKey

Document = dict[str, Any]

KINDS = ("file", "credential", "env", "command")
ENDING = ".jsonl"
SIZE_LIMIT = 16 << 20  # bytes of a file that is read; an anchor has about 200

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
        _create(_signature_of(path), key.sign(content, f"anchors of ingestd, {at:%Y-%m-%d %H:%M:%S} UTC").encode())
    _create(path, content)
    names = [each.account for each in taken]
    said = {"file": path, "signed": key is not None, "accounts": names}
    session.output.emit(said, f"{path}: {len(names):,} anchors{', signed' if key else ''}")


def _create(path: Path, content: bytes, mode: int = 0o644) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}; name a new file") from error


def _signature_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.minisig")


# --- keys


def _make_key(session: Session, path: Path) -> None:
    key = _minisign().SecretKey.new()
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
    return cast("SecretKey", _minisign().SecretKey.parse(secret.resolve()))


def _public_key(text: str) -> PublicKey:
    """*text* is the key, or names the file that holds it."""
    path = Path(text)
    found = path.read_text(errors="replace") if path.is_file() and path.stat().st_size < 4096 else text
    return cast("PublicKey", _minisign().PublicKey.parse(found))


def _minisign() -> ModuleType:
    try:
        from ..archive import minisign
    except ImportError as error:
        raise Refused("signatures need the package cryptography: pip install 'ingestd[sign]'") from error
    return minisign


# --- for those who check


@dataclass(frozen=True, slots=True)
class Kept:
    """The anchors that were kept, and what is wrong with their signatures."""

    anchors: tuple[Anchor, ...]
    findings: tuple[Finding, ...]


def kept(paths: Sequence[Path], public_key: str | None) -> Kept:
    """Read the anchors in *paths*, of which each file must be signed if there is a *public_key*; raise Refused."""
    from ..archive.anchors import read

    if public_key is not None and not paths:
        raise Refused("--public-key: only with --anchor")
    key = None if public_key is None else _public_key(public_key)
    anchors: list[Anchor] = []
    findings: list[Finding] = []
    for path in (file for named in paths for file in _files(named)):
        content = _content(path)
        if key is not None and (doubt := _unsigned(path, content, key)):
            findings.append(doubt)
        else:
            anchors += read(content, path)
    return Kept(tuple(anchors), tuple(findings))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    found = sorted(path.glob(f"*{ENDING}"))
    if not found:
        raise Refused(f"{path}: no file there ends in {ENDING}; name the anchors, or where they are")
    yield from found


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}; name a file that `ingestd anchor` wrote") from error
    if len(content) > SIZE_LIMIT:
        raise Refused(f"{path}: too large for anchors; name a file that `ingestd anchor` wrote")
    return content


def _unsigned(path: Path, content: bytes, key: PublicKey) -> Finding | None:
    """Why a file cannot be believed, if so."""
    try:
        signature = _signature_of(path).read_text(errors="replace")
        key.check(content, signature)
    except OSError:
        return Finding("anchor_unsigned", str(path), "there is no signature beside it")
    except IngestError as error:
        return Finding("anchor_unsigned", str(path), str(error))
    return None
