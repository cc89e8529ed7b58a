"""Messages that are the same letter with slightly other bytes, since they came over two protocols.

They are known by the digest of their canonical bytes (`mime/canonical.py`). Of such a pair the one that came over IMAP
is the letter, in either order of arrival, and the other one says so in `same_as`. Where all came over POP3 it is the
one that came first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database

from ..message import RawMessage
from . import database as db
from .indexes import GIVEN

Document = dict[str, Any]

FACTS = {"sha256": 1, "canonical": 1, "same_as": 1, "ingested_at": 1}


def link(database: Database[Document], batch: Sequence[RawMessage]) -> None:
    """Relate the messages of *batch*, which are written but not placed yet, with what they are variants of.

    Doing it again changes nothing. They are all of one account.
    """
    if not batch:
        return
    account, ids = batch[0].place.account, {raw.id for raw in batch}
    with db.translated():
        ours = list(database.messages.find({"_id": {"$in": sorted(ids)}, "account": account}, FACTS))
    letters = _letters(database, account, {_letter(each) for each in ours})
    several = [variants for variants in letters.values() if len(variants) > 1]
    over_imap = _over_imap(database, batch, (each["_id"] for variants in several for each in variants))
    changes = [change for variants in several for change in _changes(variants, over_imap)]
    db.upsert(database.messages, changes)


def _letters(database: Database[Document], account: str, digests: set[str]) -> Mapping[str, list[Document]]:
    """The stored messages that have one of *digests*, by that."""
    # By two queries: one with $or would have to look into two indexes, and not every server does.
    plain = {"_id": {"$in": [f"{account}:{digest}" for digest in digests]}, "account": account}
    marked = {"account": account, "canonical": {"$in": sorted(digests), **GIVEN}}
    letters: dict[str, list[Document]] = defaultdict(list)
    with db.translated():
        for which in (plain, marked):
            for found in database.messages.find(which, FACTS):
                if (letter := _letter(found)) in digests:
                    letters[letter].append(found)
    return letters


def _letter(message: Document) -> str:
    digest: str = message.get("canonical") or message["sha256"]  # an earlier version wrote none
    return digest


def _over_imap(database: Database[Document], batch: Sequence[RawMessage], ids: Iterable[str]) -> set[str]:
    """Which of *ids* came over something else than POP3."""
    wanted = list(ids)
    if not wanted:
        return set()
    with db.translated():
        placed = {"message": {"$in": wanted}, "state": "stored", "via": {"$ne": "pop3"}}
        found = {each["message"] for each in database.placements.find(placed, {"message": 1})}
    return found.union(raw.id for raw in batch if raw.via != "pop3")


def _changes(variants: Sequence[Document], over_imap: set[str]) -> Iterator[UpdateOne]:
    rest = [each for each in variants if each["_id"] not in over_imap]
    letter = min(variants, key=lambda each: (each["_id"] not in over_imap, each["ingested_at"], each["_id"]))
    for each in variants:
        same_as = letter["_id"] if each in rest and each is not letter else None
        if each["same_as"] != same_as:
            where = {"_id": each["_id"], "account": each["_id"].rpartition(":")[0], "same_as": each["same_as"]}
            yield UpdateOne(where, {"$set": {"same_as": same_as}, "$currentDate": {"modified_at": True}})
