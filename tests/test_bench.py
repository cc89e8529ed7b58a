"""The measurements themselves work, with very little mail: what they say of time is of no interest here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import publish
from ingestd.demo.dovecot import Dovecot
from tests.mongodb import missing_server, need_embedded

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module", autouse=True)
def servers() -> None:
    need_embedded()
    if reason := Dovecot.missing():
        missing_server(reason)


def measured(path: Path, module: str, *options: str) -> dict[str, object]:
    command = [sys.executable, "-m", module, *options, "--out", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("| ")
    found: dict[str, object] = json.loads(path.read_text())
    return found


def test_what_is_measured_is_checked_and_published(tmp_path: Path) -> None:
    shutil.copy(publish.DOCS / publish.PAGE, tmp_path)
    few = ("--rounds", "1", "--small", "50", "--mixed", "10", "--large", "300000", "--only", "ingestd")
    bench = measured(tmp_path / "bench.json", "bench", *few)
    little = ("--sizes", "300", "--rounds", "1", "--each", "20", "--known", "40")
    growth = measured(tmp_path / "growth.json", "bench.growth", *little)

    publish.publish(bench, growth, tmp_path)

    assert [run["checked_by"] for run in bench["runs"]] == ["SHA-256"] * 8  # type: ignore[attr-defined, index]
    page = (tmp_path / publish.PAGE).read_text()
    assert "| small | ingestd |" in page
    assert "| new mail | 300 | 20 |" in page
    assert json.loads((tmp_path / publish.DATA).read_text()) == {"bench": bench, "growth": growth}
    for plot in (publish.PROGRAMS, publish.GROWING):
        assert ElementTree.parse(tmp_path / plot).getroot().tag.endswith("svg")


def test_a_budget_names_every_station() -> None:
    command = [sys.executable, "-m", "bench.budget", "--rounds", "1", "--small", "120", "--mixed", "10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)

    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    assert [name.partition(":")[0] for name, *_ in rows] == [
        "fetch",
        "hand over to a worker, and back",
        "parse",
        "parse",
        "write",
        "ledger, threads, pipes, shared caches",
        "start, spread over all",
        "all",
    ]
    assert all(float(figure) > 0 for name, *figures in rows for figure in figures if not name.startswith("ledger"))
