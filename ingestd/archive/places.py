"""The ledger of a mailbox as a whole: its placements by epoch and state, as UID sets."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import Any

from pymongo.database import Database

from ..errors import IngestError
from ..message import Place
from ..store import mailboxes as store
from ..store import seals
from ..store.database import NONSENSE, translated
from ..store.memory import Memory
from ..uidset import UIDSet

Document = dict[str, Any]
Key = tuple[int, int]  # the number of an epoch, and its UIDVALIDITY

FACTS = dict.fromkeys(("epoch", "uid", "state", "message", "digest", "next_try"), 1)
PREFIX = re.compile(r".*;UIDVALIDITY=(\d{1,10})(?:;EPOCH=(\d{1,9}))?/", re.DOTALL)  # of the `_id` of a place


class Unreadable(IngestError):
    """What is remembered of a mailbox makes no sense: somebody else has written there."""


@dataclass(slots=True)
class Places:
    """The placements of one epoch: their UIDs by state."""

    by_state: dict[str, UIDSet] = field(default_factory=dict)
    next_try: datetime | None = None  # the earliest

    def __getitem__(self, state: str) -> UIDSet:
        return self.by_state.get(state, UIDSet())

    def expect(self, place: Document) -> None:
        """Note when an open attempt is due."""
        if place["state"] == "fetching" and isinstance(due := place["next_try"], datetime):
            self.next_try = min(self.next_try or due, due)

    @property
    def all(self) -> UIDSet:
        return UIDSet().union(self.by_state.values())


@dataclass(slots=True)
class Ledger:
    """All placements of a mailbox."""

    epochs: dict[Key, Places] = field(default_factory=lambda: defaultdict(Places))
    maildrop: Counter[str] = field(default_factory=Counter)  # what came over POP3, where there are no UIDs: by state
    contradictory: list[str] = field(default_factory=list)  # `_id`s; they count for nothing

    @property
    def any(self) -> bool:
        """Whether there are any that a pass over the mailbox itself has written."""
        return bool(self.epochs or self.contradictory)


def ledger(database: Database[Document], account: str, mailbox: str) -> Ledger:
    """Read all placements of a mailbox."""
    found = Ledger()
    uids: dict[tuple[Key, str], list[int]] = defaultdict(list)
    key_of = cache(partial(_key_of, account, mailbox))
    with translated():
        for place in database.placements.find({"account": account, "mailbox": mailbox}, FACTS):
            prefix, _, number = str(place["_id"]).rpartition(";UID=")
            if not _consistent(place, account):
                found.contradictory.append(place["_id"])
            elif place["_id"].startswith(f"pop3://{account}/;UIDL="):
                found.maildrop[place["state"]] += 1
            elif (key := key_of(prefix)) and (place["epoch"], str(place["uid"])) == (key[0], number):
                uids[key, place["state"]].append(int(number))
                found.epochs[key].expect(place)
            else:
                found.contradictory.append(place["_id"])
    for (key, state), members in uids.items():
        found.epochs[key].by_state[state] = UIDSet.of(members)
    return found


def memory(database: Database[Document], account: str, mailbox: str) -> Memory | None:
    """Return *mailbox* as the last pass left it, None when there was none; raise Unreadable."""
    try:
        found = store.last(database, account, mailbox)
        return found if found and found.epoch.place(0).id else None
    except NONSENSE as error:
        raise Unreadable(f"{account}/{mailbox}: {type(error).__name__}") from error


def accounts(database: Database[Document]) -> list[str]:
    """Return the names of all accounts of which anything is stored."""
    with translated():
        served = {found["_id"] for found in database.accounts.find({}, {"_id": 1})}
        remembered = {found["_id"].partition("/")[0] for found in database.mailboxes.find({}, {"_id": 1})}
    return sorted(served.union(remembered, seals.accounts(database), _distinct(database, {}, "account")))


def mailboxes(database: Database[Document], account: str) -> list[str]:
    """Return the names of all mailboxes of *account* of which anything is known."""
    with translated():
        ours = {"_id": {"$gt": f"{account}/", "$lt": f"{account}0"}}  # "0" is what follows "/"
        remembered = {found["_id"].partition("/")[2] for found in database.mailboxes.find(ours, {"_id": 1})}
    return sorted(remembered.union(_distinct(database, {"account": account}, "mailbox")))


def _distinct(database: Database[Document], within: Document, field: str) -> Iterator[str]:
    """Yield the values of *field* among placements, one look into an index each."""
    after = ""
    while True:
        order = [(name, 1) for name in (*within, field)]
        with translated():
            found = database.placements.find_one({**within, field: {"$gt": after}}, {field: 1}, sort=order)
        if found is None:
            return
        values = found[field] if isinstance(found[field], list) else [found[field]]  # as somebody has altered it
        after = min(value for value in values if isinstance(value, str) and value > after)
        yield after


def _key_of(account: str, mailbox: str, prefix: str) -> Key | None:
    read = PREFIX.fullmatch(prefix)
    if not read:
        return None
    key = int(read[2] or 1), int(read[1])
    return key if Place(account, mailbox, *key, 0).id == f"{prefix};UID=0" else None


def _consistent(place: Document, account: str) -> bool:
    """Whether all is there that a placement says, and what is stored is named by its digest."""
    if not FACTS.keys() <= place.keys() or not isinstance(place["state"], str):
        return False
    return bool(place["state"] != "stored" or place["message"] == f"{account}:{place['digest']}")
