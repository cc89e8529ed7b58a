"""What `ingestd run` does: visit every account when its time comes, until told to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Thread

import structlog

from .alerts import Alerts
from .budget import VISITS
from .chores import EVERY, Chores
from .config import Account, Config
from .connections import Stay
from .daemon import Daemon, opened
from .errors import IngestError, PutOff, StoreUnavailable
from .holding import Holding
from .metrics import Metrics
from .postman import postman
from .pulse import Pulse
from .push import SLICE, Push
from .quiet import quiet_for
from .reload import Changes, reread
from .scheduler import Queue, Regularly, Schedule, scheduled
from .signals import POLL, Signals
from .store.leases import Lease
from .summary import Summary
from .systemd import Notifier
from .visit import Outcome
from .watcher import Reserve, Watcher, delay

FETCHERS = VISITS  # accounts visited at a time
DOUBTFUL = FETCHERS // 2  # of them, those of one server that did not answer the last time
LATER = timedelta(seconds=2)  # until it is tried again whether another of those may be visited
NOTIFY = 30.0  # seconds between two words to systemd

log = structlog.get_logger(__name__)


def run(config: Config, signals: Signals) -> None:
    """Serve the accounts of *config* until *signals* has received one; then finish what is being stored, and return.

    An unreachable store or mail server is waited for, however long. Raises Refused for what waiting does not mend. When
    *signals* asks for it, the configuration is read again, and its accounts are served from then on.
    Tells systemd how it goes, if that started it.
    """
    notifier = Notifier.of()
    with ExitStack() as stack:
        notifier.ready("waiting for the store")  # as ready as it can be: systemd would not wait as long as we do
        begun = _patiently(stack, config, signals, notifier)
        if begun is None:
            log.info("stopped", signal=signals.name)
            return
        daemon, config = begun
        accounts = {account.name: account for account in config.accounts}
        queue, watcher, metrics = Queue(), Watcher(), Metrics()

        def let_go(names: Iterable[str]) -> None:
            daemon.connections.leave(names)
            metrics.forget(names)

        holding = Holding(daemon.leases, accounts, queue, watcher.store_is_back, let_go)
        stack.enter_context(holding.kept())
        stack.enter_context(daemon.connections.kept(queue.put))
        chores = Chores(daemon.database, Queue(), lambda: daemon.spool.stopped)
        rhythms = {name: account.rhythm for name, account in accounts.items()}
        schedule = stack.enter_context(scheduled(rhythms, queue, Regularly(EVERY, chores.queue)))
        pulse = Pulse(lambda: daemon.spool.moved_at)
        if post := postman(config, daemon.database):
            stack.enter_context(post.at_work())
        alerts = Alerts(daemon.database, config.alerts is not None)
        metrics.watch("accounts_held", "Accounts that this daemon serves", lambda: holding.held)
        metrics.watch("connections_waiting", "Connections that wait for news", lambda: len(daemon.connections))
        if config.daemon.metrics_port:
            stack.enter_context(metrics.exposed(config.daemon.metrics_port))
        rounds = _Rounds(daemon, config, accounts, holding, queue, watcher, schedule, pulse, alerts, metrics)
        fetchers = [Thread(target=rounds.fetch, name=f"fetcher {n}") for n in range(FETCHERS)]
        log.info("started", accounts=len(accounts), fetchers=len(fetchers), workers=daemon.workers.count)
        stack.enter_context(_running([Thread(target=chores.work, name="chores")], chores.queue.close))
        with _running(fetchers, rounds.end):
            _watch(rounds, notifier, signals)
            notifier.stopping()
            log.info("stopping", signal=signals.name)
    log.info("stopped")


def _watch(rounds: _Rounds, notifier: Notifier, signals: Signals) -> None:
    """Tell systemd how it goes until a signal comes; no more once a visit is stuck, so that it starts us anew."""
    every = min(NOTIFY, notifier.watchdog.total_seconds() / 3 if notifier.watchdog else NOTIFY)
    stuck: list[str] = []
    while signals.received is None:
        before, stuck = stuck, rounds.pulse.stuck()
        if stuck and stuck != before:
            log.error("visits are stuck", accounts=", ".join(stuck))
        if not stuck:
            notifier.alive()
        notifier.status(rounds.status)
        signals.wait(every)
        if signals.reload:
            signals.reload = False
            notifier.reloading()
            rounds.configure(reread(rounds.config))
            notifier.ready(rounds.status)


@dataclass(slots=True)
class _Rounds:
    """What the fetchers do."""

    daemon: Daemon
    config: Config
    accounts: dict[str, Account]
    holding: Holding
    queue: Queue
    watcher: Watcher
    schedule: Schedule
    pulse: Pulse
    alerts: Alerts
    metrics: Metrics
    push: Push = field(default_factory=Push)
    reserve: Reserve = field(default_factory=lambda: Reserve(DOUBTFUL))

    @property
    def status(self) -> str:
        """What goes on, in a line."""
        held, visits, waiting = self.holding.held, self.pulse.visits, len(self.daemon.connections)
        return f"serves {held} of {len(self.accounts)} accounts, {visits} of them right now, {waiting} wait for news"

    def fetch(self) -> None:
        """Visit accounts as they come off the queue, until it is closed. None of them ends the others."""
        while (name := self.queue.take()) is not None:
            account, lease, more = self.accounts.get(name), self.holding.lease(name), False
            if account is None or lease is None:
                self.daemon.connections.leave([name])
            elif self.watcher.ready(name):
                more = self._due(account, lease)
            self.queue.done(name, again=more)

    def configure(self, config: Config) -> None:
        """Serve the accounts of *config* from now on. What is under way ends as it began."""
        accounts = {account.name: account for account in config.accounts}
        changes = Changes.between(self.accounts, accounts)
        self.config, self.accounts = config, accounts
        self.daemon.configure(config)
        self.holding.serve(accounts)
        for name in changes.removed | changes.changed:
            self.push.forget(name)
            self.watcher.forget(name)
            self.schedule.remove(name)
        self.daemon.connections.leave(changes.removed | changes.changed)
        self.metrics.forget(changes.removed | changes.changed)
        for name in changes.added | changes.changed:
            self.schedule.add(name, accounts[name].rhythm)
            self.queue.put(name)
        counts = {"added": len(changes.added), "removed": len(changes.removed), "changed": len(changes.changed)}
        log.info("configuration read again", accounts=len(accounts), **counts)

    def end(self) -> None:
        self.queue.close()
        self.holding.stop()
        self.daemon.stop()

    def _due(self, account: Account, lease: Lease) -> bool:
        """Visit *account*, or soon; return whether there is more to do at once."""
        if quiet := quiet_for(datetime.now(UTC), account.quiet, account.timezone):
            self.daemon.connections.leave([account.name])
            self.schedule.again(account.name, quiet)
            return False
        stay = self.daemon.connections.stay(account.name)
        if rest := self.push.rest(account, stay):
            self.schedule.again(account.name, rest)
            return False
        if self.daemon.connections.wake(account.name):
            return False  # it comes back at once, unless its connection is dead: nobody is to wait for that
        if not self.reserve.enter(account.address):
            self.schedule.again(account.name, LATER)
            return False
        more = self._visit(account, lease, stay)
        if self.accounts.get(account.name) != account or self.holding.lease(account.name) is not lease:
            # The configuration says something else of it by now, or the account is not ours any more.
            self.daemon.connections.leave([account.name])
        return more

    def _visit(self, account: Account, lease: Lease, stay: Stay | None) -> bool:
        watch, order = LogWatch(lambda: self.pulse.beat(account.name)), self.push.order(account, stay)
        try:
            with self.pulse.visit(account.name):
                outcome = self.daemon.serve_held(account, lease, order, watch)
        except IngestError as error:
            outcome = Outcome(account.name, errors=[error])
        except Exception:
            log.exception("visit failed", account=account.name)
            outcome = Outcome(account.name, errors=[IngestError("a fault of ingestd itself; see its log")])
        if not outcome.errors and (trust := self.push.visited(account, stay, order, outcome.summaries)):
            self.daemon.note_push(lease, trust)
        self.reserve.leave(account.address, outcome.errors)
        self._noted(account, lease, outcome.errors)
        for told in (self.alerts, self.metrics):
            told.visited(account.name, outcome.errors, outcome.summaries, outcome.over_pop3)
        return watch.more and not outcome.errors

    def _noted(self, account: Account, lease: Lease, errors: Sequence[IngestError]) -> None:
        """Remember how a visit ended, and when the account is to be tried again."""
        pause = self.watcher.note(account.name, errors)
        seconds = round(pause.total_seconds())
        for failure in errors:
            # To be put off is no trouble: nobody has to do anything.
            say, event = (log.info, "put off") if isinstance(failure, PutOff) else (log.warning, "not served")
            say(event, account=account.name, error=str(failure), wait_seconds=seconds)
        if errors:
            self.schedule.again(account.name, pause)
        self.daemon.note(lease, errors, pause)
        self.holding.visited(account.name, errors)


@dataclass(slots=True)
class LogWatch:
    """Logs what passes did, keeps whether one of them left something for the next, and tells of every step."""

    beat: Callable[[], object] = lambda: None
    more: bool = False

    def began(self, mailbox: str, due: int) -> None:
        self.beat()
        self.more = self.more or due >= SLICE

    def advanced(self, mailbox: str, messages: int, size_bytes: int) -> None:
        self.beat()

    def broke_off(self, mailbox: str) -> None:
        self.beat()

    def ended(self, summary: Summary) -> None:
        self.beat()
        done = summary.stored + summary.copies + summary.vanished + summary.failed + summary.too_old
        log.log(
            20 if done else 10,  # INFO when there was something to do, DEBUG on a quiet round
            "stored",
            mailbox=f"{summary.account}/{summary.mailbox}",
            messages=summary.stored,
            copies=summary.copies,
            vanished=summary.vanished,
            failed=summary.failed,
            bytes=summary.size_bytes,
            seconds=round(summary.seconds, 2),
            **({"remaining": summary.remaining} if summary.remaining else {}),
        )


def _patiently(stack: ExitStack, config: Config, signals: Signals, notifier: Notifier) -> tuple[Daemon, Config] | None:
    """Start the daemon as soon as its store answers; return None when told to stop before."""
    failures = 0
    while signals.received is None:
        if signals.reload:
            signals.reload, config, failures = False, reread(config), 0
        try:
            return stack.enter_context(opened(config)), config
        except StoreUnavailable as error:
            failures += 1
            pause = delay([error], failures).total_seconds()
            log.warning("store unavailable", error=str(error), wait_seconds=round(pause))
            notifier.alive()
            signals.wait(pause)
    return None


@contextmanager
def _running(threads: list[Thread], end: Callable[[], None]) -> Iterator[None]:
    """Let *threads* run during the block; then tell them to *end*, again and again, until they have."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        while any(thread.is_alive() for thread in threads):
            end()
            for thread in threads:
                thread.join(POLL)
