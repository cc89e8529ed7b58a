"""`ingestd sweep`: delete attachments that no message needs any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command import FINDING, INTERRUPTED, KEEP, Session, command

if TYPE_CHECKING:
    from pymongo.database import Database

    from ..signals import Signals
    from ..store.sweep import Swept

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted; change nothing.")]


def register(app: typer.Typer) -> None:
    command(app, sweep, KEEP)


def sweep(session: Session, dry_run: DryRun = False) -> int | None:
    """Delete the attachments in the store that no message has named for 48 hours: what interrupted passes have left.

    `ingestd run` does it once a day. Only one process does it at a time; interrupted, the next one goes on from there.
    """
    from ..daemon import reading
    from ..signals import Signals
    from ..store.sweep import Swept, count

    with reading(session.config) as database, Signals().caught() as signals, ExitStack() as stack:
        progress = stack.enter_context(session.output.progress("swept", count(database), "blobs"))
        total = Swept()
        for swept in _pages(database, signals, dry_run):
            progress.advance(swept.seen)
            total += swept
    _tell(session, total, dry_run)
    if signals.received:
        return INTERRUPTED
    return FINDING if total.broken else None


def _pages(database: Database[dict[str, Any]], signals: Signals, dry_run: bool) -> Iterator[Swept]:
    from ..store import sweep
    from ..store.database import server_time

    if not dry_run:
        yield from sweep.daily(database, lambda: signals.received is not None)
        return
    for page in sweep.sweep(database, server_time(database), dry_run=True):
        yield page.swept
        if signals.received:
            return


def _tell(session: Session, swept: Swept, dry_run: bool) -> None:
    from ..units import size_text

    became = {
        "named by messages": swept.named,
        "used within 48 hours": swept.recent,
        "would be deleted" if dry_run else "deleted": swept.deleted,
        "used again meanwhile": swept.spared,
        "damaged": swept.broken,
    }
    words = " + ".join(f"{count:,} {what}" for what, count in became.items() if count) or "0"
    freed = f"; {size_text(swept.deleted_bytes)}" if swept.deleted else ""
    session.output.emit({**asdict(swept), "dry_run": dry_run}, f"{swept.seen:,} blobs = {words}{freed}")
    if swept.broken:
        session.output.complain("some blobs are not whole that messages name; run: ingestd verify --deep")
    if dry_run:
        session.output.note("dry run: nothing was changed")
