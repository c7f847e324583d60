"""Progress and reports. A terminal shows a row for each stack, other output a line for each change."""

import difflib
import json
import re
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deployment.events import UNKNOWN, Checking, Diagnostic, Ended, Event, Progress, Step
from deployment.results import UNCHANGED, StackResult

DOING = {
    "create": "creating",
    "update": "updating",
    "delete": "deleting",
    "refresh": "reading",
    "read": "reading",
    "create-replacement": "creating again",
    "delete-replaced": "deleting the replaced",
}
DONE = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted", "import": "imported"}
PLANNED = {"create": "to create", "update": "to update", "replace": "to replace", "delete": "to delete"}
DRIFTED = {"create": "new", "update": "changed", "delete": "gone"}
MARKS = {"create": "+", "update": "~", "replace": "±", "delete": "-", "import": "="}
WORDS = {"preview": PLANNED, "drift": DRIFTED}
REFRESH_SECONDS = 1 / 8
# More changes than this are listed in one paragraph.
SINGLE_LINES = 8

IMAGE = "docker:index/image:Image"
SERVICES = {
    "apigateway": "API Gateway", "apigatewayv2": "API Gateway", "cloudwatch": "CloudWatch", "ecr": "ECR",
    "iam": "IAM", "lambda": "Lambda", "route53": "Route 53", "scheduler": "EventBridge", "sns": "SNS",
}  # fmt: skip
# Pulumi's module names the service that these types once belonged to.
RENAMED = {"EventRule": "EventBridge rule", "EventTarget": "EventBridge target"}
# The engine's warning about a plugin from PATH.
AMBIENT = re.compile(r"using \S+ from \$PATH at (?P<folder>\S+)/")
# Steps of BuildKit, and a push: https://github.com/moby/moby/blob/v20.10.24/pkg/jsonmessage/jsonmessage.go
BUILD_STEP = re.compile(r"\[(?:[\w.-]+ )?\d+/\d+\] .+")
PUSHED_BYTES = re.compile(r"^Pushing .*?(?P<done>[\d.]+\w?B)/(?P<all>[\d.]+\w?B)")
BYTES = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
SECRETIVE = re.compile(r"environment|password|secret|token", re.I)


def kind(type_: str) -> str:
    """The name of a resource's type in AWS's documentation, such as `Lambda function`."""
    module, _, name = type_.rpartition(":")
    if type_ == IMAGE:
        return "image"
    if type_.startswith("aws:cloudwatch/") and name in RENAMED:
        return RENAMED[name]
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    words = re.sub(r"\b(api|rest|url)\b", lambda found: found[0].upper(), words)
    service = SERVICES.get(module.removeprefix("aws:").partition("/")[0])
    return f"{service} {words}" if service else type_


def summary(result: StackResult) -> str:
    """A result in one line, such as `1 to create, 17 unchanged`."""
    before, now = (short(digest) for digest in result.image)
    if result.operation == "rollback" and before != now:
        return f"rolled back {before} → {now}"
    words = WORDS.get(result.operation, DONE)
    counts = [f"{count} {words.get(operation, operation)}" for operation, count in result.changes.items()]
    return ", ".join([*counts, *([f"{result.unchanged} unchanged"] if result.unchanged else [])]) or "nothing there"


def short(digest: str) -> str:
    """A digest, shortened for display."""
    return digest[: len("sha256:") + 12]


def report(results: Mapping[str, StackResult], width: int = 0) -> str:
    """A report: a line for each stack; below it the changes, image, address and check.

    Args:
        results: the results by stack.
        width: columns of the terminal; 0: lines of any length.
    """
    stacks = max(map(len, results), default=0)
    lines = []
    for name, result in results.items():
        seconds = f"({result.seconds:.1f} s)"
        operation = "" if result.operation == "rollback" else f"{result.operation:<8}  "
        lines.append(f"{name:<{stacks}}  {operation}{summary(result)}  {seconds}")
        lines += _changes(result, width)
        if result.operation == "drift":
            lines += [f"  ? {urn}  its update failed: AWS may have the previous values" for urn in result.failed]
        lines += [f"  {word:<7}  {text}" for word, text in _facts(result)]
    return "\n".join(lines)


