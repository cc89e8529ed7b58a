"""A file that remembers how far a long check has come, and what it has found until then.

It is written anew now and then, and removed at the end; killed at any moment, a check is at most that much behind.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any, Self

from ..errors import Refused
from .finding import Finding
from .rereading import Position, Stretch
from .wholeness import Read

Document = dict[str, Any]

EVERY = 5.0  # seconds
FORM = 1  # of the file


@dataclass(frozen=True, slots=True)
class Progress:
    """What was asked for, how far that is done, and what came of it."""

    asked: Document  # accounts, sample and seed as they were given
    wanted: tuple[Stretch, ...]
    sample: str = ""  # in words, if it is not the whole
    position: Position = field(default_factory=Position)
    messages: int = 0
    blobs: int = 0
    size_bytes: int = 0
    findings: tuple[Finding, ...] = ()

    def after(self, position: Position, read: Read) -> Progress:
        messages, blobs = (read.count, 0) if read.collection == "messages" else (0, read.count)
        return replace(
            self,
            position=position,
            messages=self.messages + messages,
            blobs=self.blobs + blobs,
            size_bytes=self.size_bytes + read.size_bytes,
            findings=(*self.findings, *read.findings),
        )

    @classmethod
    def of(cls, found: Document) -> Self:
        return cls(
            asked=found["asked"],
            wanted=tuple(Stretch(**stretch) for stretch in found["wanted"]),
            sample=found["sample"],
            position=Position(**found["position"]),
            messages=int(found["messages"]),
            blobs=int(found["blobs"]),
            size_bytes=int(found["size_bytes"]),
            findings=tuple(Finding(**finding) for finding in found["findings"]),
        )


class Bookmark:
    """The file at *path*; without one, nothing is remembered."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._saved_at = monotonic()

    def read(self, asked: Document) -> Progress | None:
        """Return the progress of the check that was interrupted; raise Refused when it was another one."""
        if self._path is None or not self._path.exists():
            return None
        try:
            found = json.loads(self._path.read_bytes())
            progress = Progress.of(found) if found["form"] == FORM else None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise Refused(f"{self._path}: not what an interrupted check left; name another file") from error
        if progress is None or progress.asked != asked:
            raise Refused(f"{self._path}: left by another check; say what it was to do, or name another file")
        return progress

    def save(self, progress: Progress, *, now: bool = False) -> None:
        """Write *progress*, unless that was done a moment ago; *now*, all the same."""
        if self._path is None or (not now and monotonic() - self._saved_at < EVERY):
            return
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            fresh.write_text(json.dumps({"form": FORM, **asdict(progress)}))
            fresh.replace(self._path)
        except OSError as error:
            raise Refused(f"{self._path}: {error.strerror}; name a file that can be written") from error
        self._saved_at = monotonic()

    def remove(self) -> None:
        """The check is over."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
