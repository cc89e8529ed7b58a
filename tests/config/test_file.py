"""Where the configuration is looked for, and the example."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from ingestd.config import Account, Alerts, Config, ConfigError, Daemon, Imap, Limits, OAuth, Pop3, Secret, Store, load
from ingestd.errors import Refused
from tests.config.writing import ACCOUNT, IMAP, STORE, Write, mistake

EXAMPLE = Path(__file__).parents[2] / "config" / "ingestd.toml"


# --- the example


def all_written() -> str:
    """The example with every default written out."""
    return re.sub(r"(?m)^# (?=[a-z_]+ = |\[account\.|\[alerts\])", "", EXAMPLE.read_text())


def tables(tree: dict[str, Any]) -> list[tuple[type[BaseModel], dict[str, Any]]]:
    (account,) = tree["account"]
    return [
        (Store, tree["store"]),
        (Daemon, tree["daemon"]),
        (Account, account),
        (Imap, account["imap"]),
        (Pop3, account["pop3"]),
        (OAuth, account["oauth"]),
        (Limits, account["limits"]),
        (Alerts, {**tree["alerts"], "oauth": account["oauth"]}),  # told in words
    ]


def test_the_example_can_be_used_as_it_is() -> None:
    config = load(EXAMPLE)

    assert [account.name for account in config.accounts] == ["work"]


def test_the_example_shows_every_key_and_no_other() -> None:
    tree = tomllib.loads(all_written())

    for model, shown in tables(tree):
        assert set(shown) == {field.alias or name for name, field in model.model_fields.items()}, model
    assert set(tree) == {"include", "store", "daemon", "alerts", "account"}
    for kind in Secret.model_fields:
        assert f"{{ {kind} = " in EXAMPLE.read_text()


def test_every_default_that_the_example_shows_is_the_default(write: Write) -> None:
    lines = all_written().splitlines(keepends=True)
    depends = {"workers", "spool_dir", "ca_file", "token_key", "password"}  # told in words
    depends |= {"imap", "pop3", "oauth", "limits"}
    # There is another way in, and there is `every`.
    instead = ("include", 'password = { file = "/etc/ingestd/work.secret" }', 'cron = "0 7-19 * * mon-fri"')

    defaults, shown = load(EXAMPLE), load(write("".join(line for line in lines if not line.startswith(instead))))

    for default, written in zip(parts(defaults), parts(shown), strict=True):
        assert default.model_dump(exclude=depends) == written.model_dump(exclude=depends)


def parts(config: Config) -> list[BaseModel]:
    return [config.store, config.daemon, config.accounts[0], config.accounts[0].imap]


# --- where it is looked for


def test_the_file_that_is_asked_for_comes_first(write: Write, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, named = write(STORE + ACCOUNT + IMAP), write("not read", "other.toml")
    monkeypatch.setenv("INGESTD_CONFIG", str(named))

    assert load(asked).file == asked


def test_the_environment_comes_before_the_home_directory(
    write: Write, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = write(STORE + ACCOUNT + IMAP)
    (home / ".config/ingestd/ingestd.toml").write_text("not read")
    monkeypatch.setenv("INGESTD_CONFIG", str(named))

    assert load().file == named


def test_the_home_directory_is_looked_at(home: Path) -> None:
    file = home / ".config/ingestd/ingestd.toml"
    file.write_text(STORE + ACCOUNT + IMAP)

    assert load().file == file


@pytest.mark.skipif(Path("/etc/ingestd/ingestd.toml").exists(), reason="this machine has a configuration")
def test_the_working_directory_is_never_looked_at(home: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(STORE + ACCOUNT + IMAP).parent)

    with pytest.raises(
        ConfigError, match=r"no configuration found; looked at --config, \$INGESTD_CONFIG, .*/etc/"
    ) as r:
        load()

    assert str(r.value).endswith("write one with: ingestd init")


def test_a_missing_file_is_said_with_the_mend(tmp_path: Path) -> None:
    file = tmp_path / "nowhere.toml"

    assert mistake(file) == f"no such file; write one with: ingestd init --config {file}"


def test_an_error_of_configuration_is_for_a_person_to_mend(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        load(tmp_path / "nowhere.toml")


def test_a_file_that_everyone_may_change_is_refused(write: Write) -> None:
    file = write(STORE + ACCOUNT + IMAP)
    file.chmod(0o666)

    assert mistake(file) == f"everyone may write to it; run: chmod o-w {file}"


def test_broken_toml_is_told_with_line_and_column(write: Write) -> None:
    assert re.fullmatch(r"not TOML: .*\(at line 2, column 7\)", mistake(write("[store]\nuri = \n")))


def test_other_encodings_than_utf8_are_refused(write: Write) -> None:
    file = write("")
    file.write_bytes(b'[store]\nuri = "caf\xe9"\n')

    assert mistake(file).startswith("not UTF-8 text")
