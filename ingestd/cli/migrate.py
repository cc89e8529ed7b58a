"""`ingestd migrate`: bring the store up to this version."""

from __future__ import annotations

from typing import Annotated

import typer

from .command import KEEP, Session, command

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what is missing; change nothing.")]


def register(app: typer.Typer) -> None:
    command(app, migrate, KEEP)


def migrate(session: Session, dry_run: DryRun = False) -> None:
    """Build the indexes that are missing, and the view "mail" as store.own_domains wants it.

    The daemon builds indexes while a collection is empty. On a large one that takes a while and costs the server, so it
    is left to you to choose the time. The view takes no time, and changes no message.
    """
    from ..daemon import reading
    from ..store import indexes, views

    own_domains = session.config.store.own_domains
    with reading(session.config) as database:
        missing = [*indexes.missing(database), *views.missing(database, own_domains)]
        if missing and not dry_run:
            session.output.note(f"building {', '.join(missing)}")
            indexes.build(database)
            views.build(database, own_domains)
    what = "missing" if dry_run else "built"
    session.output.emit({what: missing}, f"{what}: {', '.join(missing) or 'nothing'}")
