"""Bars as SVG: readable in light and in dark, with the unit at the axis and the value at each bar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from xml.sax.saxutils import escape

WIDTH, NAMES, VALUES = 760, 230, 70  # pixels: of all, and of what stands left and right of the bars
LINE, TITLE, LEGEND, AXIS = 24, 40, 26, 60
COLOURS = ("#3f7fbf", "#d9822b", "#8c8c8c")
STYLE = """
text { font: 13px sans-serif; fill: #24292f } .head { font-weight: bold } .axis { stroke: #8c959f; stroke-width: 1 }
.paper { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .paper { fill: #161b22 } }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    name: str
    parts: Sequence[float]  # of one length, one after the other


@dataclass(frozen=True, slots=True)
class Plot:
    title: str
    unit: str
    parts: Sequence[str]  # what the parts of each bar are
    groups: Mapping[str, Sequence[Bar]]

    @property
    def longest(self) -> float:
        return max((sum(bar.parts) for bars in self.groups.values() for bar in bars), default=0.0) or 1.0


def svg(plots: Sequence[Plot]) -> str:
    """Draw *plots* one below the other."""
    drawn, top = [], 0
    for plot in plots:
        drawn += list(_plot(plot, top))
        top += _height(plot)
    titles = escape("; ".join(plot.title for plot in plots))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}"'
            ' role="img">',
            f"<title>{titles}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{top}"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def _height(plot: Plot) -> int:
    lines = sum(1 + len(bars) for bars in plot.groups.values())
    return _top(plot) + lines * LINE + AXIS


def _top(plot: Plot) -> int:
    """How much room there is above the bars."""
    return TITLE + (LEGEND if len(plot.parts) > 1 else 0)


def _plot(plot: Plot, top: int) -> Iterator[str]:
    yield _text(16, top + 26, plot.title, "head")
    yield from _legend(plot, top + 46)
    scale = (WIDTH - NAMES - VALUES) / plot.longest
    y = top + _top(plot)
    for name, bars in plot.groups.items():
        yield _text(16, y + 16, name, "head")
        y += LINE
        for bar in bars:
            yield from _bar(bar, y, scale)
            y += LINE
    yield from _axis(plot, y + 4, scale)


def _legend(plot: Plot, y: int) -> Iterator[str]:
    if len(plot.parts) > 1:
        x = 16
        for name, colour in zip(plot.parts, COLOURS, strict=False):
            yield f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{colour}"/>'
            yield _text(x + 18, y, name)
            x += 40 + 7 * len(name)


def _bar(bar: Bar, y: int, scale: float) -> Iterator[str]:
    yield _text(NAMES - 8, y + 15, bar.name, anchor="end")
    x: float = NAMES
    for length, colour in zip(bar.parts, COLOURS, strict=False):
        yield f'<rect x="{x:.1f}" y="{y + 3}" width="{length * scale:.1f}" height="{LINE - 7}" fill="{colour}"/>'
        x += length * scale
    yield _text(x + 6, y + 15, _number(sum(bar.parts)))


def _axis(plot: Plot, y: int, scale: float) -> Iterator[str]:
    yield f'<line class="axis" x1="{NAMES}" y1="{y}" x2="{WIDTH - VALUES}" y2="{y}"/>'
    for value in _ticks(plot.longest):
        x = NAMES + value * scale
        yield f'<line class="axis" x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{y + 5}"/>'
        yield _text(x, y + 19, _number(value), anchor="middle")
    yield _text(NAMES, y + 38, plot.unit)


def _ticks(longest: float) -> list[float]:
    """Some round numbers up to *longest*."""
    rough = longest / 5
    power = 10 ** floor(log10(rough))
    step = next((each * power for each in (1, 2, 5) if each * power >= rough), 10 * power)
    return [number * step for number in range(floor(longest / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _text(x: float, y: int, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
