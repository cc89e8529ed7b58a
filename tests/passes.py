"""Passes over a mailbox in memory, with a real wire server and everything between."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.errors import StoreUnavailable
from ingestd.ingest import Plan, Stored, Wanted, ingest
from ingestd.mime.parse import parse
from ingestd.spool import Spool
from ingestd.store import mailboxes
from ingestd.store.leases import Lease, Owner, hold
from ingestd.store.ledger import Ledger
from ingestd.store.messages import Terms
from ingestd.store.seals import Seals
from ingestd.workers import InProcess, Sink, Task
from tests.fakes import ListMailbox

Document = dict[str, Any]


@dataclass
class Bench:
    """Makes passes over a mailbox in memory."""

    database: Database[Document]
    spool: Spool
    lease: Lease
    terms: Terms = field(default_factory=Terms)
    fail_at: str = ""
    lately: bool = False  # else a mailbox that does not count its changes was last looked at an hour ago

    def run(self, mailbox: ListMailbox, wanted: Wanted | None = None, since: Any = None) -> list[Plan | Stored]:
        """Make a whole pass."""
        return list(self.steps(mailbox, wanted, since))

    def steps(self, mailbox: ListMailbox, wanted: Wanted | None = None, since: Any = None) -> Generator[Plan | Stored]:
        """Make a pass step by step; closed early, it is one that broke off."""
        wanted = replace(wanted or Wanted(), after_store=self.terms.ack)
        now = datetime.now(UTC)
        account, name, numbers = mailbox.account, mailbox.name, mailbox.opened().numbers
        memory = mailboxes.recall(self.database, account, name, numbers, wanted.select, since, now)
        if numbers.modseq is None and not self.lately:
            memory = replace(memory, looked=None)
        ledger = Ledger(self.database, self.lease, Seals(self.database, self.lease), memory)
        sink = Sink(InProcess(self._do), self.terms)
        with closing(ingest(mailbox, ledger, sink, self.spool, wanted)) as steps:
            yield from steps
        ledger.finish({})

    def _do(self, task: Task[Any]) -> Any:
        return task(self.database, parse, self._step)

    def _step(self, name: str) -> None:
        if name == self.fail_at:
            raise StoreUnavailable(f"after {name}")

    def place(self, uid: int, epoch: int = 1) -> Document:
        """The placement of a UID."""
        found = self.database.placements.find_one({"uid": uid, "epoch": epoch})
        assert found is not None
        return found

    def state(self) -> tuple[list[str], list[str]]:
        stored = self.database.placements.find({"state": "stored"}).sort("_id")
        return [place["_id"] for place in stored], sorted(m["_id"] for m in self.database.messages.find())

    def sealed(self) -> list[str]:
        return sorted(place["_id"] for seal in self.database.seals.find() for place in seal["places"])


@pytest.fixture
def bench(database: Database[Document], tmp_path: Path) -> Iterator[Bench]:
    with hold(database, "work", Owner.current()) as lease, Spool(tmp_path) as spool:
        yield Bench(database, spool, lease)
