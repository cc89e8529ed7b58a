"""Account for every message of a POP3 maildrop, as `accounting` does for the UIDs of a mailbox. Changes nothing.

Here the sets are of the numbers of the listing, and what is not listed any more has numbers beyond those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from pymongo.database import Database

from ..message import Listed, Place
from ..store import maildrops
from ..store.database import NONSENSE, translated
from ..store.maildrop_places import epoch
from ..store.maildrops import Maildrop
from ..uidset import UIDSet
from . import places
from .accounting import NAMED, Accounting
from .finding import Finding

Document = dict[str, Any]

PART = {"stored": "stored", "quarantined": "quarantined", "fetching": "waiting", "vanished": "listed_again"}
FACTS = {"state": 1, "next_try": 1}


def account_for_maildrop(database: Database[Document], account: str, listing: Sequence[Listed]) -> Accounting:
    """Account for the messages of *listing*, which is to be asked for first: passes write the other way round."""
    memory = _remembered(database, account)
    numbers = {Place.of_maildrop(account, listed.uidl).id: listed.number for listed in listing}
    found = _places(database, account)
    parts = _parts(numbers, found, memory, listing)
    gone = {id_: number for number, id_ in enumerate(found.keys() - numbers.keys(), len(listing) + 1)}
    kept = UIDSet.of(number for id_, number in gone.items() if found[id_]["state"] == "stored")
    return Accounting(
        account=account,
        mailbox="INBOX",
        asked=True,
        parts=parts,
        kept=kept,
        lost=UIDSet.of(gone.values()) - kept,
        earlier_kept=0,
        earlier_open=0,
        maildrop={},
        next_try=_next_try(found),
        notes=(),
        findings=(*_changed(database, account), *_unaccounted(account, listing, parts)),
    )


def _parts(
    numbers: Mapping[str, int], found: Mapping[str, Document], memory: Maildrop | None, listing: Sequence[Listed]
) -> dict[str, UIDSet]:
    known = {number: PART.get(found[id_]["state"], "unaccounted") for id_, number in numbers.items() if id_ in found}
    older = memory.known_older(listing, memory.older_than) if memory and memory.older_than else 0
    rest = "unaccounted" if memory and memory.is_as_seen(listing) else "not_visited"
    parts: dict[str, list[int]] = {}
    for number in numbers.values():
        part = known.get(number) or ("older_than_since" if number <= older else rest)
        parts.setdefault(part, []).append(number)
    return {name: UIDSet.of(members) for name, members in parts.items()}


def _places(database: Database[Document], account: str) -> dict[str, Document]:
    with translated():
        return {each["_id"]: each for each in database.placements.find(epoch(account).filter, FACTS)}


def _next_try(found: Mapping[str, Document]) -> datetime | None:
    due = (each["next_try"] for each in found.values() if each["state"] == "fetching")
    return min((each for each in due if isinstance(each, datetime)), default=None)


def _remembered(database: Database[Document], account: str) -> Maildrop | None:
    try:
        return maildrops.last(database, account)
    except NONSENSE:  # somebody else has written there; the next pass writes it anew
        return None


def _changed(database: Database[Document], account: str) -> Iterator[Finding]:
    for id_ in places.ledger(database, account, "INBOX").contradictory:
        yield Finding("placement_changed", id_, "what it says contradicts its _id")


def _unaccounted(account: str, listing: Sequence[Listed], parts: Mapping[str, UIDSet]) -> Iterator[Finding]:
    unknown = parts.get("unaccounted", UIDSet())
    named = (listed for listed in listing if listed.number in unknown)
    for listed in islice(named, NAMED):
        place = Place.of_maildrop(account, listed.uidl)
        yield Finding("unaccounted", place.id, "on the server, and nothing is known of it")
