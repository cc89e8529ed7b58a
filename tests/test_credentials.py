"""Secrets by reference: where they are read from, and what is said when they cannot be."""

import os
import resource
import signal
import sys
from pathlib import Path

import pytest

from ingestd.errors import Refused
from ingestd.sources.credentials import SIZE_LIMIT, SecretReference
from tests.waiting import moments

SECRET = "correct horse battery staple"


def secret_file(directory: Path, content: str, mode: int = 0o600) -> SecretReference:
    path = directory / "work.secret"
    path.write_text(content, newline="")
    path.chmod(mode)
    return SecretReference("file", str(path))


def python(code: str) -> SecretReference:
    return SecretReference("command", (sys.executable, "-c", code))


@pytest.mark.parametrize("content", [SECRET, SECRET + "\n", SECRET + "\r\n"])
def test_a_file_gives_its_content_without_the_line_end(tmp_path: Path, content: str) -> None:
    reference = secret_file(tmp_path, content)

    assert reference.resolve() == SECRET


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    reference = secret_file(tmp_path, "old")
    before = reference.resolve()

    secret_file(tmp_path, "new")

    assert (before, reference.resolve()) == ("old", "new")


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o666, 0o610])
def test_a_file_that_others_may_use_is_refused_with_the_mend(tmp_path: Path, mode: int) -> None:
    reference = secret_file(tmp_path, SECRET, mode)

    with pytest.raises(Refused, match=r"chmod 600 .*work\.secret"):
        reference.resolve()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    reference = secret_file(tmp_path, SECRET)
    os.chown(tmp_path / "work.secret", 65534, 65534)

    with pytest.raises(Refused, match=r"belongs to another user; run: chown 0 "):
        reference.resolve()


def test_a_missing_file_is_refused_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="No such file or directory; put the secret there, readable by you alone"):
        SecretReference("file", str(tmp_path / "nowhere")).resolve()


def test_a_pipe_is_refused_at_once_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)

    with pytest.raises(Refused, match="not a regular file"):
        SecretReference("file", str(tmp_path / "pipe")).resolve()


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "empty"), ("\n", "empty"), ("one\ntwo\n", "more than one line"), ("x" * (SIZE_LIMIT + 1), "longer than")],
)
def test_a_file_that_cannot_be_a_password_is_refused(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        secret_file(tmp_path, content).resolve()


def test_bytes_that_are_no_text_are_refused_without_showing_them(tmp_path: Path) -> None:
    reference = secret_file(tmp_path, "")
    (tmp_path / "work.secret").write_bytes(b"hunter2\xff")

    with pytest.raises(Refused, match="not UTF-8") as refusal:
        reference.resolve()

    assert refusal.value.__cause__ is None
    assert "hunter2" not in str(refusal.value)


def test_a_credential_comes_from_the_directory_that_systemd_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").write_text(SECRET)
    (tmp_path / "work").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert SecretReference("credential", "work").resolve() == SECRET


@pytest.mark.parametrize("name", ["../work", "sub/work", "..", ""])
def test_a_credential_cannot_leave_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    with pytest.raises(Refused, match="a name has no slash"):
        SecretReference("credential", name).resolve()


def test_a_credential_outside_systemd_is_refused_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    with pytest.raises(Refused, match="LoadCredential=work:"):
        SecretReference("credential", "work").resolve()


def test_a_variable_of_the_environment_gives_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORK_PASSWORD", SECRET)

    assert SecretReference("env", "WORK_PASSWORD").resolve() == SECRET


def test_an_unset_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORK_PASSWORD", raising=False)

    with pytest.raises(Refused, match="env WORK_PASSWORD: not set"):
        SecretReference("env", "WORK_PASSWORD").resolve()


def test_a_command_gives_the_first_line_that_it_prints() -> None:
    reference = python(f"print({SECRET!r}); print('user: me')")

    assert reference.resolve() == SECRET


def test_a_command_is_not_read_by_a_shell() -> None:
    reference = SecretReference("command", ("echo", "$HOME; `id` > x"))

    assert reference.resolve() == "$HOME; `id` > x"


def test_a_command_is_not_held_to_the_memory_that_we_may_use() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = "resource.getrlimit(resource.RLIMIT_DATA)"
    reference = python(f"import resource\nwhile {limit}[0] != {limit}[1]:\n  pass\nprint('free')")

    resource.setrlimit(resource.RLIMIT_DATA, (64 << 30, before[1]))
    try:
        assert reference.resolve() == "free"
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def test_a_failing_command_is_named_with_its_exit_code_and_never_its_output() -> None:
    reference = python("import sys; print('hunter2'); print('hunter2', file=sys.stderr); sys.exit(3)")

    with pytest.raises(Refused, match="ended with exit code 3") as refusal:
        reference.resolve()

    assert sys.executable in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_a_command_that_is_not_there_is_refused_with_the_mend() -> None:
    with pytest.raises(Refused, match="command /nowhere/pass: cannot be run; give its full path"):
        SecretReference("command", ("/nowhere/pass", "mail")).resolve()


def test_a_command_that_never_stops_writing_is_ended() -> None:
    with pytest.raises(Refused, match="writes more than a secret can be"):
        SecretReference("command", ("yes",)).resolve()


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    child = f"import os, pathlib, signal; pathlib.Path({str(started)!r}).write_text(str(os.getpid())); signal.pause()"
    # The parent ends at once and leaves a child that holds the output open.
    reference = python(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}])")

    with pytest.raises(Refused, match="not done after 2 s"):
        reference.resolve(timeout=2)

    assert ended(int(started.read_text()))


def ended(pid: int) -> bool:
    """Whether process *pid* has ended, within 5 seconds; it is ended otherwise."""
    for _ in moments(5):
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
    os.kill(pid, signal.SIGKILL)
    return False


def test_no_secret_is_shown_by_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORK_PASSWORD", SECRET)
    references = [SecretReference("command", ("vault", "--token=hunter2")), SecretReference("env", "WORK_PASSWORD")]

    shown = f"{references!r} {' '.join(map(str, references))}"

    assert "hunter2" not in shown
    assert SECRET not in shown
    assert "command vault: ***" in shown
