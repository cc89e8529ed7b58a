"""`ingestd verify`: is everything there that should be?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from . import verdict
from .choice import StoreUri, configured, stored_or_configured
from .command import FINDING, INTERRUPTED, KEEP, Session, command
from .kept import kept
from .verdict import Report

if TYPE_CHECKING:
    from pymongo.database import Database

    from ..archive.anchors import Anchor
    from ..archive.bookmark import Bookmark, Progress
    from ..archive.rereading import Sample
    from ..config import Config
    from ..workers import Workers

Document = dict[str, Any]

Accounts = Annotated[
    list[str] | None, typer.Argument(metavar="ACCOUNT", help="Only these accounts.", show_default=False)
]
Offline = Annotated[bool, typer.Option("--offline", help="Look at the database only; ask no mail server.")]
Chain = Annotated[bool, typer.Option("--chain", help="Check the seals too: the log that nobody can change unseen.")]
Anchors = Annotated[
    list[Path] | None,
    typer.Option("--anchor", metavar="PATH", help="And hold it against anchors: a file, or a directory of them."),
]
PublicKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="Whose signature each file of anchors must have; or its file.")
]
Deep = Annotated[
    bool, typer.Option("--deep", help="Also rebuild every message and read every blob, and check their SHA-256.")
]
SampleOf = Annotated[
    str | None, typer.Option("--sample", metavar="N|P%", help="With --deep: about N of each, or so many percent.")
]
Seed = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Which ones: the same text means the same; by default the day.")
]
Resume = Annotated[
    Path | None, typer.Option(metavar="FILE", help="With --deep: note progress in FILE, and go on from there.")
]


def register(app: typer.Typer) -> None:
    command(app, verify, KEEP)


def verify(
    session: Session,
    accounts: Accounts = None,
    offline: Offline = False,
    chain: Chain = False,
    anchor: Anchors = None,
    public_key: PublicKey = None,
    deep: Deep = False,
    sample: SampleOf = None,
    seed: Seed = None,
    resume: Resume = None,
    store: StoreUri = None,
) -> int | None:
    """Check that nothing is missing: every message on the servers is accounted for, and the store holds together.

    It asks every mail server for all UIDs and compares them with the ledger: each is stored, left out for a reason that
    still holds, set aside, or still to come. Then it checks that every stored place has its message, and every message
    its original and its attachments. --chain and --deep look further, and take longer.

    It changes nothing, neither there nor here, and works while `ingestd run` is at work. The last line is COMPLETE, or
    says what is not; then the exit code is 1.
    """
    if not deep and (sample, seed, resume) != (None, None, None):
        raise Refused("--sample, --seed and --resume: only with --deep")
    config, anchors, report = configured(session, store), kept(anchor or [], public_key), Report()
    report.findings.extend(anchors.findings)
    rereading = Rereading.asked_for(accounts, sample, seed, resume) if deep else None
    with ExitStack() as stack:
        database, workers = _opened(stack, config, deep=deep)
        check = Check(session, config, database, report)
        names = stored_or_configured(config, database, accounts, [each.account for each in anchors.anchors])
        for name in names:
            check.account(name, offline=offline or store is not None)
            if chain or deep or anchor:
                check.log(name, anchors.anchors)
        if rereading and workers:
            check.deeply(rereading, names, workers)
    session.output.emit(verdict.data(report), lambda: "\n".join(verdict.lines(report)))
    if report.interrupted:
        return INTERRUPTED
    return FINDING if report.findings else None


def _opened(stack: ExitStack, config: Config, *, deep: bool) -> tuple[Database[Document], Workers | None]:
    """The database, and the workers that only a deep check needs; they are started before any thread."""
    from ..daemon import store
    from ..store.database import connected, ping
    from ..workers import started

    settings, workers = stack.enter_context(store(config)), None
    if deep:
        workers = stack.enter_context(started(config.daemon.workers, settings, config.budget().worker))
    database = stack.enter_context(connected(settings))
    ping(database, settings)
    return database, workers


@dataclass(frozen=True, slots=True)
class Rereading:
    """A deep check, as it was asked for."""

    asked: Document  # what must be the same for one to go on where another was interrupted
    sample: Sample | None
    resume: Path | None

    @classmethod
    def asked_for(
        cls, accounts: list[str] | None, sample: str | None, seed: str | None, resume: Path | None
    ) -> Rereading:
        if seed is not None and sample is None:
            raise Refused("--seed: only with --sample")
        part = None if sample is None else _sample(sample, seed or f"{datetime.now(UTC):%Y-%m-%d}")
        return cls({"accounts": accounts, "sample": sample, "seed": seed}, part, resume)


def _sample(text: str, seed: str) -> Sample:
    from ..archive.rereading import Sample

    read = re.fullmatch(r"(\d{1,12})|(\d{1,3}(?:\.\d{1,6})?)%", text)
    amount = float(read[1] or read[2]) if read else 0
    if not read or amount <= 0 or (read[2] and amount > 100):
        raise Refused('--sample: a number of messages, such as 500, or a share of them, such as "2%"')
    return Sample(seed, count=int(amount)) if read[1] else Sample(seed, share=amount / 100)


@dataclass(frozen=True, slots=True)
class Check:
    """Checks one thing after the other, and notes in the report what it finds."""

    session: Session
    config: Config
    database: Database[Document]
    report: Report

    def account(self, name: str, *, offline: bool) -> None:
        """Compare what the servers list with the ledger, and the ledger with the messages."""
        from ..access import Access
        from ..archive import places
        from ..archive.accounting import account_for
        from ..archive.inventory import count, inventory
        from ..audit import audit

        account = next((account for account in self.config.accounts if account.name == name), None)
        if account is not None and not offline:
            mailboxes, findings = audit(Access(self.config, self.database), self.database, account)
            self.report.findings.extend(findings)
        else:
            every = places.mailboxes(self.database, name)
            mailboxes = [account_for(self.database, name, mailbox) for mailbox in every]
        with self.session.output.progress(f"{name}: looked up", count(self.database, name)) as progress:
            stock = inventory(self.database, name, progress.advance)
        self.report.take_in(mailboxes, stock)

    def log(self, name: str, anchors: Sequence[Anchor]) -> None:
        """Follow the log of an account, and hold it against the ledger and *anchors*."""
        from ..archive import log

        with self.session.output.progress(f"{name}: held against the log", log.count(self.database, name)) as progress:
            found = log.check(self.database, name, anchors, progress.advance)
        self.report.logs.append(found)
        self.report.findings.merge(found.findings)

    def deeply(self, wanted: Rereading, names: Sequence[str], workers: Workers) -> None:
        """Read all messages and blobs again, or the sample, until it is done or a signal comes."""
        from ..archive import rereading
        from ..archive.bookmark import Bookmark, Progress
        from ..signals import Signals

        bookmark = Bookmark(wanted.resume)
        progress = bookmark.read(wanted.asked)
        if progress is None:
            every = rereading.stretches(self.database, names, wanted.sample)
            progress = Progress(wanted.asked, tuple(every), str(wanted.sample or ""))
        left = rereading.count(self.database, progress.wanted, progress.position)
        with Signals().caught() as signals, self.session.output.progress("read again", left) as bar:
            job = rereading.Job(self.database, workers.submit, workers.count, lambda: signals.received is not None)
            for position, read in job.read(progress.wanted, progress.position):
                progress = progress.after(position, read)
                bar.advance(read.count)
                bookmark.save(progress)
            self.report.interrupted = signals.received is not None
        self._end(bookmark, progress)

    def _end(self, bookmark: Bookmark, progress: Progress) -> None:
        if self.report.interrupted:
            bookmark.save(progress, now=True)
        else:
            bookmark.remove()
        self.report.deep = progress
        self.report.findings.extend(progress.findings)
