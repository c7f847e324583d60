"""What a measurement is, and how a command is timed."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KIB = 1024


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One row of the result: what was measured against what, round by round.

    Attributes:
        name: what was measured.
        against: what it is compared with, measured in the same rounds.
        goal: what the result may be at most.
        values: one number a round.
        anchors: the number of the same round that it is divided by; none where the value is the result itself.
        unit: of values and anchors.
        bound: the same ratio for what cannot be done without, one number a round, where the goal is below it.
        note: what to know when reading it.
    """

    name: str
    against: str
    goal: float
    values: Sequence[float]
    anchors: Sequence[float] = ()
    unit: str = "s"
    bound: Sequence[float] = ()
    note: str = ""

    @property
    def results(self) -> list[float]:
        """The result of each round: a ratio where there is an anchor, else the value."""
        if not self.anchors:
            return list(self.values)
        return [value / anchor for value, anchor in zip(self.values, self.anchors, strict=True)]

    @property
    def result(self) -> float:
        """The median of all rounds."""
        return statistics.median(self.results)

    @property
    def is_met(self) -> bool:
        """Whether the goal is reached."""
        return self.result <= self.goal


@dataclass(frozen=True)
class Run:
    """What a command took: seconds, processor seconds with those of its children, and the largest process in MiB."""

    seconds: float
    processor: float
    memory: float
    output: str


class CommandFailed(Exception):
    """A command that is measured failed; the text is its output."""


def run(command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None) -> Run:
    """Run a command and time it.

    Raises:
        CommandFailed: its exit code is not 0.
    """
    began = time.monotonic()
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        output = process.stdout.read() if process.stdout else ""
        # Of all ways to wait, this one tells what the process and its own children used.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise CommandFailed(f"{' '.join(map(str, command))} failed with {process.returncode}:\n{output}")
    return Run(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / KIB, output)


def tell(doing: str) -> None:
    """A line of progress, apart from the result."""
    print(f"… {doing}", file=sys.stderr, flush=True)
