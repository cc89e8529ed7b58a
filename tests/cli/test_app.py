"""The command line as a whole: options, output, exit codes, and what is said when something fails."""

import io
import json
import logging
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import pytest
import typer

from ingestd import logs
from ingestd.cli import app, output
from ingestd.cli.command import READ, Options, Session, command
from ingestd.cli.init import example
from ingestd.cli.output import Bytes, Output, as_json, plain, table
from ingestd.config import ConfigError, load
from ingestd.errors import IngestError, LeaseLost, Refused, StoreUnavailable, Unavailable

CONFIG = """
[store]
uri = "mongodb://localhost/mail"
[[account]]
name = "work"
[account.imap]
host = "imap.example.org"
user = "me"
password = { env = "X" }
"""


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str | None]]:
    """How logs were configured, which here they are not: they belong to the whole process."""
    asked: list[tuple[int, str | None]] = []
    monkeypatch.setattr(logs, "configure", lambda level, style: asked.append((level, style)))
    return asked


Run = Callable[..., int]


def running(function: Callable[..., int | None]) -> Run:
    """The application with *function* as one more command."""
    built = app.build()
    command(built, function, READ)
    return lambda *arguments: app.execute(built, arguments)


def failing(error: BaseException) -> Run:
    def fail(session: Session) -> None:
        raise error

    return running(fail)


def ingestd(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"HOME": str(home)} if home else {})}
    return subprocess.run(
        [sys.executable, "-m", "ingestd", *arguments], capture_output=True, text=True, timeout=30, env=environment
    )


# --- the application


def test_help_teaches_what_where_and_how_it_ends() -> None:
    done = ingestd("--help")

    assert done.returncode == 0
    for taught in ("Keeps mailboxes in MongoDB", "/etc/ingestd/ingestd.toml", "store is unavailable", "ingestd once"):
        assert taught in done.stdout


