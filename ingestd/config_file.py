"""The configuration file: where it is looked for, how it is read, and how its mistakes are told.

What may stand in it is the business of `config.py`.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from glob import glob, has_magic
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from .errors import Refused

SIZE_LIMIT = 4 << 20  # bytes of one file
SHOWN = 20  # mistakes told at once
LINE_LIMIT = 1000  # characters of one
SUCCESSORS = {"worker_memory": "memory_limit"}  # keys that were, and what stands for them now


class ConfigError(Refused):
    """The configuration cannot be used. One line a mistake, each naming the file, the key and the mend."""

    @classmethod
    def of(cls, lines: Sequence[str]) -> ConfigError:
        """Tell the first of *lines*, each as one line whatever strange key it names."""
        shown = ["".join(c if c.isprintable() else "?" for c in line[:LINE_LIMIT]) for line in lines[:SHOWN]]
        more = [f"and {len(lines) - SHOWN:,} more mistakes"] if len(lines) > SHOWN else []
        return cls("\n".join(shown + more))


@dataclass(frozen=True, slots=True)
class Written:
    """One table as it was written, and the file it stands in."""

    file: Path
    values: Any

    @property
    def name(self) -> str:
        """The account's name, or "" while it has none that can be shown."""
        name = self.values.get("name") if isinstance(self.values, dict) else None
        return name if isinstance(name, str) and name.isprintable() and len(name) <= 100 else ""


def find(path: Path | None) -> Path:
    """Return the file to read: *path*, or the first that exists of the usual places; raise ConfigError if none does."""
    # Never the working directory: a configuration can run commands.
    named = path or (Path(os.environ["INGESTD_CONFIG"]) if os.environ.get("INGESTD_CONFIG") else None)
    if named:
        return _expanded(named, named).absolute()
    places = [*_at_home(), Path("/etc/ingestd/ingestd.toml")]
    for place in places:
        if place.exists():
            return place
    looked = ", ".join(("--config", "$INGESTD_CONFIG", *map(str, places)))
    raise ConfigError(f"no configuration found; looked at {looked}; write one with: ingestd init")


def _at_home() -> Iterator[Path]:
    """A service may run as a user without a home directory; then there is no such place."""
    with suppress(ValueError):
        yield expanded(Path("~/.config/ingestd/ingestd.toml"))


def expanded(path: Path) -> Path:
    """*path* with `~` or `~user` replaced; raise ValueError when there is no such home directory."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("begins with a home directory that is not known here; write it out") from error


def _expanded(path: Path, said_of: Path) -> Path:
    try:
        return expanded(path)
    except ValueError as error:
        raise ConfigError(f"{said_of}: {path}: {error}") from error


def read(file: Path) -> dict[str, Any]:
    """Return the tables of *file*; raise ConfigError when it cannot be read or is not TOML."""
    try:
        content = _content(file)
        return tomllib.loads(content.decode())
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: no such file; write one with: ingestd init --config {file}") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text, from byte {error.start} on; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error  # its text ends in "(at line 3, column 7)"


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        # It can name commands to run, so whoever can write to it can run them.
        if os.fstat(opened.fileno()).st_mode & stat.S_IWOTH:
            raise ConfigError(f"{file}: everyone may write to it; run: chmod o-w {file}")
        content = opened.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise ConfigError(f"{file}: larger than a configuration can be ({SIZE_LIMIT:,} bytes)")
    return content


def included(file: Path, pattern: object) -> list[Path]:
    """Return the files that `include = pattern` of *file* names, in order of name."""
    if not isinstance(pattern, str) or not pattern.strip() or not pattern.isprintable():
        raise ConfigError(f'{file}: include: must be a file or a pattern, e.g. include = "accounts.d/*.toml"')
    start = str(_expanded(Path(pattern), file))
    # Unlike Path.glob this takes any text, a pattern in any part of it, and absolute ones.
    found = sorted(file.parent / name for name in glob(start, root_dir=file.parent))  # noqa: PTH207
    if not found and not has_magic(start):
        raise ConfigError(f"{file}: include: {file.parent / start}: no such file")
    return [other for other in found if other != file]


# --- telling mistakes


def mistakes(table: str, written: Written, error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """Tell every mistake of *table*, which should have been a *model*, a line each. Values are never told."""
    account = f' (account "{written.name}")' if written.name else ""
    for detail in error.errors(include_url=False, include_input=False):
        if detail["type"] == "default_factory_not_called":
            continue  # a default that follows from another key, whose own mistake is told
        yield f"{written.file}: {_mistake(table, detail, model)}{account}"


def unknown(key: str, known: Iterable[str]) -> str:
    """Say that *key* is not one of *known*, and which of them was probably meant."""
    near = [SUCCESSORS[key]] if key in SUCCESSORS else get_close_matches(key, known, n=1)
    return f'unknown key; did you mean "{near[0]}"?' if near else f"unknown key; known are {', '.join(known)}"


def _mistake(table: str, detail: ErrorDetails, model: type[BaseModel]) -> str:
    holder, key, rest = model, "", detail["loc"]
    while rest:
        holder, key = model, str(rest[0])
        inner = _model(model, key)
        if inner is None:
            break
        table, model, rest = f"{table}.{key}", inner, rest[1:]
    where = "[[account]]" if table == "account" else f"[{table}]"
    # A mistake of a whole table begins with the key itself, or has none.
    named = f" {'.'.join(map(str, rest))}:" if rest else ""
    return f"{where}{named} {_said(detail, key, holder)}"


def _said(detail: ErrorDetails, key: str, holder: type[BaseModel]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return unknown(key, _fields(holder))
        case "missing":
            return f"missing; add {(_fields(holder)[key].examples or [key])[0]}"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "model_type":
            return "must be a table"
    return detail["msg"].replace("Input should be", "must be").replace("'", '"')


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a table, as they are written."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    field = _fields(model).get(key)
    kinds = (field.annotation, *get_args(field.annotation)) if field else ()
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
