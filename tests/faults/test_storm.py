"""After many kills, with people at work all the time, nothing is lost, nothing doubled, and nothing damaged."""

from __future__ import annotations

import os
from random import Random
from time import monotonic
from typing import Any

from pymongo.database import Database

from ingestd.demo.setting import hard_messages
from tests.faults import state
from tests.faults.conftest import Trial
from tests.faults.letters import mixed
from tests.faults.people import MAILBOXES, People, everything
from tests.faults.storm import Storm

Document = dict[str, Any]

KILLS = int(os.environ.get("INGESTD_STORM_KILLS", "300"))  # some minutes; `make storm` does a thousand
SEED = int(os.environ.get("INGESTD_STORM_SEED", "1"))
WHERE = ("mailboxes", "first_internal_date")  # of a message: where it once lay


def test_after_a_storm_of_kills_the_archive_is_as_if_there_had_been_none(
    trial: Trial, database: Database[Document]
) -> None:
    draw, began = Random(SEED), monotonic()
    print(f"storm: seed {SEED}, {KILLS} kills")
    trial.site.deliver([*hard_messages(), *mixed(75)])
    trial.configure(account=f'mailboxes = {list(MAILBOXES)}\nafter_store = "flag:$Archived"')

    with People(trial.site, database, draw) as people:
        there_before = {digest for _, _, digest in everything(trial.site)}
        storm = Storm(trial, people, draw)
        storm.rage(KILLS)
        people.rest()
    raged = monotonic() - began
    mail = there_before | people.digests
    trial.configure(workers=2)
    trial.finish()  # what was moved away before it was fetched is found gone for the first time
    unparsed = database.messages.count_documents({"parse.status": "failed"})
    assert trial.start("reparse").wait() == 0, trial.said()
    found = trial.finish()
    verified = trial.start("verify", "--chain", "--deep").wait(), trial.said().splitlines()[-1]
    calm = trial.undisturbed()

    print(f"{storm.kills.total()} kills in {raged:.0f} s: {dict(storm.kills.most_common())}; people: {people.done}")
    print(f"{len(mail)} messages, {len(found['places'])} places, {unparsed} of them unparsed until reparse")
    assert verified == (0, "COMPLETE")
    assert lost(found, mail, calm) == []
    assert doubled(found, mail) == []
    assert damaged(found, calm) == []
    assert {mailbox: kept[1:] for mailbox, kept in found["mailboxes"].items()} == dict.fromkeys(
        (f"work/{name}" for name in MAILBOXES), ("", {})
    )
    assert all("$Archived" in flags for mailbox in state.flags(trial.site).values() for flags in mailbox.values())
    assert "Traceback" not in trial.said()
    assert "this is a bug" not in trial.said()


def lost(found: Document, mail: set[str], calm: Document) -> list[str]:
    """Mail that people got and that is not stored, and places on the server without a record of just this mail."""
    places = [place for place, kept in calm["places"].items() if found["places"].get(place) != kept]
    return places + sorted(mail - set(found["rebuilt"].values()))


def doubled(found: Document, mail: set[str]) -> list[str]:
    """Messages that nobody got, or twice; that nothing is sealed twice was seen to when the state was read."""
    digests = list(found["rebuilt"].values())
    return sorted(set(digests) - mail) + sorted(digest for digest in digests if digests.count(digest) > 1)


def damaged(found: Document, calm: Document) -> list[str]:
    """Messages that are not as they would have been; that all bytes are whole was seen to when the state was read."""

    def content(message: Document) -> Document:
        return {key: message[key] for key in message if key not in WHERE}

    return [
        name
        for name, message in calm["messages"].items()
        if content(found["messages"][name]) != content(message) or found["originals"][name] != calm["originals"][name]
    ]
