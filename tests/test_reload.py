"""Another configuration for a daemon that runs."""

from __future__ import annotations

from pathlib import Path

from ingestd.config import load
from ingestd.reload import Changes, reread

STORE = '[store]\nuri = "embedded:x"\n'
ACCOUNT = '[[account]]\nname = "{name}"\n[account.imap]\nhost = "{host}"\nuser = "me"\npassword = {{ env = "X" }}\n'


def accounts(**hosts: str) -> str:
    return STORE + "".join(ACCOUNT.format(name=name, host=host) for name, host in hosts.items())


def test_only_what_is_different_changes(tmp_path: Path) -> None:
    file = tmp_path / "ingestd.toml"
    file.write_text(accounts(a="one.example.org", b="one.example.org", c="one.example.org"))
    before = load(file)
    file.write_text(accounts(b="two.example.org", c="one.example.org", d="one.example.org"))

    after = reread(before)

    named = [{account.name: account for account in config.accounts} for config in (before, after)]
    assert Changes.between(*named) == Changes(frozenset("d"), frozenset("a"), frozenset("b"))


def test_a_configuration_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "ingestd.toml"
    file.write_text(accounts(a="one.example.org"))
    before = load(file)

    for text in ("[store", STORE, accounts(a="one.example.org") + "pasword = 1\n"):
        file.write_text(text)
        assert reread(before) is before
    file.unlink()
    assert reread(before) is before
