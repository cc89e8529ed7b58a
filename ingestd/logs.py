"""One event a line on stderr: `2026-11-21T10:00:00Z info stored mailbox=work/INBOX messages=100 seconds=0.41`.

Modules say `log = structlog.get_logger(__name__)` and `log.info("stored", mailbox=..., messages=100)`; a process calls
`configure` once before that, worker processes too. Under systemd a line carries its priority instead of the time,
which the journal knows. Values are escaped, so that none can begin a line of its own, and cut, so that none is endless.

What other libraries log is kept from warnings on, and without the values it was given: they may be mail.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePath
from traceback import walk_tb
from typing import Any, Literal

import structlog

from .errors import IngestError

VALUE_LIMIT = 2000  # characters of one value
CAUSES = 5  # exceptions of a chain that are told
FRAMES = 3  # innermost places of each

PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # as in sd-daemon(3)
COLOUR = {"debug": "2", "warning": "33", "error": "31", "critical": "31;1"}

# IMAPClient and mail-parser hold mail in hand when they log; what matters of it, we see and say ourselves.
SILENT = ("imapclient", "mailparser")

Style = Literal["plain", "colour", "journal", "json"]
Event = MutableMapping[str, Any]


def configure(level: int = logging.INFO, style: Style | None = None) -> None:
    """Log what is at least *level* to stderr, by default in the style that suits it. May be called again."""
    write = _Write(style or ("journal" if _to_journal() else "plain"))
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, _told, write],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Stderr,
        cache_logger_on_first_use=False,  # so that configuring again reaches the loggers of every module
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Foreign)]:
        root.removeHandler(handler)
    root.addHandler(_Foreign(write))
    root.setLevel(max(level, logging.WARNING))
    for name in SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _to_journal() -> bool:
    """Whether stderr itself is the journal's, rather than of a process that stands in between (systemd.exec(5))."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):  # closed, or not a file at all
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class _Stderr:
    """Where lines go. Looks stderr up each time, since a progress bar stands in for it while it is shown."""

    def __init__(self, *_: object) -> None:
        return

    def msg(self, line: str) -> None:
        try:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            return  # nobody listens any more, and there is nowhere else to say so; mail matters more than its log

    debug = info = warning = error = critical = exception = msg


class _Foreign(logging.Handler):
    """Takes what other libraries log, without what they fill into it."""

    def __init__(self, write: _Write) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        event = {"event": str(record.msg), "logger": record.name, "exc_info": record.exc_info}
        name = record.levelname.lower()
        line = self._write(None, name, _told(None, name, {**event, "level": name}))
        _Stderr().msg(line)


# --- from an event to a line


def _told(logger: object, name: str, event: Event) -> Event:
    """Replace an exception by where it came from. Its text is told only if it is ours: that is safe to show."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = "; ".join(_chain(error))
    return event


def _chain(error: BaseException | None) -> Iterator[str]:
    for _ in range(CAUSES):
        if error is None:
            return
        frames = [f"{PurePath(frame.f_code.co_filename).name}:{line}" for frame, line in walk_tb(error.__traceback__)]
        text = f" {error}" if isinstance(error, IngestError) else ""
        yield f"{type(error).__name__}{text} at {' > '.join(frames[-FRAMES:]) or 'unknown'}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@dataclass(frozen=True, slots=True)
class _Write:
    """Makes one line of an event."""

    style: Style

    def __call__(self, logger: object, name: str, event: Event) -> str:
        level, said = str(event.pop("level", name)), _escaped(str(event.pop("event", "")))
        if self.style == "json":
            fields = {"time": _now(), "level": level, "event": said, **{key: _json(event[key]) for key in event}}
            return json.dumps(fields, ensure_ascii=True)
        line = " ".join((said, *_pairs(event)))
        if self.style == "journal":
            return f"<{PRIORITY.get(level, 6)}>{line}"
        colour = COLOUR.get(level) if self.style == "colour" else None
        return f"{_now()} \x1b[{colour}m{level}\x1b[0m {line}" if colour else f"{_now()} {level} {line}"


def _pairs(event: Mapping[str, Any]) -> Iterator[str]:
    for key, value in event.items():
        text = str(_json(value))
        text = {"True": "true", "False": "false", "None": "null"}.get(text, text)
        plain = text and text.isprintable() and not set(text) & set(' ="')
        yield f"{_escaped(key)}={text if plain else _quoted(text)}"


def _quoted(text: str) -> str:
    return '"' + _escaped(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _escaped(text: str) -> str:
    """*text* on one line, and without anything that a terminal would obey."""
    text = text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _json(value: object) -> str | int | float | bool | None:
    match value:
        case None | bool() | int() | float():
            return value
        case datetime() | date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"  # bytes are mail, until someone says otherwise
    text = str(value)
    return text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}..."


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
