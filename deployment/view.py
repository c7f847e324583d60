"""What a person sees of a deployment: one line a stack on a terminal, a line for each change elsewhere."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deployment.events import STACK, Diagnostic, Ended, Event, Progress, Step
from deployment.results import UNCHANGED, StackResult

DOING = {
    "create": "creating",
    "update": "updating",
    "delete": "deleting",
    "refresh": "looking at",
    "read": "reading",
    "create-replacement": "creating anew",
    "delete-replaced": "deleting the replaced",
}
DONE = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted", "import": "imported"}
PLANNED = {"create": "to create", "update": "to update", "replace": "to replace", "delete": "to delete"}
DRIFTED = {"create": "new", "update": "changed", "delete": "gone"}
MARKS = {"create": "+", "update": "~", "replace": "±", "delete": "-", "import": "="}
WORDS = {"preview": PLANNED, "drift": DRIFTED}
REFRESH_SECONDS = 1 / 8


def summary(result: StackResult) -> str:
    """A result in one line, such as `1 to create, 17 unchanged`."""
    words = WORDS.get(result.operation, DONE)
    counts = [f"{count} {words.get(operation, operation)}" for operation, count in result.changes.items()]
    same = sum(step.operation in UNCHANGED and step.type != STACK for step in result.steps)
    return ", ".join([*counts, *([f"{same} unchanged"] if same else [])]) or "nothing there"


def report(results: dict[str, StackResult]) -> str:
    """What was done, or would be, as aligned lines: one for each stack, below it one for each change."""
    width = max(map(len, results), default=0)
    lines = []
    for name, result in results.items():
        lines.append(f"{name:<{width}}  {result.operation:<8}  {summary(result)}  ({result.seconds:.1f} s)")
        changed = sorted(result.changed, key=lambda step: (step.type, step.name))
        types = max((len(step.type) for step in changed), default=0)
        names = max((len(step.name) for step in changed), default=0)
        for step in changed:
            line = f"  {MARKS.get(step.operation, '?')} {step.type:<{types}}  {step.name:<{names}}"
            lines.append(f"{line}  {', '.join(step.changed)}".rstrip())
        if result.operation == "drift":
            lines += [f"  ? {urn}  its update failed: AWS may have the values of before" for urn in result.failed]
        if result.operation == "up" and (url := result.outputs.get("endpointUrl")):
            lines.append(f"  {url}")
    return "\n".join(lines)


@dataclass
class Row:
    """A stack on the terminal."""

    began: float = field(default_factory=time.monotonic)
    now: str = "starting"
    words: dict[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> str:
        """How many resources came to what."""
        return ", ".join(f"{count} {word}" for word, count in Counter(list(self.words.values())).items())

    def take(self, event: Event) -> None:
        """Show what an event tells."""
        if isinstance(event, Ended):
            self.now = ""
        elif isinstance(event, Progress):
            self.now = f"{event.name}: {event.text}" if event.urn else event.text
        elif isinstance(event, Step) and event.state == "started":
            self.now = f"{DOING.get(event.operation, event.operation)} {event.type} {event.name}"
        elif isinstance(event, Step) and event.type != STACK and event.operation in {*DONE, *UNCHANGED}:
            self.now = f"looked at {event.name}" if event.operation in UNCHANGED else self.now
            words = PLANNED if event.state == "planned" else DONE
            self.words[event.urn] = "failed" if event.state == "failed" else words.get(event.operation, "unchanged")


class PlainView:
    """A line for each change and each warning, for logs.

    All printing is done by one thread. `rich` imports its modules when they are first used, and two threads that import
    the same modules at once may see them half loaded.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: set[tuple[str, str]] = set()
        # Its `put` may be called from a signal handler.
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

    def _print(self) -> None:
        while (item := self._queue.get()) is not None:
            if line := item if isinstance(item, str) else self._line(item):
                self._console.out(line, highlight=False)

    def _line(self, event: Event) -> str:
        line = self._lasting(event)
        if isinstance(event, Step) and event.state in ("done", "failed") and event.operation in DONE:
            word = "failed" if event.state == "failed" else DONE[event.operation]
            line = f"{word:<9} {event.type}  {event.name}"
        return f"{event.stack:<12} {line}" if line else ""

    def _lasting(self, event: Event) -> str:
        """A warning, once. Errors are told at the end, with their fix."""
        if not isinstance(event, Diagnostic) or event.severity == "error" or (event.stack, event.text) in self._told:
            return ""
        self._told.add((event.stack, event.text))
        return f"{event.severity:<9} {event.text}"


class LiveView(PlainView):
    """One line a stack: what it is doing now, what it has done, how long it has been at it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._rows: dict[str, Row] = {}

    def _print(self) -> None:
        # Redirected output would be printed by the threads that write it.
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
        line = self._lasting(event)
        return f"{event.stack:<12} {line}" if line else ""

    def _table(self) -> RenderableType:
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(no_wrap=True, justify="right", min_width=5)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for name, row in self._rows.items():
            table.add_row(Text(name), f"{time.monotonic() - row.began:.0f} s", Text(row.counts), Text(row.now))
        return table


def view(console: Console) -> PlainView:
    """The view for a terminal, or the one for everything else."""
    return LiveView(console) if console.is_terminal else PlainView(console)