def _changes(result: StackResult, width: int) -> list[str]:
    # Providers are not counted as resources, but an update of one is still a change.
    changed = [step for step in result.changed if step.is_resource] or [
        step for step in result.changed if step.custom and step.operation not in ("create", "delete")
    ]
    changed.sort(key=lambda step: (kind(step.type), step.name))
    many = {
        operation
        for operation, count in result.changes.items()
        if count > SINGLE_LINES and operation in ("create", "delete") and result.operation in ("up", "destroy")
    }
    lines = []
    for operation in sorted(many):
        kinds = Counter(kind(step.type) for step in changed if step.operation == operation)
        text = ", ".join(f"{count} x {name}" if count > 1 else name for name, count in kinds.items())
        lines += _wrapped(f"  {MARKS[operation]} {text}", width, "    ")
    rows = [step for step in changed if step.operation not in many]
    kinds_width = max((len(kind(step.type)) for step in rows), default=0)
    names_width = max((len(step.name) for step in rows), default=0)
    for step in rows:
        start = f"  {MARKS.get(step.operation, '?')} {kind(step.type):<{kinds_width}}  {step.name:<{names_width}}"
        if result.operation == "drift" and step.operation == "update":
            lines.append(start.rstrip())
            for path in step.changed:
                lines += _change(step, path, width)
        else:
            lines += _wrapped(f"{start}  {', '.join(step.changed)}".rstrip(), width, " " * 8)
    return lines


def _facts(result: StackResult) -> list[tuple[str, str]]:
    """The image, the address and the result of the check."""
    if result.operation not in ("preview", "up", "rollback", "promote"):
        return []
    before, now = (short(digest) for digest in result.image)
    if result.outputs.get("imageDigest") == UNKNOWN:
        now = "a new build"
    facts = {"image": f"{before} → {now}" if before and now and before != now else now}
    if result.operation == "preview":
        return [*facts.items()] if before != now and now else []
    facts |= {"address": str(result.outputs.get("endpointUrl") or ""), "checked": result.checked}
    # A rollback already lists its images.
    return [(word, text) for word, text in facts.items() if text and (word, result.operation) != ("image", "rollback")]


def _change(step: Step, path: str, width: int) -> list[str]:
    """The old and new value of a property. For documents, such as policies, only the lines that differ."""
    if SECRETIVE.search(path):
        return [f"      {path}: changed (values are not shown)"]
    old, new = _value(step.old, path), _value(step.new, path)
    before, after = _document(old), _document(new)
    if before and after:
        differing = list(difflib.unified_diff(before, after, lineterm="", n=0))[2:]
        return [f"      {path}:", *(f"        {line}" for line in differing if not line.startswith("@@"))]
    texts = ["none" if value is None else re.sub(r"\s+", " ", str(value)) for value in (old, new)]
    return _wrapped(f"      {path}: {' → '.join(texts)}", width, "        ")


def _value(values: Any, path: str) -> Any:
    """The value at a property's path, such as `policy` or `tags["team"]`."""
    for quoted, plain in re.findall(r'\["([^"]+)"\]|([^.\[\]]+)', path):
        part = quoted or plain
        if isinstance(values, list) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        else:
            values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _document(value: Any) -> list[str]:
    """The lines of a formatted JSON document; empty if the text is not JSON."""
    try:
        document = json.loads(value)
    except (TypeError, ValueError):
        return []
    return json.dumps(document, indent=2, sort_keys=True).splitlines() if isinstance(document, dict | list) else []


def _wrapped(line: str, width: int, indent: str) -> list[str]:
    if not width or len(line) <= width:
        return [line]
    # Paths and ARNs are not broken, so that they can be copied.
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


