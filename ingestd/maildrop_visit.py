"""One visit to an account that is read over POP3: a pass over its maildrop, with the lease held."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from . import maildrop
from .config import Account
from .errors import Refused
from .sources.pop3 import Pop3Account
from .store import maildrops
from .store.maildrop_ledger import MaildropLedger
from .store.maildrop_places import look_up, unacknowledged
from .summary import Summary
from .visit import Order, Outcome, Visit, Watch, after_store, terms, unproven, wanted
from .workers import Sink

Document = dict[str, Any]


def serve(visit: Visit, pop3: Pop3Account, order: Order, watch: Watch, outcome: Outcome) -> None:
    """Make a pass over the maildrop of an account that has no other protocol."""
    check_order(visit.account, order)
    memory = remembered(visit.database, visit.account)
    ledger = MaildropLedger(visit.database, visit.lease, visit.seals, memory)
    sink = Sink(visit.workers, terms(visit.account))
    steps = maildrop.ingest(pop3, ledger, sink, visit.spool, wanted(visit.account, order))
    summary = visit.watched(maildrop.NAME, steps, watch, ledger.finish)
    outcome.summaries.append(summary)
    outcome.errors.extend(unproven(summary))


def preview(database: Database[Document], account: Account, pop3: Pop3Account, order: Order) -> Summary:
    """Say what a pass would select. Changes nothing, neither here nor there."""
    standing = look_up(database, account.name, pop3.listing, datetime.now(UTC))
    chosen = maildrop.choose(pop3, standing, remembered(database, account), wanted(account, order))
    summary = Summary(account.name, maildrop.NAME, action := after_store(account))
    summary.begin(maildrop.planned(standing, chosen, chosen.due))
    if action:
        summary.to_remove = summary.selected + unacknowledged(database, account.name, action)
    return summary


def check_order(account: Account, order: Order) -> None:
    """Raise Refused when a mailbox is asked for that no maildrop has."""
    if order.mailbox not in (None, maildrop.NAME):
        raise Refused(f"mailbox {account.name}/{order.mailbox}: over POP3 there is only the {maildrop.NAME}")


def remembered(database: Database[Document], account: Account) -> maildrops.Maildrop:
    """What the last pass left of the maildrop. Changes nothing; raises Refused when it was another server's."""
    assert account.pop3 is not None  # there is a connection to it
    user = account.pop3.user or account.user
    return maildrops.recall(database, account.name, account.pop3.host, user, account.since, datetime.now(UTC))
