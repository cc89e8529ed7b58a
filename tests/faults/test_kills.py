"""Killed at each named moment of a message's trip, a pass resumes, and ends where it would have ended undisturbed."""

from __future__ import annotations

from typing import Any

import psutil
import pytest
from pymongo.database import Database

from ingestd.demo.mailbox import messages
from ingestd.steps import STEPS
from tests.fakes import NOON
from tests.faults import state
from tests.faults.conftest import Trial
from tests.faults.letters import large, mixed
from tests.waiting import until

Document = dict[str, Any]

MOMENTS = (
    *("checkpoint", "checkpoint:2", "searched", "literal:3", "literal:40", "spooled:9"),
    *("parsed", "chunks", "chunks:2", "blobs", "originals", "messages", "placements", "sealed", "told"),
)
# Below, with the tests of reparse, and with those of what is removed from the server.
ELSEWHERE = {"postponed", "named", "renewed", "removing", "marked", "removed", "attested"}
SEEN = ("\\Seen",)


def unreadable(trial: Trial, uid: int) -> None:
    """Have the server refuse the bytes of one message, since it cannot read them itself."""
    client = trial.site.client()
    client.select_folder("INBOX", readonly=True)  # gives the UIDs, in the order of arrival
    client.logout()
    sorted((trial.site.server.maildir(trial.site.user) / "cur").iterdir())[uid - 1].chmod(0)


@pytest.fixture
def filled(trial: Trial) -> Trial:
    trial.site.deliver([*mixed(), large()])
    trial.configure(account='after_store = "seen"')
    return trial


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_a_moment_of_the_trip_nothing_is_lost_and_nothing_doubled(filled: Trial, moment: str) -> None:
    before = state.flags(filled.site)["INBOX"]

    killed = filled.once(INGESTD_FAIL_AT=moment)
    found = filled.finish()

    assert killed == -9
    assert found == filled.undisturbed()
    assert state.flags(filled.site)["INBOX"] == {uid: sorted({*had, *SEEN}) for uid, had in before.items()}


def test_killed_inside_each_write_of_a_failed_attempt_a_message_is_quarantined_after_five(
    trial: Trial, database: Database[Document]
) -> None:
    trial.site.deliver(mixed())
    trial.configure()
    unreadable(trial, 3)

    for _ in range(5):
        assert trial.once(INGESTD_FAIL_AT="postponed") == -9
        database.placements.update_many({"account": "work"}, {"$set": {"next_try": NOON}})
    found = trial.finish()

    attempt = database.placements.find_one({"state": "quarantined"})
    assert attempt is not None
    assert (attempt["uid"], attempt["attempts"]) == (3, 5)
    assert found["mailboxes"] == {"work/INBOX": ("1:12", "", {})}
    assert len(found["sealed"]) == 11


@pytest.mark.parametrize("moment", ["parsed", "blobs", "originals", "messages", "placements"])
def test_workers_that_die_at_a_moment_lose_and_double_nothing(trial: Trial, moment: str) -> None:
    trial.site.deliver(mixed())
    trial.configure(workers=1)

    died = trial.once(INGESTD_FAIL_AT=moment)
    said = trial.said()
    trial.configure()
    found = trial.finish()

    assert died == 1
    assert "not even the raw message could be stored" in said
    assert found == trial.undisturbed()


def test_no_process_outlives_a_killed_pass(trial: Trial) -> None:
    trial.site.deliver(messages(400))
    trial.configure(workers=2)
    life = trial.start("once")
    ours = psutil.Process(life.pid)
    until(lambda: len(ours.children(recursive=True)) >= 3)
    workers = ours.children(recursive=True)

    ours.kill()

    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []


def test_every_named_moment_is_killed_at() -> None:
    assert {moment.partition(":")[0] for moment in MOMENTS} | ELSEWHERE == set(STEPS)
