"""One line per step: what it does, how it was had and how long it took."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from local.processes import tail
from local.workspace import LOGS, LocalError

# A download of a plugin counts as a probe as well.
PROBE_SECONDS = 600
SPINNER = "|/-\\"


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
        """Show that it goes on until the event is set."""
        frame = 0
        while not ended.wait(0.1 if sys.stdout.isatty() else 1.0):
            if sys.stdout.isatty():
                frame += 1
                spin = SPINNER[frame % len(SPINNER)]
                sys.stdout.write(f"\r\033[K{spin} {self.title:<20} {self.doing} ({self.seconds():.0f} s)")
                sys.stdout.flush()
            elif self.doing and self.doing != self._told:
                self._told = self.doing
                print(f"… {self.title:<20} {self.doing}", flush=True)


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Report one step; a `LocalError` passes on under a line that says which step failed."""
    current = Step(title)
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
        _print_line(current)


def _print_line(ended: Step) -> None:
    mark, colour = ("✗", "31") if ended.how == "failed" else ("✓", "32")
    if sys.stdout.isatty():
        mark = f"\r\033[K\033[{colour}m{mark}\033[0m"
    print(f"{mark} {ended.title:<20} {ended.how:<10} {ended.detail:<62} {ended.seconds():6.1f} s", flush=True)


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
