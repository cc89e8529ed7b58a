"""`ingestd db`: the way to the data for other programs."""

from __future__ import annotations

import typer

from .command import READ, Session, command


def register(app: typer.Typer) -> None:
    command(app, db, READ)


def db(session: Session) -> None:
    """Print a URI for mongosh, Compass and pymongo.

    An embedded store runs only while some command uses it, so this one then keeps it running until Ctrl-C. The URI of
    an embedded store holds its password; that of a MongoDB is the configured one, to which you add yours.
    """
    from ..daemon import store
    from ..signals import Signals

    with Signals().caught() as signals, store(session.config) as settings:
        session.output.emit({"uri": settings.uri}, settings.uri)
        if session.config.store.embedded:
            session.output.note("the store runs until you press Ctrl-C here")
            signals.wait()
