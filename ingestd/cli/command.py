"""What every command has in common: the options that may stand anywhere, a session, and how it ends.

A command is a function that takes a `Session` and its own arguments, and returns nothing, or 1 for a finding:

    def once(session: Session, accounts: Annotated[list[str] | None, typer.Argument()] = None) -> int | None:
        \"""Fetch what is new, once.\"""
        from ..daemon import ...          # what is heavy is imported here, so that --help stays quick

    def register(app: typer.Typer) -> None:
        command(app, once, SERVE)

It raises what goes wrong: `end` says it in a line and picks the exit code.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import IngestError, Refused, StoreUnavailable
from .output import Output, ReaderGone, Unwritable, colour_allowed, plain, say

if TYPE_CHECKING:
    from ..config import Config

# The groups of commands, in the order in which a newcomer needs them.
START, SERVE, READ, KEEP = "Getting started", "Fetching mail", "Reading the archive", "Taking care"
ANYWHERE = "Options of every command"

DONE, FINDING, USAGE, STORE_UNAVAILABLE, BUG, INTERRUPTED, READER_GONE = 0, 1, 2, 3, 70, 130, 141

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The configuration to use.", rich_help_panel=ANYWHERE)
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON lines.", rich_help_panel=ANYWHERE)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what matters.", rich_help_panel=ANYWHERE)]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        help="Log more; twice: show what a bug was.",
        rich_help_panel=ANYWHERE,
    ),
]
NoColor = Annotated[
    bool, typer.Option("--no-color", help="Use no colours; as $NO_COLOR does.", rich_help_panel=ANYWHERE)
]


@dataclass(frozen=True, slots=True)
class Options:
    """What may be said before a command and after it."""

    config: Path | None = None
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    no_color: bool = False

    def then(self, later: Options) -> Options:
        """Both, where *later* wins."""
        return Options(
            later.config or self.config,
            later.json or self.json,
            later.quiet or self.quiet,
            later.verbose + self.verbose,
            later.no_color or self.no_color,
        )


class Session:
    """What one run of one command has at hand."""

    def __init__(self, options: Options) -> None:
        self.options = options
        colour = colour_allowed() and not options.no_color
        self.output = Output(options.json, options.quiet, colour)

    @cached_property
    def config(self) -> Config:
        """The configuration, read when it is first asked for; raises ConfigError."""
        from ..config import load

        return load(self.options.config)


def command(app: typer.Typer, function: Callable[..., int | None], panel: str, *, service: bool = False) -> None:
    """Add *function* to *app*, with the options of every command. A *service* logs as it goes along."""

    def run(context: typer.Context, **given: Any) -> None:
        later = Options(**{name: given.pop(name) for name in Options.__slots__})
        session = Session((context.obj or Options()).then(later))
        try:
            _start_logs(session, service)
            code = function(session, **given) or DONE
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, it is said, with an exit code
            code = end(error, trace=session.options.verbose > 1)
        raise typer.Exit(code)

    _take_signature(run, function)
    app.command(rich_help_panel=panel)(run)


def _take_signature(run: Callable[..., None], function: Callable[..., int | None]) -> None:
    """Let *run* look like *function* with the options of every command, which is what typer reads."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    options = inspect.signature(_options, eval_str=True).parameters.values()
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [context, *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *options))]
    # One that is called like something of Python has "_" at its end.
    run.__name__, run.__doc__ = function.__name__.rstrip("_"), function.__doc__
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typeshed does not know of it


def _options(
    config: ConfigFile = None, json: Json = False, quiet: Quiet = False, verbose: Verbose = 0, no_color: NoColor = False
) -> None:
    """The signature that every command has beside its own. The names are those of `Options`."""


def _start_logs(session: Session, service: bool) -> None:
    import logging

    from .. import logs

    usual = logging.INFO if service else logging.WARNING
    options = session.options
    level = min(max(usual + 10 * options.quiet - 10 * options.verbose, logging.DEBUG), logging.ERROR)
    colourful = session.output.colour and sys.stderr.isatty()
    logs.configure(level, "json" if options.json else "colour" if colourful else None)


# --- how a command ends


def end(error: BaseException, *, trace: bool = False) -> int:
    """Say what went wrong on stderr, and return the exit code for it."""
    if trace:
        traceback.print_exception(error)
    match error:
        case typer.Exit():
            return error.exit_code
        case KeyboardInterrupt():
            return _said("interrupted", INTERRUPTED)
        case ReaderGone():
            return _without_stdout(READER_GONE)
        case Unwritable():
            return _without_stdout(_said(str(error), FINDING))
        case StoreUnavailable():
            return _said(str(error), STORE_UNAVAILABLE)
        case Refused():
            return _said(str(error), USAGE)
        case IngestError():
            return _said(str(error), FINDING)
    # Its text may hold mail, so it is only shown to someone who asks.
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" at {Path(frame.filename).name}:{frame.lineno}, in {frame.name}" for frame in last)
    return _said(f"this is a bug: {type(error).__name__}{where}; -vv shows all of it", BUG)


def _said(text: str, code: int) -> int:
    for line in text.splitlines() or [""]:
        say(f"ingestd: {plain(line)}")
    return code


def _without_stdout(code: int) -> int:
    # What is still buffered would fail once more when Python flushes it at exit.
    if sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return code
