"""One visit to an account that is read over POP3: a pass over its maildrop, with the lease held."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from . import maildrop
from .config import Account
from .errors import Refused
from .ingest import Wanted
from .sources.pop3 import Pop3Account
from .store import maildrops
from .store.maildrop_ledger import MaildropLedger
from .store.maildrop_places import look_up, seal_again, unacknowledged
from .store.messages import Terms
from .summary import Summary
from .visit import Order, Outcome, Visit, Watch, after_store, terms, unproven, wanted
from .workers import Sink

Document = dict[str, Any]


def serve(visit: Visit, pop3: Pop3Account, order: Order, watch: Watch, outcome: Outcome) -> None:
    """Make a pass over the maildrop of an account that has no other protocol."""
    check_order(visit.account, order)
    summary = _passed(visit, pop3, watch, wanted(visit.account, order), terms(visit.account))
    outcome.summaries.append(summary)
    outcome.errors.extend(unproven(summary))


def fall_back(visit: Visit, pop3: Pop3Account, since: datetime, limit: int | None, watch: Watch) -> Summary:
    """Make a pass over what came *since* then, of an account whose IMAP server is away. Tells the server nothing."""
    wanted = Wanted("all", since=since, limit=limit)
    return _passed(visit, pop3, watch, wanted, replace(terms(visit.account), ack=None))


def settle(visit: Visit) -> None:
    """Seal what a pass has left unsealed when it broke off, since there may be none after it."""
    memory = maildrops.last(visit.database, visit.account.name)
    if memory and memory.began_at:
        seal_again(visit.database, visit.seals, memory)
        maildrops.save(visit.database, visit.lease, replace(memory, began_at=None, sealed=visit.seals.number))


def _passed(visit: Visit, pop3: Pop3Account, watch: Watch, wanted: Wanted, terms: Terms) -> Summary:
    memory = remembered(visit.database, visit.account)
    ledger = MaildropLedger(visit.database, visit.lease, visit.seals, memory)
    steps = maildrop.ingest(pop3, ledger, Sink(visit.workers, terms), visit.spool, wanted)
    summary = Summary(visit.account.name, maildrop.NAME, after_store(visit.account))
    return visit.watched(summary, steps, watch, ledger.finish)


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
