"""Killed at each named moment of a pass over POP3, the next one ends where one would have ended undisturbed."""

from __future__ import annotations

import poplib
from collections import Counter
from hashlib import sha256
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.archive import rebuild
from tests.e2e.conftest import Site, on_the_wire
from tests.faults.conftest import Trial
from tests.faults.letters import large, mixed

Document = dict[str, Any]

MOMENTS = (
    *("searched", "literal:3", "literal:40", "spooled:9", "parsed", "chunks", "chunks:2"),
    *("blobs", "originals", "messages", "placements", "sealed", "checkpoint"),
)
WHILE_DELETING = ("placements", "sealed", "removing", "marked", "marked:2", "removed", "attested", "checkpoint")


@pytest.fixture
def filled(trial: Trial) -> Trial:
    trial.site.protocol = "pop3"
    trial.site.deliver([*mixed(), large()])
    trial.configure()
    return trial


def lying(site: Site) -> Counter[str]:
    """The digests of the messages in the maildrop."""
    client = poplib.POP3("127.0.0.1", site.server.pop3_port)
    client.user(site.user)
    client.pass_(site.server.password)
    count, _ = client.stat()
    bodies = (b"".join(line + b"\r\n" for line in client.retr(number + 1)[1]) for number in range(count))
    found = Counter(sha256(body).hexdigest() for body in bodies)
    client.quit()
    return found


def kept(database: Database[Document]) -> Counter[str]:
    """The digests of the messages that the store gives back, by place."""
    places = list(database.placements.find({"state": "stored"}))
    for place in places:
        for _ in rebuild.original(database, {"_id": place["message"], "sha256": place["digest"]}):
            pass
    return Counter(place["digest"] for place in places)


def attested(database: Database[Document], kind: str) -> list[str]:
    return sorted(place["_id"] for seal in database.seals.find({"kind": kind}) for place in seal["places"])


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_a_moment_of_the_pass_nothing_is_lost_and_nothing_doubled(filled: Trial, moment: str) -> None:
    killed = filled.once(INGESTD_FAIL_AT=moment)
    found = filled.finish()

    assert killed == -9
    assert found == filled.undisturbed()
    assert len(found["places"]) == len([*mixed(), large()])


@pytest.mark.parametrize("moment", WHILE_DELETING)
def test_killed_at_a_moment_of_a_deletion_nothing_is_lost_and_each_is_told_once(
    filled: Trial, database: Database[Document], moment: str
) -> None:
    filled.configure(account='after_store = "delete"')
    delivered = Counter(map(on_the_wire, [*mixed(), large()]))

    killed = filled.once(INGESTD_FAIL_AT=moment)
    between = lying(filled.site) + kept(database)
    filled.finish()
    filled.finish()

    assert killed == -9
    assert set(between) == set(delivered)
    assert kept(database) == delivered
    assert lying(filled.site) == Counter()
    places = sorted(place["_id"] for place in database.placements.find())
    assert attested(database, "deleted") == attested(database, "stored") == places
    assert database.placements.count_documents({"present": False, "ack": "done"}) == len(places)