@dataclass
class Push:
    """The progress of a push. The provider does not name the layers; they are identified by size."""

    began: float = 0
    layers: dict[str, float] = field(default_factory=dict)

    def take(self, done: str, of: str) -> str:
        """Take a line of progress. Returns the total progress as text."""
        self.began = self.began or time.monotonic()
        self.layers[of] = _bytes(done)
        pushed, total = sum(self.layers.values()) / 1e6, sum(map(_bytes, self.layers)) / 1e6
        seconds = time.monotonic() - self.began
        rate = f", {pushed / seconds:.0f} MB/s" if seconds >= 1 else ""
        return f"pushing the image: {pushed:.0f} of {total:.0f} MB{rate}"


def _bytes(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\w*)", text).groups()  # type: ignore[union-attr]  # by PUSHED_BYTES
    return float(number) * BYTES.get(unit, 1)


@dataclass
class Row:
    """A stack on the terminal."""

    began: float | None = None
    ended: float | None = None
    under_way: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    passing: str = ""
    failed: bool = False
    answer: str = ""
    asks_until: float = 0
    push: Push = field(default_factory=Push)

    @property
    def now(self) -> str:
        """The current operations, the oldest first."""
        if self.ended is not None:
            return "failed" if self.failed else "done"
        if self.asks_until:
            left = f"{self.passing}, {max(self.asks_until - time.monotonic(), 0):.0f} s left"
            return f"{left}: {self.answer}" if self.answer else left
        first, *others = list(self.under_way.values()) or [""]
        text = self.passing or first or ("" if self.words else "starting")
        return f"{text} (+{len(others)} more)" if others else text

    @property
    def counts(self) -> str:
        """The number of resources by operation."""
        counted = sorted(Counter(list(self.words.values())).items(), key=lambda item: item[0] == "unchanged")
        return ", ".join(f"{count} {word}" for word, count in counted)

    @property
    def seconds(self) -> float:
        """The duration of the operation on the stack."""
        until = time.monotonic() if self.ended is None else self.ended
        return until - (until if self.began is None else self.began)

    def take(self, event: Event) -> None:
        """Update the row with an event."""
        self.began = time.monotonic() if self.began is None else self.began
        self.ended, self.asks_until = None, 0
        if isinstance(event, Ended):
            self.ended, self.passing = time.monotonic(), ""
            self.under_way.clear()
        elif isinstance(event, Checking):
            self.passing = f"GET /{event.url.partition('://')[2].partition('/')[2]}"
            self.answer, self.asks_until = event.answer, time.monotonic() + event.seconds_left
        elif isinstance(event, Progress):
            self.passing = self._calm(event) or self.passing
        elif isinstance(event, Diagnostic):
            self.failed = self.failed or event.severity == "error"
            if event.severity == "info":
                # A row has room only for the last part of a URL.
                self.passing = re.sub(r"\S+/(\S+)", r"\1", event.text.partition("\n")[0])
        elif isinstance(event, Step):
            self._step(event)

    def _step(self, step: Step) -> None:
        if step.state == "started" and step.is_resource and step.operation not in ("same", "read"):
            self.under_way[step.urn] = f"{DOING.get(step.operation, step.operation)} {kind(step.type)} {step.name}"
        elif step.state == "started" and step.type == IMAGE and step.operation == "create":
            self.under_way[step.urn] = "building the image"
        elif step.state != "started":
            if self.under_way.pop(step.urn, None):
                self.passing = ""
            if step.is_resource and step.operation in {*DONE, *UNCHANGED} - {"read"}:
                words = PLANNED if step.state == "planned" else DONE
                word = "failed" if step.state == "failed" else words.get(step.operation, "unchanged")
                self.words[step.urn] = word

    def _calm(self, event: Progress) -> str:
        """A line of progress of a build or push; empty for lines that change too fast to read."""
        if event.type != IMAGE:
            return event.text.strip().partition("\n")[0]
        if pushed := PUSHED_BYTES.search(event.text):
            return self.push.take(pushed["done"], pushed["all"])
        if event.text.startswith("Pushing"):
            return "" if self.push.layers else "pushing the image"
        steps = BUILD_STEP.findall(event.text)
        return f"building the image: {steps[-1]}" if steps else ""


