"""Add an account to a configuration that a person keeps: what stands there stays as it is, comments and all.

So the account is written behind it, as a person would; nothing is read and written anew.
"""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

HEAD = "# What else can be said here, and what holds if nothing is: ingestd init --print\n"

Table = Mapping[str, Any]  # values, secrets ({"file": ...}), and tables of them; None for what is not said


def begun(store: str) -> str:
    """A configuration with a *store* (its URI) and nothing else."""
    return f"{HEAD}\n[store]\nuri = {_value(store)}\n"


def with_account(text: str, account: Table) -> str:
    """*text* with one account more, behind all that it holds."""
    return "\n".join([text.rstrip("\n"), "", "[[account]]", *_lines("account", account), ""])


def names(text: str) -> set[str]:
    """The names of the accounts in *text*, as far as it makes sense."""
    with suppress(tomllib.TOMLDecodeError, AttributeError, TypeError):
        return {str(account.get("name")) for account in tomllib.loads(text).get("account", ())}
    return set()


def replaced(file: Path, text: str, check: Callable[[Path], object]) -> None:
    """Put *text* in the place of *file*, whole or not at all, once *check* has nothing against it there.

    A new file is for its owner alone; one that is there keeps its mode and owner.
    """
    file = file.resolve()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-", suffix=".toml")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as written:
            written.write(text)
            _as_before(file, descriptor)
            written.flush()
            os.fsync(descriptor)
        check(Path(name))
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _as_before(file: Path, descriptor: int) -> None:
    with suppress(FileNotFoundError, PermissionError):
        before = file.stat()
        os.fchmod(descriptor, before.st_mode & 0o777)
        os.fchown(descriptor, before.st_uid, before.st_gid)


def _lines(path: str, table: Table) -> Iterator[str]:
    """The lines of a table: its values first, then the tables within it."""
    within = {name: value for name, value in table.items() if isinstance(value, Mapping) and not _is_secret(name)}
    for name, value in table.items():
        if name not in within and value is not None:
            yield f"{name} = {_value(value)}"
    for name, value in within.items():
        yield from ("", f"[{path}.{name}]", *_lines(f"{path}.{name}", value))


def _is_secret(name: str) -> bool:
    return name.endswith(("password", "secret"))


def _value(value: object) -> str:
    """As TOML writes it: a string as JSON does, too, as long as it is printable."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_value(each)}" for name, each in value.items()) + " }"
    return str(value) if isinstance(value, int) else json.dumps(str(value), ensure_ascii=False)
