"""One line per step: what it does, how it was had and how long it took."""

import json
import shutil
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

# A download of a plugin counts as a probe as well.
PROBE_SECONDS = 600
SPINNER = "|/-\\"
# What each step took, a JSON object a line.
RECORD = LOGS / "steps.jsonl"

# The steps under way, the oldest first, and who may write.
_running: list["Step"] = []
_output = threading.Lock()


class Step:
    """A step under way. `say` tells what is going on; `done` tells how it ended."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.began = time.monotonic()
        self.doing = ""
        self._told = ""
        self.how = "done"
        self.detail = ""

    def say(self, doing: str) -> None:
        """What is happening now. On a terminal it stands behind the spinner, elsewhere it is a line of its own."""
        self.doing = doing

    def done(self, how: str, detail: str = "") -> None:
        """How the step was settled: `found`, `installed`, `built`, `started`, `stand-in`."""
        self.how, self.detail = how, detail

    def seconds(self) -> float:
        """How long it has been under way."""
        return time.monotonic() - self.began

    def animate(self, ended: threading.Event) -> None:
        """Show that it goes on until the event is set. Of several steps the oldest writes the line of all."""
        frame = 0
        while not ended.wait(0.1 if sys.stdout.isatty() else 1.0):
            with _output:
                if sys.stdout.isatty() and self is _running[0]:
                    frame += 1
                    all_of_them = " · ".join(f"{one.title} {one.doing} ({one.seconds():.0f} s)" for one in _running)
                    line = f"{SPINNER[frame % len(SPINNER)]} {all_of_them}"
                    sys.stdout.write(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}")
                    sys.stdout.flush()
                elif not sys.stdout.isatty() and self.doing and self.doing != self._told:
                    self._told = self.doing
                    print(f"… {self.title:<20} {self.doing}", flush=True)


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Report one step; a `LocalError` passes on under a line that says which step failed."""
    current = Step(title)
    _running.append(current)
    ended = threading.Event()
    animation = threading.Thread(target=current.animate, args=(ended,), daemon=True)
    animation.start()
    try:
        yield current
    except BaseException:
        current.done("failed", current.doing)
        raise
    finally:
        ended.set()
        animation.join()
        with _output:
            _running.remove(current)
            _print_line(current)
            _record(current)


def side_by_side(*lanes: Sequence[Callable[[], None]]) -> None:
    """Take the steps of each lane one after the other, and the lanes, which need nothing of one another, at once.

    Raises:
        LocalError: that of the first lane with a failed step, when the others have ended.
    """

    def take(lane: Sequence[Callable[[], None]]) -> None:
        for take_step in lane:
            take_step()

    with ThreadPoolExecutor(len(lanes)) as pool:
        for ended in [pool.submit(take, lane) for lane in lanes]:
            ended.result()


def _print_line(ended: Step) -> None:
    mark, colour = ("✗", "31") if ended.how == "failed" else ("✓", "32")
    if sys.stdout.isatty():
        mark = f"\r\033[K\033[{colour}m{mark}\033[0m"
    print(f"{mark} {ended.title:<20} {ended.how:<10} {ended.detail:<62} {ended.seconds():6.1f} s", flush=True)


def _record(ended: Step) -> None:
    step = {"title": ended.title, "how": ended.how, "began": ended.began, "seconds": ended.seconds()}
    with RECORD.open("a") as record:
        record.write(json.dumps(step) + "\n")


def run(
    name: str, command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run a command quietly, its output in `.local/logs/NAME.log`.

    Raises:
        LocalError: it cannot be started or fails; the text ends with its last lines.
    """
    log = LOGS / f"{name}.log"
    with log.open("w") as output:
        try:
            code = subprocess.run(
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            ).returncode
        except FileNotFoundError as error:
            raise LocalError(f"{command[0]} is needed and not installed ({error}).") from error
    if code != 0:
        raise LocalError(
            f"`{' '.join(map(str, command[:4]))} …` failed with {code}. Its log, {log}, ends with:\n{tail(log)}"
        )


def succeeds(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> bool:
    """Whether a quiet probe exits with 0."""
    try:
        return (
            subprocess.run(
                command, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS
            ).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
