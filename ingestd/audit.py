"""Ask a mail server what it holds, and account for all of it. Changes nothing on either side."""

from __future__ import annotations

from typing import Any

from pymongo.database import Database

from .access import Access
from .archive import places
from .archive.accounting import Accounting, Server, account_for
from .archive.finding import Finding
from .archive.maildrop_accounting import account_for_maildrop
from .config import Account
from .errors import IngestError, Refused, StoreUnavailable
from .sources.imap import ImapAccount
from .store import accounts
from .visit import Order, matched

Document = dict[str, Any]


def audit(access: Access, database: Database[Document], account: Account) -> tuple[list[Accounting], list[Finding]]:
    """Account for every mailbox of *account*: those that are served, and those that once were.

    What cannot be asked is a finding, and is accounted for by the ledger alone. Raises StoreUnavailable.
    """
    found: dict[str, Accounting] = {}
    findings: list[Finding] = []
    try:
        accounts.check_binding(database, account.name, account.host, account.user)
        if account.imap is None:
            with access.pop3(account) as pop3:
                found["INBOX"] = account_for_maildrop(database, account.name, pop3.listing)
            return list(found.values()), findings
        with access.imap(account) as imap:
            served = matched(imap, account, Order())
            for mailbox in dict.fromkeys((*served, *places.mailboxes(database, account.name))):
                try:
                    server = _server(imap, mailbox, served=mailbox in served)
                    found[mailbox] = account_for(database, account.name, mailbox, server)
                except Refused as error:
                    findings.append(_not_compared(f"{account.name}/{mailbox}", error))
    except StoreUnavailable:
        raise
    except IngestError as error:
        findings.append(_not_compared(account.name, error))
    unasked = [mailbox for mailbox in places.mailboxes(database, account.name) if mailbox not in found]
    return [*found.values(), *(account_for(database, account.name, mailbox) for mailbox in unasked)], findings


def _server(imap: ImapAccount, mailbox: str, *, served: bool) -> Server:
    if not served and not imap.has(mailbox):
        return Server(None, served=False)
    return Server(imap.open(mailbox), served)


def _not_compared(what: str, error: IngestError) -> Finding:
    return Finding("not_compared", what, f"its server could not be asked: {error}")
