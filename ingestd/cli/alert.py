"""`ingestd alert`: what people are told by mail."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import Refused
from .command import KEEP, Session, command
from .output import cell

Test = Annotated[bool, typer.Option("--test", help="Send a mail now, to see whether it arrives.")]


def register(app: typer.Typer) -> None:
    command(app, alert, KEEP)


def alert(session: Session, test: Test = False) -> None:
    """Show what is amiss and told by mail (`[alerts]` in the configuration), or try whether such mails arrive."""
    if test:
        _try(session)
    else:
        _show(session)


def _try(session: Session) -> None:
    from datetime import UTC, datetime

    from ..daemon import reading
    from ..postman import deliver, mail_server, trial

    wanted = session.config.alerts
    if wanted is None:
        raise Refused(f"{session.config.file}: there is no table [alerts]; ingestd init --print shows one")
    with reading(session.config) as database:
        deliver(wanted, mail_server(session.config, database), trial(datetime.now(UTC)))
    people = "1 address" if len(wanted.to) == 1 else f"{len(wanted.to)} addresses"
    session.output.emit(
        {"sent": True, "host": wanted.host}, f"{wanted.host} took a mail to {people}; see if it arrives"
    )


def _show(session: Session) -> None:
    from ..daemon import reading
    from ..store import outbox

    with reading(session.config) as database:
        found = list(outbox.raised(database))
    lines = [
        f"{each.subject}: {each.text} (since {cell(each.since)} UTC, {'told' if each.told else 'not told yet'})"
        for each in found
    ]
    session.output.emit({"alerts": found}, "\n".join(lines) or "nothing is amiss")
