"""The demo's own directory, and the demo without a mail server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ingestd.demo.setting import setting
from ingestd.errors import Refused


def demo(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ingestd", "demo", "--json", "--directory", str(directory)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_demo_takes_everything_in_once_and_proves_a_message(tmp_path: Path) -> None:
    first, again = demo(tmp_path / "demo"), demo(tmp_path / "demo")

    for done in (first, again):
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        (one,), (two,) = said["first"], said["second"]
        assert one["stored"] + one["copies"] == one["selected"] > 200
        assert (two["selected"], two["known_before"]) == (0, one["selected"])
        assert said["rebuilt"]["sha256"] == said["rebuilt"]["expected"]
        assert all(said["answers"].values())


def test_without_a_mail_server_the_samples_are_taken_from_files(tmp_path: Path) -> None:
    # As on a machine without Dovecot: the search path of its programs leads nowhere.
    code = (
        "import ingestd.demo.programs as p; p.PATH = '/nonexistent';"
        "from ingestd.cli.app import main; raise SystemExit(main())"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--json", "--directory", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert "dovecot is not installed" in done.stderr
    assert json.loads(done.stdout)["first"][0]["stored"] == 25


def test_a_directory_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "precious"
    mine.write_text("mine")

    with pytest.raises(Refused, match="holds something else"), setting(tmp_path):
        pass

    assert mine.read_text() == "mine"


def test_a_file_of_ones_own_beside_an_earlier_demo_is_left_alone(tmp_path: Path) -> None:
    with setting(tmp_path):
        (tmp_path / "precious").write_text("mine")

    with pytest.raises(Refused, match="holds something else"), setting(tmp_path):
        pass

    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "ingestd.toml").exists()
