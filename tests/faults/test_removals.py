"""Killed at any moment while mail is removed from its server: nothing leaves that is not stored, and all is told."""

from __future__ import annotations

import random
from collections import Counter
from hashlib import sha256
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.archive import rebuild
from ingestd.demo.mailbox import messages
from tests.e2e.conftest import Site, on_the_wire
from tests.faults.conftest import Trial
from tests.faults.letters import large, mixed

Document = dict[str, Any]

BEFORE = ("placements", "sealed", "checkpoint:3")
MEANWHILE = ("removing", "marked", "removed", "attested")
MOMENTS = [("delete", moment) for moment in (*BEFORE, *MEANWHILE, "marked:2")]
MOMENTS += [("move:Done", moment) for moment in MEANWHILE]
MANY = 300
KILLS = 8
ACTIONS = {"delete": "deleted", "move:Done": "moved"}


def lying(site: Site, *mailboxes: str) -> Counter[str]:
    """The digests of the messages that lie in *mailboxes*."""
    client, found = site.client(), Counter[str]()
    for mailbox in mailboxes:
        client.select_folder(mailbox, readonly=True)
        uids = client.search("ALL")
        answers = client.fetch(uids, ["BODY.PEEK[]"]) if uids else {}
        found.update(sha256(answer[b"BODY[]"]).hexdigest() for answer in answers.values())
    client.logout()
    return found


def kept(database: Database[Document]) -> Counter[str]:
    """The digests of the messages that the store gives back, by place."""
    places = list(database.placements.find({"state": "stored"}))
    for message in {place["message"]: place for place in places}.values():
        for _ in rebuild.original(database, {"_id": message["message"], "sha256": message["digest"]}):
            pass
    return Counter(place["digest"] for place in places)


def attested(database: Database[Document], kind: str) -> list[str]:
    return sorted(place["_id"] for seal in database.seals.find({"kind": kind}) for place in seal["places"])


@pytest.mark.parametrize(("action", "moment"), MOMENTS)
def test_killed_at_a_moment_of_a_removal_nothing_is_lost_and_each_is_told_once(
    trial: Trial, database: Database[Document], action: str, moment: str
) -> None:
    letters = [*mixed(), large()]
    trial.site.deliver(letters)
    trial.site.deliver([], "Done")
    trial.configure(account=f'after_store = "{action}"')
    delivered = Counter(map(on_the_wire, letters))

    killed = trial.once(INGESTD_FAIL_AT=moment)
    between = lying(trial.site, "INBOX", "Done") + kept(database)
    trial.finish()
    trial.finish()

    assert killed == -9
    assert set(between) == set(delivered)
    assert kept(database) == delivered
    assert lying(trial.site, "INBOX") == Counter()
    assert lying(trial.site, "Done") == (delivered if action == "move:Done" else Counter())
    places = sorted(place["_id"] for place in database.placements.find())
    assert attested(database, ACTIONS[action]) == attested(database, "stored") == places
    assert database.placements.count_documents({"present": False, "ack": "done"}) == len(places)


def test_killed_at_random_while_mail_is_deleted_and_more_arrives_nothing_is_lost(
    trial: Trial, database: Database[Document]
) -> None:
    draw, letters = random.Random(11), list(messages(MANY))
    share = MANY // (KILLS + 1)
    trial.configure(workers=1, account='after_store = "delete"')
    delivered: list[str] = []
    for number in range(KILLS):
        some = letters[number * share : (number + 1) * share]
        trial.site.deliver(some)
        delivered += map(on_the_wire, some)
        life = trial.start("once")
        life.wait(draw.uniform(0.2, 2.5))
        life.kill()
        assert set(lying(trial.site, "INBOX") + kept(database)) == set(delivered)

    trial.finish()
    trial.finish()

    assert lying(trial.site, "INBOX") == Counter()
    assert kept(database) == Counter(delivered)
    places = sorted(place["_id"] for place in database.placements.find())
    assert attested(database, "deleted") == attested(database, "stored") == places
