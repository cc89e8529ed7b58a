"""`ingestd status`: how far the archive is, and who is at work on it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING

import typer

from .command import READ, Session, command
from .output import cell, table

if TYPE_CHECKING:
    from ..archive.status import AccountStatus, DaemonStatus, MailboxStatus, Trouble, Untold
    from ..breaker import Breaker

BACKLOG = 500  # messages to do that are worth a line
SWITCHES = 4  # between IMAP and POP3 that are shown; JSON has more


def register(app: typer.Typer) -> None:
    command(app, status, READ)


def status(session: Session) -> None:
    """Say who serves each account and why one fails, how much of it is stored, and when it was last looked at.

    It reads the store only, so it works while `ingestd run` is at work, and when the mail servers are away.
    """
    from ..archive.status import accounts, daemons
    from ..daemon import reading

    with reading(session.config) as database:
        running, found = daemons(database), list(accounts(database))
    session.output.emit({"daemons": running, "accounts": found}, lambda: "\n".join(_lines(session, running, found)))


def _lines(session: Session, daemons: list[DaemonStatus], accounts: list[AccountStatus]) -> Iterator[str]:
    if not accounts:
        yield "nothing is stored yet; run: ingestd once"
        return
    for daemon in daemons:
        since = cell(daemon.since)
        yield f"daemon {daemon.daemon} since {since} UTC: serves {daemon.serving:,} of {daemon.configured:,} accounts"
    for account in accounts:
        yield f"{account.account}: {account.messages:,} messages, {_service(account)}"
        if account.trouble:
            yield f"  {_failing(account.trouble)}"
        if account.untold and account.untold.doubted:
            yield f"  {_untold(account.untold)}"
        for put_off in account.put_off:
            yield f"  put off by {put_off.provider} until {cell(put_off.until)} UTC: {put_off.why}"
        yield from (f"  {line}" for line in _fallback(account.fallback))
        yield from (f"  {_doubted(box)}" for box in account.mailboxes if box.disappeared)
        yield from (f"  {_backlog(box, box.per_second)}" for box in account.mailboxes if box.per_second and _much(box))
    rows = [
        (f"{account.account}/{box.mailbox}", box.done, box.to_do, box.left_out, cell(box.last_pass))
        for account in accounts
        for box in account.mailboxes
    ]
    if rows:
        yield ""
        yield session.output.rendered(table(("mailbox", "done", "to do", "left out", "last pass (UTC)"), rows))


def _fallback(fallback: Breaker | None) -> Iterator[str]:
    if fallback is None:
        return
    if fallback.open:
        times = f"IMAP has failed {fallback.failures:,} times since {cell(fallback.since)} UTC"
        yield f"read over POP3 now; {times}: {fallback.reason}"
    for switch in fallback.history[-SWITCHES:]:
        to = "fell back to POP3" if switch.to == "pop3" else "back to IMAP"
        yield f"{cell(switch.at)} UTC: {to}: {switch.reason}"


def _service(account: AccountStatus) -> str:
    if account.unserved_for is None:
        return f"served by {account.served_by} since {cell(account.served_since)} UTC"
    nobody = f"served by nobody for {cell(timedelta(seconds=round(account.unserved_for.total_seconds())))}"
    if account.daemons:
        return f"{nobody}; {account.daemons:,} running for it, one of them takes it soon"
    return f"{nobody}: no daemon is running for it; run: ingestd run"


def _much(box: MailboxStatus) -> bool:
    return box.to_do >= BACKLOG


def _backlog(box: MailboxStatus, per_second: float) -> str:
    left = cell(timedelta(seconds=ceil(box.to_do / per_second)))
    return f"{box.mailbox}: {box.to_do:,} to do, {left} at the pace of its last visit ({per_second:,.0f}/s)"


def _doubted(box: MailboxStatus) -> str:
    gone = f"{box.disappeared:,} messages disappeared at once, which may be the server's fault"
    return f"{box.mailbox}: {gone}; they count as gone if they are still missing at {cell(box.believed_at)} UTC"


def _failing(trouble: Trouble) -> str:
    times = "once" if trouble.failures == 1 else f"{trouble.failures:,} times"
    again = f"; next attempt {trouble.next_try:%H:%M:%S} UTC" if trouble.next_try else ""
    return f"failing since {cell(trouble.since)} UTC, {times}: {trouble.error}{again}"


def _untold(untold: Untold) -> str:
    times = "once" if untold.times == 1 else f"{untold.times:,} times"
    late = cell(timedelta(seconds=untold.late_seconds))
    return f"its server told nothing of new mail, {times}, the last time for {late}; it is visited more often"
