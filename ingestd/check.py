"""What `ingestd check` finds out about an account, without changing anything on either side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from . import maildrop, maildrop_visit
from .access import Access
from .config import Account
from .errors import IngestError, Refused, StoreUnavailable
from .sources.imap import ImapAccount
from .store import accounts
from .summary import Summary
from .visit import Order, after_store, matched, preview

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one account looks like from here."""

    account: str
    capabilities: list[str] = field(default_factory=list)
    mailboxes: list[str] = field(default_factory=list)
    previews: list[Summary] = field(default_factory=list)  # what the next pass would select
    warnings: list[str] = field(default_factory=list)
    errors: list[IngestError] = field(default_factory=list)


def examine(access: Access, account: Account, order: Order) -> Finding:
    """Log in to *account* and look at every mailbox it matches; without a database, only at their names.

    What goes wrong is in the finding, except with the store: raises StoreUnavailable.
    """
    finding, database = Finding(account.name), access.database
    finding.warnings.extend(_warnings(account))
    try:
        if database is not None:
            accounts.check_binding(database, account.name, account.host, account.user)
        if account.imap is not None:
            _examine_imap(access, account, order, finding)
            _examine_fallback(access, account)
        else:
            _examine_pop3(access, account, order, finding)
    except StoreUnavailable:
        raise
    except IngestError as error:
        finding.errors.append(error)
    return finding


def _examine_imap(access: Access, account: Account, order: Order, finding: Finding) -> None:
    with access.visit(account, account.host), access.imap(account) as imap:
        finding.capabilities.extend(imap.capabilities)
        finding.mailboxes.extend(matched(imap, account, order))
        if access.database is not None:
            finding.previews.extend(preview(access.database, account, imap, order))
        finding.errors.extend(_refusals(imap, account, finding.mailboxes))


def _examine_pop3(access: Access, account: Account, order: Order, finding: Finding) -> None:
    maildrop_visit.check_order(account, order)
    with access.visit(account, account.host), access.pop3(account) as pop3:
        finding.capabilities.extend(sorted(pop3.offered))
        finding.mailboxes.append(maildrop.NAME)
        if access.database is not None:
            finding.previews.append(maildrop_visit.preview(access.database, account, pop3, order))


def _examine_fallback(access: Access, account: Account) -> None:
    """Log in over POP3, where there is that beside IMAP: nobody wants to find out when it is needed."""
    if account.pop3 is not None:
        with access.visit(account, account.pop3.host), access.pop3(account):
            return


def _refusals(imap: ImapAccount, account: Account, names: list[str]) -> Iterator[Refused]:
    """Yield why `after_store` cannot be done in some mailbox."""
    action = after_store(account)
    if action is None:
        return
    for name in names:
        try:
            imap.open(name).check_action(action)
        except Refused as error:
            yield error


def _warnings(account: Account) -> Iterator[str]:
    for table, server in (("imap", account.imap), ("pop3", account.pop3)):
        if server is not None and server.exposed:
            yield f'{table}.tls = "none": the password and all mail of {account.name} travel where others can read them'
    if account.pop3 is not None:
        yield "many POP3 servers mark as read for all mail programs what is fetched over POP3; nothing can prevent that"
