"""Configurations that are written for a test, and what is said about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ingestd.config import Account, ConfigError, load

STORE = '[store]\nuri = "mongodb://localhost/mail"\n'
ACCOUNT = '[[account]]\nname = "work"\n'
IMAP = '[account.imap]\nhost = "imap.example.org"\nuser = "me"\npassword = { env = "X" }\n'

Write = Callable[..., Path]


def mistake(file: Path) -> str:
    """What is said about *file*, without its name."""
    with pytest.raises(ConfigError) as refusal:
        load(file)
    lines = str(refusal.value).splitlines()
    assert all(line.startswith(f"{file}: ") for line in lines), lines
    return "\n".join(line.removeprefix(f"{file}: ") for line in lines)


def account(write: Write, keys: str = "", imap: str = "") -> Account:
    return load(write(STORE + ACCOUNT + keys + "\n" + IMAP + imap)).accounts[0]
