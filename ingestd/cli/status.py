"""`ingestd status`: how far the archive is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from .command import READ, Session, command
from .output import cell, table

if TYPE_CHECKING:
    from ..archive.status import AccountStatus


def register(app: typer.Typer) -> None:
    command(app, status, READ)


def status(session: Session) -> None:
    """Say who serves each account, how much of it is stored, and when it was last looked at.

    It reads the store only, so it works while `ingestd run` is at work, and when the mail servers are away.
    """
    from ..archive.status import accounts
    from ..daemon import reading

    with reading(session.config) as database:
        found = list(accounts(database))
    session.output.emit({"accounts": found}, lambda: "\n".join(_lines(session, found)))


def _lines(session: Session, found: list[AccountStatus]) -> Iterator[str]:
    if not found:
        yield "nothing is stored yet; run: ingestd once"
        return
    for account in found:
        served = f"being visited by {account.served_by}" if account.served_by else "no visit under way"
        yield f"{account.account}: {account.messages:,} messages, {served}"
    rows = [
        (f"{account.account}/{box.mailbox}", box.done, box.to_do, box.left_out, cell(box.last_pass))
        for account in found
        for box in account.mailboxes
    ]
    if rows:
        yield ""
        yield session.output.rendered(table(("mailbox", "done", "to do", "left out", "last pass (UTC)"), rows))
