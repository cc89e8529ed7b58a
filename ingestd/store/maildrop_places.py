"""What the ledger has of a POP3 maildrop, looked up by the unique-ids of a listing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from pymongo.database import Database

from ..message import Listed, Place, Receipt
from ..uidset import UIDSet
from . import database as db
from .ledger import SEALED_AT_ONCE
from .maildrops import Maildrop
from .placements import LOOK_UP, Epoch
from .seals import Seals

Document = dict[str, Any]
T = TypeVar("T")

FACTS = dict.fromkeys(("state", "digest", "server_size_bytes", "present", "missed_at", "next_try"), 1)
MISSED = {"missed_at": 1}
SEALED = {"message": 1, "digest": 1, "size_bytes": 1}


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a maildrop, by the numbers of its listing."""

    done: UIDSet  # stored or quarantined
    again: Mapping[int, str]  # of it: the digests of what may be another message by now
    waiting: UIDSet  # for their next try
    tried: UIDSet  # in vain, and to be tried now
    new: UIDSet  # nothing is known of them
    missing: Mapping[str, datetime | None]  # places that are not listed, with when that was first found
    expected: int  # places that should have been listed

    @property
    def present(self) -> UIDSet:
        return self.done.union((self.waiting, self.tried, self.new))


def epoch(account: str) -> Epoch:
    """What all places of a maildrop share."""
    return Epoch(account, "INBOX", 0, 0)


def among(account: str, ids: Iterable[str]) -> Iterator[Document]:
    """Yield filters that match the places named by *ids*, some of them each."""
    for chunk in chunks(ids, LOOK_UP):
        yield {"_id": {"$in": chunk}, "account": account}


def look_up(database: Database[Document], account: str, listing: Sequence[Listed], now: datetime) -> Standing:
    """Return what is known of the messages of *listing*. Changes nothing.

    What has another size than it had may be another message under the same unique-id, and so may one that was gone:
    some servers use them again.
    """
    numbers = {Place.of_maildrop(account, listed.uidl).id: listed for listed in listing}
    sets: dict[str, list[int]] = defaultdict(list)
    again: dict[int, str] = {}
    for found in _found(database, account, numbers):
        listed = numbers[found["_id"]]
        sets[_part(found, now)].append(listed.number)
        if found["state"] == "stored" and _is_doubtful(found, listed):
            again[listed.number] = found["digest"]
    missing, expected = _missing(database, account, numbers)
    done, waiting, tried = (UIDSet.of(sets[name]) for name in ("done", "waiting", "tried"))
    new = UIDSet.of(listed.number for listed in listing) - done.union((waiting, tried))
    return Standing(done, again, waiting, tried, new, missing, expected)


def unacknowledged(database: Database[Document], account: str, action: str) -> int:
    """How many messages were stored while *action* was asked for, and are not acknowledged on the server yet."""
    with db.translated():
        pending = {**epoch(account).filter, "state": "stored", "ack": "pending", "ack_action": action}
        return database.placements.count_documents(pending)


def seal_again(database: Database[Document], seals: Seals, memory: Maildrop) -> None:
    """Seal what was stored by a pass that ended before its seal."""
    if memory.began_at is None:
        return
    since = {**epoch(memory.account).filter, "state": "stored", "committed_at": {"$gte": memory.began_at}}
    named = seals.named_since(memory.sealed)
    with db.translated():
        receipts = [_receipt(memory.account, each) for each in database.placements.find(since, SEALED)]
    for part in chunks((each for each in receipts if (each.place.id, each.sha256) not in named), SEALED_AT_ONCE):
        seals.append(part)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def _found(database: Database[Document], account: str, ids: Iterable[str]) -> Iterator[Document]:
    for each in among(account, ids):
        with db.translated():
            yield from database.placements.find(each, FACTS)


def _missing(
    database: Database[Document], account: str, listed: Iterable[str]
) -> tuple[dict[str, datetime | None], int]:
    """The places that should be listed and are not; and how many should be."""
    there = {**epoch(account).filter, "present": True}
    with db.translated():
        places = {each["_id"]: each.get("missed_at") for each in database.placements.find(there, MISSED)}
    return {id_: places[id_] for id_ in places.keys() - set(listed)}, len(places)


def _part(found: Document, now: datetime) -> str:
    if found["state"] in ("stored", "quarantined"):
        return "done"
    return "waiting" if found["state"] == "fetching" and found["next_try"] > now else "tried"


def _is_doubtful(found: Document, listed: Listed) -> bool:
    sizes = (found["server_size_bytes"], listed.size_bytes)
    return not found["present"] or (None not in sizes and sizes[0] != sizes[1])


def _receipt(account: str, found: Document) -> Receipt:
    place = Place.parsed_maildrop(account, found["_id"])
    return Receipt(place, found["message"], found["digest"], int(found["size_bytes"]), False, "known")
