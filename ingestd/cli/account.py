"""`ingestd account`: what an account name stands for."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import Refused
from .choice import chosen
from .command import KEEP, Session, command

Name = Annotated[str, typer.Argument(metavar="NAME", help="The account.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="What an account name stands for.", no_args_is_help=True)
    group.callback()(_account)
    command(group, rebind, KEEP)
    app.add_typer(group, name="account", rich_help_panel=KEEP)


def _account() -> None:
    """What an account name stands for."""


def rebind(session: Session, name: Name, dry_run: DryRun = False) -> None:
    """Let the account stand for the server and user that the configuration names now.

    Say this when the same mail has moved to another server. Everything stored stays; the mailboxes are looked at as if
    for the first time, and messages that are known are recognised by their bytes.
    """
    from ..daemon import reading
    from ..store import accounts, maildrops
    from ..store.borrowing import borrow
    from ..store.owner import Owner

    (account,), _ = chosen(session.config, name)
    if account.imap is None:
        raise Refused(
            f"account {name}: over POP3 messages are told apart by ids that mean nothing on another server;"
            " give the new one a name of its own"
        )
    host, user = account.imap.host, account.imap.user
    with reading(session.config) as database:
        changed = accounts.is_bound_elsewhere(database, account.name, host, user)
        if account.pop3:
            pop3 = account.pop3.host, account.pop3.user or user
            changed = changed or maildrops.is_elsewhere(database, account.name, *pop3)
        if changed and not dry_run:
            with borrow(database, account.name, Owner.current()) as lease:
                accounts.rebind(database, lease, host, user)
    said = "would be bound" if dry_run else "is bound now"
    session.output.emit(
        {"account": name, "host": host, "changed": changed and not dry_run},
        f"account {name} {said} to {host}" if changed else f"account {name}: nothing to change",
    )
