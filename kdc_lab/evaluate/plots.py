"""Draw plots as SVG text, without a library and with the same bytes on every machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

COLOURS = ("#2f6fb0", "#d1495b", "#3a8f5c", "#e08e2b", "#7b5ea7", "#4a4a4a")
WIDTH, HEIGHT = 760, 240  # pixels
LEFT, RIGHT, TOP, BELOW = 62, 16, 14, 44  # pixels around the axes
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#444}.axis{stroke:#999;fill:none}"
    ".grid{stroke:#e6e6e6}.line{fill:none;stroke-width:1.8}"
)


@dataclass(frozen=True)
class Series:
    """One curve; ``low`` and ``high`` are its interval, if it has one."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    steps: bool = False  # a value lasts until the next one
    words: Sequence[str] = ()  # labels of the points


def curves(series: Sequence[Series], x: str, y: str, points: bool = False) -> str:
    """Return curves over common axes, with a legend if there are several."""
    xs = np.concatenate([np.asarray(s.x, float) for s in series])
    ys = np.concatenate([np.asarray([*s.y, *s.low, *s.high], float) for s in series])
    axes = _Axes(_span(xs), _span(np.append(ys, 0.0) if ys.min() >= 0 and not points else ys))
    parts = [axes.frame(x, y)]
    for number, one in enumerate(series):
        parts.append(_curve(one, axes, COLOURS[number % len(COLOURS)], points))
        if len(series) > 1:
            at = LEFT + 10 + 150 * number
            parts.append(
                f'<rect x="{at}" y="2" width="10" height="10" '
                f'fill="{COLOURS[number % len(COLOURS)]}"/>'
                f'<text x="{at + 15}" y="11">{escape(one.name)}</text>'
            )
    return _svg(parts, HEIGHT)


def histogram(values: Sequence[float], x: str, y: str, bins: int = 40) -> str:
    """Return a histogram of values."""
    counts, edges = np.histogram(values, bins)
    axes = _Axes((float(edges[0]), float(edges[-1])), (0.0, float(counts.max())))
    bars = []
    for count, left, right in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        at, top = axes.place(left, count)
        wide = axes.place(right, 0)[0] - at
        bars.append(
            f'<rect x="{at:.1f}" y="{top:.1f}" width="{max(wide - 1, 0.5):.1f}" '
            f'height="{HEIGHT - BELOW - top:.1f}" fill="{COLOURS[0]}"/>'
        )
    return _svg([axes.frame(x, y), *bars], HEIGHT)


@dataclass(frozen=True)
class Bar:
    """A bar of a timeline."""

    row: str
    first: float
    last: float
    colour: str
    text: str  # tooltip


def timeline(bars: Sequence[Bar], marks: Sequence[tuple[str, float, str]], x: str) -> str:
    """Return rows of bars over time; ``marks`` are ticks (row, time, text)."""
    rows = list(dict.fromkeys(bar.row for bar in bars))
    tall = 16
    height = TOP + tall * len(rows) + BELOW
    times = [t for bar in bars for t in (bar.first, bar.last)]
    axes = _Axes(_span(np.array(times)), (0.0, 1.0), height)
    parts = [axes.frame(x, "", horizontal=False)]
    for number, row in enumerate(rows):
        y = TOP + tall * number
        parts.append(f'<text x="{LEFT - 6}" y="{y + 12}" text-anchor="end">{escape(row)}</text>')
    for bar in bars:
        left, right = axes.place(bar.first, 0)[0], axes.place(bar.last, 0)[0]
        parts.append(
            f'<rect x="{left:.1f}" y="{TOP + tall * rows.index(bar.row) + 3}" '
            f'width="{max(right - left, 1.5):.1f}" height="{tall - 6}" '
            f'fill="{bar.colour}"><title>{escape(bar.text)}</title></rect>'
        )
    for row, time, text in marks:
        if row in rows:
            at, y = axes.place(time, 0)[0], TOP + tall * rows.index(row)
            parts.append(
                f'<path d="M{at:.1f} {y + 1}v{tall - 2}" stroke="#111" stroke-width="1.4">'
                f"<title>{escape(text)}</title></path>"
            )
    return _svg(parts, height)


class _Axes:
    """Transforms values to pixels."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], height: float = HEIGHT
    ) -> None:
        self.x, self.y, self.height = x, y, height

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / max(self.x[1] - self.x[0], 1e-12)
        up = (y - self.y[0]) / max(self.y[1] - self.y[0], 1e-12)
        wide, tall = WIDTH - LEFT - RIGHT, self.height - TOP - BELOW
        return LEFT + across * wide, TOP + (1 - up) * tall

    def frame(self, x: str, y: str, horizontal: bool = True) -> str:
        """Return axes, ticks and labels."""
        bottom = self.height - BELOW
        parts = []
        for value in _ticks(*self.x):
            at = self.place(value, 0)[0]
            parts.append(
                f'<path class="grid" d="M{at:.1f} {TOP}V{bottom}"/>'
                f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">'
                f"{value:g}</text>"
            )
        for value in _ticks(*self.y) if horizontal else ():
            at = self.place(0, value)[1]
            parts.append(
                f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>'
                f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">'
                f"{value:g}</text>"
            )
        middle = (TOP + bottom) / 2
        parts += [
            f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}"/>',
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{self.height - 8}" '
            f'text-anchor="middle">{escape(x)}</text>',
            f'<text x="14" y="{middle}" text-anchor="middle" '
            f'transform="rotate(-90 14 {middle})">{escape(y)}</text>',
        ]
        return "".join(parts)


def _curve(one: Series, axes: _Axes, colour: str, points: bool) -> str:
    places = [axes.place(x, y) for x, y in zip(one.x, one.y, strict=True)]
    path = f"M{places[0][0]:.1f} {places[0][1]:.1f}"
    for x, y in places[1:]:
        path += f"H{x:.1f}V{y:.1f}" if one.steps else f"L{x:.1f} {y:.1f}"
    parts = []
    for x, low, high in zip(one.x, one.low, one.high, strict=False):
        (at, bottom), (_, top) = axes.place(x, low), axes.place(x, high)
        parts.append(
            f'<path d="M{at:.1f} {bottom:.1f}V{top:.1f}" stroke="{colour}" '
            'stroke-opacity=".45" stroke-width="5"/>'
        )
    parts.append(f'<path class="line" d="{path}" stroke="{colour}"/>')
    if points:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in places]
    for (x, y), word in zip(places, one.words, strict=False):
        parts.append(f'<text x="{x + 7:.1f}" y="{y - 6:.1f}">{escape(word)}</text>')
    return "".join(parts)


def _span(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round values between ``low`` and ``high``."""
    step = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(step))
    step = min((s * size for s in (1, 2, 5, 10) if s * size >= step * 0.999), default=10 * size)
    first = math.ceil(low / step - 1e-9)
    return [round(step * n, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _svg(parts: Sequence[str], height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}"><style>{STYLE}</style>{"".join(parts)}</svg>'
    )
