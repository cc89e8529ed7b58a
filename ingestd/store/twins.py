"""Messages that need not be fetched, since the server says that they are the same as stored ones.

It says so by an id that a message has in all mailboxes of its account: EMAILID (RFC 8474), or X-GM-MSGID. What is known
of the stored ones must not contradict, and an id of another server, or of another mailbox under the same name, says
nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pymongo.database import Database

from ..message import Metadata, Twin
from . import accounts, messages
from . import database as db
from .indexes import GIVEN

Document = dict[str, Any]

FACTS = {"object_id": 1, "digest": 1, "size_bytes": 1, "server_size_bytes": 1, "state": 1, "committed_at": 1}


def twins(database: Database[Document], account: str, wanted: Sequence[Metadata]) -> dict[int, Twin]:
    """Return the stored messages of *account* that are those of *wanted*, by their UID there. Changes nothing."""
    ids = {each.object_id for each in wanted if each.object_id}
    stored = _stored(database, account, ids) if ids else {}
    found = {each.uid: twin for each in wanted if (twin := _twin(each, stored.get(each.object_id or "", [])))}
    whole = messages.whole(database, {f"{account}:{twin.sha256}" for twin in found.values()}) if found else {}
    return {uid: twin for uid, twin in found.items() if f"{account}:{twin.sha256}" in whole}


def _stored(database: Database[Document], account: str, ids: set[str]) -> dict[str, list[Document]]:
    """The places of *account* whose messages have one of *ids*, by that."""
    places: Document = {"account": account, "object_id": {"$in": sorted(ids), **GIVEN}}  # and no more, for the index
    since = accounts.object_ids_since(database, account)
    found: dict[str, list[Document]] = defaultdict(list)
    with db.translated():
        for place in database.placements.find(places, FACTS):
            if place["state"] == "stored" and not (since and place["committed_at"] < since):
                found[place["object_id"]].append(place)
    return found


def _twin(message: Metadata, places: Sequence[Document]) -> Twin | None:
    """What lies at *places*, if it is one message and has the size that is said of *message*."""
    stored = {(place["digest"], int(place["size_bytes"])) for place in places}
    sizes = {place["server_size_bytes"] for place in places}
    return Twin(*stored.pop()) if len(stored) == 1 and sizes == {message.size_bytes} else None
