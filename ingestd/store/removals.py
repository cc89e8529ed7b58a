"""Messages that are to be deleted or moved on their server since they are stored: what is known of them, and their end.

`asked_at` is written before the server is told, so that a pass that dies then knows whose doing it was when the message
is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pymongo.database import Database

from ..message import Metadata, Place, Receipt
from ..steps import step
from ..uidset import UIDSet
from . import database as db
from .history import noted
from .placements import Epoch
from .seals import Seals

Document = dict[str, Any]
Kind = Literal["deleted", "moved"]

HELD = {
    "uid": 1,
    "message": 1,
    "digest": 1,
    "size_bytes": 1,
    "internal_date": 1,
    "server_size_bytes": 1,
    "ack_action": 1,
}
AT_ONCE = 100  # places read, and sealed, at a time


@dataclass(frozen=True, slots=True)
class Held:
    """A message that is stored and lies on its server."""

    receipt: Receipt
    metadata: Metadata  # what the server said when it was fetched
    action: str

    @property
    def uid(self) -> int:
        return self.metadata.uid


def removes(action: str | None) -> bool:
    """Whether *action* leaves nothing in the mailbox."""
    return action is not None and action.partition(":")[0] in ("move", "delete")


def kind(action: str) -> Kind:
    """What a seal says when *action* is done."""
    return "moved" if action.startswith("move:") else "deleted"


def held(database: Database[Document], epoch: Epoch, uids: UIDSet, action: str) -> Iterator[list[Held]]:
    """Yield what is known of those of *uids* that wait for *action*, part by part."""
    for chunk in uids.chunks(AT_ONCE, length=AT_ONCE * 22):
        ours = {"_id": {"$in": [epoch.place(uid).id for uid in chunk]}, "account": epoch.account}
        with db.translated():
            waiting = {**ours, "ack": "pending", "ack_action": action}
            yield _read(epoch, database.placements.find(waiting, HELD))


def begun(database: Database[Document], epoch: Epoch) -> list[Held]:
    """Return what the server may have been told to remove by a pass that died before it could say so."""
    return _read(epoch, filter(is_begun, pending(database, epoch)))


def pending(database: Database[Document], epoch: Epoch) -> list[Document]:
    """Return the places of *epoch* where something is to be done on the server.

    What else is wanted of them is for the caller to tell: the embedded store uses an index only for a filter of just
    its fields, and would look through all places of the account for one more.
    """
    with db.translated():
        return list(database.placements.find({**epoch.filter, "ack": "pending"}, {**HELD, "asked_at": 1}))


def asks(action: str) -> Callable[[Document], bool]:
    """Tell of what is pending whether *action* is what is to be done there."""
    return lambda pending: bool(pending["ack_action"] == action)


def is_begun(pending: Document) -> bool:
    """Whether the server may have been told already."""
    return isinstance(pending.get("asked_at"), datetime)


def begin(database: Database[Document], places: Iterable[Document], now: datetime) -> None:
    """Record that the server is about to be told to remove what *places*, filters, match."""
    _update(database, places, {"asked_at": now})


def undo(database: Database[Document], places: Iterable[Document]) -> None:
    """Record that they are there still: the server is to be told again, if that is still wanted."""
    _update(database, places, {"asked_at": None})


def finish(database: Database[Document], places: Iterable[Document], what: Kind, now: datetime) -> None:
    """Record that they are removed."""
    change = {"ack": "done", "present": False, "vanished_at": now, "history": noted(what, now)}
    _update(database, places, change)


def miss(database: Database[Document], places: Iterable[Document]) -> None:
    """Record that they were gone before the server was told anything."""
    _update(database, places, {"ack": "gone", "asked_at": None})


def seal(seals: Seals, held: Sequence[Held], action: str, since: int | None) -> None:
    """Seal that the server did *action* to *held*; given *since*, what seals after that number say is said already."""
    what, receipts = kind(action), [each.receipt for each in held]
    known = set() if since is None else seals.named_since(since, what)
    if unsealed := [each for each in receipts if (each.place.id, each.sha256) not in known]:
        seals.append(unsealed, what)
        step("attested")


def _read(epoch: Epoch, found: Iterable[Document]) -> list[Held]:
    return [read(epoch.place(uid), each, uid) for each in found if (uid := int(each["uid"]))]


def read(place: Place, found: Document, number: int) -> Held:
    """What the document of *place* says, which goes by *number* within the pass."""
    return Held(
        Receipt(place, found["message"], found["digest"], int(found["size_bytes"]), False, "known"),
        Metadata(number, internal_date=found["internal_date"], size_bytes=found["server_size_bytes"]),
        found["ack_action"],
    )


def _update(database: Database[Document], places: Iterable[Document], change: Document) -> None:
    for each in places:
        with db.translated():
            database.placements.update_many({**each, "ack": "pending"}, [{"$set": change}])
