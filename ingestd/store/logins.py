"""What an account needs to log in and may not be lost: here as ciphertext, of which the store knows nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import Binary
from pymongo.database import Database

from . import database as db
from .leases import first_contact

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The place of one account, in `accounts`. Not fenced: a person may log in anew while a daemon serves it."""

    database: Database[Document]
    account: str

    def read(self) -> bytes | None:
        """Raises StoreUnavailable."""
        with db.translated():
            found = self.database.accounts.find_one({"_id": self.account}, {"login": 1}) or {}
        login = found.get("login")
        return bytes(login["refresh_token"]) if login else None

    def write(self, new: bytes) -> None:
        """Durable when this returns. Raises StoreUnavailable."""
        login = {"refresh_token": Binary(new), "renewed_at": datetime.now(UTC)}
        first = {name: value for name, value in first_contact().items() if name != "login"}
        with db.translated():
            self.database.accounts.update_one(
                {"_id": self.account}, {"$set": {"login": login}, "$setOnInsert": first}, upsert=True
            )
