"""`ingestd auth`: log in where a server takes no password."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from .choice import chosen
from .command import START, Session, command

if TYPE_CHECKING:
    from pymongo.database import Database

    from ..config import Config
    from ..sources.oauth import Client
    from ..sources.vault import EncryptedVault

    Shelf = Callable[[Database[dict[str, Any]]], EncryptedVault]

ALERTS = "alerts"  # the name under which one logs in to the mail server that sends alerts

Name = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account to log in to.", show_default=False)]
Paste = Annotated[bool, typer.Option("--paste", help="Log in on a page, and paste the address that it ends at.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Log in where a server takes no password (OAuth 2).", no_args_is_help=True)
    group.callback()(_auth)
    command(group, login, START)
    command(group, key, START)
    app.add_typer(group, name="auth", rich_help_panel=START)


def _auth() -> None:
    """Log in where a server takes no password (OAuth 2)."""


def login(session: Session, account: Name, paste: Paste = False) -> None:
    """Log in to an account once, as a person; every daemon that serves it goes on from there.

    Shows a page and a code to type there, on any device. Providers without that (Google, for mail) show a page whose
    last address is to be pasted here. What is kept is a refresh token, in the store, encrypted under daemon.token_key.
    """
    from ..daemon import reading

    client, shelf = _place(session.config, account)
    if session.config.daemon.token_key is None:
        raise Refused(
            f"{session.config.file}: daemon.token_key is missing, under which the login is kept; make one with:"
            " ingestd auth key"
        )
    with reading(session.config) as database:
        kept = shelf(database)
        kept.read()  # a wrong key is better found before than after
        if paste or client.device_url is None:
            token = _by_page(session, account, client)
        else:
            token = _by_code(session, account, client)
        kept.keep(token, None)
    attempt = "alert --test" if account == ALERTS else f"check {account}"
    session.output.emit({"account": account, "logged_in": True}, f"{account}: logged in; try: ingestd {attempt}")


def key(session: Session) -> None:
    """Print a new key for daemon.token_key. Keep it as you keep passwords: (umask 077; ingestd auth key > FILE)."""
    from ..sources.vault import new_key

    made = new_key()
    session.output.emit({"key": made}, made)


def _place(config: Config, account: str) -> tuple[Client, Shelf]:
    """Where to log in for *account*, and what keeps the login; for the mail server of the alerts, by its name."""
    from ..access import encrypted, oauth_client, registered, vault
    from ..store.outbox import LoginShelf

    alerts = config.alerts.oauth if config.alerts and account == ALERTS else None
    if alerts and account not in {each.name for each in config.accounts}:
        client = registered(alerts, "alerts.oauth")
        return client, lambda database: encrypted(config, ALERTS, LoginShelf(database))
    (found,), _ = chosen(config, account)
    return oauth_client(found), lambda database: vault(config, database, found)


def _by_code(session: Session, account: str, client: Client) -> str:
    from time import sleep

    from ..sources import oauth_login

    device = oauth_login.begin_device(account, client)
    session.output.note(f"Open {device.page} and type the code {device.code}")
    return oauth_login.await_device(account, client, device, sleep)


def _by_page(session: Session, account: str, client: Client) -> str:
    from ..sources import oauth_login

    page = oauth_login.begin_page(account, client)
    session.output.note(f"Open this page and log in:\n\n{page.url}\n")
    session.output.note("It ends at an address that cannot be shown. Copy it from the address bar, and paste it here:")
    return oauth_login.finish_page(account, client, page, typer.get_text_stream("stdin").readline())
