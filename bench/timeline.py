"""A chart of the time of an update, from the engine's trace."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bench.engine import edit
from bench.ground import CONSUMER, Ground
from bench.measure import CommandFailed, Measure, tell

PICTURE = Path(__file__).resolve().with_name("timeline.svg")
WIDTH, LABELS, MARGIN, ROW, BAR, HEAD, AXIS = 1000, 190, 60, 22, 12, 34, 22
TICK_SECONDS = 0.5
ENGINE, PROGRAM, PROVIDER, RESOURCE = "#455a64", "#1565c0", "#ef6c00", "#2e7d32"
NANOSECONDS = 1e9


@dataclass(frozen=True)
class Span:
    """A span of the trace, in seconds from the start of the command. The name of a plugin's span ends with its kind."""

    name: str
    begin: float
    end: float


# The rows of the chart, with their spans.
ROWS: tuple[tuple[str, str, set[str]], ...] = (
    ("language host starts", ENGINE, {"newPlugin language"}),
    ("program imports, settings", PROGRAM, {"imports"}),
    ("registry stack is read", ENGINE, {"builtinProvider.readStackReference"}),
    ("provider starts", PROVIDER, {"newPlugin resource"}),
    ("provider is configured", PROVIDER, {"pulumirpc.ResourceProvider/Configure"}),
    ("function is called", PROVIDER, {"pulumirpc.ResourceProvider/Invoke"}),
    ("resource is compared", RESOURCE, {"pulumirpc.ResourceProvider/Check", "pulumirpc.ResourceProvider/Diff"}),
    ("resource is created", RESOURCE, {"pulumirpc.ResourceProvider/Create"}),
    ("resource is updated", RESOURCE, {"pulumirpc.ResourceProvider/Update"}),
)
ASKED = {f"pulumirpc.ResourceMonitor/{call}" for call in ("Invoke", "ReadResource", "RegisterResource")}


def timeline(ground: Ground, rounds: int) -> list[Measure]:
    """Draw a consumer's `pulumi up` without changes, and with a changed line. Returns no measures."""
    tell("timeline")
    edit(ground.clone.root / "app" / "app.py", "timeline")
    line = _trace(ground, "line.json")
    nothing = _trace(ground, "nothing.json")
    ground.clone.restore()
    ground.up(CONSUMER)
    titles = ("pulumi up of a consumer, nothing changed", "pulumi up of a consumer, a line changed")
    PICTURE.write_text(picture(dict(zip(titles, (nothing, line), strict=True))))
    return []


def _trace(ground: Ground, name: str) -> list[Span]:
    file = ground.folder / name
    ground.pulumi("up", "--yes", "--skip-preview", "--stack", CONSUMER, "--otel-traces", f"file://{file}")
    return read(file)


def read(file: Path) -> list[Span]:
    """The spans of a trace, and a span for the imports, which end with the program's first request to the engine.

    Raises:
        CommandFailed: the file is not the trace of an update.
    """
    found = list(_spans(json.loads(line) for line in file.read_text().splitlines()))
    begin = min((span.begin for span in found), default=0.0)
    spans = [Span(span.name, span.begin - begin, span.end - begin) for span in found]
    ran = [span.begin for span in spans if span.name == "pulumirpc.LanguageRuntime/Run"]
    asked = [span.begin for span in spans if span.name in ASKED]
    if not ran or not asked:
        raise CommandFailed(f"{file} is not the trace of an update")
    return [*spans, Span("imports", ran[0], min(asked))]


def _spans(parts: Iterable[dict[str, Any]]) -> Iterable[Span]:
    for part in parts:
        for resource in part["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    said = {item["key"]: item["value"].get("stringValue", "") for item in span.get("attributes", [])}
                    begin, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
                    name = f"{span['name']} {said.get('kind', '')}".rstrip()
                    yield Span(name, begin / NANOSECONDS, end / NANOSECONDS)


def picture(traces: dict[str, Sequence[Span]]) -> str:
    """The chart as an SVG, with a panel for each trace. All panels have the same scale."""
    longest = max(span.end for spans in traces.values() for span in spans)
    scale = (WIDTH - LABELS - MARGIN) / longest
    panel = HEAD + ROW * len(ROWS) + AXIS
    height = panel * len(traces) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, (title, spans) in enumerate(traces.items()):
        parts += _panel(title, spans, panel * number, scale)
    return "\n".join([*parts, "</svg>", ""])


def _panel(title: str, spans: Sequence[Span], top: int, scale: float) -> Iterable[str]:
    end = max(span.end for span in spans)
    below = top + HEAD + ROW * len(ROWS)
    yield f'<text x="10" y="{top + 22}" font-size="15" font-weight="bold">{escape(title)}: {end:.1f} s</text>'
    for tick in range(int(end / TICK_SECONDS) + 1):
        x = LABELS + tick * TICK_SECONDS * scale
        yield f'<path d="M{x:.1f} {top + HEAD - 4}V{below}" stroke="#cfd8dc"/>'
        yield f'<text x="{x:.1f}" y="{below + 14}" text-anchor="middle">{tick * TICK_SECONDS:g} s</text>'
    for row, (label, colour, names) in enumerate(ROWS):
        y = top + HEAD + ROW * row
        yield f'<text x="{LABELS - 8}" y="{y + BAR - 1}" text-anchor="end">{escape(label)}</text>'
        for span in (span for span in spans if span.name in names):
            x, width = LABELS + span.begin * scale, max((span.end - span.begin) * scale, 1)
            yield f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'
