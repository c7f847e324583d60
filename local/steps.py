"""Progress of the set-up: a line when a step begins something slow, and a line with the result when it ends.

Uses only the standard library, because the set-up creates the Python environment.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from local.processes import tail
from local.workspace import LOGS, LocalError

# Also limits the download of a plugin.
PROBE_SECONDS = 600
# Duration of each step: one JSON object on each line.
RECORD = LOGS / "steps.jsonl"

# Steps run in parallel, so writing needs a lock.
_output = threading.Lock()


class Step:
    """A running step. `say` reports what begins; `done` sets the result."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.began = time.monotonic()
        self.how, self.detail = "done", ""

    def say(self, doing: str) -> None:
        """Report what begins."""
        self.detail = doing
        with _output:
            print(f"… {self.title:<20} {doing}", flush=True)

    def done(self, how: str, detail: str = "") -> None:
        """Set how the step ended, for its last line: `found`, `installed`, `built`, `started`, `stand-in`."""
        self.how, self.detail = how, detail

    def end(self) -> None:
        """Print the last line, and record it."""
        seconds = time.monotonic() - self.began
        mark, colour = ("✗", 31) if self.how == "failed" else ("✓", 32)
        if sys.stdout.isatty():
            mark = f"\033[{colour}m{mark}\033[0m"
        recorded = {"title": self.title, "how": self.how, "began": self.began, "seconds": seconds}
        with _output, RECORD.open("a") as record:
            print(f"{mark} {self.title:<20} {self.how:<10} {self.detail:<62} {seconds:6.1f} s", flush=True)
            record.write(json.dumps(recorded) + "\n")


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Report one step. If it fails, report that and raise the error again."""
    current = Step(title)
    try:
        yield current
    except BaseException:
        current.done("failed", current.detail)
        raise
    finally:
        current.end()


def side_by_side(*lanes: Sequence[Callable[[], None]]) -> None:
    """Run the lanes in parallel, and the steps of each lane in order.

    Raises:
        LocalError: steps failed. Raised when all lanes have ended, with the texts of all errors.
    """

    def take(lane: Sequence[Callable[[], None]]) -> None:
        for take_step in lane:
            take_step()

    with ThreadPoolExecutor(len(lanes)) as pool:
        errors = [ended.exception() for ended in [pool.submit(take, lane) for lane in lanes]]
    for error in errors:
        if error and not isinstance(error, LocalError):
            raise error
    if texts := [str(error) for error in errors if error]:
        raise LocalError("\n\n".join(texts))


def run(
    name: str, command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run a command with changed variables. Its output is in `.local/logs/NAME.log`.

    Raises:
        LocalError: it cannot be started, or fails. The text ends with the last lines of its output.
    """
    log = LOGS / f"{name}.log"
    with log.open("w") as output:
        try:
            code = subprocess.run(
                command,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            ).returncode
        except FileNotFoundError as error:
            raise LocalError(f"{command[0]} is not installed; `{name}` needs it.") from error
    if code != 0:
        raise LocalError(
            f"`{' '.join(map(str, command[:4]))} …` failed with {code}. Its log, {log}, ends with:\n{tail(log)}"
        )


def succeeds(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> bool:
    """Whether a command exits with 0. Its output is not shown."""
    try:
        probe = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0
