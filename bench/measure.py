"""Measurements, and the timing of commands."""

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
    """One row of the results: a measure and its reference in each round.

    Attributes:
        name: name of the measure.
        against: name of the reference, which is measured in the same rounds.
        goal: maximum of the result.
        values: the measure in each round.
        anchors: the reference in each round; empty if the measure is not a ratio.
        unit: unit of values and anchors.
        bound: the ratio for only the unavoidable work, in each round.
        note: remark about the result.
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
        """The result of each round: a ratio if there is a reference, otherwise the value."""
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
    """Seconds, processor seconds including child processes, and the memory of the largest process in MiB."""

    seconds: float
    processor: float
    memory: float
    output: str


class CommandFailed(Exception):
    """Raised if a measured command fails. The text is its output."""


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
        # wait4 returns the resources that the process and its children used.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise CommandFailed(f"{' '.join(map(str, command))} failed with {process.returncode}:\n{output}")
    return Run(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / KIB, output)


def busy() -> float:
    """Seconds of work of all processors since the machine was started: of all processes, and of the kernel."""
    user, nice, system, _, _, *interrupts = map(int, Path("/proc/stat").read_text().partition("\n")[0].split()[1:8])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def tell(doing: str) -> None:
    """Print a line of progress to stderr."""
    print(f"… {doing}", file=sys.stderr, flush=True)
