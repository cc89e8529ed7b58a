"""How far the archive is: who serves each account, and what the last pass over each mailbox left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from ..store.database import translated
from ..uidset import UIDSet

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """One mailbox. Counts are of places: a message that lies in two mailboxes counts in both."""

    mailbox: str
    done: int  # stored, vanished or quarantined
    to_do: int  # selected, and not finished
    left_out: int
    last_pass: datetime | None  # when it ended


@dataclass(frozen=True, slots=True)
class AccountStatus:
    account: str
    served_by: str | None  # "host (pid 123)" while its lease runs
    lease_until: datetime | None
    messages: int  # distinct
    mailboxes: tuple[MailboxStatus, ...]


def accounts(database: Database[Document]) -> Iterator[AccountStatus]:
    """Yield every account that was ever served, by name."""
    now = datetime.now(UTC)
    with translated():
        for found in list(database.accounts.find().sort("_id")):
            name, lease = found["_id"], found["lease"]
            held = lease["owner"] if lease["expires_at"] > now else None
            yield AccountStatus(
                account=name,
                served_by=f"{held['node']} (pid {held['pid']})" if held else None,
                lease_until=lease["expires_at"] if held else None,
                messages=database.messages.count_documents({"account": name}),
                mailboxes=tuple(map(_mailbox, database.mailboxes.find({"account": name}).sort("_id"))),
            )


def _mailbox(found: Document) -> MailboxStatus:
    return MailboxStatus(
        mailbox=found["mailbox"],
        done=len(UIDSet.parse(found["done"])),
        to_do=len(UIDSet.parse(found["selected"])),
        left_out=sum(len(UIDSet.parse(uids)) for uids in found["left_out"].values()),
        last_pass=(found["last_pass"] or {}).get("finished_at"),
    )
