"""`ingestd check`: does the configuration work, and what would it take in?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from ..errors import StoreUnavailable
from ..units import size_text
from . import summaries
from .choice import Target, chosen
from .command import FINDING, START, STORE_UNAVAILABLE, Session, command

if TYPE_CHECKING:
    from pymongo.database import Database

    from ..check import Finding
    from ..config import Config


def register(app: typer.Typer) -> None:
    command(app, check, START)


def check(session: Session, target: Target = None) -> int | None:
    """Try the configuration: log in everywhere, and say what would be taken in and what not.

    It changes nothing on a mail server, and in the store it only counts its logins. (An embedded store is started.)
    """
    from ..access import Access
    from ..check import examine
    from ..governor import Governor
    from ..visit import Order

    accounts, mailbox = chosen(session.config, target)
    with ExitStack() as stack:
        database, trouble = _store(session, stack)
        governor = Governor(database, asked=True) if database is not None else None
        access = Access(session.config, database, governor)
        findings = [examine(access, account, Order(mailbox)) for account in accounts]
    session.output.emit(
        {
            "store": {"error": trouble},
            "memory": asdict(session.config.budget()),
            "accounts": [_data(finding) for finding in findings],
        },
        lambda: "\n".join(_lines(session, findings, trouble)),
    )
    for error in filter(None, [trouble, *(str(error) for finding in findings for error in finding.errors)]):
        session.output.complain(error)
    if trouble:
        return STORE_UNAVAILABLE
    return FINDING if any(finding.errors for finding in findings) else None


def _store(session: Session, stack: ExitStack) -> tuple[Database[dict[str, Any]] | None, str | None]:
    from ..daemon import reading

    try:
        return stack.enter_context(reading(session.config)), None
    except StoreUnavailable as error:
        return None, str(error)


def _data(finding: Finding) -> dict[str, Any]:
    return {
        "account": finding.account,
        "capabilities": finding.capabilities,
        "mailboxes": finding.mailboxes,
        "would_take": [summaries.as_data(summary) for summary in finding.previews],
        "warnings": finding.warnings,
        "errors": [str(error) for error in finding.errors],
    }


def _lines(session: Session, findings: list[Finding], trouble: str | None) -> Iterator[str]:
    config = session.config
    yield f"{config.file}: {len(config.accounts):,} account{'s' if len(config.accounts) != 1 else ''}"
    yield f"store {config.store.uri}: {'not available' if trouble else 'answers'}"
    yield _memory(config)
    if config.store.exposed:
        yield 'warning: store.tls = "none": all mail travels to the database where others can read it'
    for finding in findings:
        yield ""
        yield from _account(finding)


def _memory(config: Config) -> str:
    """How it is divided."""
    daemon, budget = config.daemon, config.budget()
    worker = f", {size_text(budget.worker)} for each worker" if daemon.workers else ""
    return f"memory: {size_text(daemon.memory_limit)} at most; {size_text(budget.main)} for the main process{worker}"


def _account(finding: Finding) -> Iterator[str]:
    yield f"{finding.account}: {'not usable' if finding.errors else 'logged in'}"
    yield from (f"  warning: {warning}" for warning in finding.warnings)
    if finding.capabilities:
        yield f"  capabilities: {' '.join(finding.capabilities)}"
    if finding.mailboxes:
        yield f"  mailboxes matched: {len(finding.mailboxes):,} ({', '.join(finding.mailboxes)})"
    for summary in finding.previews:
        yield from (f"  {line}" for line in (summaries.seen(summary), *summaries.removed(summary)))
    if advice := summaries.advice(finding.previews):
        yield f"  {advice}"
