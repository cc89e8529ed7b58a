"""`ingestd once`: one pass over every mailbox."""

from __future__ import annotations

from datetime import date, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from ..errors import Refused
from ..units import duration
from . import summaries
from .choice import Target, chosen
from .command import FINDING, INTERRUPTED, SERVE, Session, command
from .output import Output

if TYPE_CHECKING:
    from ..summary import Summary
    from ..visit import Order, Outcome
    from .progress import Progress

Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="At most N messages of each mailbox.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="DATE", help='Only mail since this day (2026-01-31) or of this age ("90d").'),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be taken; change nothing.")]


def register(app: typer.Typer) -> None:
    command(app, once, SERVE)


def once(
    session: Session, target: Target = None, limit: Limit = None, since: Since = None, dry_run: DryRun = False
) -> int | None:
    """Fetch what is new in every mailbox, store it, and say what was done.

    Run it again at any time, also after a crash: what is stored is neither fetched nor stored again. On Ctrl-C it
    finishes what is being stored, and ends.
    """
    from ..budget import held
    from ..once import once
    from ..signals import Signals
    from ..visit import Order

    accounts, mailbox = chosen(session.config, target)
    order = Order(mailbox, _since(since), limit)
    if dry_run:
        return _preview(session, target, order)
    share = session.config.budget().main
    with held(share), Signals().caught() as signals, Watching(session.output) as watch:
        outcomes = once(session.config, accounts, order, watch, signals)
    _tell(session.output, outcomes)
    if signals.received:
        return INTERRUPTED
    return FINDING if any(outcome.errors or outcome.over_pop3 for outcome in outcomes) else None


def _preview(session: Session, target: str | None, order: Order) -> int | None:
    from ..access import Access
    from ..check import examine
    from ..daemon import reading
    from ..visit import Outcome

    with reading(session.config) as database:
        access = Access(session.config, database)
        findings = [examine(access, account, order) for account in chosen(session.config, target)[0]]
    outcomes = [Outcome(finding.account, finding.previews, finding.errors) for finding in findings]
    if not session.output.json:
        for summary in (summary for outcome in outcomes for summary in outcome.summaries):
            session.output.emit(None, "\n".join((summaries.seen(summary), *summaries.removed(summary))))
    _tell(session.output, outcomes, dry_run=True)
    limited = f"; a pass would take {order.limit:,} of each mailbox" if order.limit else ""
    session.output.note(f"dry run: nothing was fetched, and nothing changed{limited}")
    return FINDING if any(outcome.errors for outcome in outcomes) else None


def _tell(output: Output, outcomes: list[Outcome], *, dry_run: bool = False) -> None:
    """Say what it all came to; errors on stderr."""
    every = [summary for outcome in outcomes for summary in outcome.summaries]
    if output.json:
        output.emit({"dry_run": dry_run, "accounts": [_data(outcome) for outcome in outcomes]}, "")
    elif advice := summaries.advice(every):
        output.emit(None, advice)
    for outcome in outcomes:
        for error in outcome.over_pop3:
            output.complain(f"{error}; the INBOX was read over POP3 instead")
        for error in outcome.errors:
            output.complain(str(error))


def _data(outcome: Outcome) -> dict[str, Any]:
    return {
        "account": outcome.account,
        "mailboxes": [summaries.as_data(summary) for summary in outcome.summaries],
        "errors": [str(error) for error in outcome.errors],
        "over_pop3": [str(error) for error in outcome.over_pop3],
    }


def _since(text: str | None) -> date | timedelta | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text) if "-" in text else duration(text)
    except ValueError as error:
        raise Refused(f'--since {text}: must be a day such as 2026-01-31, or an age such as "90d"') from error


class Watching:
    """Shows passes as they go on, several at a time, by bars or now and then by lines; and what each came to."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._bars = output.bars()
        self._passes: dict[str, Progress] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.__exit__()

    def began(self, mailbox: str, due: int) -> None:
        self._passes[mailbox] = self._bars.begin(mailbox, due)

    def advanced(self, mailbox: str, messages: int, size_bytes: int) -> None:
        self._passes[mailbox].advance(messages)

    def broke_off(self, mailbox: str) -> None:
        if progress := self._passes.pop(mailbox, None):
            progress.end()

    def ended(self, summary: Summary) -> None:
        self.broke_off(summary.name)
        if not self._output.json:
            lines = summaries.seen(summary), *summaries.done(summary), *summaries.removed(summary)
            with self._bars.hidden():
                self._output.emit(None, "\n".join(lines))
