"""The unit, as systemd itself judges it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "ingestd.service"
EXPOSURE = 20  # tenths, of a scale from 0 to 100: "OK" ends at 49


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if not found:
        reason = "systemd-analyze is not installed: apt-get install systemd"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return found


def test_systemd_finds_nothing_wrong_with_the_unit(analyze: str, tmp_path: Path) -> None:
    installed = tmp_path / "ingestd.service"
    installed.write_text(UNIT.read_text().replace("/opt/ingestd/bin/ingestd", shutil.which("true") or ""))

    said = subprocess.run([analyze, "verify", "--man=no", installed], capture_output=True, text=True)

    # It ends with 0 for a mistyped key too, and only says so.
    assert (said.stdout, said.stderr, said.returncode) == ("", "", 0)


def test_the_service_may_do_little_but_its_work(analyze: str) -> None:
    said = subprocess.run(
        [analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", UNIT], capture_output=True, text=True
    )

    assert said.returncode == 0, said.stdout.splitlines()[-1]
