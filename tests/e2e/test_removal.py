"""`after_store = "delete"` and `"move:…"` on a real server, as an operator meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
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

    for _ in range(2):  # it is told as long as it is so
        done = full.run("once")

        assert done.returncode == 1
        assert "mailbox work/INBOX: 1 of its messages stay on the server, since the store does not give" in done.stderr
        assert left(full) == 1


@pytest.fixture
def scripted(
    mongodb_uri: str, database: Database[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run a command in this process, at a server that follows a script, with *account* in its configuration."""
    monkeypatch.setattr(logs, "configure", lambda level, style: None)  # they belong to the whole process
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("secret")
    config = tmp_path / "ingestd.toml"

    def run(server: ImapScript, account: str, *words: str) -> int:
        config.write_text(
            f'[store]\n{store_table(mongodb_uri, database, tmp_path)}\n[daemon]\nspool_dir = "spool"\nworkers = 0\n'
            f'[[account]]\nname = "work"\nselect = "all"\n{account}\n'
            f'[account.imap]\nhost = "127.0.0.1"\nport = {server.port}\ntls = "none"\nuser = "me"\n'
            'password = { file = "secret" }\n'
        )
        return app.main(["--config", str(config), *words])

    return run


def test_a_server_that_cannot_delete_single_messages_is_refused_before_anything_is_fetched(
    scripted: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with ImapScript({uid: mail(uid) for uid in range(1, 4)}) as server:
        codes = [scripted(server, 'after_store = "delete"', *words) for words in (["check"], ["once", "--json"])]
        captured = capsys.readouterr()

    assert codes == [1, 1]
    assert (
        captured.err.count("cannot delete messages, since it does not offer UIDPLUS; change account.after_store") == 2
    )
    assert json.loads(captured.out.splitlines()[-1])["accounts"][0]["mailboxes"] == []
    assert not any("BODY.PEEK" in command or "STORE" in command for command in server.commands)


@pytest.mark.parametrize("target", ["INBOX/Done", "INBOX.Done", "inbox"])
def test_mail_is_not_moved_to_where_it_would_be_taken_in_again_however_that_is_spelled(
    scripted: Callable[..., int], capsys: pytest.CaptureFixture[str], target: str
) -> None:
    with ImapScript({1: mail(1)}, capabilities="IMAP4rev1 AUTH=PLAIN MOVE") as server:
        server.replies["LIST"] = lambda turn: turn.send(
            b'* LIST () "." INBOX\r\n* LIST () "." INBOX.Done\r\n%t OK done'
        )
        code = scripted(server, f'mailboxes = ["*"]\nafter_store = "move:{target}"', "once")

    assert code == 1
    assert f"after_store moves to {target!r}, which is one of account.mailboxes" in capsys.readouterr().err
    assert server.count("UID MOVE") == 0
