"""What `ingestd verify` has found out, in words that add up and as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..archive.finding import Findings
from .output import Bytes, cell
from .summaries import REASONS, added

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..archive.accounting import Accounting
    from ..archive.bookmark import Progress
    from ..archive.inventory import Inventory
    from ..archive.log import Log

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
STOCK = ("account", "places", "copies", "lone", "messages", "former", "unplaced", "originals", "blobs", "size_bytes")
LOG = ("account", "seals", "places", "named", "unsealed", "number", "hash", "sealed_at", "anchors")


@dataclass(slots=True)
class Report:
    """What was found out."""

    findings: Findings = field(default_factory=Findings)
    mailboxes: list[Accounting] = field(default_factory=list)
    stocks: list[Inventory] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    deep: Progress | None = None
    interrupted: bool = False

    def take_in(self, mailboxes: Iterable[Accounting], stock: Inventory) -> None:
        for mailbox in mailboxes:
            self.mailboxes.append(mailbox)
            self.findings.extend(mailbox.findings)
        self.stocks.append(stock)
        self.findings.merge(stock.findings)


# --- as data


def data(report: Report) -> Document:
    """The report for JSON."""
    deep = report.deep
    return {
        "complete": not report.findings and not report.interrupted,
        "interrupted": report.interrupted,
        "mailboxes": [_mailbox_data(each) for each in report.mailboxes],
        "accounts": [{name: getattr(each, name) for name in STOCK} for each in report.stocks],
        "logs": [{name: getattr(each, name) for name in LOG} for each in report.logs],
        "read_again": deep
        and {"sample": deep.sample, "messages": deep.messages, "blobs": deep.blobs, "size_bytes": deep.size_bytes},
        "findings": list(report.findings),
        "findings_by_kind": dict(sorted(report.findings.counts.items())),
    }


def _mailbox_data(found: Accounting) -> Document:
    return {
        "account": found.account,
        "mailbox": found.mailbox,
        "asked": found.asked,
        "on_server" if found.asked else "in_ledger": found.total,
        **{name: len(found.parts.get(name, ())) for name in PARTS},
        "gone": {"kept": len(found.kept), "lost": len(found.lost)},
        "earlier_epochs": {"kept": found.earlier_kept, "never_stored": found.earlier_open},
        "maildrop": found.maildrop,
        "next_try": found.next_try,
        "notes": found.notes,
        "uids": {name: str(uids) for name, uids in {**found.parts, "lost": found.lost}.items() if uids},
    }


# --- in words


def lines(report: Report) -> Iterator[str]:
    """The report for people; the last line is COMPLETE, or says what is not."""
    for mailbox in report.mailboxes:
        yield from _mailbox_lines(mailbox)
    yield from map(_stock_line, report.stocks)
    yield from map(_log_line, report.logs)
    if report.deep:
        yield _deep_line(report.deep)
    yield from _finding_lines(report.findings)
    yield _verdict(report)


def _mailbox_lines(found: Accounting) -> Iterator[str]:
    name = f"{found.account}/{found.mailbox}"
    parts = {words: len(found.parts.get(part, ())) for part, words in PARTS.items()}
    yield f"{name}: {found.total:,} {'on the server' if found.asked else 'in the ledger'} = {added(parts)}"
    sums: dict[str, dict[str, int]] = {
        "gone from the server": {"kept": len(found.kept), "lost before they could be stored": len(found.lost)},
        "places of earlier epochs": {"kept": found.earlier_kept, "never stored": found.earlier_open},
        "taken in over POP3": dict(sorted(found.maildrop.items())),
    }
    for what, counts in sums.items():
        if total := sum(counts.values()):
            yield f"{name}: {total:,} {what} = {added(counts)}"
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


def _log_line(log: Log) -> str:
    if not log.seals:
        return f"{log.account}: nothing is sealed{f', {log.unsealed:,} places not yet' if log.unsealed else ''}"
    unsealed = f"; {log.unsealed:,} more not sealed yet" if log.unsealed else ""
    anchors = f"; held against {log.anchors:,} anchors" if log.anchors else ""
    return (
        f"{log.account}: {log.seals:,} seals name {log.named:,} places, the last one at"
        f" {cell(log.sealed_at)} UTC{unsealed}{anchors}"
    )


def _deep_line(deep: Progress) -> str:
    part = f" ({deep.sample})" if deep.sample else ""
    return f"{deep.messages:,} messages and {deep.blobs:,} blobs read again{part}, {cell(Bytes(deep.size_bytes))}"


def _finding_lines(findings: Findings) -> Iterator[str]:
    if findings:
        yield ""
    for kind, count in sorted(findings.counts.items()):
        named = [finding for finding in findings if finding.kind == kind][:SHOWN]
        yield from (f"{kind}: {finding}" for finding in named)
        if count > len(named):
            yield f"{kind}: and {count - len(named):,} more; --json names more of them"
    if findings:
        yield ""


def _verdict(report: Report) -> str:
    amiss = {kind.replace("_", " "): count for kind, count in sorted(report.findings.counts.items())}
    if report.interrupted:
        return f"NOT COMPLETE: interrupted{f', after {added(amiss)}' if amiss else ''}"
    if amiss:
        return f"NOT COMPLETE: {added(amiss)}"
    pending = sum(len(found.parts.get(part, ())) for found in report.mailboxes for part in PENDING)
    aside = sum(len(found.parts.get("quarantined", ())) for found in report.mailboxes)
    notes = added({"still to come": pending, "quarantined": aside})
    return f"COMPLETE but for {notes}" if pending or aside else "COMPLETE"
