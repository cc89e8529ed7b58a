"""What a command says: data to stdout, as JSON lines or for people; notes and progress to stderr.

Mail is hostile, and so are its subjects and file names: nothing that is shown here can steer a terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from .. import units
from ..errors import IngestError

if TYPE_CHECKING:  # rich takes a while to load, and most of what scripts ask for never needs it
    from rich.table import Table

    from .progress import Bars, Progress, Unit

WIDE = 1000  # columns of a table that nobody's screen limits

# Controls, and the marks that turn text around (RFC 9839 advises against both in what people read).
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class ReaderGone(Exception):
    """Whoever read our stdout has had enough, as `head` does."""


class Unwritable(IngestError):
    """Our stdout does not take any more: its disk is full, or it is closed."""


class Bytes(int):
    """An amount of bytes: a number in JSON, `1.7 MiB` for people."""


@dataclass(frozen=True, slots=True)
class Output:
    """How a command speaks. Every `emit` reaches the reader before it returns."""

    json: bool = False
    quiet: bool = False
    colour: bool = False  # asked for or allowed; only a terminal gets it

    def emit(self, data: object, human: str | Callable[[], str | Table]) -> None:
        """Write one result: *data* as a line of JSON, or else *human*, which is only then made."""
        if self.json:
            self._write(as_json(data, ascii_only=not _unicode(sys.stdout)))
        else:
            shown = human if isinstance(human, str) else human()
            self._write(plain(shown, newlines=True) if isinstance(shown, str) else self.rendered(shown))

    def note(self, text: str) -> None:
        """Say something by the way, on stderr, unless silence was asked for."""
        if not self.quiet:
            say(plain(text, newlines=True))

    def complain(self, text: str) -> None:
        """Say, on stderr and always, what went wrong with a part of the work."""
        for line in text.splitlines():
            say(f"ingestd: {plain(line)}")

    def bars(self, unit: Unit = "messages") -> Bars:
        """What shows how far things have come that are under way together; nothing when silence was asked for."""
        from .progress import Bars

        return Bars(unit, shown=not self.quiet, terminal=sys.stderr.isatty())

    @contextmanager
    def progress(self, doing: str, total: int | None = None, unit: Unit = "messages") -> Iterator[Progress]:
        """Show how far the block has come, once it takes longer than two seconds: a bar, or now and then a line."""
        with self.bars(unit) as bars:
            yield bars.begin(doing, total)

    def write(self, pieces: Iterable[bytes]) -> None:
        """Write bytes as they are."""
        with _stdout() as stdout:
            for piece in pieces:
                stdout.buffer.write(piece)
            stdout.buffer.flush()

    def _write(self, text: str) -> None:
        with _stdout() as stdout:
            encoding = stdout.encoding or "utf-8"
            stdout.write(f"{text}\n".encode(encoding, "backslashreplace").decode(encoding))
            stdout.flush()

    def rendered(self, shown: Table) -> str:
        """A table as text, to be part of something larger."""
        from rich.console import Console

        terminal = sys.stdout.isatty()
        console = Console(
            width=None if terminal else WIDE,
            force_terminal=terminal and self.colour,
            no_color=not (terminal and self.colour),
            highlight=False,
        )
        with console.capture() as capture:
            console.print(shown)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())


@contextmanager
def _stdout() -> Iterator[TextIO]:
    """Give stdout; raise ReaderGone or Unwritable when it does not take what the block writes."""
    if sys.stdout is None:  # closed before we started
        raise Unwritable("stdout is closed")
    try:
        yield sys.stdout
    except BrokenPipeError as error:
        raise ReaderGone from error
    except OSError as error:
        raise Unwritable(f"stdout: {error.strerror}") from error


def say(text: str) -> None:
    """Write a line to stderr, at once."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Lay *rows* out under *columns*; amounts stand to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    kept = [tuple(row) for row in rows]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, name in enumerate(columns):
        amounts = all(_is_amount(row[index]) for row in kept)
        table.add_column(Text(name), justify="right" if amounts else "left", overflow="fold")
    for row in kept:
        # Text, not str: a subject such as "[red]" is no markup.
        table.add_row(*(Text(cell(value)) for value in row))
    return table


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float | timedelta | None) and not isinstance(value, bool)


def cell(value: object) -> str:
    """*value* for people: `1,234`, `1.7 MiB`, `3 h 12 min`, `2026-01-01 10:00`."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case Bytes():
            return units.size_text(value)
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}"
        case timedelta():
            return units.duration_text(value)
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M")
        case _:
            return plain(str(value))


def plain(text: str, *, newlines: bool = False) -> str:
    """*text* without what a terminal would obey; on one line, unless *newlines* may stay."""
    if newlines:
        return "\n".join(plain(line) for line in text.split("\n"))
    return _UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", text)


def as_json(data: object, *, ascii_only: bool = False) -> str:
    """*data* as one line of JSON: times in UTC with a Z, durations in seconds, digests and paths as text."""
    return json.dumps(data, ensure_ascii=ascii_only, separators=(",", ":"), default=_json)


def _json(value: object) -> Any:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Path():
            return str(value)
        case Mapping():
            return dict(value)
        case set() | frozenset():
            return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _unicode(stream: Any) -> bool:
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def colour_allowed(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether colours may be used at all (no-color.org)."""
    return not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
