"""How to get into the servers that a configuration names: their addresses, secrets and access tokens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .caps import Caps
from .config import Account, Config, Imap, OAuth, Pop3, Secret
from .errors import Refused
from .governor import Governor, Meter
from .sources.credentials import SecretReference
from .sources.imap import ImapAccount, Server
from .sources.oauth_presets import PRESETS, Preset
from .sources.pop3 import Pop3Account
from .store.logins import Shelf
from .store.outbox import LoginShelf

if TYPE_CHECKING:
    from pymongo.database import Database

    from .sources.oauth import Client, Tokens
    from .sources.vault import EncryptedVault

Document = dict[str, Any]
EXTRA = "pip install 'ingestd[oauth]'"


class Access:
    """Makes connections to accounts. Keeps their access tokens, so one is used for as long as it lasts."""

    def __init__(self, config: Config, database: Database[Document] | None, governor: Governor | None = None) -> None:
        """Without *database* no refresh token is found but those that the configuration names.

        Without *governor* nobody counts what is used of a mail server.
        """
        self._config, self.database, self._governor = config, database, governor
        self._tokens: dict[str, Tokens] = {}

    def imap(self, account: Account) -> ImapAccount:
        """The connection to the IMAP server of *account*, not yet made. Raises Refused when the extra is missing."""
        if account.imap is None:
            raise Refused(f"account {account.name}: is read over POP3; add [account.imap] for this")
        server = self._metered(account, self._server(account, account.imap, "account.imap"))
        return ImapAccount(account.name, server, account.fetch_connections)

    def pop3(self, account: Account) -> Pop3Account:
        """The connection to the POP3 server of *account*, not yet made. Raises Refused as `imap` does."""
        if account.pop3 is None:
            raise Refused(f"account {account.name}: has no POP3 server; add [account.pop3]")
        return Pop3Account(account.name, self._metered(account, self._server(account, account.pop3, "account.pop3")))

    def meter(self, account: Account, host: str) -> Meter | None:
        """What counts what *account* uses of the provider of *host*; None where nobody counts."""
        own = account.limits
        caps = Caps(own.connections, own.bytes_a_day, own.logins_an_hour)
        return self._governor.meter(account.name, host, caps) if self._governor else None

    def visit(self, account: Account, host: str) -> AbstractContextManager[None]:
        """A block in which what the server says about its limits is learned from."""
        meter = self.meter(account, host)
        return meter.visit() if meter else nullcontext()

    def _metered(self, account: Account, server: Server) -> Server:
        meter = self.meter(account, server.host)
        return replace(server, meter=meter) if meter else server

    def configure(self, config: Config) -> None:
        """Go by *config* from now on; accounts that are others than before get new tokens."""
        before = {account.name: account for account in self._config.accounts}
        same = {account.name for account in config.accounts if before.get(account.name) == account}
        self._config, self._tokens = config, {name: kept for name, kept in self._tokens.items() if name in same}

    def _server(self, account: Account, place: Imap | Pop3, table: str) -> Server:
        user, where = place.user or account.user, (place.host, place.port, place.tls)
        named, asked = place.password, table
        if named is None and account.imap is not None:
            named, asked = account.imap.password, "account.imap"
        if named is None:
            tokens = self._tokens_of(account)
            return Server(*where, user, tokens, place.ca_file, table=table, rejected=tokens.rejected)
        password = secret(named, f"account {account.name}: {asked}.password")
        return Server(*where, user, password, place.ca_file, f" in {reference(named)}", table=table)

    def _tokens_of(self, account: Account) -> Tokens:
        if account.name not in self._tokens:
            client = oauth_client(account)  # first, since it says what is missing
            from .sources.oauth import Tokens

            self._tokens[account.name] = Tokens(account.name, client, vault(self._config, self.database, account))
        return self._tokens[account.name]


def oauth_client(account: Account) -> Client:
    """Us, as the authorization server of *account* knows us; raise Refused without one, or without the extra."""
    if account.oauth is None:
        raise Refused(f"account {account.name}: logs in with a password; add a table [account.oauth] to change that")
    return registered(account.oauth, f"account {account.name}: account.oauth")


def registered(said: OAuth, what: str) -> Client:
    """Us, as the authorization server that *said* names knows us; raise Refused without the extra."""
    try:
        from .sources.oauth import Client
    except ImportError as error:
        raise Refused(f"{what}: OAuth 2 needs {error.name}; install it: {EXTRA}") from error
    preset = PRESETS[said.provider] if said.provider else Preset(str(said.token_url), None, None, str(said.scope))
    return Client(
        said.token_url or preset.token_url.format(tenant=said.tenant),
        said.client_id,
        secret(said.client_secret, f"{what}.client_secret") if said.client_secret else None,
        said.grant,
        secret(said.refresh_token, f"{what}.refresh_token") if said.refresh_token else None,
        said.scope or _scope(said, preset),
        said.device_url or (preset.device_url and preset.device_url.format(tenant=said.tenant)),
        said.authorize_url or (preset.authorize_url and preset.authorize_url.format(tenant=said.tenant)),
    )


def vault(config: Config, database: Database[Document] | None, account: Account) -> EncryptedVault:
    """Where the refresh token of *account* is kept."""
    return encrypted(config, account.name, Shelf(database, account.name) if database is not None else None)


def encrypted(config: Config, name: str, shelf: Shelf | LoginShelf | None) -> EncryptedVault:
    """Where the refresh token of *name* is kept: on *shelf*, if there is one."""
    from .sources.vault import EncryptedVault

    key = config.daemon.token_key
    return EncryptedVault(name, shelf or _NoShelf(), secret(key, "daemon.token_key") if key and shelf else None)


def secret(named: Secret, what: str) -> Callable[[], str]:
    """How to read the secret that *named* refers to; it is read anew each time. Errors begin with *what*."""

    def resolve() -> str:
        try:
            return reference(named).resolve()
        except Refused as error:
            raise Refused(f"{what}: {error}") from error

    return resolve


def reference(named: Secret) -> SecretReference:
    return SecretReference(named.kind, named.value)


def _scope(said: OAuth, preset: Preset) -> str:
    return preset.own_scope if said.grant == "client_credentials" and preset.own_scope else preset.scope


class _NoShelf:
    """A shelf where there is no database."""

    def read(self) -> bytes | None:
        return None

    def write(self, new: bytes) -> None:
        raise Refused("a login is kept in the database, and there is none here")
