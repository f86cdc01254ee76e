"""A run as one inline SVG: curves over data rows, and lanes of events on the same axis. Pure functions of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Literal, NamedTuple, TypeAlias

from penstock.cli.curves import Curve

Shape: TypeAlias = Literal["warning", "critical", "retraining", "promotion"]

WIDTH, LEFT, RIGHT = 1120, 64, 24
TOP, PLOT, LANE, AXIS = 34, 300, 44, 40
#: Horizontal room that a label of the top margin takes.
LABEL = 150
PATHS: dict[Shape, str] = {
    "warning": "M0,-6 L6,5 L-6,5 Z",
    "critical": "M0,-7 L7,6 L-7,6 Z",
    "retraining": "M-5,-5 H5 V5 H-5 Z",
    "promotion": "M0,-7 L7,0 L0,7 L-7,0 Z",
}


class Mark(NamedTuple):
    """Something that happened at a data row; ``text`` says what."""

    row: int
    shape: Shape
    text: str


class Lane(NamedTuple):
    """Marks on one line under the curves."""

    name: str
    marks: Sequence[Mark]


class Drift(NamedTuple):
    """A true drift: a line through curves and lanes."""

    row: int
    text: str


def run_chart(
    title: str, curves: Sequence[Curve], drifts: Sequence[Drift], lanes: Sequence[Lane], rows: int, unit: str
) -> str:
    """An SVG element with a title and a description. ``rows``: length of the stream; ``unit``: what curves measure."""
    bottom = TOP + PLOT
    height = bottom + LANE * len(lanes) + AXIS
    x = _scale(0, max(1, rows - 1), LEFT, WIDTH - RIGHT)
    values = [value for curve in curves for _, value in curve.points]
    steps = ticks(min(values, default=0.0), max(values, default=1.0))
    y = _scale(steps[0], steps[-1], bottom, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {height}" '
        'aria-labelledby="chart-title chart-desc">',
        f'<title id="chart-title">{escape(title)}</title>',
        f'<desc id="chart-desc">{escape(_described(curves, drifts, lanes, unit))}</desc>',
    ]
    for step in steps:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_at(y(step))}" y2="{_at(y(step))}"/>')
        parts.append(f'<text class="tick" text-anchor="end" x="{LEFT - 8}" y="{_at(y(step) + 4)}">{step:g}</text>')
    parts.append(f'<text class="tick" x="{LEFT}" y="{TOP - 20}">{escape(unit)}</text>')
    for row in ticks(0, max(1, rows - 1)):
        if row == int(row) and row <= max(1, rows - 1):
            parts.append(
                f'<text class="tick" text-anchor="middle" x="{_at(x(row))}" y="{height - 20}">{int(row):,}</text>'
            )
    parts.append(f'<text class="tick" text-anchor="end" x="{WIDTH - RIGHT}" y="{height - 4}">data row</text>')
    parts += _drifts(drifts, x, height - AXIS)
    parts += [_line(index, curve, x, y) for index, curve in enumerate(curves) if curve.points]
    for index, lane in enumerate(lanes):
        parts += _lane(lane, bottom + LANE * index, x)
    return "".join([*parts, "</svg>"])


def sample(shape: Shape | Literal["drift"] | int) -> str:
    """What the legend shows: a mark, the line of a true drift, or the line of the n-th curve."""
    if shape == "drift":
        inner = '<line class="drift" x1="13" x2="13" y1="0" y2="16"/>'
    elif isinstance(shape, int):
        inner = f'<line class="curve c{shape}" x1="0" x2="26" y1="8" y2="8"/>'
    else:
        inner = f'<path class="{shape}" transform="translate(13,8)" d="{PATHS[shape]}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" aria-hidden="true" width="26" height="16">{inner}</svg>'


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """At least two round numbers (1, 2 or 5 × a power of ten apart), from at most ``low`` to at least ``high``."""
    span = high - low if high > low else max(abs(high), 1.0) * 0.1
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.10g}") for index in range(first, max(last, first + 1) + 1)]


class _Scale(NamedTuple):
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _scale(low: float, high: float, start: float, end: float) -> _Scale:
    return _Scale(low, high, start, end)


def _at(value: float) -> str:
    return f"{value:.1f}"


def _line(index: int, curve: Curve, x: _Scale, y: _Scale) -> str:
    points = " ".join(f"{_at(x(row))},{_at(y(value))}" for row, value in curve.points)
    return f'<polyline class="curve c{index}" points="{points}"><title>{escape(curve.name)}</title></polyline>'


def _drifts(drifts: Sequence[Drift], x: _Scale, bottom: float) -> list[str]:
    """Lines of the true drifts; a label is left to the tooltip where it would cover the one before."""
    parts: list[str] = []
    free = float(LEFT)
    for drift in drifts:
        at = x(drift.row)
        parts.append(
            f'<line class="drift" x1="{_at(at)}" x2="{_at(at)}" y1="{TOP - 6}" y2="{_at(bottom)}">'
            f"<title>{escape(drift.text)}</title></line>"
        )
        left = min(at, WIDTH - RIGHT - LABEL)
        if left >= free:
            parts.append(f'<text class="drift-name" x="{_at(left)}" y="{TOP - 10}">{escape(drift.text[:24])}</text>')
            free = left + LABEL
    return parts


def _lane(lane: Lane, top: float, x: _Scale) -> list[str]:
    line = top + LANE - 10
    name = lane.name if len(lane.name) <= 120 else f"{lane.name[:119]}…"
    parts = [
        f'<text class="lane-name" x="{LEFT}" y="{_at(top + 18)}">{escape(name)}</text>',
        f'<line class="lane" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_at(line)}" y2="{_at(line)}"/>',
    ]
    parts += [
        f'<path class="{mark.shape}" transform="translate({_at(x(mark.row))},{_at(line)})" d="{PATHS[mark.shape]}">'
        f"<title>{escape(mark.text)}</title></path>"
        for mark in lane.marks
    ]
    return parts


def _described(curves: Sequence[Curve], drifts: Sequence[Drift], lanes: Sequence[Lane], unit: str) -> str:
    lines = [f"{curve.name}: {unit} ends at {curve.points[-1][1]:.3g}" for curve in curves if curve.points]
    lines += [f"true drift at row {drift.row}" for drift in drifts]
    lines += [f"{lane.name}: {', '.join(mark.text for mark in lane.marks) or 'nothing'}" for lane in lanes]
    return "; ".join(lines)
