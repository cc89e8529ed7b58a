"""What each account has used of its mail provider, so that all daemons together keep within its caps.

One document for an account and a provider, changed as a whole: whoever was overtaken by another process decides anew
from what that left. All by the server's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from bson import Int64
from pymongo.database import Database

from ..caps import Caps, Hold, Learned, Period, Tally, Usage
from ..errors import StoreUnavailable
from . import database as db

Document = dict[str, Any]
Change = Callable[[Usage, datetime], Usage]  # from what is so, and the time; may be asked several times

TURNS = 20  # to change a document that others change, too

_EMPTY = Usage()


@dataclass(frozen=True, slots=True)
class Book:
    """The account book of one account with one provider."""

    database: Database[Document]
    account: str
    provider: str

    def change(self, change: Change) -> tuple[Usage, datetime]:
        """Have *change* decide, and keep what it says; return that, and the time. Raises StoreUnavailable."""
        for _ in range(TURNS):
            now = db.server_time(self.database)
            with db.translated():
                found = self.database.usage.find_one({"_id": self._id}) or self._begun()
                before = _read(found)
                after = change(before, now)
                if after == before:
                    return after, now
                unchanged = {"_id": self._id, "version": found["version"]}
                written = {**_document(after), "version": Int64(found["version"] + 1)}
                if self.database.usage.update_one(unchanged, {"$set": written}).matched_count:
                    return after, now
        raise StoreUnavailable(f"account {self.account}: too many processes count what it uses at the same time")

    @property
    def _id(self) -> str:
        return f"{self.account}/{self.provider}"

    def _begun(self) -> Document:
        first = {"account": self.account, "provider": self.provider, "version": Int64(0), **_document(_EMPTY)}
        self.database.usage.update_one({"_id": self._id}, {"$setOnInsert": first}, upsert=True)
        return first


def _document(usage: Usage) -> Document:
    return {
        "fetched": [{"at": at, "bytes": Int64(count)} for at, count in usage.fetched.slots],
        "logins": [{"at": at, "count": count} for at, count in usage.logins.slots],
        "refused": [{"at": at, "count": count} for at, count in usage.refused.slots],
        "hold": asdict(usage.hold) if usage.hold else None,
        "in_a_row": usage.in_a_row,
        "learned": _learned(usage.learned) if usage.learned else None,
    }


def _learned(learned: Learned) -> Document:
    caps = asdict(learned.caps)
    most = caps["bytes_a_day"]
    return {**caps, "bytes_a_day": None if most is None else Int64(most), "until": learned.until}


def _read(found: Mapping[str, Any]) -> Usage:
    learned, hold = found["learned"], found["hold"]
    return Usage(
        fetched=_tally(_EMPTY.fetched.period, found["fetched"], "bytes"),
        logins=_tally(_EMPTY.logins.period, found["logins"], "count"),
        refused=_tally(_EMPTY.refused.period, found["refused"], "count"),
        hold=Hold(hold["until"], hold["why"]) if hold else None,
        in_a_row=found["in_a_row"],
        learned=_caps(learned) if learned else None,
    )


def _caps(learned: Mapping[str, Any]) -> Learned:
    most = learned["bytes_a_day"]
    caps = Caps(learned["connections"], None if most is None else int(most), learned["logins_an_hour"])
    return Learned(caps, learned["until"])


def _tally(period: Period, slots: list[Document], counted: str) -> Tally:
    return Tally(period, tuple((slot["at"], int(slot[counted])) for slot in slots))
