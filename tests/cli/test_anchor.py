"""Anchors as an operator takes and keeps them, and what they find out that the database alone cannot tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from pymongo.uri_parser import parse_uri

from ingestd.archive.minisign import PublicKey
from ingestd.cli import app
from ingestd.store import mailboxes
from ingestd.store.leases import Lease
from ingestd.store.memory import Memory
from ingestd.store.placements import Epoch
from tests.archive.stored import store
from tests.fakes import NOON, mail

Document = dict[str, Any]
Store = Database[Document]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def found(self) -> list[tuple[str, str]]:
        return [(finding["kind"], finding["what"]) for finding in json.loads(self.out)["findings"]]


Run = Callable[..., Done]


@pytest.fixture
def run(
    mongodb_uri: str,
    database: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """A command about the store of this test, which has two seals of the account `work`."""
    parsed = parse_uri(mongodb_uri)
    hosts = ",".join(f"{host}:{port}" for host, port in parsed["nodelist"])
    options = mongodb_uri.partition("?")[2]
    uri = f"mongodb://{parsed['username']}@{hosts}" if parsed["username"] else f"mongodb://{hosts}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ingestd.logs.configure", lambda level, style: None)
    if parsed["password"]:
        monkeypatch.setenv("INGESTD_STORE_PASSWORD", parsed["password"])
    store(database, mail(1), mail(2))
    store(database, mail(3), first_uid=3)
    memory = Memory(Epoch("work", "INBOX", 1, 9), 0, None, "all since None", NOON)
    mailboxes.save(database, Lease(database, "work", 1, taken_over=False), memory)

    def main(*words: str) -> Done:
        code = app.main([*words, "--store", f"{uri}/{database.name}?{options}"])
        return Done(code, *capsys.readouterr())

    return main


def cut_off(database: Store) -> None:
    """Remove the last seal, and all that it attests."""
    last = database.seals.find_one({"n": 2}) or {}
    for place in last["places"]:
        database.placements.delete_one({"_id": place["_id"], "account": "work"})
        for collection in (database.messages, database.originals):
            collection.delete_one({"_id": f"work:{place['digest']}", "account": "work"})
    database.seals.delete_one({"_id": last["_id"]})


def test_anchors_go_to_stdout_or_to_a_new_file(run: Run, tmp_path: Path) -> None:
    said = run("anchor")
    written = run("anchor", "--to", "anchors.jsonl")
    again = run("anchor", "--to", "anchors.jsonl")

    anchor = json.loads(said.out)
    assert (anchor["account"], anchor["seal"], anchor["places"]) == ("work", 2, 3)
    assert json.loads((tmp_path / "anchors.jsonl").read_text())["hash"] == anchor["hash"]
    assert written.out == "anchors.jsonl: 1 anchor\n"
    assert (again.code, again.err) == (2, "ingestd: anchors.jsonl: File exists; name a new file\n")


def test_an_end_that_was_cut_off_is_found_out_by_an_anchor_alone(run: Run, database: Store) -> None:
    run("anchor", "--to", "anchors.jsonl")
    whole = run("verify", "--json", "--anchor", "anchors.jsonl")
    cut_off(database)

    alone, held_against = run("verify", "--chain"), run("verify", "--json", "--anchor", "anchors.jsonl")

    assert (whole.code, whole.found, json.loads(whole.out)["logs"][0]["anchors"]) == (0, [], 1)
    assert (alone.code, alone.out.splitlines()[-1]) == (0, "COMPLETE")
    assert (held_against.code, held_against.found) == (1, [("anchor_broken", "work/00000002")])


def test_an_account_that_was_removed_altogether_is_found_out_too(run: Run, database: Store) -> None:
    run("anchor", "--to", "anchors.jsonl")
    for name in database.list_collection_names():
        database[name].delete_many({})

    assert run("verify", "--json", "--anchor", "anchors.jsonl").found == [("anchor_broken", "work/00000002")]


def test_a_signed_anchor_cannot_be_changed_to_fit(run: Run, database: Store, tmp_path: Path) -> None:
    (tmp_path / "anchors").mkdir()
    public = json.loads(run("anchor", "--json", "--new-key", "anchor.key").out)["public_key"]
    taken = run("anchor", "--to", "anchors", "--sign", "file:anchor.key")
    (file,) = (tmp_path / "anchors").glob("*.jsonl")
    words = ("verify", "--json", "--anchor", "anchors", "--public-key", public)
    signed = run(*words)
    first = database.seals.find_one({"n": 1}) or {}
    anchor = json.loads(file.read_text())
    signature = file.with_name(f"{file.name}.minisig")
    said = PublicKey.parse(public).check(file.read_bytes(), signature.read_text())
    cut_off(database)

    file.write_text(json.dumps({**anchor, "seal": 1, "hash": first["hash"]}))
    unsigned, forged = run("verify", "--json", "--anchor", "anchors"), run(*words)
    signature.unlink()
    without = run(*words)

    assert (taken.code, taken.out) == (0, f"anchors/{file.name}: 1 anchor, signed\n")
    assert said.startswith("anchors of ingestd, ")
    assert (signed.code, signed.found) == (0, [])
    assert (unsigned.code, unsigned.found) == (0, [])
    name = f"anchors/{file.name}"
    assert [each.found for each in (forged, without)] == [[("anchor_unsigned", name)], [("anchor_unsigned", name)]]
    assert (tmp_path / "anchor.key").stat().st_mode & 0o777 == 0o600


def test_a_log_that_is_not_whole_gets_no_anchor_and_the_others_do(run: Run, database: Store) -> None:
    store(database, mail(1), account="home")
    database.seals.update_one({"_id": "work/00000001"}, {"$set": {"token": 0}})

    done = run("anchor")

    assert (done.code, json.loads(done.out)["account"]) == (1, "home")
    assert "ingestd: work/00000001: what it says does not give its hash; to see all of it, run: " in done.err


def test_where_nothing_is_sealed_there_is_nothing_to_anchor(run: Run, database: Store) -> None:
    database.seals.delete_many({})

    done = run("anchor", "--to", "anchors.jsonl")

    assert (done.code, done.out, done.err) == (0, "", "nothing is sealed yet\n")
