"""How far things have come that take a while: bars on a terminal, elsewhere now and then a line; all on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from threading import RLock
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from .. import units
from .output import plain, say

if TYPE_CHECKING:  # rich takes a while to load
    from rich.progress import Progress as Display
    from rich.progress import TaskID

Unit = Literal["messages", "blobs", "bytes"]

PATIENCE = 2.0  # seconds before progress is worth showing
INTERVAL = 10.0  # seconds between lines of progress where there is no terminal
TELLING = 1.0  # seconds, before which a rate says nothing


class Bars:
    """All that is under way, shown together so that nothing gets in the way of anything. For any number of threads."""

    def __init__(self, unit: Unit, *, shown: bool, terminal: bool, clock: Callable[[], float] = monotonic) -> None:
        self.unit, self.shown, self.terminal, self.clock = unit, shown, terminal, clock
        self.lock = RLock()
        self._display: Display | None = None
        self._hidden = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        with self.lock:
            if self._display:
                self._display.stop()

    def begin(self, doing: str, total: int | None) -> Progress:
        """Show how far *doing* has come, once it takes longer than two seconds."""
        return Progress(self, doing, total)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Let the block write to the terminal, without a bar in its way."""
        with self.lock:
            if self._display:
                self._display.stop()
            yield
            if self._display and self._display.task_ids:
                self._display.start()

    def add(self, progress: Progress) -> TaskID:
        """Give *progress* a bar."""
        if self._display is None:
            self._display = self._made()
        bar = self._display.add_task(plain(progress.doing), total=progress.total, pace="")
        self._display.start()
        return bar

    def update(self, bar: TaskID, progress: Progress) -> None:
        if self._display:
            self._display.update(bar, completed=progress.done, pace=progress.pace)

    def remove(self, bar: TaskID) -> None:
        if self._display:
            self._display.remove_task(bar)
            if not self._display.task_ids:
                self._display.stop()

    def _made(self) -> Display:
        from rich import progress
        from rich.console import Console

        amount = progress.DownloadColumn(binary_units=True) if self.unit == "bytes" else progress.MofNCompleteColumn()
        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            amount,
            progress.TextColumn("{task.fields[pace]}"),
        )
        # stdout is left alone: a bar must not get between data.
        return progress.Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)


@dataclass(slots=True)
class Progress:
    """How far something has come. `advance` may be called from any thread, and as often as you like."""

    bars: Bars
    doing: str
    total: int | None
    done: int = 0
    _began: float = field(init=False)
    _next: float = field(init=False)
    _bar: TaskID | None = None

    def __post_init__(self) -> None:
        self._began = self.bars.clock()
        self._next = self._began + PATIENCE

    def advance(self, count: int = 1) -> None:
        with self.bars.lock:
            self.done += count
            if self._bar is None and self.bars.shown and self.bars.clock() >= self._next:
                self._show()
            if self._bar is not None:
                self.bars.update(self._bar, self)

    def end(self) -> None:
        """Show it no more."""
        with self.bars.lock:
            if self._bar is not None:
                self.bars.remove(self._bar)
            self._bar, self._next = None, float("inf")

    @property
    def pace(self) -> str:
        """How fast it goes, and how much longer it takes at that: `412/s, 1 min 32 s left`."""
        seconds = self.bars.clock() - self._began
        if seconds < TELLING or not self.done:
            return ""
        rate = self.done / seconds
        said = f"{units.size_text(round(rate)) if self.bars.unit == 'bytes' else f'{rate:,.0f}'}/s"
        if self.total is None or self.total <= self.done:
            return said
        left = ceil((self.total - self.done) / rate)
        return f"{said}, {f'{left} s' if left < 60 else units.duration_text(timedelta(seconds=left))} left"

    def _show(self) -> None:
        if self.bars.terminal:
            self._bar = self.bars.add(self)
            return
        self._next = self.bars.clock() + INTERVAL
        pace = self.pace
        say(f"{plain(self.doing)}: {self._so_far()}{f', {pace}' if pace else ''}")

    def _so_far(self) -> str:
        in_bytes = self.bars.unit == "bytes"
        amount = units.size_text if in_bytes else "{:,}".format
        of = "" if self.total is None else f" of {amount(self.total)}"
        return f"{amount(self.done)}{of}{'' if in_bytes else f' {self.bars.unit}'}"
