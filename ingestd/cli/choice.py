"""Which of the configured accounts a command is about."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from .command import Session

if TYPE_CHECKING:
    from pymongo.database import Database

    from ..config import Account, Config

Target = Annotated[
    str | None,
    typer.Argument(metavar="[ACCOUNT[/MAILBOX]]", help="Only this account, or this mailbox of it.", show_default=False),
]

StoreUri = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URI",
        help="A database alone, such as a restored dump: no configuration, no mail server. $INGESTD_STORE_PASSWORD",
    ),
]


def configured(session: Session, store: str | None) -> Config:
    """The configuration, or nothing but the *store* that was named instead."""
    from ..config import store_alone

    return session.config if store is None else store_alone(store)


def stored_or_configured(
    config: Config, database: Database[dict[str, Any]], wanted: Sequence[str] | None, others: Sequence[str] = ()
) -> list[str]:
    """The accounts that *wanted* names, or all there are, *others* among them; raise Refused for an unknown one.

    An account may be stored and no longer configured; one that is neither is a slip of the pen.
    """
    from ..archive.places import accounts

    stored = accounts(database)
    if not wanted:
        return list(dict.fromkeys([*(account.name for account in config.accounts), *stored, *others]))
    for name in wanted:
        if name not in stored and name not in others:
            chosen(config, name)
    return list(dict.fromkeys(wanted))


def chosen(config: Config, target: str | None) -> tuple[tuple[Account, ...], str | None]:
    """Return the accounts that *target* means, and the mailbox if it names one; raise Refused for an unknown one."""
    if target is None:
        return config.accounts, None
    name, _, mailbox = target.partition("/")
    found = tuple(account for account in config.accounts if account.name == name)
    if not found:
        known = [account.name for account in config.accounts]
        near = get_close_matches(name, known, n=1)
        mend = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(known)}"
        raise Refused(f'{config.file}: no account is called "{name}"; {mend}')
    return found, "INBOX" if mailbox.upper() == "INBOX" else mailbox or None  # INBOX in any case: RFC 9051, 5.1


def known(config: Config, database: Database[dict[str, Any]], target: str | None) -> tuple[str | None, str | None]:
    """Return the account and the mailbox that *target* names; raise Refused for one that there is not.

    An account may be stored and no longer configured.
    """
    if target is None:
        return None, None
    name, _, mailbox = target.partition("/")
    if database.accounts.find_one({"_id": name}, {"_id": 1}) is None:
        chosen(config, name)
    return name, "INBOX" if mailbox.upper() == "INBOX" else mailbox or None
