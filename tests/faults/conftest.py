"""A trial: one mailbox taken into two archives, one of them under faults, the other undisturbed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database

from tests.e2e.conftest import Site, cold_site, site
from tests.faults import state
from tests.faults.zygote import Life, Zygote

__all__ = ["cold_site", "site"]

Document = dict[str, Any]


class Trial:
    """A site, a quick way to start ingestd there, and what its archive has to come to."""

    def __init__(self, site: Site, zygote: Zygote, calm: str) -> None:
        """*calm* is the database of the undisturbed archive."""
        self.site, self._zygote, self._calm = site, zygote, calm
        self._written: dict[str, str] = {}
        self.log = site.directory / "log"
        site.select = "all"
        self.configure()

    def configure(self, workers: int = 0, **tables: str) -> None:
        """Write the configuration. Without workers there is one process, so that killing it kills all at once."""
        self._written = {"daemon": f"workers = {workers}", "imap": self._plain, **tables}
        self.site.write(**self._written)

    def start(self, *words: str, **environment: str) -> Life:
        return self._zygote.start("--config", str(self.site.config), *words, log=self.log, **environment)

    def once(self, **environment: str) -> int | None:
        """Make a pass; return how it ended."""
        return self.start("once", **environment).wait()

    def finish(self) -> Document:
        """Make a pass that must succeed; return the state of the archive, which must be in order."""
        assert self.once() == 0, self.said()
        return state.of(self.site)

    def said(self) -> str:
        return self.log.read_text()

    def undisturbed(self) -> Document:
        """The state of an archive that took the same mailbox in one go, as it is now."""
        directory = self.site.directory / "calm"
        directory.mkdir()
        store = self.site.store.replace(self._calm.removesuffix("_calm"), self._calm)
        store = store.replace("store-secret", str(self.site.directory / "store-secret"))
        other = Site(directory, self.site.server, self.site.user, store, self.site.select)
        other.write(**{**self._written, "imap": self._plain, "store": ""})
        life = self._zygote.start("--config", str(other.config), "once", log=self.log)
        assert life.wait() == 0, self.said()
        return state.of(other)

    @property
    def _plain(self) -> str:
        """The mail server itself, without anything between."""
        return f'port = {self.site.server.imap_port}\ntls = "none"'


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with Zygote() as made:
        yield made


@pytest.fixture
def trial(site: Site, zygote: Zygote, database: Database[Document]) -> Iterator[Trial]:
    calm = f"{database.name}_calm"
    yield Trial(site, zygote, calm)
    database.client.drop_database(calm)
