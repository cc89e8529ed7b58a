"""A trial: one mailbox taken into two archives, one of them under faults, the other undisturbed."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.access import Access
from ingestd.config import load
from ingestd.daemon import opened
from ingestd.demo.dovecot import Dovecot
from ingestd.service import LogWatch
from ingestd.sources.imap import ImapAccount
from ingestd.store.leases import hold
from ingestd.visit import Order, Outcome
from tests.dovecot import private_dovecot
from tests.e2e.conftest import Site, cold_site, site, store_table
from tests.faults import state
from tests.faults.mongodb_wire import MongoProxy
from tests.faults.office import Office
from tests.faults.proxy import Proxy
from tests.faults.zygote import Life, Zygote

__all__ = ["cold_site", "site"]

Document = dict[str, Any]

SHOWN = 8000  # characters of a log


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the last of what ingestd said when a trial has failed."""
    report = yield
    if report.failed and "trial" in item.funcargs:
        report.sections.append(("ingestd", item.funcargs["trial"].said()[-SHOWN:]))
    return report


class Trial:
    """A site, a quick way to start ingestd there, and what its archive has to come to."""

    def __init__(self, site: Site, zygote: Zygote, calm: str) -> None:
        """*calm* is the database of the undisturbed archive."""
        self.site, self._zygote, self._calm = site, zygote, calm
        self._written: dict[str, str] = {}
        self.log = site.directory / "log"
        self.log.touch()
        site.select = "all"
        self.configure()

    def configure(self, workers: int = 0, **tables: str) -> None:
        """Write the configuration: *tables*, and what was written before. Without workers there is one process."""
        self._written |= {"daemon": f"workers = {workers}", **tables}
        self.site.write(**{"imap": self._plain, **self._written})

    def start(self, *words: str, at: Site | None = None, **environment: str) -> Life:
        return self._zygote.start("--config", str((at or self.site).config), *words, log=self.log, **environment)

    def once(self, at: Site | None = None, **environment: str) -> int | None:
        """Make a pass; return how it ended."""
        return self.start("once", at=at, **environment).wait()

    def once_here(self, timeout: float = 20.0) -> None:
        """Make a pass in this process, which raises what goes wrong; the mail server may be silent for *timeout*."""
        config = load(self.site.config)
        (account,) = config.accounts
        server = replace(Access(config, None).imap(account).server, timeout=timeout)
        with (
            opened(config) as daemon,
            hold(daemon.database, account.name, daemon.owner) as lease,
            ImapAccount(account.name, server) as imap,
        ):
            daemon.visit(account, lease).all_mailboxes(imap, Order(), LogWatch(), Outcome(account.name))

    def finish(self) -> Document:
        """Make a pass that must succeed; return the state of the archive, which must be in order."""
        assert self.once() == 0, self.said()
        return state.of(self.site)

    def said(self) -> str:
        return self.log.read_text()

    def undisturbed(self) -> Document:
        """The state of an archive that took the same mailbox in one go, as it is now."""
        other = self.calm()
        other.write(**{**self._written, "imap": self._plain, "store": ""})
        assert self.once(at=other) == 0, self.said()
        return state.of(other)

    def calm(self) -> Site:
        """Another archive of the same mailbox, whose configuration is still to be written."""
        directory = self.site.directory / "calm"
        directory.mkdir()
        store = self.site.store.replace(self._calm.removesuffix("_calm"), self._calm)
        store = store.replace("store-secret", str(self.site.directory / "store-secret"))
        return Site(directory, self.site.server, self.site.user, store, self.site.select, self.site.protocol)

    def behind(self, proxy: Proxy, **tables: str) -> None:
        """Have ingestd reach the mail server through *proxy*."""
        self.configure(imap=f'port = {proxy.port}\ntls = "none"', **tables)

    def store_in(self, uri: str) -> None:
        """Keep the archive in another server than that of all tests."""
        login, _, server = uri.partition("://")[2].rpartition("@")
        user, _, password = login.partition(":")
        secret = self.site.directory / "store-secret"
        secret.touch(mode=0o600)
        secret.write_text(password)
        host, options = server.partition("/")[0], server.partition("?")[2]
        name = self._calm.removesuffix("_calm")
        self.site.store = f'uri = "mongodb://{user}@{host}/{name}?{options}"\npassword = {{ file = "store-secret" }}'
        self.configure()

    def stored_through(self, proxy: MongoProxy, **tables: str) -> None:
        """Have ingestd reach its store through *proxy*, and not wait long for it."""
        uri = re.sub(r"(?<=[/@])127\.0\.0\.1:\d+/", f"127.0.0.1:{proxy.port}/", self.site.store)
        patience = "directConnection=true&serverSelectionTimeoutMS=1500&heartbeatFrequencyMS=500"
        self.configure(store=uri.replace("?", f"?{patience}&", 1), **tables)

    @property
    def _plain(self) -> str:
        """The mail server itself, without anything between."""
        server = self.site.server
        port = server.pop3_port if self.site.protocol == "pop3" else server.imap_port
        return f'port = {port}\ntls = "none"'


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with Zygote() as made:
        yield made


@pytest.fixture
def imap_proxy(dovecot: Dovecot) -> Iterator[Proxy]:
    """A proxy before the mail server."""
    with Proxy(("127.0.0.1", dovecot.imap_port)) as made:
        yield made


@pytest.fixture
def store_proxy(database: Database[Document]) -> Iterator[MongoProxy]:
    """A proxy before the store."""
    database.client.admin.command("ping")
    assert database.client.address is not None
    with MongoProxy(database.client.address) as made:
        yield made


@pytest.fixture
def trial(site: Site, zygote: Zygote, database: Database[Document]) -> Iterator[Trial]:
    calm = f"{database.name}_calm"
    yield Trial(site, zygote, calm)
    database.client.drop_database(calm)


@pytest.fixture
def office(tmp_path: Path, mongodb_uri: str, database: Database[Document], zygote: Zygote) -> Iterator[Office]:
    with private_dovecot() as server:
        made = Office(tmp_path, server, database, store_table(mongodb_uri, database, tmp_path), zygote)
        yield made
        for life in made.lives:
            life.kill()
