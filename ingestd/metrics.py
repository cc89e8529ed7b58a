"""What the daemon counts, for Prometheus to fetch: per account, and nothing of anybody's mail.

It listens on loopback alone and asks nobody who he is; to be fetched from elsewhere it needs a proxy that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from .errors import IngestError, LeaseLost, PutOff, Refused, Unavailable
from .summary import Summary

HERE = "127.0.0.1"
BECAME = ("stored", "copies", "vanished", "failed", "quarantined", "removed")  # of a summary


class Metrics:
    """Counts since the daemon began. Safe to use from several threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._messages = self._counter("messages", "What became of messages", "account", "became")
        self._bytes = self._counter("fetched_bytes", "Bytes of messages fetched", "account")
        self._visits = self._counter("visits", "Visits, by how they ended", "account", "ended")
        self._switches = self._counter("switches", "Switches between IMAP and POP3", "account", "to")
        self._over_pop3 = self._gauge("over_pop3", "Whether POP3 stands in for IMAP", "account")
        self._well = self._gauge("last_good_visit_timestamp_seconds", "When all was well last", "account")
        self._ways: dict[str, bool] = {}
        self._lock = Lock()
        self._each = (self._messages, self._bytes, self._visits, self._switches, self._over_pop3, self._well)

    def watch(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Tell *value* under *name* whenever it is asked for."""
        self._gauge(name, about).set_function(value)

    def visited(
        self,
        account: str,
        errors: Sequence[IngestError],
        summaries: Sequence[Summary],
        over_pop3: Sequence[IngestError] = (),
    ) -> None:
        """Count a visit to *account*. *over_pop3* says why it was not over IMAP, if it was not."""
        for summary in summaries:
            for what in BECAME:
                self._messages.labels(account, what).inc(getattr(summary, what))
            self._bytes.labels(account).inc(summary.size_bytes)
        self._visits.labels(account, _ended(errors)).inc()
        if not errors:
            self._well.labels(account).set_to_current_time()
        if over_pop3 or not errors:
            self._came(account, over_pop3=bool(over_pop3))

    def forget(self, accounts: Iterable[str]) -> None:
        """Tell nothing of *accounts* any more: others serve them, or nobody does."""
        for account in accounts:
            with self._lock:
                self._ways.pop(account, None)
            for each in self._each:
                each.remove_by_labels({"account": account})

    @contextmanager
    def exposed(self, port: int) -> Iterator[None]:
        """Answer `GET /metrics` on *port* until the block ends. Raises Refused when it cannot be had."""
        try:
            server, thread = start_http_server(port, HERE, self._registry)
        except OSError as error:
            raise Refused(f"metrics: port {port}: {error.strerror}; change daemon.metrics_port") from error
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _came(self, account: str, *, over_pop3: bool) -> None:
        with self._lock:
            before, self._ways[account] = self._ways.get(account, False), over_pop3
        if over_pop3 != before:
            self._switches.labels(account, "pop3" if over_pop3 else "imap").inc()
        self._over_pop3.labels(account).set(over_pop3)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, namespace="ingestd", registry=self._registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(name, about, labels, namespace="ingestd", registry=self._registry)


def _ended(errors: Sequence[IngestError]) -> str:
    kinds = (("overtaken", LeaseLost), ("refused", Refused), ("put_off", PutOff), ("unavailable", Unavailable))
    if not errors:
        return "well"
    return next((said for said, kind in kinds if isinstance(errors[0], kind)), "fault")
