"""Find stored messages, by what people have at hand."""

from __future__ import annotations

import re
from typing import Any

from pymongo.database import Database

from ..errors import IngestError
from ..store.database import translated

Document = dict[str, Any]

CHOICES = 10  # candidates named when a prefix is not unique
HEX = re.compile(r"[0-9a-f]{4,64}")


class NotFound(IngestError):
    """No message, or more than one, answers to what was asked for."""


def one(database: Database[Document], wanted: str) -> Document:
    """Return the `messages` document that *wanted* names: an `_id`, a Message-ID, or a unique start of a SHA-256.

    Raises NotFound; its text names the candidates when there are several.
    """
    found = _named(database, wanted.strip())
    if not found:
        raise NotFound(
            f"no message {wanted!r}; give the start of its SHA-256 (4 characters or more), its Message-ID or its _id"
        )
    if len(found) > 1:
        names = ", ".join(sorted(document["_id"] for document in found))
        more = " and more" if len(found) == CHOICES else ""
        raise NotFound(f"{wanted!r} means {len(found)} messages: {names}{more}; give the whole _id of the one you mean")
    return found[0]


def _named(database: Database[Document], wanted: str) -> list[Document]:
    with translated():
        if ":" in wanted and (exact := database.messages.find_one({"_id": wanted})):
            return [exact]
        if by_id := list(database.messages.find({"message_id": wanted.strip("<>")}).limit(CHOICES)):
            return by_id
        if not HEX.fullmatch(wanted.lower()):
            return []
        start = wanted.lower()
        accounts = [document["_id"] for document in database.accounts.find({}, {"_id": 1})]
        ranges = [{"_id": {"$gte": f"{name}:{start}", "$lte": f"{name}:{start}g"}} for name in accounts]
        return list(database.messages.find({"$or": ranges}).limit(CHOICES)) if ranges else []
