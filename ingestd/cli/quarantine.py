"""`ingestd quarantine`: messages that a mail server would not give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from .choice import Target, known
from .command import FINDING, KEEP, Session, command
from .output import Bytes, cell, table

if TYPE_CHECKING:
    from pymongo.database import Database

    from ..archive.quarantine import Attempt

Document = dict[str, Any]

Place = Annotated[
    str, typer.Argument(metavar="PLACE", help="ACCOUNT/MAILBOX/UID, or the _id of a placement.", show_default=False)
]
Places = Annotated[
    list[str] | None,
    typer.Argument(metavar="PLACE", help="ACCOUNT/MAILBOX/UID, or the _id of a placement.", show_default=False),
]
Open = Annotated[bool, typer.Option("--open", help="Also those that are still tried again by themselves.")]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="Show at most N places.")]
Everything = Annotated[bool, typer.Option("--all", help="Every place in quarantine.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be tried again; change nothing.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True)
    group.callback()(_quarantine)
    for each in (list_, show, retry):
        command(group, each, KEEP)
    app.add_typer(group, name="quarantine", rich_help_panel=KEEP)


def _quarantine() -> None:
    """Messages that a mail server would not give: list them, or have them tried again.

    A message whose bytes the server will not give, even alone on a fresh connection, is tried again after 1 minute, 5
    minutes, 30 minutes and 2 hours. Then it is set aside, so that it does not hold up the others. It is neither lost
    nor stored: it lies on the server as before. (What was stored and could not be understood: ingestd defects.)
    """


def list_(session: Session, target: Target = None, open_: Open = False, limit: Limit = 100) -> None:
    """List the places in quarantine: why, how often and when they were tried.

    It reads the store only, so it works while `ingestd run` is at work, and when the mail server is away.
    """
    from ..archive import quarantine
    from ..daemon import reading

    states = (quarantine.GIVEN_UP, quarantine.OPEN) if open_ else (quarantine.GIVEN_UP,)
    with reading(session.config) as database:
        account, mailbox = known(session.config, database, target)
        found, total = quarantine.attempts(database, account, mailbox, states, limit)
    data = {"places": found, "total": total}
    session.output.emit(data, lambda: "\n".join(_lines(session, found, total)))


def show(session: Session, place: Place) -> None:
    """Show what is known of one place, what the reason means, and what to do next. Nothing is asked of the server."""
    from ..archive import quarantine
    from ..daemon import reading

    with reading(session.config) as database:
        found = quarantine.one(database, place)
    advice = quarantine.advice(found)
    session.output.emit({**asdict(found), **asdict(advice)}, lambda: "\n".join(_facts(found, asdict(advice))))


def retry(
    session: Session, places: Places = None, everything: Everything = False, dry_run: DryRun = False
) -> int | None:
    """Have places tried again by the next pass over their mailbox, five times before they are set aside anew.

    Say this once the server is mended. `ingestd run` may go on meanwhile: its next visit tries them. Else run `ingestd
    once`.
    """
    from ..archive import quarantine
    from ..daemon import reading
    from ..store import placements

    if bool(places) == everything:
        raise Refused("retry: name places, or say --all; ingestd quarantine list names them")
    configured = {account.name for account in session.config.accounts}
    with reading(session.config) as database:
        chosen, left = _chosen(database, places or (), configured)
        if not dry_run:
            placements.retry(database, list(quarantine.documents(database, chosen)), datetime.now(UTC))
    _tell_retried(session, chosen, left, dry_run=dry_run)
    return FINDING if left else None


def _chosen(database: Database[Document], places: Any, configured: set[str]) -> tuple[list[str], dict[str, str]]:
    """The places to try again, and why the others of those that were asked for are not."""
    from ..archive import quarantine

    if places:
        found = [quarantine.one(database, place) for place in places]
    else:
        found = quarantine.attempts(database, None, None, (quarantine.GIVEN_UP,), None)[0]
    left = {each.place: why for each in found if (why := _unfit(each, configured))}
    return list(dict.fromkeys(each.place for each in found if each.place not in left)), left


def _unfit(attempt: Attempt, configured: set[str]) -> str | None:
    """Why *attempt* cannot be tried again, if it cannot."""
    if attempt.state == "fetching":
        return f"not in quarantine: it is tried again by itself, at {cell(attempt.next_try)} UTC"
    if attempt.state != "quarantined":
        return f"not in quarantine: {attempt.state}"
    if not attempt.present:
        why = "its mailbox was renumbered" if attempt.retired else "it was deleted or moved"
        return f"not on the server any more: {why}"
    return None if attempt.account in configured else f"account {attempt.account} is not configured, so nobody tries"


def _tell_retried(session: Session, chosen: list[str], left: dict[str, str], *, dry_run: bool) -> None:
    said = "would be tried again" if dry_run else "to be tried again"
    parts = [f"{count:,} {what}" for count, what in ((len(chosen), said), (len(left), "not")) if count]
    session.output.emit(
        {"retried": chosen, "left": left, "dry_run": dry_run},
        f"{len(chosen) + len(left):,} places = {' + '.join(parts) or '0'}",
    )
    for place, why in left.items():
        session.output.complain(f"place {place}: {why}")
    if dry_run:
        session.output.note("dry run: nothing was changed")
    elif chosen:
        session.output.note("the next pass tries them: ingestd run makes it by itself, or say ingestd once")


def _lines(session: Session, found: list[Attempt], total: int) -> Iterator[str]:
    if not found:
        yield "nothing is in quarantine"
        return
    columns = ("place", "there", "state", "attempts", "first seen", "last try", "next try (UTC)", "reason")
    rows = [
        (
            each.place if each.retired else each.name,
            each.present,
            each.state,
            each.attempts,
            each.first_seen_at,
            each.last_try,
            each.next_try,
            each.reason,
        )
        for each in found
    ]
    yield session.output.rendered(table(columns, rows))
    yield ""
    yield f"{total:,} places" + (f", of which {len(found):,} are shown; see --limit" if total > len(found) else "")


def _facts(found: Attempt, advice: Document) -> Iterator[str]:
    facts = asdict(found)
    if found.server_size_bytes is not None:
        facts["server_size_bytes"] = Bytes(found.server_size_bytes)
    for name, value in {**facts, **advice}.items():
        if value is not None:
            yield f"{name.replace('_', ' '):18} {cell(value)}{' UTC' if isinstance(value, datetime) else ''}"
