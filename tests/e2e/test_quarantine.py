"""A message that the server will not give: its neighbours are stored, it is set aside, and stored once it is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from ingestd import logs
from ingestd.archive import quarantine
from ingestd.cli import app
from ingestd.store import placements
from ingestd.store.history import EVENTS
from tests.e2e.conftest import store_table
from tests.fakes import NOON, mail
from tests.imap_script import ImapScript, Turn

Document = dict[str, Any]

SICK = 3
BODY_OF_SICK = f"UID FETCH {SICK} (UID BODY.PEEK[])"
PLACE = f"work/INBOX/{SICK}"


def refusal(turn: Turn) -> None:
    turn.send(b"%t NO [SERVERBUG] cannot read it")


@dataclass
class Ward:
    """An account at a server that refuses one of its messages, and the command line."""

    server: ImapScript
    database: Database[Document]
    config: Path
    capture: pytest.CaptureFixture[str]

    def run(self, *words: str) -> int:
        return app.main(["--config", str(self.config), *words])

    def told(self, *words: str, code: int = 0) -> Document:
        """What a command says in JSON."""
        self.capture.readouterr()
        assert self.run(*words, "--json") == code
        return json.loads(self.capture.readouterr().out.splitlines()[-1])  # type: ignore[no-any-return]  # after logs

    def once(self) -> Document:
        """Make a pass when everything that waits is due, and check that every UID is accounted for."""
        self.database.placements.update_many({"account": "work", "state": "fetching"}, {"$set": {"next_try": NOON}})
        summary = self.told("once")["accounts"][0]["mailboxes"][0]
        assert summary["on_server"] == len(self.server.messages) == summary["known_before"] + summary["selected"]
        places = self.database.placements.find({"state": {"$in": ["stored", "quarantined", "fetching"]}})
        assert sorted(place["uid"] for place in places) == sorted(self.server.messages)
        return summary  # type: ignore[no-any-return]

    def set_aside(self) -> None:
        for _ in range(placements.ATTEMPTS):
            self.once()

    def sick(self) -> Document:
        return self.database.placements.find_one({"uid": SICK}) or {}

    def mend(self) -> None:
        del self.server.replies[BODY_OF_SICK]

    def bodies(self) -> list[str]:
        return [command for command in self.server.commands if "BODY.PEEK" in command]


@pytest.fixture
def ward(
    mongodb_uri: str,
    database: Database[Document],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Ward]:
    monkeypatch.setattr(logs, "configure", lambda level, style: None)  # they belong to the whole process
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("secret")
    with ImapScript({uid: mail(uid) for uid in range(1, 7)}) as server:
        server.replies[BODY_OF_SICK] = refusal
        config = tmp_path / "ingestd.toml"
        config.write_text(
            f'[store]\n{store_table(mongodb_uri, database, tmp_path)}\n[daemon]\nspool_dir = "spool"\nworkers = 0\n'
            '[[account]]\nname = "work"\nselect = "all"\n'
            f'[account.imap]\nhost = "127.0.0.1"\nport = {server.port}\ntls = "none"\nuser = "me"\n'
            'password = { file = "secret" }\n'
        )
        yield Ward(server, database, config, capsys)


# --- while it is tried


def test_it_is_tried_alone_on_a_fresh_connection_and_its_neighbours_are_stored(ward: Ward) -> None:
    summary = ward.once()

    assert (summary["stored"], summary["failed"]) == (5, 1)
    second = [at for at, command in enumerate(ward.server.commands) if command == BODY_OF_SICK][1]
    assert ward.server.commands[second - 1] == 'EXAMINE "INBOX"'
    assert ward.server.commands[second + 1] == "NOOP"  # it is judged before anything else is asked for
    assert ward.server.connections == 3


def test_it_waits_between_its_attempts_and_says_so(ward: Ward) -> None:
    ward.once()
    ward.server.commands.clear()

    ward.told("once")

    assert ward.bodies() == []
    (shown,) = ward.told("quarantine", "list", "--open")["places"]
    assert (shown["state"], shown["attempts"]) == ("fetching", 1)
    assert shown["last_try"] < shown["next_try"]
    assert ward.told("quarantine", "list")["places"] == []


def test_a_long_stretch_of_refused_messages_is_got_over(ward: Ward) -> None:
    ward.server.messages = {uid: mail(uid) for uid in range(1, 81)}
    for uid in range(5, 75):
        ward.server.replies[f"UID FETCH {uid} (UID BODY.PEEK[])"] = refusal
    large = 'spool_memory = "8GiB"\nmemory_limit = "16GiB"'  # since the command runs in the process of the tests
    ward.config.write_text(ward.config.read_text().replace("workers = 0", f"workers = 2\n{large}"))

    codes = [ward.run("once", "-q") for _ in range(3)]

    assert codes == [1, 1, 0]  # the connections break too often, twice, but each time it gets further
    assert ward.database.placements.count_documents({"state": "stored"}) == 9
    assert ward.database.placements.count_documents({"state": "fetching"}) == 71


# --- when it is set aside


def test_after_five_attempts_it_is_in_quarantine_and_not_asked_for_any_more(ward: Ward) -> None:
    ward.set_aside()
    ward.server.commands.clear()

    ward.once()

    assert ward.bodies() == []
    (shown,) = ward.told("quarantine", "list", "work/inbox")["places"]
    assert (shown["place"], shown["attempts"], shown["next_try"]) == (
        f"imap://work/INBOX;UIDVALIDITY=7/;UID={SICK}",
        5,
        None,
    )
    assert shown["first_seen_at"] < shown["last_try"]
    assert quarantine.attempts(ward.database, "work", None, ("quarantined", "fetching"), None)[1] == 1


def test_it_is_shown_with_what_the_reason_means_and_what_to_do(ward: Ward) -> None:
    ward.set_aside()
    ward.capture.readouterr()

    ward.run("quarantine", "show", PLACE)
    shown = ward.capture.readouterr().out
    by_id = ward.told("quarantine", "show", ward.sick()["_id"])

    assert "the server said NO [SERVERBUG] without giving the message" in shown
    assert "its own copy is damaged" in shown
    assert f"ingestd quarantine retry {PLACE}" in shown
    assert "2026-01-01 11:00 UTC" in shown  # INTERNALDATE: helps to find it there
    assert by_id["server_size_bytes"] == len(mail(SICK))


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("the message of 99 bytes is larger than the spool; raise daemon.spool_disk", "raise daemon.spool_disk"),
        ("metadata: the server closed the connection", "server's log"),
        ("the server sent a message twice", "bytes cannot be trusted"),
    ],
)
def test_what_to_do_depends_on_the_reason(ward: Ward, reason: str, advice: str) -> None:
    ward.set_aside()
    ward.database.placements.update_one({"_id": ward.sick()["_id"]}, {"$set": {"reason": reason}})

    told = ward.told("quarantine", "show", PLACE)

    assert advice in told["means"] + told["next_step"]


# --- tried again


def test_once_the_server_is_mended_it_is_stored_by_the_next_pass(ward: Ward) -> None:
    ward.set_aside()
    ward.mend()

    retried = ward.told("quarantine", "retry", PLACE)
    summary = ward.once()

    assert retried["retried"] == [ward.sick()["_id"]]
    assert (summary["selected"], summary["stored"], summary["remaining"]) == (1, 1, 0)
    assert ward.sick()["state"] == "stored"
    sealed = [place["_id"] for seal in ward.database.seals.find() for place in seal["places"]]
    assert len(sealed) == len(set(sealed)) == 6
    assert ward.told("quarantine", "list", "--open")["places"] == []


def test_if_it_is_not_mended_its_attempts_start_anew_and_the_old_ones_are_remembered(ward: Ward) -> None:
    ward.set_aside()
    ward.told("quarantine", "retry", "--all")

    ward.once()

    shown = ward.told("quarantine", "show", PLACE)
    assert (shown["state"], shown["attempts"], shown["attempts_before"]) == ("fetching", 1, 5)
    (event,) = ward.sick()["history"]
    assert (event["event"], event["attempts"]) == ("retried", 5)


def test_it_can_be_tried_again_as_often_as_a_person_likes(ward: Ward) -> None:
    ward.set_aside()
    event = {"at": NOON, "event": "retried", "attempts": 5, "reason": None}
    ward.database.placements.update_many({"uid": SICK}, {"$set": {"history": [event] * EVENTS}})

    ward.run("quarantine", "retry", "--all", "-q")

    history = ward.sick()["history"]
    assert (len(history), history[-1]["reason"]) == (EVENTS, ward.sick()["reason"])


def test_a_retry_during_a_pass_is_not_forgotten_by_what_the_pass_saves(ward: Ward) -> None:
    ward.set_aside()
    ward.server.messages[7] = mail(7)

    def during(turn: Turn) -> None:
        found = list(quarantine.documents(ward.database, [ward.sick()["_id"]]))
        placements.retry(ward.database, found, datetime.now(UTC))
        turn.default()

    ward.server.replies["UID FETCH 7 (UID BODY.PEEK[])"] = during
    ward.once()
    ward.mend()

    summary = ward.once()

    assert summary["stored"] == 1
    assert ward.sick()["state"] == "stored"


def test_a_dry_run_changes_nothing(ward: Ward) -> None:
    ward.set_aside()
    before = ward.sick()

    told = ward.told("quarantine", "retry", "--all", "--dry-run")

    assert told == {"retried": [before["_id"]], "left": {}, "dry_run": True}
    assert ward.sick() == before
    assert ward.told("once", "--dry-run")["accounts"][0]["mailboxes"][0]["selected"] == 0


def test_a_preview_counts_what_is_to_be_tried_again(ward: Ward) -> None:
    ward.set_aside()
    ward.run("quarantine", "retry", "--all", "-q")

    preview = ward.told("once", "--dry-run")["accounts"][0]["mailboxes"][0]

    assert (preview["known_before"], preview["selected"]) == (5, 1)


# --- what makes no sense


def stored(ward: Ward) -> None:
    ward.database.placements.update_one({"_id": ward.sick()["_id"]}, {"$set": {"state": "stored"}})


def renumbered(ward: Ward) -> None:
    ward.server.uidvalidity = 8
    ward.server.replies["UID FETCH"] = Turn.default
    ward.told("once")


def deleted(ward: Ward) -> None:
    del ward.server.messages[SICK]
    for _ in range(2):
        ward.told("once")


def unconfigured(ward: Ward) -> None:
    ward.config.write_text(ward.config.read_text().replace('name = "work"', 'name = "home"'))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (stored, "not in quarantine: stored"),
        (renumbered, "its mailbox was renumbered"),
        (deleted, "it was deleted or moved"),
        (unconfigured, "account work is not configured"),
        (lambda ward: ward.run("quarantine", "retry", "--all", "-q"), "it is tried again by itself, at 20"),
    ],
)
def test_a_place_that_no_pass_would_try_is_named_with_the_reason_and_left_alone(
    ward: Ward, change: Callable[[Ward], None], why: str
) -> None:
    ward.set_aside()
    place = ward.sick()["_id"]
    change(ward)
    before = ward.database.placements.find_one({"_id": place})

    assert ward.run("quarantine", "retry", place) == 1

    assert why in ward.capture.readouterr().err
    assert ward.database.placements.find_one({"_id": place}) == before


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("retry",), 2, "name places, or say --all"),
        (("retry", "--all", PLACE), 2, "name places, or say --all"),
        (("show", "work/INBOX/99"), 1, "no place 'work/INBOX/99' was ever tried"),
        (("show", "nonsense"), 1, "quarantine list --open"),
        (("list", "wrk"), 2, 'did you mean "work"?'),
    ],
)
def test_what_cannot_be_meant_is_refused(ward: Ward, words: tuple[str, ...], code: int, why: str) -> None:
    assert ward.run("quarantine", *words) == code

    assert why in ward.capture.readouterr().err
