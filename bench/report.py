"""The results as a table, a chart and JSON."""

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from bench.measure import Measure

# The chart has one bar for each measure. Its length is the result divided by the goal, so one line shows all goals.
WIDTH, LABELS, NUMBERS, ROW, TOP, BAR = 1000, 350, 130, 26, 64, 14
GOALS_SHOWN = 3.0
MET, MISSED, BEYOND, BOUND, BEFORE = "#2e7d32", "#c62828", "#ef6c00", "#212121", "#9e9e9e"


def as_json(measures: Sequence[Measure]) -> str:
    """All numbers, for comparison with another run (`--before`)."""
    rows = [{**dataclasses.asdict(measure), "result": measure.result, "met": measure.is_met} for measure in measures]
    return json.dumps(rows, indent=1) + "\n"


class Earlier(NamedTuple):
    """A measure of another run: the median of its values, and its result."""

    measured: float
    result: float


def results_of(text: str) -> dict[str, Earlier]:
    """The measures of another run, by name."""
    rows: list[dict[str, Any]] = json.loads(text)
    return {row["name"]: Earlier(statistics.median(row["values"]), row["result"]) for row in rows}


def table(measures: Sequence[Measure], before: Mapping[str, Earlier]) -> str:
    """A Markdown table; `before` adds a column with the results of another run."""
    earlier_head = ["before"] if before else []
    heads = ["measure", "against", "measured", "anchor", *earlier_head, "result", "spread", "goal", ""]
    lines = [" | ".join(heads), " | ".join("---" for _ in heads)]
    for measure in measures:
        earlier = [_earlier(measure, before.get(measure.name))] if before else []
        cells = [
            measure.name,
            measure.against,
            _number(statistics.median(measure.values), measure.unit),
            _number(statistics.median(measure.anchors), measure.unit) if measure.anchors else "",
            *earlier,
            f"**{_result(measure, measure.result)}**",
            f"{_result(measure, min(measure.results))} … {_result(measure, max(measure.results))}",
            f"≤ {_result(measure, measure.goal)}",
            _verdict(measure),
        ]
        lines.append(" | ".join(cells))
    return "".join(f"| {line} |\n" for line in lines)


def picture(measures: Sequence[Measure], before: Mapping[str, Earlier]) -> str:
    """The chart as an SVG. Shorter bars are better; the line is the goal."""
    height = TOP + ROW * len(measures) + 12
    scale = (WIDTH - LABELS - NUMBERS) / GOALS_SHOWN
    goal = LABELS + scale
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="22" font-size="15" font-weight="bold">{sum(m.is_met for m in measures)} of {len(measures)} '
        "goals are met</text>",
        _legend(bool(before)),
        f'<text x="{goal:.1f}" y="{TOP - 8}" text-anchor="middle" font-weight="bold">goal</text>',
        f'<path d="M{goal:.1f} {TOP - 4}V{height - 12}" stroke="#000" stroke-dasharray="4 3"/>',
    ]
    for number, measure in enumerate(measures):
        y = TOP + ROW * number
        length = _in_goals(measure, measure.result)
        colour = _colour(measure)
        end = LABELS + scale * length
        text = f"{_result(measure, measure.result)} (≤ {_result(measure, measure.goal)})"
        parts += [
            f'<text x="{LABELS - 8}" y="{y + BAR - 2}" text-anchor="end">{escape(measure.name)}</text>',
            f'<rect x="{LABELS}" y="{y}" width="{max(end - LABELS, 2):.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{end + 6:.1f}" y="{y + BAR - 2}" fill="{colour}" stroke="#fff" stroke-width="4" '
            f'paint-order="stroke">{escape(text)}</text>',
        ]
        if measure.name in before:
            at = LABELS + scale * _in_goals(measure, before[measure.name].result)
            parts.append(_mark(at, y, BEFORE))
        if measure.bound:
            at = LABELS + scale * _in_goals(measure, statistics.median(measure.bound))
            parts.append(_mark(at, y, BOUND))
    return "\n".join([*parts, "</svg>", ""])


def _legend(with_before: bool) -> str:
    marks = [
        (MET, "met"),
        (MISSED, "missed"),
        (BEYOND, "the bound already misses it"),
        (BOUND, "bound: only the unavoidable work"),
    ]
    if with_before:
        marks.append((BEFORE, "before"))
    parts, x = [], 250
    for colour, text in marks:
        parts.append(f'<rect x="{x}" y="12" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="21">{text}</text>')
        x += 35 + 7 * len(text)
    return "".join(parts)


def _mark(x: float, y: int, colour: str) -> str:
    return f'<rect x="{x - 1.5:.1f}" y="{y - 3}" width="3" height="{BAR + 6}" fill="{colour}"/>'


def _colour(measure: Measure) -> str:
    if measure.is_met:
        return MET
    return BEYOND if measure.bound and statistics.median(measure.bound) > measure.goal else MISSED


def _in_goals(measure: Measure, result: float) -> float:
    """A result divided by its goal. For a goal of 0, any other result exceeds the chart."""
    if measure.goal == 0:
        return 0.0 if result == 0 else GOALS_SHOWN
    return min(max(result / measure.goal, 0.0), GOALS_SHOWN)


def _result(measure: Measure, value: float) -> str:
    return f"{value:.2f} x" if measure.anchors else _number(value, measure.unit)


def _earlier(measure: Measure, earlier: Earlier | None) -> str:
    """The earlier measure and, if it is a ratio, its result."""
    if earlier is None:
        return ""
    measured = _number(earlier.measured, measure.unit)
    return f"{measured}, {_result(measure, earlier.result)}" if measure.anchors else measured


def _number(value: float, unit: str) -> str:
    """A number with at most four digits, and its unit."""
    text = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".strip()


def _verdict(measure: Measure) -> str:
    """Whether the goal is met, with the bound if it is not."""
    parts = ["met" if measure.is_met else "missed"]
    if measure.bound:
        parts.append(f"bound {statistics.median(measure.bound):.2f} x")
    if measure.note:
        parts.append(measure.note)
    return "; ".join(parts)
