"""The log of an account as proof: that it is whole itself, and that it and the ledger say the same.

Needs nothing but the database, also one that was restored elsewhere from a dump.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo.database import Database

from ..errors import IngestError
from ..store import seals
from ..store.database import translated
from .anchors import Anchor
from .attested import Attested
from .chain import Chain, named
from .finding import Findings

Document = dict[str, Any]


class Broken(IngestError):
    """The log is not whole, so an anchor would vouch for what is wrong."""


@dataclass(frozen=True, slots=True)
class Log:
    """What the log of one account says. `named` places are those that its `places` entries are about."""

    account: str
    seals: int
    places: int
    named: int
    unsealed: int  # stored by a pass that is at work, or ended, before its seal: the next one seals them
    number: int  # of the last seal
    hash: str | None
    sealed_at: datetime | None
    anchors: int
    findings: Findings


def check(
    database: Database[Document],
    account: str,
    anchors: Iterable[Anchor] = (),
    advance: Callable[[int], None] = lambda count: None,
) -> Log:
    """Follow the log of *account* to its end, and hold it against the ledger and *anchors*. Changes nothing.

    *advance* is told how many places each seal names.

    The log is read first and, after the ledger, once more from where it ended: a place that is stored meanwhile is
    sealed by then, or still on the list of its pass.
    """
    ours = [anchor for anchor in anchors if anchor.account == account]
    chain, attested = Chain(account, ours), Attested(database, account)
    after = ""
    for seal in seals.entries(database, account):
        attested.compare(seal, believed=chain.follow(seal))
        advance(len(named(seal)))
        after = seal["_id"]
    stored = attested.stored()
    pending = attested.pending()
    for seal in seals.entries(database, account, after):
        attested.compare(seal, believed=chain.follow(seal))
    chain.end()
    unsealed = stored.without(attested.named)
    findings = chain.findings
    findings.merge(attested.findings(unsealed, pending))
    return Log(
        account=account,
        seals=chain.seals,
        places=chain.places,
        named=len(attested.named),
        unsealed=len(unsealed),
        number=chain.number,
        hash=chain.hash,
        sealed_at=chain.sealed_at,
        anchors=len(ours),
        findings=findings,
    )


def count(database: Database[Document], account: str) -> int:
    """About how many places the log of *account* names: those that are stored."""
    with translated():
        return database.placements.count_documents({"account": account, "state": "stored"})


def anchor(database: Database[Document], account: str, now: datetime) -> Anchor | None:
    """Return the anchor of *account* as of *now*, None when it has no log; raise Broken when that is not whole."""
    chain = Chain(account)
    for seal in seals.entries(database, account):
        chain.follow(seal)
    for finding in chain.findings:
        raise Broken(f"{finding}; to see all of it, run: ingestd verify --chain {account}")
    return Anchor(account, chain.number, chain.hash, chain.places, now) if chain.hash else None
