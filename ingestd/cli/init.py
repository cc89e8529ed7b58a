"""`ingestd init`: a commented configuration to start from."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from ..errors import Refused
from .command import START, Session, command


def register(app: typer.Typer) -> None:
    command(app, init, START)


def init(
    session: Session,
    show: Annotated[bool, typer.Option("--print", help="Print it instead of writing a file.")] = False,
) -> None:
    """Write a commented configuration to start from.

    It goes to --config FILE, or to ~/.config/ingestd/ingestd.toml. A file that is already there is left alone.
    """
    text = example()
    if show:
        session.output.emit({"config": text}, text.rstrip("\n"))
        return
    path = (session.options.config or Path("~/.config/ingestd/ingestd.toml")).expanduser().absolute()
    _write(path, text)
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