def test_help_loads_nothing_heavy() -> None:
    heavy = ("pymongo", "imapclient", "mailparser", "apscheduler", "structlog", "pydantic")
    code = f"""
import sys
from ingestd.cli.app import main
main(["--help"])
print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)

    assert done.stderr == "[]\n"


def test_no_command_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([]) in (0, 2)  # which of them depends on the version of typer

    assert "Getting started" in "".join(capsys.readouterr())


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--version"]) == 0

    assert capsys.readouterr().out.startswith("ingestd 0.")


@pytest.mark.parametrize("arguments", [["initialise"], ["init", "--prnt"], ["--config"], ["init", "what"]])
def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert app.main(arguments) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Error" in captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json", "-q", "--config", "a.toml", "-v", "show"),
        ("show", "--json", "--quiet", "--config=a.toml", "--verbose"),
        ("--json", "show", "-q", "-v", "--config", "a.toml"),
        ("--config", "b.toml", "show", "--config", "a.toml", "-qv", "--json"),
    ],
)
def test_options_of_every_command_may_stand_before_and_after_it(arguments: tuple[str, ...]) -> None:
    seen: list[Options] = []

    def show(session: Session) -> None:
        seen.append(session.options)

    assert running(show)(*arguments) == 0

    assert seen == [Options(Path("a.toml"), json=True, quiet=True, verbose=1)]


def test_a_command_takes_arguments_of_its_own() -> None:
    seen: list[tuple[list[str] | None, int]] = []

    def once(
        session: Session,
        accounts: Annotated[list[str] | None, typer.Argument()] = None,
        limit: Annotated[int, typer.Option("--limit", "-n")] = 5,
    ) -> None:
        seen.append((accounts, limit))

    assert running(once)("once", "work", "billing", "--json", "-n", "7") == 0

    assert seen == [(["work", "billing"], 7)]


def test_the_configuration_is_read_when_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ingestd.toml"
    file.write_text(CONFIG)

    def names(session: Session) -> None:
        session.output.emit([account.name for account in session.config.accounts], "unused")

    assert running(names)("names", "--json", "--config", str(file)) == 0

    assert capsys.readouterr().out == '["work"]\n'


@pytest.mark.parametrize(
    ("service", "options", "level"),
    [
        (False, (), logging.WARNING),
        (False, ("-v",), logging.INFO),
        (False, ("-vvv",), logging.DEBUG),
        (False, ("-q",), logging.ERROR),
        (True, (), logging.INFO),
        (True, ("-q",), logging.WARNING),
    ],
)
def test_a_service_logs_as_it_goes_along_and_other_commands_only_what_matters(
    configured: list[tuple[int, str | None]], service: bool, options: tuple[str, ...], level: int
) -> None:
    def work(session: Session) -> None:
        session.output.note("working")

    built = app.build()
    command(built, work, READ, service=service)

    app.execute(built, ("work", *options))

    assert configured == [(level, None)]


# --- how a command ends


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a.toml: [daemon] worker: unknown key"), 2),
        (Refused("spool /x: another ingestd uses it"), 2),
        (StoreUnavailable("mongodb://db: no answer"), 3),
        (Unavailable("imap.example.org: no answer"), 1),
        (LeaseLost("account work: served by another daemon"), 1),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], error: IngestError, code: int
) -> None:
    assert failing(error)("fail") == code

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"ingestd: {error}\n"


def test_several_mistakes_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    failing(ConfigError("a.toml: one\na.toml: two"))("fail")

    assert capsys.readouterr().err == "ingestd: a.toml: one\ningestd: a.toml: two\n"


def test_what_a_server_says_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    failing(Refused("imap.example.org: \x1b[2J\x07no"))("fail")

    assert capsys.readouterr().err == "ingestd: imap.example.org: \ufffd[2J\ufffdno\n"


def test_a_finding_exits_with_1() -> None:
    def verify(session: Session) -> int:
        return 1

    assert running(verify)("verify") == 1


def test_an_interrupted_command_exits_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(KeyboardInterrupt())("fail") == 130

    assert capsys.readouterr().err == "ingestd: interrupted\n"


def test_an_unexpected_exception_is_a_bug_told_without_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(ValueError("Subject: dismissal"))("fail") == 70

    told = capsys.readouterr().err
    assert told.startswith("ingestd: this is a bug: ValueError at test_app.py:")
    assert told.count("\n") == 1
    assert "dismissal" not in told


def test_all_of_a_bug_is_shown_to_someone_who_asks(capsys: pytest.CaptureFixture[str]) -> None:
    failing(ValueError("text"))("fail", "-vv")

    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_has_enough_gets_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "ingestd", "init", "--print"],
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )

    assert (done.returncode, done.stderr) == (141, b"")


# --- init


def test_init_prints_an_example_that_can_be_used(tmp_path: Path) -> None:
    done = ingestd("init", "--print")
    (tmp_path / "ingestd.toml").write_text(done.stdout)

    assert done.stdout == example()
    assert load(tmp_path / "ingestd.toml").accounts


def test_init_writes_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    done = ingestd("init", home=tmp_path)

    file = tmp_path / ".config/ingestd/ingestd.toml"
    assert done.returncode == 0
    assert done.stdout == f"{file}: written; edit it, then run: ingestd check\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_init_leaves_a_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ingestd.toml"
    file.write_text("mine")

    assert app.main(["init", "--config", str(file)]) == 2

    assert file.read_text() == "mine"
    assert f"{file}: there is one already" in capsys.readouterr().err


# --- output


def test_json_is_a_line_a_result_and_people_get_words(capsys: pytest.CaptureFixture[str]) -> None:
    for spoken in (Output(json=True), Output()):
        spoken.emit({"messages": 2368}, "2,368 messages")

    assert capsys.readouterr().out == '{"messages":2368}\n2,368 messages\n'


def test_json_knows_times_durations_paths_and_values() -> None:
    told = as_json(
        {
            "at": datetime(2026, 1, 1, 12, tzinfo=UTC),
            "took": timedelta(seconds=1.5),
            "file": Path("/x"),
            "options": Options(verbose=1),
            "size": Bytes(5),
            "subject": "Été",
        }
    )

    assert json.loads(told) == {
        "at": "2026-01-01T12:00:00Z",
        "took": 1.5,
        "file": "/x",
        "options": {"config": None, "json": False, "quiet": False, "verbose": 1, "no_color": False},
        "size": 5,
        "subject": "Été",
    }


def test_bytes_are_no_json_rather_than_something_unreadable() -> None:
    with pytest.raises(TypeError, match="bytes has no form in JSON"):
        as_json({"raw": b"x"})


def test_json_stays_json_where_the_terminal_knows_no_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream, encoding="ascii"))

    Output(json=True).emit({"subject": "Été"}, "")

    assert json.loads(stream.getvalue()) == {"subject": "Été"}


def test_a_table_shows_amounts_to_the_right_and_hostile_text_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        ("work/INBOX", 18420, Bytes(1834223), timedelta(seconds=125), None),
        ("[red]\x1b[31m", 7, Bytes(9), timedelta(0), True),
    ]

    Output().emit(rows, lambda: table(("mailbox", "messages", "size", "time", "seen"), rows))

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["mailbox", "messages", "size", "time", "seen"]
    assert lines[2:] == [
        "work/INBOX     18,420   1.7 MiB   2 min 5 s   -",
        "[red]\ufffd[31m          7       9 B      0.00 s   yes",
    ]


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[2J", "a\u202eb", "a\x9bb", "a\udc80"])
def test_text_for_people_is_one_line_that_steers_nothing(text: str) -> None:
    assert plain(text).isprintable()


def test_notes_go_to_stderr_unless_silence_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    Output().note("214 of 18,420 messages selected")
    Output(quiet=True).note("not said")

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "214 of 18,420 messages selected\n")


def test_no_color_is_obeyed() -> None:
    assert output.colour_allowed({})
    assert not output.colour_allowed({"NO_COLOR": "1"})
    assert not output.colour_allowed({"TERM": "dumb"})


def test_progress_of_what_is_quick_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Output().progress("Fetching", total=2) as progress:
        progress.advance()
        progress.advance()

    assert "".join(capsys.readouterr()) == ""


def test_progress_is_a_line_now_and_then_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestd.cli.progress.PATIENCE", 0)

    with Output().progress("Fetching", total=18420) as progress:
        progress.advance(1200)
        progress.advance(1)

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Fetching: 1,200 of 18,420 messages\n")


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestd.cli.progress.PATIENCE", 0)
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen, os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)

        with Output().progress("Fetching", total=4 << 20, unit="bytes") as progress:
            progress.advance(1 << 20)
            progress.advance(1 << 20)
        terminal.flush()

        shown = b""
        while b"2.0/4.0 MiB" not in shown and select.select([screen], [], [], 5)[0]:
            shown += screen.read(65536)

    assert b"Fetching" in shown
    assert b"2.0/4.0 MiB" in shown
