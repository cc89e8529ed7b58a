"""What `ingestd once` does: visit every account a single time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event

from .budget import VISITS
from .config import Account, Config
from .daemon import opened
from .signals import POLL, Signals
from .visit import Order, Outcome, Watch


def once(config: Config, accounts: Sequence[Account], order: Order, watch: Watch, signals: Signals) -> list[Outcome]:
    """Visit each of *accounts* once, several at a time; return what came of it, in order.

    Of fewer accounts when *signals* received one. Raises StoreUnavailable or Refused when nothing can be done without a
    store or a spool.
    """
    over = Event()
    with opened(config) as daemon, ThreadPoolExecutor(VISITS, "visits") as threads:

        def visit(account: Account) -> Outcome | None:
            if signals.received or over.is_set():
                return None
            try:
                return daemon.serve(account, order, watch)
            except BaseException:
                over.set()
                raise

        visits = [threads.submit(visit, account) for account in accounts]
        while wait(visits, timeout=POLL).not_done:
            if signals.received:
                daemon.stop()
        return [outcome for each in visits if (outcome := each.result())]
