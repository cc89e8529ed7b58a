"""Builds everything in one place and serves accounts with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

from pymongo.database import Database

from .config import Account, Config, Secret
from .errors import IngestError, Refused, StoreUnavailable
from .sources.credentials import SecretReference
from .sources.imap import ImapAccount, Server
from .spool import Spool
from .store import accounts, indexes, views
from .store.database import StoreSettings, connected, ping
from .store.embedded import embedded
from .store.leases import Lease, Owner, hold
from .store.seals import Seals
from .visit import Order, Outcome, Visit, Watch
from .workers import Workers, started

Document = dict[str, Any]


@contextmanager
def store(config: Config) -> Iterator[StoreSettings]:
    """Give what is needed to reach the store. An embedded one runs from the beginning of the block to its end."""
    path = config.store.embedded
    if path is not None:
        with embedded(path, allow_embedded=config.store.allow_embedded) as uri:
            yield StoreSettings(uri)
        return
    password = secret(config.store.password, "store.password")() if config.store.password else None
    yield StoreSettings(config.store.uri, password, allow_plain=config.store.tls == "none")


@contextmanager
def reading(config: Config) -> Iterator[Database[Document]]:
    """Give the database for looking at it; raise StoreUnavailable or Refused at once."""
    with store(config) as settings, connected(settings) as database:
        ping(database, settings)
        yield database


@contextmanager
def opened(config: Config) -> Iterator[Daemon]:
    """Start what serving accounts needs; stop it when the block ends. Raises StoreUnavailable or Refused."""
    with ExitStack() as stack:
        settings = stack.enter_context(store(config))
        spool = Spool(config.daemon.spool_dir, config.daemon.spool_memory, config.daemon.spool_disk)
        stack.enter_context(spool)
        workers = stack.enter_context(started(config.daemon.workers, settings, config.daemon.worker_memory))
        database = stack.enter_context(connected(settings))
        ping(database, settings)
        indexes.ensure(database)
        views.ensure(database, config.store.own_domains)
        yield Daemon(database, spool, workers, Owner.current())


class Daemon:
    """Serves accounts. Safe to use from several threads, each with an account of its own."""

    def __init__(self, database: Database[Document], spool: Spool, workers: Workers, owner: Owner) -> None:
        self.database, self.spool, self.workers, self.owner = database, spool, workers, owner
        self._connections: set[ImapAccount] = set()
        self._lock = Lock()

    def serve(self, account: Account, order: Order, watch: Watch) -> Outcome:
        """Bring what is new in every mailbox of *account*. What goes wrong is in the outcome, except with the store.

        Raises StoreUnavailable. After `stop` it returns soon, with nothing half done.
        """
        outcome = Outcome(account.name)
        try:
            host, user = account.imap.host, account.imap.user
            with hold(self.database, account.name, self.owner) as lease:
                accounts.check_binding(self.database, account.name, host, user)
                with self._stoppable(connection(account)) as imap:
                    accounts.bind(self.database, lease, host, user)
                    self.visit(account, lease).all_mailboxes(imap, order, watch, outcome)
        except StoreUnavailable:
            raise
        except IngestError as error:
            if not self.spool.stopped:  # else it is only our own stop, as seen by what was under way
                outcome.errors.append(error)
        return outcome

    def visit(self, account: Account, lease: Lease) -> Visit:
        """A visit to *account*, whose *lease* is held."""
        seals = Seals(self.database, lease)
        return Visit(self.database, self.spool, self.workers, account, lease, seals)

    def stop(self) -> None:
        """End what is under way: batches that are being stored are finished, nothing more is read."""
        self.spool.stop()
        with self._lock:
            for imap in self._connections:
                imap.abort()

    @contextmanager
    def _stoppable(self, imap: ImapAccount) -> Iterator[ImapAccount]:
        """Let `stop` reach *imap* wherever it waits, from connecting on."""
        with self._lock:
            self._connections.add(imap)
        try:
            if self.spool.stopped:
                imap.abort()
            with imap:
                yield imap
        finally:
            with self._lock:
                self._connections.discard(imap)


def connection(account: Account) -> ImapAccount:
    """The connection to the IMAP server of *account*, not yet made."""
    imap, kept = account.imap, _reference(account.imap.password)
    password = secret(imap.password, f"account {account.name}: account.imap.password")
    server = Server(imap.host, imap.port, imap.tls, imap.user, password, imap.ca_file, f" in {kept}")
    return ImapAccount(account.name, server)


def secret(reference: Secret, what: str) -> Callable[[], str]:
    """How to read the secret that *reference* names; it is read anew each time. Errors begin with *what*."""

    def resolve() -> str:
        try:
            return _reference(reference).resolve()
        except Refused as error:
            raise Refused(f"{what}: {error}") from error

    return resolve


def _reference(reference: Secret) -> SecretReference:
    return SecretReference(reference.kind, reference.value)
