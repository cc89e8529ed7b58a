"""What `bench.growth` has found, as tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.tables import table

Found = Mapping[str, Any]

FIGURES = ("pass_seconds", "wall_seconds", "cpu_seconds", "store_cpu_seconds", "bodies")
SLOWEST = 8  # questions that are shown


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    size: int
    messages: int
    figures: Mapping[str, float | None]
    empty_seconds: float | None  # that the pass took with an empty store


def passes(found: Sequence[Found]) -> str:
    """Medians, in Markdown."""
    heads = ("", "messages there", "messages", "ms each, in the pass", "times an empty store")
    more = ("the pass, s", "the whole program, s", "its CPU s", "the store's", "bodies fetched")
    return table((*heads, *more), map(_row, grouped(found).values()))


def grouped(passes: Sequence[Found]) -> dict[tuple[str, int], Row]:
    """Each kind of pass at each size: the median of every figure, and the size and time of an empty store."""
    found: dict[tuple[str, int], Row] = {}
    for key in dict.fromkeys((each["what"], each["size"]) for each in passes):
        those = [each for each in passes if (each["what"], each["size"]) == key]
        figures = {name: _median(those, name) for name in FIGURES}
        empty = found.get((key[0], 0))
        found[key] = Row(*key, those[0]["messages"], figures, empty.figures["pass_seconds"] if empty else None)
    return found


def _row(row: Row) -> list[str]:
    inside = row.figures["pass_seconds"] or 0.0
    slower = f"{inside / row.empty_seconds:.2f}" if row.empty_seconds and row.what == "new mail" else ""
    told = {"wall_seconds": 2, "cpu_seconds": 2, "store_cpu_seconds": 2, "bodies": 0}
    figures = [_shown(row.figures[name], digits) for name, digits in told.items()]
    return [
        row.what,
        f"{row.size:,}",
        f"{row.messages:,}",
        f"{1e3 * inside / max(row.messages, 1):.3f}",
        slower,
        f"{inside:.3f}",
        *figures,
    ]


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _median(passes: Sequence[Found], name: str) -> float | None:
    known = [each[name] for each in passes if each[name] is not None]
    return median(known) if known else None


def questions(asked: Sequence[Found], what: str) -> str:
    """What the store is asked during a pass, the slowest first: how often, and the ms it takes over all of it."""
    sizes = list(dict.fromkeys(each["size"] for each in asked))
    found = {(each["command"], each["size"]): each for each in asked if each["what"] == what}
    slowest = sorted({command for command, _ in found}, key=lambda command: -_longest(found, command))
    rows = [[command, *(_cell(found.get((command, size))) for size in sizes)] for command in slowest[:SLOWEST]]
    every = [[each for each in asked if (each["what"], each["size"]) == (what, size)] for size in sizes]
    total = ["all", *(f"{sum(e['times'] for e in some)} in {_ms(sum(e['seconds'] for e in some))}" for some in every)]
    return table((f"{what}: asked of the store", *(f"{size:,} there" for size in sizes)), [*rows, total])


def indexes(stored: Mapping[str, Found]) -> str:
    """The sizes that the store says of its largest database."""
    size = max(stored, key=int)
    rows = []
    for name, said in stored[size].items():
        keys = sum(said["indexSizes"].values())
        rows.append([name, f"{said['count']:,}", f"{said['size'] / 1e6:,.1f}", f"{keys / 1e6:,.1f}"])
    return table((f"{int(size):,} messages: collection", "documents", "data, MB", "indexes, MB"), rows)


def _longest(found: Mapping[tuple[str, int], Found], command: str) -> float:
    return max(float(each["seconds"]) for (name, _), each in found.items() if name == command)


def _cell(asked: Found | None) -> str:
    return f"{asked['times']} in {_ms(asked['seconds'])}" if asked else ""


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.0f} ms"
