"""The results as a table, a chart and JSON."""

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from bench.measure import Measure

# The chart has one bar for each measure. Its length is the result divided by the goal, so one line shows all goals.
WIDTH, LABELS, NUMBERS, ROW, TOP, BAR = 1080, 430, 130, 26, 64, 14
GOALS_SHOWN = 3.0
MET, MISSED, BEYOND, BOUND = "#2e7d32", "#c62828", "#ef6c00", "#212121"


class Table(NamedTuple):
    """The results of a run, and how they were measured."""

    about: str
    measures: Sequence[Measure]

    @property
    def goals(self) -> str:
        """How many goals are met."""
        return f"{sum(measure.is_met for measure in self.measures)} of {len(self.measures)} goals are met"


def as_json(tables: Mapping[str, Table]) -> str:
    """All numbers, by the plugins that were measured."""
    rows = {
        plugins: {"about": table.about, "measures": [dataclasses.asdict(measure) for measure in table.measures]}
        for plugins, table in tables.items()
    }
    return json.dumps(rows, indent=1) + "\n"


def read(text: str) -> dict[str, Table]:
    """The tables of `as_json`."""
    rows = json.loads(text)
    return {
        plugins: Table(row["about"], [Measure(**measure) for measure in row["measures"]])
        for plugins, row in rows.items()
    }


def page(tables: Mapping[str, Table]) -> str:
    """Markdown with a table for each kind of plugins."""
    return "\n".join(
        f"## {plugins[:1].upper()}{plugins[1:]}\n\n{table.goals}. {table.about}\n\n{rows(table.measures)}"
        for plugins, table in tables.items()
    )


def rows(measures: Sequence[Measure]) -> str:
    """A Markdown table."""
    heads = ["measure", "against", "measured", "anchor", "result", "spread", "goal", ""]
    lines = [" | ".join(heads), " | ".join("---" for _ in heads)]
    for measure in measures:
        cells = [
            measure.name,
            measure.against,
            _number(statistics.median(measure.values), measure.unit),
            _number(statistics.median(measure.anchors), measure.unit) if measure.anchors else "",
            f"**{_result(measure, measure.result)}**",
            f"{_result(measure, min(measure.results))} … {_result(measure, max(measure.results))}",
            f"≤ {_result(measure, measure.goal)}",
            _verdict(measure),
        ]
        lines.append(" | ".join(cells))
    return "".join(f"| {line} |\n" for line in lines)


def picture(tables: Mapping[str, Table]) -> str:
    """The chart as an SVG. Shorter bars are better; the line is the goal."""
    lines: list[str | Measure] = []
    for plugins, table in tables.items():
        lines += [f"{plugins}: {table.goals}", *table.measures]
    height = TOP + ROW * len(lines) + 12
    scale = (WIDTH - LABELS - NUMBERS) / GOALS_SHOWN
    goal = LABELS + scale
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _legend(),
        f'<text x="{goal:.1f}" y="{TOP - 8}" text-anchor="middle" font-weight="bold">goal</text>',
        f'<path d="M{goal:.1f} {TOP - 4}V{height - 12}" stroke="#000" stroke-dasharray="4 3"/>',
    ]
    for number, measure in enumerate(lines):
        y = TOP + ROW * number
        if isinstance(measure, str):
            parts.append(f'<text x="10" y="{y + BAR}" font-size="14" font-weight="bold">{escape(measure)}</text>')
            continue
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
        if measure.bound:
            at = LABELS + scale * _in_goals(measure, statistics.median(measure.bound))
            parts.append(f'<rect x="{at - 1.5:.1f}" y="{y - 3}" width="3" height="{BAR + 6}" fill="{BOUND}"/>')
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> str:
    marks = {MET: "met", MISSED: "missed", BEYOND: "the bound already misses it", BOUND: "bound: only unavoidable work"}
    parts, x = [], 10
    for colour, text in marks.items():
        parts.append(f'<rect x="{x}" y="12" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="21">{text}</text>')
        x += 35 + 7 * len(text)
    return "".join(parts)


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
