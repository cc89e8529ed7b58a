"""Builds everything in one place and serves accounts with it."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from pymongo.database import Database

from . import maildrop, maildrop_visit
from .access import Access, secret
from .breaker import Patience
from .config import Account, Config
from .connections import Connections
from .errors import IngestError, LeaseLost, PutOff, StoreUnavailable, Unavailable
from .fallback import Fallback
from .governor import Governor
from .push import Trust
from .sources.imap import ImapAccount
from .sources.imap_shared import WORTH
from .sources.pop3 import Pop3Account
from .spool import Spool
from .store import accounts, indexes, views
from .store.database import StoreSettings, connected, ping
from .store.embedded import embedded
from .store.leases import Lease, Leases, Owner, hold
from .store.seals import Seals
from .visit import Order, Outcome, Visit, Watch
from .workers import Workers, started

Document = dict[str, Any]

OPERATION = 20.0  # seconds for what the daemon itself asks of the store, so that it can stop within 30
TOO_MUCH = "account {}: what its server says does not fit into memory; raise daemon.memory_limit if you trust it"
FINISHING = 15.0  # seconds for batches that are being stored when we stop


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
        count, budget, ours = config.daemon.workers, config.budget(), replace(settings, operation_timeout=OPERATION)
        workers = stack.enter_context(started(count, settings if count else ours, budget.worker))
        database = stack.enter_context(connected(ours))
        ping(database, settings)
        indexes.ensure(database)
        views.ensure(database, config.store.own_domains)
        leases = Leases(database, Owner.current(), config.daemon.lease)
        yield Daemon(Access(config, database, Governor(database)), database, spool, workers, leases)


class Daemon:
    """Serves accounts. Safe to use from several threads, each with an account of its own."""

    def __init__(
        self, access: Access, database: Database[Document], spool: Spool, workers: Workers, leases: Leases
    ) -> None:
        """*leases* are empty: whoever wants to hold accounts between visits keeps them alive."""
        self._access, self.database, self.spool, self.workers = access, database, spool, workers
        self.leases, self.owner = leases, leases.owner
        self.connections = Connections()
        self._refused = defaultdict[str, set[str]](set)  # mailboxes, by account
        self._stop_by: float | None = None

    def serve(self, account: Account, order: Order, watch: Watch) -> Outcome:
        """Hold *account* for as long as it takes to `serve_held` it; another holder of it is told in the outcome."""
        try:
            with hold(self.database, account.name, self.owner, self.leases.lease, self._stopped) as lease:
                outcome = self.serve_held(account, lease, order, watch)
                self.note(lease, outcome.errors)
                return outcome
        except LeaseLost as error:
            return Outcome(account.name, errors=[error])

    def serve_held(self, account: Account, lease: Lease, order: Order, watch: Watch) -> Outcome:
        """Bring what is new in every mailbox of *account*. What goes wrong is in the outcome, except with the store.

        Raises StoreUnavailable. After `stop` it returns soon, with nothing half done.
        """
        outcome = Outcome(account.name)
        try:
            self._visited(account, lease, order, watch, outcome)
        except MemoryError:
            outcome.errors.append(Unavailable(TOO_MUCH.format(account.name)))
        else:
            return outcome
        gc.collect()  # what the error held on to, and it lies in circles: others need the room
        return outcome

    def _visited(self, account: Account, lease: Lease, order: Order, watch: Watch, outcome: Outcome) -> None:
        try:
            lease.check()
            accounts.check_binding(self.database, account.name, account.host, account.user)
            visit = self.visit(account, lease)  # before the server is asked: it closes the log to a holder before us
            if account.imap is None:
                with self._maildrop(account) as pop3:
                    accounts.bind(self.database, lease, account.host, account.user)
                    maildrop_visit.serve(visit, pop3, order, watch, outcome)
            elif account.pop3 is None:
                self._over_imap(visit, order, watch, outcome)
            else:
                self._over_either(visit, account.pop3.patience, order, watch, outcome)
        except StoreUnavailable:
            raise
        except IngestError as error:
            if not self._stopped():  # else it is only our own stop, as seen by what was under way
                outcome.errors.append(error)

    def _over_imap(self, visit: Visit, order: Order, watch: Watch, outcome: Outcome) -> None:
        account = visit.account
        with self._imap(account) as imap:
            accounts.bind(self.database, visit.lease, account.host, account.user)
            visit.all_mailboxes(imap, order, watch, outcome)
            self._keep(imap, account, order, outcome)

    def _over_either(self, visit: Visit, patience: Patience, order: Order, watch: Watch, outcome: Outcome) -> None:
        account = visit.account

        def over_imap() -> None:
            maildrop_visit.settle(visit)
            self._over_imap(visit, order, watch, outcome)

        def probe() -> None:
            with self._imap(account):
                return

        def over_pop3(since: datetime, why: IngestError) -> None:
            if order.mailbox not in (None, maildrop.NAME):
                raise why
            try:
                with self._maildrop(account) as pop3:
                    outcome.summaries.append(maildrop_visit.fall_back(visit, pop3, since, order.limit, watch))
            except IngestError:
                outcome.errors.append(why)
                raise
            outcome.over_pop3.append(why)

        Fallback(self.database, visit.lease, patience, self._stopped).serve(over_imap, probe, over_pop3)

    @contextmanager
    def _imap(self, account: Account) -> Iterator[ImapAccount]:
        with (
            self._access.visit(account, account.host),
            self.connections.visiting(account.name, lambda: self._access.imap(account)) as imap,
        ):
            yield imap

    @contextmanager
    def _maildrop(self, account: Account) -> Iterator[Pop3Account]:
        pop3 = self._access.pop3(account)
        with self._access.visit(account, pop3.server.host), self.connections.maildrop(pop3):
            yield pop3

    def configure(self, config: Config) -> None:
        """Go by the accounts of *config* from the next visit on."""
        self._access.configure(config)

    def note(self, lease: Lease, errors: Sequence[IngestError], next_try: timedelta | None = None) -> None:
        """Keep what a visit came to, for `ingestd status`; without effect when the store or the lease is gone.

        To be put off is no trouble of the account, and nobody knows then whether there is any.
        """
        trouble = [error for error in errors if not isinstance(error, PutOff)]
        if not self._stopped() and bool(trouble) == bool(errors):
            with suppress(IngestError):
                accounts.note(self.database, lease, trouble, next_try)

    def note_push(self, lease: Lease, trust: Trust) -> None:
        """Keep what is thought of the server's silence, for `ingestd status`; without effect like `note`."""
        if not self._stopped():
            with suppress(IngestError):
                accounts.note_push(self.database, lease, trust.late, trust.lateness, doubted=trust.doubt > 0)

    def visit(self, account: Account, lease: Lease) -> Visit:
        """A visit to *account*, whose *lease* is held."""
        seals = Seals(self.database, lease)
        return Visit(self.database, self.spool, self.workers, account, lease, seals, self._refused[account.name])

    def stop(self) -> None:
        """End what is under way: batches that are being stored are finished, nothing more is read.

        Call it again and again until everybody has returned: what takes too long is given up.
        """
        self.spool.stop()
        self.connections.stop()
        self._stop_by = self._stop_by or monotonic() + FINISHING
        if monotonic() >= self._stop_by:
            self.workers.give_up()

    def _stopped(self) -> bool:
        return self.spool.stopped

    def _keep(self, imap: ImapAccount, account: Account, order: Order, outcome: Outcome) -> None:
        """Have *imap* wait for news of the mailboxes of *account*, if *order* says so and nothing went wrong."""
        if order.wait is None or outcome.errors or self._stopped():
            return
        if max((summary.remaining for summary in outcome.summaries), default=0) <= WORTH:
            imap.be_alone()
        visited = [summary.mailbox for summary in outcome.summaries]
        mailboxes = list(imap.seen) if order.mailbox else visited  # others were opened before, over this connection
        polled = account.cron is None and account.every <= account.reissue
        self.connections.keep(account.name, imap, mailboxes, order.wait, polled=polled)
