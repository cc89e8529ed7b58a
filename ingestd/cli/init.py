"""`ingestd init`: a configuration to start from, or one account more in it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import Refused
from .command import START, Session, command

BY_FLAGS = "Without questions"

Address = Annotated[str | None, typer.Option(help="Whose mail; its server is looked for.", rich_help_panel=BY_FLAGS)]
Name = Annotated[str | None, typer.Option(help="Names the account, for ever.", rich_help_panel=BY_FLAGS)]
Host = Annotated[
    str | None, typer.Option("--imap-host", help="The server, instead of looking for it.", rich_help_panel=BY_FLAGS)
]
Port = Annotated[int | None, typer.Option("--imap-port", min=1, max=65535, rich_help_panel=BY_FLAGS)]
Tls = Annotated[Literal["implicit", "starttls"], typer.Option(help="Of --imap-host.", rich_help_panel=BY_FLAGS)]
User = Annotated[str | None, typer.Option(help="Who one is there, if not the address.", rich_help_panel=BY_FLAGS)]
PasswordFile = Annotated[
    Path | None, typer.Option(help="Where the password is kept, readable by you alone.", rich_help_panel=BY_FLAGS)
]
CaFile = Annotated[
    Path | None, typer.Option(help="An authority of your own, for its certificate.", rich_help_panel=BY_FLAGS)
]
ClientId = Annotated[
    str | None, typer.Option(help="Log in with OAuth 2, as this client, without a password.", rich_help_panel=BY_FLAGS)
]
StoreUri = Annotated[str, typer.Option("--store", metavar="URI", help="Of a new configuration.")]
Test = Annotated[bool, typer.Option("--test/--no-test", help="Log in before anything is written.")]


@dataclass(frozen=True, slots=True)
class Given:
    """What was said on the command line."""

    address: str
    name: str | None = None
    host: str | None = None
    port: int | None = None
    tls: Literal["implicit", "starttls"] = "implicit"
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    client_id: str | None = None
    store: str = ""
    test: bool = True


def register(app: typer.Typer) -> None:
    command(app, init, START)


def init(
    session: Session,
    address: Address = None,
    name: Name = None,
    host: Host = None,
    port: Port = None,
    tls: Tls = "implicit",
    user: User = None,
    password_file: PasswordFile = None,
    ca_file: CaFile = None,
    client_id: ClientId = None,
    store: StoreUri = "embedded:store",
    test: Test = True,
    show: Annotated[bool, typer.Option("--print", help="Print the commented configuration.")] = False,
) -> None:
    """Write a configuration, or an account more into it: asks for an address, finds its server, and tries the login.

    It goes to --config FILE, or where a configuration is found, or to ~/.config/ingestd/ingestd.toml; what stands there
    stays. Without an address, and without anybody to ask, a complete commented configuration is written to start from.
    """
    if show:
        session.output.emit({"config": example()}, example().rstrip("\n"))
        return
    kept, ca_file = (path.absolute() if path else None for path in (password_file, ca_file))
    given = Given(address or "", name, host, port, tls, user, kept, ca_file, client_id, store, test)
    if address is None and sys.stdin is not None and sys.stdin.isatty():
        from . import wizard

        if wizard.asked(session, given):
            return
    elif address is not None:
        from . import wizard

        wizard.told(session, given)
        return
    _commented(session)


def _commented(session: Session) -> None:
    path = (session.options.config or Path("~/.config/ingestd/ingestd.toml")).expanduser().absolute()
    _write(path, example())
    named = f"--config {path} " if session.options.config else ""
    session.output.emit({"written": path}, f"{path}: written; edit it, then run: ingestd {named}check")


def example() -> str:
    """The complete commented configuration."""
    packaged = files("ingestd") / "ingestd.toml"
    if not packaged.is_file():  # installed in place, from the repository
        packaged = Path(__file__).parents[2] / "config" / "ingestd.toml"
    return packaged.read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise Refused(f"{path}: there is one already; to see the example: ingestd init --print") from error
    except OSError as error:
        raise Refused(f"{path}: cannot be written: {error.strerror}") from error
