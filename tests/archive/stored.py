"""Messages in a store, as passes leave them."""

from __future__ import annotations

import random
from typing import Any

from pymongo.database import Database

from ingestd.errors import StoreUnavailable
from ingestd.mime.parse import parse
from ingestd.store import messages
from ingestd.store.leases import Lease
from ingestd.store.messages import Terms
from ingestd.store.seals import Seals
from tests.fakes import raw

Document = dict[str, Any]
Store = Database[Document]

FILE = random.Random(1).randbytes(300_000)


def store(
    database: Store, *contents: bytes, account: str = "work", first_uid: int = 1, seal: bool = True, fail_at: str = ""
) -> list[str]:
    """Store messages as a pass does; return their `_id`s."""

    def step(name: str) -> None:
        if name == fail_at:
            raise StoreUnavailable(f"after {name}")

    batch = [raw(content, uid, account=account) for uid, content in enumerate(contents, first_uid)]
    receipts = messages.write(database, batch, parse, Terms(), step)
    if seal:
        Seals(database, Lease(database, account, 1, taken_over=False)).append(receipts)
    return [each.id for each in batch]


def place_of(database: Store, message: str) -> str:
    return str((database.placements.find_one({"message": message}) or {})["_id"])
