"""`ingestd run`: the daemon."""

from __future__ import annotations

import typer

from .command import SERVE, Session, command


def register(app: typer.Typer) -> None:
    command(app, run, SERVE, service=True)


def run(session: Session) -> None:
    """Keep every mailbox up to date, until SIGTERM or Ctrl-C; what is being stored is finished first.

    A mail server or a store that is away is waited for, and said in the log. It logs to stderr, one event a line. Run
    it on several machines with one store, and each serves its share of the accounts. SIGHUP has it read its
    configuration again.
    """
    from ..budget import held
    from ..service import run
    from ..signals import Signals

    with held(session.config.budget().main), Signals(reload=True).caught() as signals:
        run(session.config, signals)
