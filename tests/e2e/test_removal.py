"""`after_store = "delete"` and `"move:…"` on a real server, as an operator meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from ingestd import logs
from ingestd.cli import app
from ingestd.demo.mailbox import messages
from tests.e2e.conftest import Site, on_the_wire, store_table
from tests.fakes import mail
from tests.imap_script import ImapScript

Document = dict[str, Any]

COUNT = 30


@pytest.fixture
def full(site: Site) -> Site:
    site.deliver(messages(COUNT))
    site.select = "all"
    site.write(account='after_store = "delete"')
    return site


def left(site: Site, mailbox: str = "INBOX") -> int:
    client = site.client()
    count = client.select_folder(mailbox, readonly=True)[b"EXISTS"]
    client.logout()
    return int(count)


def test_it_is_said_aloud_before_anything_is_deleted(full: Site) -> None:
    checked, tried = full.run("check"), full.run("once", "--dry-run")

    for done in (checked, tried):
        assert done.returncode == 0, done.stderr
        assert f"work/INBOX: {COUNT} messages will be deleted from the server once they are stored" in done.stdout
    assert left(full) == COUNT


def test_all_that_is_stored_is_deleted_and_counted(full: Site, database: Database[Document]) -> None:
    done = full.run("once")

    assert done.returncode == 0, done.stderr
    assert f"work/INBOX: {COUNT} stored messages deleted from the server" in done.stdout
    assert left(full) == 0
    assert {place["digest"] for place in database.placements.find()} == set(map(on_the_wire, messages(COUNT)))
    assert full.once()["removed"] == 0
    verified = full.run("verify", "--chain", "--deep")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_limit_and_a_second_pass_take_the_rest(full: Site) -> None:
    first, second = full.once("--limit", "10"), full.once()

    assert (first["removed"], second["removed"], left(full)) == (10, COUNT - 10, 0)


def test_stored_mail_is_moved_and_counted(site: Site) -> None:
    site.deliver(messages(COUNT))
    site.deliver([], "Done")
    site.select = "all"
    site.write(account='after_store = "move:Done"')

    done = site.run("once")

    assert f"work/INBOX: {COUNT} stored messages moved to Done" in done.stdout
    assert (left(site), left(site, "Done")) == (0, COUNT)


def test_what_is_damaged_in_the_store_stays_and_is_a_finding(full: Site, database: Database[Document]) -> None:
    full.run("once", INGESTD_FAIL_AT="removing")
    damaged = database.originals.find_one({}) or {}
    database.originals.update_one({"_id": damaged["_id"], "account": "work"}, {"$set": {"raw.0.size_bytes": None}})
    database.originals.update_one({"_id": damaged["_id"], "account": "work"}, {"$set": {"raw.0.literal": b"x"}})

    done = full.run("once")

    assert done.returncode == 1
    assert "mailbox work/INBOX: 1 of its messages stay on the server, since the store does not give" in done.stderr
    assert left(full) == 1


def test_a_server_that_cannot_delete_single_messages_is_refused_before_anything_is_fetched(
    mongodb_uri: str,
    database: Database[Document],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "configure", lambda level, style: None)  # they belong to the whole process
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("secret")
    with ImapScript({uid: mail(uid) for uid in range(1, 4)}) as server:
        config = tmp_path / "ingestd.toml"
        config.write_text(
            f'[store]\n{store_table(mongodb_uri, database, tmp_path)}\n[daemon]\nspool_dir = "spool"\nworkers = 0\n'
            '[[account]]\nname = "work"\nselect = "all"\nafter_store = "delete"\n'
            f'[account.imap]\nhost = "127.0.0.1"\nport = {server.port}\ntls = "none"\nuser = "me"\n'
            'password = { file = "secret" }\n'
        )

        codes = [app.main(["--config", str(config), *words]) for words in (["check"], ["once", "--json"])]
        captured = capsys.readouterr()

    assert codes == [1, 1]
    assert (
        captured.err.count("cannot delete messages, since it does not offer UIDPLUS; change account.after_store") == 2
    )
    assert json.loads(captured.out.splitlines()[-1])["accounts"][0]["mailboxes"] == []
    assert not any("BODY.PEEK" in command or "STORE" in command for command in server.commands)
