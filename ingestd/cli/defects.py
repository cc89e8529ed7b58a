"""`ingestd defects`: stored messages that could be understood only in part, or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import IngestError, Refused
from .choice import known
from .command import FINDING, KEEP, Session, command
from .output import Bytes, cell, table

if TYPE_CHECKING:
    from rich.table import Table

    from ..archive.defects import Count, Defective, Shape
    from ..archive.samples import Sample
    from ..store.database import StoreSettings

Document = dict[str, Any]

DIGEST = 12  # characters of a SHA-256 that people are shown

Account = Annotated[str | None, typer.Option(metavar="NAME", help="Only messages of this account.")]
Status = Annotated[
    str | None, typer.Option(metavar="partial|failed", help="Only those understood in part, or not at all.")
]
Defect = Annotated[
    str | None, typer.Option(metavar="TEXT", help='Only those with a defect or limit that begins so, as "charset".')
]
Summary = Annotated[bool, typer.Option("--summary", help="Only how many messages have which defect or limit.")]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="Show at most N messages.")]
Wanted = Annotated[
    str, typer.Argument(metavar="ID", help="The start of its SHA-256, its Message-ID, or its _id.", show_default=False)
]
Ids = Annotated[
    list[str],
    typer.Argument(metavar="ID", help="The start of a SHA-256, a Message-ID, or an _id.", show_default=False),
]
To = Annotated[Path, typer.Option("--to", metavar="DIR", help="Where the files go.", show_default=False)]
Anonymous = Annotated[
    bool, typer.Option("--anonymise", help="Keep what is odd about the mail, and nothing that it says.")
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True)
    group.callback()(_defects)
    for each in (list_, show, export):
        command(group, each, KEEP)
    app.add_typer(group, name="defects", rich_help_panel=KEEP)


def _defects() -> None:
    """Stored messages that could be understood only in part, or not at all: list them, or make tests of them.

    Every byte of them is stored and can be had back (ingestd show ID --raw). What is missing is some of what the parser
    would say of them. A newer version may understand them better: ingestd reparse. (What the mail server would not give
    at all: ingestd quarantine.)
    """


def list_(
    session: Session,
    account: Account = None,
    status: Status = None,
    defect: Defect = None,
    summary: Summary = False,
    limit: Limit = 100,
) -> None:
    """List messages with what is wrong with them; no subjects, no addresses.

    It looks at every stored message, which takes a while in a large archive.
    """
    from ..archive import defects
    from ..daemon import reading

    if status is not None and status not in defects.STATUSES:
        raise Refused(f"--status {status}: must be one of {', '.join(defects.STATUSES)}")
    with reading(session.config) as database:
        chosen = defects.wanted(known(session.config, database, account)[0], status, defect)
        total = defects.count(database, chosen)
        if summary:
            counted = defects.counts(database, chosen)
            data: Document = {"messages": total, "counts": counted}
            session.output.emit(data, lambda: "\n".join(_counted(session, counted, total)))
        else:
            found = list(defects.listed(database, chosen, limit))
            session.output.emit({"messages": found, "total": total}, lambda: "\n".join(_listed(session, found, total)))


def show(session: Session, wanted: Wanted) -> None:
    """Show how a message is made, what is wrong with it, what that means, and what could be read all the same.

    What it says is not shown, nor the names of its files: ingestd show ID does that.
    """
    from ..archive import defects, search
    from ..daemon import reading

    with reading(session.config) as database:
        shape = defects.shape(database, search.one(database, wanted))
    meanings = defects.meanings(shape.message)
    session.output.emit({**asdict(shape), "meanings": meanings}, lambda: "\n".join(_shown(session, shape, meanings)))
    if shape.outdated:
        session.output.note("an older version read it; this one may understand more: ingestd reparse")


def export(session: Session, ids: Ids, to: To, anonymise: Anonymous = False) -> int | None:
    """Write messages to files that can become tests: DIR/….eml, readable only for you, never over another file.

    With --anonymise, letters, digits, addresses, file names and dates are replaced, under a key that is thrown away;
    structure, charsets, encodings, line lengths and all that is wrong stays. The result is parsed again: if it has not
    the same defects and structure, that is said, with exit code 1. The length of words and lines and the punctuation do
    stay, so whoever knows the message may recognise it. Look at a file before you show it to anybody.
    """
    from ..archive.samples import Sample

    directory, told = _directory(to), list[str]()
    for sample in _exported(session, ids, directory, anonymise=anonymise):
        if isinstance(sample, Sample):
            told += [f"{sample.file}: {difference}" for difference in sample.differences]
            session.output.emit(asdict(sample), f"{sample.message}: {sample.file}")
        else:
            told.append(str(sample))
    for trouble in told:
        session.output.complain(trouble)
    return FINDING if told else None


def _directory(to: Path) -> Path:
    try:
        to.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"--to {to}: {error.strerror}; name a directory that can be written to") from error
    return to


def _exported(session: Session, ids: list[str], directory: Path, *, anonymise: bool) -> Iterator[Sample | IngestError]:
    """Yield each message in its file, or why it is in none. All of *ids* are looked up before the first is written."""
    from ..archive import samples, search
    from ..archive.rebuild import Damaged
    from ..daemon import store
    from ..store.database import connected, ping

    with ExitStack() as stack:
        settings = stack.enter_context(store(session.config))
        database = stack.enter_context(connected(settings))
        ping(database, settings)
        messages = [search.one(database, each) for each in ids]
        write = _anonymiser(session, stack, settings, directory) if anonymise else None
        for message in messages:
            try:
                yield write(message) if write else samples.write(database, message, directory)
            except (samples.Unwritten, Damaged) as error:
                yield error


def _anonymiser(
    session: Session, stack: ExitStack, settings: StoreSettings, directory: Path
) -> Callable[[Document], Sample]:
    """What writes messages anonymised, in a process of its own: some of them have ended their parser before."""
    from ..archive.samples import KEY_BYTES, Anonymise, Unwritten
    from ..workers import started

    config, key = session.config, secrets.token_bytes(KEY_BYTES)
    count = min(1, config.daemon.workers)
    workers = stack.enter_context(started(count, settings, config.budget(count).worker))

    def write(message: Document) -> Sample:
        named = {field: message[field] for field in ("_id", "sha256", "size_bytes")}
        try:
            return workers.submit(Anonymise(named, directory, key)).result()
        except IngestError:
            raise
        except Exception as error:
            raise Unwritten(
                f"message {message['_id']}: its parser did not come to an end ({type(error).__name__}), so nothing can"
                " be said of an anonymised one; export it as it is"
            ) from error

    return write


# --- in words


def _listed(session: Session, found: list[Defective], total: int) -> Iterator[str]:
    if not found:
        yield "no such message"
        return
    rows = [
        (
            f"{account}:{digest[:DIGEST]}",
            each.status,
            Bytes(each.size_bytes),
            each.ingested_at,
            "; ".join((*each.defects, *(f"limit {limit}" for limit in each.limits))),
        )
        for each in found
        for account, _, digest in [each.message.rpartition(":")]
    ]
    yield session.output.rendered(table(("message", "parse", "size", "stored (UTC)", "defects"), rows))
    yield ""
    yield f"{total:,} messages" + (f", of which {len(found):,} are shown; see --limit" if total > len(found) else "")


def _counted(session: Session, counted: list[Count], total: int) -> Iterator[str]:
    if counted:
        rows = [(each.what, each.name, each.messages) for each in counted]
        yield session.output.rendered(table(("", "name", "messages"), rows))
        yield ""
    yield f"{total:,} messages; one may have several"


def _shown(session: Session, shape: Shape, meanings: dict[str, dict[str, str | None]]) -> Iterator[str]:
    message = shape.message
    yield f"{'message':10} {message.message}"
    yield f"{'parse':10} {message.status}, by version {message.version} of the parser"
    yield f"{'size':10} {cell(Bytes(message.size_bytes))}"
    yield f"{'kind':10} {shape.kind}"
    yield f"{'lies in':10} {', '.join(shape.mailboxes)}"
    for what, means in meanings.items():
        for name, meaning in means.items():
            yield f"{what[:-1]:10} {name}" + (f": {meaning}" if meaning else "")
    yield f"{'read':10} {', '.join(_told(shape.read))}"
    if shape.parts:
        yield ""
        yield session.output.rendered(_parts(shape))


def _told(read: Document) -> Iterator[str]:
    for name, value in read.items():
        yield f"{name.replace('_', ' ')}: {cell(value)}"


def _parts(shape: Shape) -> Table:
    rows = [
        (
            "  " * part["part"].count(".") + (part["part"] or "whole"),
            part["content_type"],
            part["charset"],
            part["encoding"],
            part["named"],
            Bytes(part["size_bytes"]),
        )
        for part in shape.parts
    ]
    return table(("part", "content type", "charset", "encoding", "named", "size"), rows)
