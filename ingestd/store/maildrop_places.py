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
SEALED = {"message": 1, "digest": 1, "size_bytes": 1}


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a maildrop, by the numbers of its listing."""

    done: UIDSet  # stored or quarantined
    again: Mapping[int, str]  # of it: the digests of what may be another message by now
    waiting: UIDSet  # for their next try
    tried: UIDSet  # in vain, and to be tried now
    new: UIDSet  # nothing is known of them
    back: UIDSet  # listed again, after they were missing or gone, with nothing more to find out
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
    listed = {Place.of_maildrop(account, each.uidl).id: each for each in listing}
    expected = _expected(database, account)
    known = {id_: found for id_, found in expected.items() if id_ in listed}
    known |= _others(database, account, (id_ for id_ in listed if id_ not in expected))
    parts: dict[str, list[int]] = defaultdict(list)
    for id_, found in known.items():
        for part in _parts(found, listed[id_], now):
            parts[part].append(listed[id_].number)
    digests = {listed[id_].number: found["digest"] for id_, found in known.items()}
    done, waiting, tried, back = (UIDSet.of(parts[name]) for name in ("done", "waiting", "tried", "back"))
    return Standing(
        done=done,
        again={number: digests[number] for number in parts["again"]},
        waiting=waiting,
        tried=tried,
        new=UIDSet.of(each.number for each in listing) - done.union((waiting, tried)),
        back=back,
        missing={id_: found.get("missed_at") for id_, found in expected.items() if id_ not in listed},
        expected=len(expected),
    )


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


def _expected(database: Database[Document], account: str) -> dict[str, Document]:
    """The places that should be listed."""
    with db.translated():
        present = {**epoch(account).filter, "present": True}
        return {found["_id"]: found for found in database.placements.find(present, FACTS)}


def _others(database: Database[Document], account: str, ids: Iterable[str]) -> dict[str, Document]:
    """Those of the places named by *ids* that are there."""
    with db.translated():
        found = (each for these in among(account, ids) for each in database.placements.find(these, FACTS))
        return {each["_id"]: each for each in found}


def _parts(found: Document, listed: Listed, now: datetime) -> Iterator[str]:
    state = found["state"]
    if state in ("stored", "quarantined"):
        yield "done"
    else:
        yield "waiting" if state == "fetching" and found["next_try"] > now else "tried"
    if state == "stored" and _is_doubtful(found, listed):
        yield "again"
    if "missed_at" in found or (state == "quarantined" and not found["present"]):
        yield "back"


def _is_doubtful(found: Document, listed: Listed) -> bool:
    sizes = (found["server_size_bytes"], listed.size_bytes)
    return not found["present"] or (None not in sizes and sizes[0] != sizes[1])


def _receipt(account: str, found: Document) -> Receipt:
    place = Place.parsed_maildrop(account, found["_id"])
    return Receipt(place, found["message"], found["digest"], int(found["size_bytes"]), False, "known")
