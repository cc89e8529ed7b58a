"""`ingestd sweep`, as an operator says it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from ingestd import logs
from ingestd.cli import app
from ingestd.store import jobs
from tests.e2e.conftest import store_table
from tests.store.test_messages import LARGE, PDF
from tests.store.test_sweep import NOW, age, left, put, write

Document = dict[str, Any]
Told = Callable[..., Document]


@pytest.fixture
def told(
    mongodb_uri: str,
    database: Database[Document],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Told:
    """Run the command; return what it says, in JSON, with its exit code and what it complains of."""
    monkeypatch.setattr(logs, "configure", lambda level, style: None)  # they belong to the whole process
    config = tmp_path / "ingestd.toml"
    config.write_text(
        f'[store]\n{store_table(mongodb_uri, database, tmp_path)}\n[[account]]\nname = "work"\n'
        '[account.imap]\nhost = "localhost"\nuser = "me"\npassword = { env = "X" }\n'
    )

    def run(*words: str) -> Document:
        code = app.main(["--config", str(config), "sweep", "--json", *words])
        captured = capsys.readouterr()
        return {**json.loads(captured.out or "{}"), "code": code, "complaint": captured.err}

    return run


def test_what_no_message_names_is_deleted_and_counted(told: Told, database: Database[Document]) -> None:
    write(1)(database)
    put(database, LARGE)
    age(database)

    would, did, again = told("--dry-run"), told(), told()

    assert (would["seen"], would["named"], would["deleted"], would["dry_run"]) == (2, 1, 1, True)
    assert (did["seen"], did["named"], did["deleted"], did["deleted_bytes"]) == (2, 1, 1, len(LARGE))
    assert (again["seen"], again["named"], again["deleted"]) == (1, 1, 0)
    assert [each["code"] for each in (would, did, again)] == [0, 0, 0]


def test_an_interrupted_sweep_is_gone_on_with(told: Told, database: Database[Document]) -> None:
    first, _ = sorted(put(database, PDF, LARGE))
    age(database)
    with jobs.taken(database, "sweep") as interrupted:
        interrupted.reached(first)

    did = told()

    assert (did["seen"], did["deleted"], left(database)) == (1, 1, {first})


def test_a_second_sweeper_is_told_that_another_is_at_it(told: Told, database: Database[Document]) -> None:
    with jobs.taken(database, "sweep"):
        did = told()

    assert did["code"] == 1
    assert "another process is at it" in did["complaint"]


def test_a_damaged_blob_is_a_finding(told: Told, database: Database[Document]) -> None:
    write(1, LARGE)(database)
    age(database)
    database["blobs.files"].update_many({}, {"$set": {"dying": {"by": "who died", "at": NOW}}})
    database["blobs.chunks"].delete_many({"n": 1})

    did = told()

    assert (did["code"], did["broken"]) == (1, 1)
    assert "not whole" in did["complaint"]
