"""`ingestd reparse`: understand stored messages anew, after an upgrade."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from .choice import chosen
from .command import FINDING, INTERRUPTED, KEEP, Session, command
from .output import Output, as_json, plain, table

if TYPE_CHECKING:
    from pymongo.database import Database

    from ..archive.reparse import Outcome

Document = dict[str, Any]

SHOWN = 200  # characters of a value that people are shown; JSON has all of it
FATES = {  # in words, done and would be done
    "changed": ("changed", "would change"),
    "same": ("as before", "as before"),
    "failed": ("cannot be parsed", "cannot be parsed"),
    "damaged": ("damaged", "damaged"),
    "gone": ("deleted meanwhile", "deleted meanwhile"),
    "not_reached": ("not reached", "not reached"),
}
TROUBLE = {"failed": "cannot be parsed, left as it is", "damaged": "damaged, left as it is"}

Account = Annotated[str | None, typer.Option(metavar="NAME", help="Only messages of this account.")]
Where = Annotated[
    str | None, typer.Option(metavar="JSON", help='Those that a MongoDB filter selects, as {"kind": "list"}.')
]
Everything = Annotated[bool, typer.Option("--all", help="Every message, also those that are current.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")]
Diff = Annotated[bool, typer.Option("--diff", help="The same, with the fields of each message that would change.")]
Values = Annotated[bool, typer.Option("--values", help="With --diff: the values too. They are mail.")]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="At most N messages.")]


def register(app: typer.Typer) -> None:
    command(app, reparse, KEEP)


def reparse(
    session: Session,
    account: Account = None,
    where: Where = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    diff: Diff = False,
    values: Values = False,
    limit: Limit = None,
) -> int | None:
    """Parse stored messages again, after an upgrade: those of an older version, and those that could not be parsed.

    The bytes come from the store; no mail server is needed, and `ingestd run` may go on. It can be interrupted at any
    time: run again, it goes on with what is not current yet.
    """
    from ..archive.reparse import wanted

    if where is not None and everything:
        raise Refused("--where and --all: say one of them")
    if values and not diff:
        raise Refused("--values: only with --diff")
    shown = Shown(session.output, dry_run or diff, diff, values)
    selected = wanted(account, where, everything)
    interrupted = _reparse(session, account, selected, limit, shown)
    shown.summary()
    if interrupted:
        return INTERRUPTED
    return FINDING if shown.fates["failed"] or shown.fates["damaged"] else None


def _reparse(session: Session, account: str | None, selected: Document, limit: int | None, shown: Shown) -> bool:
    """Do it, and return whether a signal ended it early."""
    from ..archive import reparse as archive
    from ..daemon import store
    from ..signals import Signals
    from ..store.database import connected, ping
    from ..workers import started

    config = session.config
    manner = archive.Manner(
        {each.name: frozenset(each.authserv_ids) for each in config.accounts}, not shown.dry, shown.values
    )
    with ExitStack() as stack:
        settings = stack.enter_context(store(config))
        workers = stack.enter_context(started(config.daemon.workers, settings, config.budget().worker))
        database = stack.enter_context(connected(settings))
        ping(database, settings)
        _check(session, database, account)
        total = archive.count(database, selected)
        signals = stack.enter_context(Signals().caught())
        progress = stack.enter_context(session.output.progress("parsed again", min(total, limit or total)))
        run = archive.Run(selected, manner, limit)
        last = None
        for outcome in archive.reparse(
            database, run, workers.submit, workers.count, lambda: signals.received is not None
        ):
            shown.one(outcome)
            progress.advance()
            last = outcome.message
        shown.fates["not_reached"] = archive.count(database, selected, last)
        return signals.received is not None


def _check(session: Session, database: Database[Document], account: str | None) -> None:
    """An account may be stored and no longer configured; one that is neither is a slip of the pen."""
    if account is not None and database.accounts.find_one({"_id": account}, {"_id": 1}) is None:
        chosen(session.config, account)


@dataclass(frozen=True, slots=True)
class Shown:
    """What people see of it, and the counts."""

    output: Output
    dry: bool
    diff: bool
    values: bool
    fates: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)

    def one(self, outcome: Outcome) -> None:
        self.fates[outcome.fate] += 1
        self.fields.update(change.field for change in outcome.changes)
        if outcome.reason is not None:
            self.output.complain(f"message {outcome.message}: {TROUBLE[outcome.fate]}: {outcome.reason}")
        if self.diff and outcome.changes:
            self.output.emit(self._data(outcome), lambda: "\n".join(self._lines(outcome)))

    def summary(self) -> None:
        counts = {fate: self.fates[fate] for fate in FATES}
        data = {"messages": self.fates.total(), **counts, "fields": dict(sorted(self.fields.items()))}
        self.output.emit({**data, "dry_run": self.dry}, lambda: "\n".join(self._told()))
        if self.dry:
            self.output.note("dry run: nothing was changed")

    def _data(self, outcome: Outcome) -> Document:
        if not self.values:
            return {"message": outcome.message, "fields": [change.field for change in outcome.changes]}
        fields = {change.field: {"old": change.old, "new": change.new} for change in outcome.changes}
        return {"message": outcome.message, "fields": fields}

    def _lines(self, outcome: Outcome) -> Iterator[str]:
        if not self.values:
            yield f"{outcome.message}  {', '.join(change.field for change in outcome.changes)}"
            return
        yield outcome.message
        for change in outcome.changes:
            yield f"  {change.field}: {_clipped(change.old)} -> {_clipped(change.new)}"

    def _told(self) -> Iterator[str]:
        parts = {words[self.dry]: self.fates[fate] for fate, words in FATES.items()}
        became = " + ".join(f"{count:,} {what}" for what, count in parts.items() if count) or "0"
        yield f"{self.fates.total():,} messages to parse again = {became}"
        if self.fields:
            yield ""
            yield self.output.rendered(table(("field", "messages"), sorted(self.fields.items())))


def _clipped(value: Any) -> str:
    text = plain(as_json(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
