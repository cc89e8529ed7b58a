"""`ingestd verify`: is everything there that should be?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .choice import chosen
from .command import FINDING, KEEP, Session, command
from .output import Bytes, cell
from .summaries import REASONS, added

if TYPE_CHECKING:
    from pymongo.database import Database

    from ..archive.accounting import Accounting
    from ..archive.finding import Findings
    from ..archive.inventory import Inventory

Document = dict[str, Any]

SHOWN = 20  # findings of one kind that people are shown; JSON has more
PARTS = {  # what a server lists, in words
    "stored": "stored",
    "quarantined": "quarantined",
    "waiting": "to be tried again",
    "chosen": "chosen and not reached",
    "listed_again": "listed again",
    **REASONS,
    "not_visited": "not visited yet",
    "not_served": "not taken in any more",
    "missing": "without their placement",
    "wrong": "in a wrong set",
    "unaccounted": "unaccounted for",
}
PENDING = ("waiting", "chosen", "listed_again", "not_visited")  # accounted for: the next passes see to them

Accounts = Annotated[
    list[str] | None, typer.Argument(metavar="ACCOUNT", help="Only these accounts.", show_default=False)
]
Offline = Annotated[bool, typer.Option("--offline", help="Look at the database only; ask no mail server.")]


def register(app: typer.Typer) -> None:
    command(app, verify, KEEP)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found out."""

    findings: Findings
    mailboxes: list[Accounting] = field(default_factory=list)
    stocks: list[Inventory] = field(default_factory=list)


def verify(session: Session, accounts: Accounts = None, offline: Offline = False) -> int | None:
    """Check that nothing is missing: every message on the servers is accounted for, and the store holds together.

    It asks every mail server for all UIDs and compares them with the ledger: each is stored, left out for a reason that
    still holds, set aside, or still to come. Then it checks that every stored place has its message, and every message
    its original and its attachments.

    It changes nothing, neither there nor here, and works while `ingestd run` is at work. The last line is COMPLETE, or
    says what is not; then the exit code is 1.
    """
    from ..archive.finding import Findings
    from ..daemon import reading

    report = Report(Findings())
    with reading(session.config) as database:
        for name in _names(session, database, accounts):
            _account(session, database, name, offline, report)
    session.output.emit(_data(report), lambda: "\n".join(_lines(report)))
    return FINDING if report.findings else None


def _names(session: Session, database: Database[Document], wanted: list[str] | None) -> list[str]:
    """The accounts to check. One may be stored and no longer configured; one that is neither is a slip of the pen."""
    from ..archive.places import accounts

    stored = accounts(database)
    if not wanted:
        return list(dict.fromkeys([*(account.name for account in session.config.accounts), *stored]))
    for name in wanted:
        if name not in stored:
            chosen(session.config, name)
    return list(dict.fromkeys(wanted))


def _account(session: Session, database: Database[Document], name: str, offline: bool, report: Report) -> None:
    from ..access import Access
    from ..archive import places
    from ..archive.accounting import account_for
    from ..archive.inventory import count, inventory
    from ..audit import audit

    configured = {account.name: account for account in session.config.accounts}
    if name in configured and not offline:
        mailboxes, findings = audit(Access(session.config, database), database, configured[name])
        report.findings.extend(findings)
    else:
        mailboxes = [account_for(database, name, mailbox) for mailbox in places.mailboxes(database, name)]
    with session.output.progress(f"{name}: looked up", count(database, name)) as bar:
        stock = inventory(database, name, bar.advance)
    report.mailboxes.extend(mailboxes)
    report.stocks.append(stock)
    for mailbox in mailboxes:
        report.findings.extend(mailbox.findings)
    report.findings.merge(stock.findings)


# --- as data


def _data(report: Report) -> Document:
    return {
        "complete": not report.findings,
        "mailboxes": [_mailbox_data(each) for each in report.mailboxes],
        "accounts": [_stock_data(each) for each in report.stocks],
        "findings": list(report.findings),
        "findings_by_kind": dict(sorted(report.findings.counts.items())),
    }


