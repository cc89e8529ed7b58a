"""The command line as a whole: what `ingestd --help` teaches, and which commands there are.

A command is a module beside this one that has `register(app)`; `command.py` shows how one is written. Add it to
COMMANDS, in the order in which a newcomer needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from . import (
    account,
    alert,
    anchor,
    auth,
    check,
    db,
    defects,
    demo,
    init,
    migrate,
    once,
    quarantine,
    reparse,
    run,
    show,
    status,
    sweep,
    verify,
)
from .command import DONE, ConfigFile, Json, NoColor, Options, Quiet, Verbose

COMMANDS = (
    demo,
    init,
    auth,
    check,
    once,
    run,
    status,
    show,
    db,
    verify,
    anchor,
    migrate,
    quarantine,
    defects,
    reparse,
    sweep,
    alert,
    account,
)

HELP = """\
Keeps mailboxes in MongoDB: every message and attachment, once, byte for byte.

Nothing changes on the mail server unless you ask for it.

The configuration is looked for, in this order, at
  --config FILE
  $INGESTD_CONFIG
  ~/.config/ingestd/ingestd.toml
  /etc/ingestd/ingestd.toml
"""

EPILOG = """\
Exit codes:

  0   done
  1   a finding, or some account failed and the others are done
  2   usage or configuration; nothing was started
  3   the store is unavailable
  70  a bug of ours
  130 interrupted by a signal
  141 whoever read the output has gone

Examples:

  ingestd init                       find your mail server, and write a configuration
  ingestd once                       fetch what is new, and see what was done
  ingestd show 4f2a                  show the message whose SHA-256 begins like that
"""


def build() -> typer.Typer:
    """Put the commands together."""
    app = typer.Typer(
        name="ingestd",
        help=HELP,
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    app.callback()(_root)
    for module in COMMANDS:
        module.register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that *arguments* (by default those of the process) name, and return the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if "--no-color" in given:
        os.environ["NO_COLOR"] = "1"  # help and mistakes in usage are drawn before any option is read
    return execute(build(), given)


def execute(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run *app* and return the exit code. What its commands raise has been said by then."""
    try:
        typer.main.get_command(app).main(list(arguments), "ingestd")
    except SystemExit as ended:  # typer always ends this way
        return ended.code if isinstance(ended.code, int) else DONE
    return DONE


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"ingestd {version('ingestd')}")
        raise typer.Exit


def _root(
    context: typer.Context,
    config: ConfigFile = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    no_color: NoColor = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    context.obj = Options(config, json, quiet, verbose, no_color)
