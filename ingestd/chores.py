"""What `ingestd run` does beside serving accounts: it looks once an hour whether the daily sweep is due.

Hourly, since it may be another daemon that does it, and none of them need run for a whole day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any

import structlog
from pymongo.database import Database

from .errors import IngestError, LeaseLost
from .scheduler import Queue
from .store import sweep
from .store.sweep import Swept

Document = dict[str, Any]

SWEEP = "sweep"
EVERY = {SWEEP: timedelta(hours=1)}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Chores:
    """The chores that come off *queue*, done one after the other until it is closed."""

    database: Database[Document]
    queue: Queue
    stopped: Callable[[], bool]

    def work(self) -> None:
        """Do them. Nothing that goes wrong ends this: the next hour comes."""
        while (name := self.queue.take()) is not None:
            try:
                self._sweep()
            except LeaseLost:
                log.debug("swept by another process")
            except IngestError as error:
                log.warning("not swept", error=str(error))
            except Exception:
                log.exception("sweep failed")
            self.queue.done(name)

    def _sweep(self) -> None:
        if not sweep.due(self.database):
            return
        began = monotonic()
        total = sum(sweep.daily(self.database, self.stopped), Swept())
        log.info(
            "swept",
            blobs=total.seen,
            deleted=total.deleted,
            bytes=total.deleted_bytes,
            damaged=total.broken,
            seconds=round(monotonic() - began, 2),
        )
