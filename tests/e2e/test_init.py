"""From an address to an account that works, with questions and without."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingestd.config import load
from ingestd.demo.dovecot import Dovecot
from tests.e2e.conftest import SECONDS

MINE = '# what we keep\n[store]\nuri = "embedded:store"  # for now\n\n# the daemon\n[daemon]\nworkers = 1'


@pytest.fixture
def directory(tmp_path: Path, dovecot: Dovecot) -> Path:
    """Where the configuration will be, and the password is."""
    secret = tmp_path / "kept"
    secret.touch(mode=0o600)
    secret.write_text(dovecot.password)
    return tmp_path


def init(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ingestd", "--config", str(directory / "ingestd.toml"), "init", *words]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run(command, **pipes, text=True, timeout=SECONDS, cwd=directory, check=False)


def at(dovecot: Dovecot, user: str, directory: Path) -> list[str]:
    server = ["--imap-host", "localhost", "--imap-port", str(dovecot.imaps_port), "--ca-file", str(dovecot.ca_file)]
    return ["--address", "ann@example.org", "--user", user, *server, "--password-file", str(directory / "kept")]


def test_an_account_is_tried_and_written_by_flags_alone(directory: Path, dovecot: Dovecot, mail_user: str) -> None:
    done = init(directory, *at(dovecot, mail_user, directory), "--json")

    assert done.returncode == 0, done.stderr
    file = directory / "ingestd.toml"
    assert json.loads(done.stdout)["account"] == "example"
    assert file.stat().st_mode & 0o777 == 0o600
    (account,) = load(file).accounts
    assert (account.name, account.imap.host, account.imap.user) == ("example", "localhost", mail_user)
    check = [sys.executable, "-m", "ingestd", "--config", str(file), "check", "example"]
    assert subprocess.run(check, capture_output=True, timeout=SECONDS, check=False).returncode == 0


def test_what_stands_in_a_configuration_stays_as_it_is(directory: Path, dovecot: Dovecot, mail_user: str) -> None:
    file = directory / "ingestd.toml"
    file.write_text(MINE)
    file.chmod(0o640)
    for _ in range(2):
        done = init(directory, *at(dovecot, mail_user, directory))
        assert done.returncode == 0, done.stderr

    assert file.read_text().startswith(MINE + "\n\n[[account]]\n")
    assert [account.name for account in load(file).accounts] == ["example", "example-2"]
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--password-file", "wrong"], "login refused by localhost"),
        (["--name", "../x", "--no-test"], "[[account]] name: must be made of a-z, 0-9"),
        (["--imap-port", "1"], "cannot connect"),
    ],
)
def test_what_does_not_work_is_said_and_nothing_is_written(
    directory: Path, dovecot: Dovecot, mail_user: str, words: list[str], why: str
) -> None:
    wrong = directory / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("not this one")
    before = sorted(directory.iterdir())

    done = init(directory, *at(dovecot, mail_user, directory), *words)

    assert done.returncode in (1, 2)
    assert why in done.stderr
    assert dovecot.password not in done.stderr
    assert sorted(directory.iterdir()) == before


def test_without_a_password_it_says_how_to_give_one(directory: Path) -> None:
    done = init(directory, "--address", "somebody@gmail.com")

    assert done.returncode == 2
    assert "imap.gmail.com port 993 (implicit): it is well known" in done.stderr
    assert "say where it is: --password-file FILE" in done.stderr


def test_a_provider_with_oauth_is_written_with_it_and_the_login_is_suggested(directory: Path) -> None:
    done = init(directory, "--address", "somebody@outlook.com", "--client-id", "some-client", "--name", "work")

    assert done.returncode == 0, done.stderr
    assert "auth login work" in done.stdout
    (account,) = load(directory / "ingestd.toml").accounts
    assert account.oauth is not None
    assert (account.oauth.provider, account.oauth.client_id) == ("microsoft", "some-client")


# --- with questions


@contextmanager
def terminal(directory: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`ingestd init` at a terminal, and our end of that."""
    ours, its = os.openpty()
    command = [sys.executable, "-m", "ingestd", "--config", str(directory / "ingestd.toml"), "init", *words]
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, start_new_session=True)
    os.close(its)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def answer(ours: int, *answers: tuple[str, str]) -> str:
    """Give each answer when its question has come; return all that was on the screen."""
    seen = ""
    for question, words in answers:
        start = len(seen)
        while not re.search(question, seen[start:]):
            piece = _read(ours)
            assert piece, f"no question like {question!r} in:\n{seen}"
            seen += piece
        os.write(ours, f"{words}\n".encode())
    while piece := _read(ours):
        seen += piece
    return seen


def _read(ours: int) -> str:
    """What comes next; nothing when the other end is closed, or silent for long."""
    ready, _, _ = select.select([ours], [], [], 30)
    try:
        return os.read(ours, 4096).decode() if ready else ""
    except OSError:  # closed
        return ""


def test_a_person_is_asked_and_the_password_goes_into_a_file_of_its_own(
    directory: Path, dovecot: Dovecot, mail_user: str
) -> None:
    with terminal(directory, "--ca-file", str(dovecot.ca_file)) as (process, ours):
        seen = answer(
            ours,
            ("Mail address", f"{mail_user}@localhost"),
            ("IMAP server", "localhost"),
            ("port 993", "y"),
            (r"Port \[993\]", str(dovecot.imaps_port)),
            ("User name", mail_user),
            (r"Password: ", "not this one"),
            ("all the same", "n"),
            (r"Password: ", dovecot.password),
            ("Name of the account", "home"),
            ("Where to store", ""),
        )
        assert process.wait(SECONDS) == 0, seen

    assert "login refused by localhost" in seen
    assert "It lets us in." in seen
    assert dovecot.password not in seen
    secret = directory / "home.secret"
    assert secret.read_text() == f"{dovecot.password}\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    (account,) = load(directory / "ingestd.toml").accounts
    assert (account.name, account.imap.password and account.imap.password.file) == ("home", secret)


def test_a_person_who_names_no_address_gets_the_commented_configuration(directory: Path) -> None:
    with terminal(directory) as (process, ours):
        seen = answer(ours, ("Mail address", ""))
        assert process.wait(SECONDS) == 0, seen

    assert "written; edit it" in seen
    assert load(directory / "ingestd.toml").accounts[0].name == "work"


def test_a_person_says_yes_to_what_was_found_and_is_told_how_to_log_in(directory: Path) -> None:
    with terminal(directory) as (process, ours):
        seen = answer(
            ours,
            ("Mail address", "somebody@gmail.com"),
            ("Is that yours", "y"),
            ("User name", ""),
            ("Client id", "some-client"),
            ("Name of the account", ""),
            ("Where to store", ""),
        )
        assert process.wait(SECONDS) == 0, seen

    assert "imap.gmail.com port 993 (implicit): it is well known" in seen
    assert "auth login gmail" in seen
    (account,) = load(directory / "ingestd.toml").accounts
    assert account.imap is not None
    assert account.oauth is not None
    assert (account.name, account.imap.user, account.oauth.provider) == ("gmail", "somebody@gmail.com", "google")