def _mailbox_data(found: Accounting) -> Document:
    counts = {name: len(found.parts.get(name, ())) for name in PARTS}
    return {
        "account": found.account,
        "mailbox": found.mailbox,
        "asked": found.asked,
        "on_server" if found.asked else "in_ledger": found.total,
        **counts,
        "gone": {"kept": len(found.kept), "lost": len(found.lost)},
        "earlier_epochs": {"kept": found.earlier_kept, "never_stored": found.earlier_open},
        "maildrop": found.maildrop,
        "next_try": found.next_try,
        "notes": found.notes,
        "uids": {name: str(uids) for name, uids in {**found.parts, "lost": found.lost}.items() if uids},
    }


def _stock_data(stock: Inventory) -> Document:
    names = (
        "account",
        "places",
        "copies",
        "lone",
        "messages",
        "former",
        "unplaced",
        "originals",
        "blobs",
        "size_bytes",
    )
    return {name: getattr(stock, name) for name in names}


# --- in words


def _lines(report: Report) -> Iterator[str]:
    for mailbox in report.mailboxes:
        yield from _mailbox_lines(mailbox)
    yield from map(_stock_line, report.stocks)
    yield from _finding_lines(report.findings)
    yield _verdict(report)


def _mailbox_lines(found: Accounting) -> Iterator[str]:
    name = f"{found.account}/{found.mailbox}"
    parts = {words: len(found.parts.get(part, ())) for part, words in PARTS.items()}
    yield f"{name}: {found.total:,} {'on the server' if found.asked else 'in the ledger'} = {added(parts)}"
    gone = {"kept": len(found.kept), "lost before they could be stored": len(found.lost)}
    if count := sum(gone.values()):
        yield f"{name}: {count:,} gone from the server = {added(gone)}"
    earlier = {"kept": found.earlier_kept, "never stored": found.earlier_open}
    if count := sum(earlier.values()):
        yield f"{name}: {count:,} places of earlier epochs = {added(earlier)}"
    if found.maildrop:
        drop = {state: found.maildrop[state] for state in sorted(found.maildrop)}
        yield f"{name}: {sum(drop.values()):,} taken in over POP3 = {added(drop)}"
    if found.next_try:
        yield f"{name}: the next try is due at {cell(found.next_try)} UTC"
    yield from (f"{name}: {note}" for note in found.notes)


def _stock_line(stock: Inventory) -> str:
    places = {"distinct messages": stock.placed, "copies": stock.copies, "without their message": stock.lone}
    others = {"whose place holds another one now": stock.former, "of a pass that has not finished": stock.unplaced}
    more = "".join(f"; {count:,} more messages {what}" for what, count in others.items() if count)
    return (
        f"{stock.account}: {stock.places:,} places = {added(places)}{more}"
        f"; {stock.originals:,} originals, {stock.blobs:,} references to blobs, {cell(Bytes(stock.size_bytes))}"
    )


def _finding_lines(findings: Findings) -> Iterator[str]:
    if findings:
        yield ""
    for kind, count in findings.counts.items():
        named = [finding for finding in findings if finding.kind == kind][:SHOWN]
        yield from (f"{kind}: {finding}" for finding in named)
        if count > len(named):
            yield f"{kind}: and {count - len(named):,} more; --json names them"
    if findings:
        yield ""


def _verdict(report: Report) -> str:
    if report.findings:
        kinds = added({kind.replace("_", " "): count for kind, count in sorted(report.findings.counts.items())})
        return f"NOT COMPLETE: {kinds}"
    open_ = sum(len(found.parts.get(part, ())) for found in report.mailboxes for part in PENDING)
    aside = sum(len(found.parts.get("quarantined", ())) for found in report.mailboxes)
    notes = {"still to come": open_, "quarantined": aside}
    return f"COMPLETE{f' but for {added(notes)}' if open_ or aside else ''}"