class PlainView:
    """A line for each change and each warning, for logs.

    One thread prints everything. `rich` imports its modules on first use, and two threads that import the same module
    at once may see it partly loaded.
    """

    def __init__(self, console: Console, stacks: Iterable[str], told: set[tuple[str, str]]) -> None:
        self._console = console
        self._rows = {stack: Row() for stack in stacks}
        self._told = told
        # A signal handler may call `put` of this queue.
        self._queue: SimpleQueue[Event | str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._print, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()

    def tell(self, event: Event) -> None:
        """Take an event."""
        self._queue.put(event)

    def say(self, line: str) -> None:
        """Print a line."""
        self._queue.put(line)

    def waits_for(self) -> str:
        """The current operations of all stacks."""
        begun = [(name, row) for name, row in list(self._rows.items()) if row.began is not None and row.ended is None]
        return "; ".join(f"{name}: {row.now or 'the program'}" for name, row in begun) or "the CLI"

    def _print(self) -> None:
        while (item := self._queue.get()) is not None:
            if line := item if isinstance(item, str) else self._line(item):
                self._console.out(line, highlight=False)

    def _line(self, event: Event) -> str:
        self._rows.setdefault(event.stack, Row()).take(event)
        line = self._lasting(event)
        if (
            isinstance(event, Step)
            and event.is_resource
            and event.state in ("done", "failed")
            and event.operation in DONE
        ):
            word = "failed" if event.state == "failed" else DONE[event.operation]
            line = f"{word:<9} {kind(event.type)}  {event.name}"
        return f"{event.stack:<12} {line}" if line else ""

    def _lasting(self, event: Event) -> str:
        """A warning that was not printed yet. Errors are printed at the end, with their fix."""
        if not isinstance(event, Diagnostic) or event.severity == "error":
            return ""
        # Each stack reports the same plugins.
        ambient = AMBIENT.search(event.text)
        text = f"the plugins in {ambient['folder']} are used, because the folder is on PATH" if ambient else event.text
        key = ("" if ambient else event.stack, text)
        if key in self._told:
            return ""
        self._told.add(key)
        return f"{event.severity:<9} {text}"


class LiveView(PlainView):
    """A row for each stack: duration, current operations, and results."""

    def _print(self) -> None:
        # With redirected output, the threads that write would print.
        with Live(
            console=self._console, get_renderable=self._table, auto_refresh=False, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        ) as live:  # fmt: skip
            while True:
                try:
                    item = self._queue.get(timeout=REFRESH_SECONDS)
                except Empty:
                    live.refresh()
                    continue
                if item is None:
                    return
                if line := item if isinstance(item, str) else self._line(item):
                    self._console.print(Text(line))
                if self._queue.empty():
                    live.refresh()

    def _line(self, event: Event) -> str:
        self._rows.setdefault(event.stack, Row()).take(event)
        # The row shows informational messages.
        informs = isinstance(event, Diagnostic) and event.severity == "info"
        line = "" if informs else self._lasting(event)
        return f"{event.stack:<12} {line}" if line else ""

    def _table(self) -> RenderableType:
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True, style="bold", max_width=24, overflow="ellipsis")
        table.add_column(no_wrap=True, justify="right", min_width=5)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=26)
        for name, row in sorted(self._rows.items(), key=lambda item: item[1].ended is not None):
            colour = "" if row.ended is None else "red" if row.failed else "green"
            seconds = "" if row.began is None else f"{row.seconds:.0f} s"
            table.add_row(Text(name), seconds, Text(row.now, colour), Text(row.counts, "dim"))
        return table


def view(console: Console, stacks: Iterable[str] = (), told: set[tuple[str, str]] | None = None) -> PlainView:
    """The view for a terminal or for other output.

    Args:
        console: the console to print to.
        stacks: the stacks that have a row from the start.
        told: the warnings that an earlier view printed.
    """
    told = set() if told is None else told
    return LiveView(console, stacks, told) if console.is_terminal else PlainView(console, stacks, told)
