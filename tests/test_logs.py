"""Logs: one event a line, nothing that breaks the line, and no mail."""

import io
import json
import logging
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from ingestd import logs
from ingestd.errors import Refused

log = structlog.get_logger("test")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What was logged, without the time."""
    captured = capsys.readouterr()
    assert captured.out == ""
    return re.sub(r"(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", "", captured.err)


def test_an_event_is_one_line_with_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()

    log.info("stored", mailbox="work/INBOX", messages=100, bytes=1834223, seconds=0.41)

    assert said(capsys) == "info stored mailbox=work/INBOX messages=100 bytes=1834223 seconds=0.41\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("two words", '"two words"'),
        ("", '""'),
        ('say "no"', r'"say \"no\""'),
        ("a=b", '"a=b"'),
        ("INBOX\n2026 info stored", r'"INBOX\n2026 info stored"'),
        ("\x1b[31mred", r'"\x1b[31mred"'),
        ("\u202eodd", r'"\u202eodd"'),
        ("Été", "Été"),
        (None, "null"),
        (True, "true"),
        (timedelta(minutes=2), "120.0"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00+00:00"),
        (b"Subject: secret", '"<15 bytes>"'),
    ],
)
def test_a_value_can_neither_break_the_line_nor_the_terminal(
    capsys: pytest.CaptureFixture[str], value: object, text: str
) -> None:
    logs.configure()

    log.info("seen", value=value)

    assert said(capsys) == f"info seen value={text}\n"


def test_a_long_value_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()

    log.info("seen", value="x" * 1_000_000)

    assert len(said(capsys)) < 2 * logs.VALUE_LIMIT


@pytest.mark.parametrize(
    ("level", "seen"), [(logging.DEBUG, ["debug", "info", "warning"]), (logging.WARNING, ["warning"])]
)
def test_what_is_below_the_level_is_not_written(
    capsys: pytest.CaptureFixture[str], level: int, seen: list[str]
) -> None:
    logs.configure(level)

    log.debug("one")
    log.info("two")
    log.warning("three")

    assert [line.split()[0] for line in said(capsys).splitlines()] == seen


def test_the_journal_gets_priorities_instead_of_the_time() -> None:
    code = """
import os, sys
os.environ["JOURNAL_STREAM"] = f"{os.fstat(2).st_dev}:{os.fstat(2).st_ino}"
import structlog
from ingestd import logs
logs.configure()
structlog.get_logger().info("started", accounts=2)
structlog.get_logger().error("failed")
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)

    assert done.stderr == "<6>started accounts=2\n<3>failed\n"


def test_a_journal_of_another_process_is_not_ours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    logs.configure()

    log.info("started")

    assert said(capsys) == "info started\n"


def test_json_lines_hold_the_same_keys(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(style="json")

    log.warning("not served", account="work", seconds=timedelta(seconds=3), cause=None)

    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("Z")
    assert line == {"level": "warning", "event": "not served", "account": "work", "seconds": 3.0, "cause": None}


def test_colour_marks_the_level_only(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(style="colour")

    log.error("failed", account="work")

    assert said(capsys) == "\x1b[31merror\x1b[0m failed account=work\n"


def test_an_exception_is_told_by_its_kind_and_place_and_never_by_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()

    try:
        int("Subject: dismissal of B. Smith")
    except ValueError:
        log.exception("failed", account="work")

    line = said(capsys)
    assert re.fullmatch(r'error failed account=work exception="ValueError at test_logs\.py:\d+"\n', line)


def test_an_error_of_our_own_is_told_with_its_text_and_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()

    try:
        try:
            raise OSError("secret")
        except OSError as error:
            raise Refused("login refused by imap.example.org") from error
    except Refused as error:
        log.warning("not served", exc_info=error)

    line = said(capsys)
    assert "Refused login refused by imap.example.org at test_logs.py:" in line
    assert "; OSError at test_logs.py:" in line
    assert "secret" not in line


def test_other_libraries_are_heard_from_warnings_on_and_without_values(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(logging.DEBUG)

    logging.getLogger("pymongo.command").debug("insert %s", "hunter2")
    logging.getLogger("apscheduler.scheduler").warning('Run time of job "%s" was missed', "hunter2")

    assert said(capsys) == r'warning Run time of job "%s" was missed logger=apscheduler.scheduler' + "\n"


@pytest.mark.parametrize("name", ["imapclient.imaplib", "mailparser.core"])
def test_libraries_that_hold_mail_in_hand_are_not_heard(capsys: pytest.CaptureFixture[str], name: str) -> None:
    logs.configure(logging.DEBUG)

    logging.getLogger(name).error("< Subject: dismissal")

    assert said(capsys) == ""


def test_configuring_again_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.configure()

    log.info("started")
    logging.getLogger("apscheduler").warning("late")

    assert said(capsys) == "info started\nwarning late logger=apscheduler\n"


class Hangup(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_nobody_listening_is_no_reason_to_stop(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.configure()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Hangup())
        log.info("stored")

    log.info("stopped")

    assert said(capsys) == "info stopped\n"


def test_importing_changes_nothing() -> None:
    code = """
import logging, structlog, ingestd.logs
assert not logging.getLogger().handlers and not structlog.is_configured()
"""

    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
