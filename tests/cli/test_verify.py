"""How `ingestd verify` puts into words what it has found."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingestd.archive.bookmark import Progress
from ingestd.archive.log import Log
from ingestd.cli import app, verdict
from ingestd.cli.output import as_json
from ingestd.cli.verdict import Report


def last_line(report: Report) -> str:
    return list(verdict.lines(report))[-1]


def test_nothing_amiss_is_complete() -> None:
    assert last_line(Report()) == "COMPLETE"
    assert verdict.data(Report())["complete"]


def test_what_is_amiss_is_counted_by_kind() -> None:
    report = Report()
    report.findings.add("blob_missing", "b", "gone")
    report.findings.add("blob_missing", "b", "found out once more")
    report.findings.add("blob_missing", "c", "gone")
    report.findings.add("seal_changed", "work/00000001", "changed")

    assert last_line(report) == "NOT COMPLETE: 2 blob missing + 1 seal changed"
    assert not verdict.data(report)["complete"]


def test_an_interrupted_check_is_not_complete() -> None:
    report = Report(interrupted=True, deep=Progress({}, (), "5 %", messages=7, size_bytes=2048))

    *_, read_again, last = verdict.lines(report)

    assert read_again == "7 messages and 0 blobs read again (5 %), 2.0 KiB"
    assert last == "NOT COMPLETE: interrupted"
    assert not verdict.data(report)["complete"]


def test_very_many_findings_are_shown_in_part_and_counted() -> None:
    report = Report()
    for number in range(50):
        report.findings.add("message_missing", f"work:{number}", "gone")

    told = list(verdict.lines(report))

    assert sum(line.startswith("message_missing: work:") for line in told) == 20
    assert "message_missing: and 30 more; --json names more of them" in told
    assert len(verdict.data(report)["findings"]) == 50


def test_an_account_without_a_log_is_said() -> None:
    report = Report(logs=[Log("work", 0, 0, 0, 3, 0, None, None, 0, Report().findings)])

    assert next(iter(verdict.lines(report))) == "work: nothing is sealed, 3 places not yet"
    assert as_json(verdict.data(report))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("verify", "--sample", "5%"), "only with --deep"),
        (("verify", "--resume", "x"), "only with --deep"),
        (("verify", "--deep", "--seed", "a"), "only with --sample"),
        (("verify", "--deep", "--sample", "101%"), "a number of messages"),
        (("verify", "--deep", "--sample", "0"), "a number of messages"),
        (("verify", "--deep", "--sample", "1.5"), "a number of messages"),
        (("verify", "--public-key", "RW"), "only with --anchor"),
        (("verify", "--anchor", "nowhere"), "nowhere: No such file"),
        (("verify", "--anchor", "empty"), "no file there ends in .jsonl"),
        (("verify", "--anchor", "letter"), "letter, line 2: not an anchor"),
        (("verify", "--anchor", "letter", "--public-key", "RW"), "not a public key"),
        (("verify", "--store", "mysql://localhost"), "must begin with mongodb://"),
        (("anchor", "--sign", "file:nowhere"), "only with --to"),
        (("anchor", "--to", "x", "--sign", "nowhere"), "begins with one of file:, credential:"),
        (("anchor", "--to", "x", "--sign", "file:nowhere"), "nowhere: No such file"),
        (("anchor", "--to", "x", "--sign", "command:echo no key"), "not a secret key of minisign"),
        (("anchor", "--new-key", "letter"), "letter: File exists"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(
    words: tuple[str, ...],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = (
        '[store]\nuri = "mongodb://127.0.0.1:9/mail"\n[[account]]\nname = "work"\n'
        '[account.imap]\nhost = "localhost"\nuser = "me"\npassword = { env = "X" }\n'
    )
    (tmp_path / "ingestd.toml").write_text(config)
    (tmp_path / "letter").write_text("\nDear all,\n")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ingestd.logs.configure", lambda level, style: None)

    code = app.main(["--config", "ingestd.toml", *words])

    assert code == 2
    said = capsys.readouterr()
    assert why in said.err
    assert said.out == ""
