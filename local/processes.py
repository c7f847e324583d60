"""Servers that the local run starts. They are recorded by process ID and start time, so that no other is stopped."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from local.workspace import LOGS, RUN, LocalError

STOP_SECONDS = 20
# The start time is the clock tick since boot in /proc (proc_pid_stat(5), field 22); without /proc, the output of `ps`.
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    return bool(_started_at(pid))


def _started_at(pid: int) -> str:
    """A unique text for the start time of a process; empty if it does not exist or is a zombie."""
    try:
        boot = BOOT_ID.read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        if BOOT_ID.exists():
            return ""
        shown = subprocess.run(["ps", "-o", "lstart=,stat=", "-p", str(pid)], capture_output=True, text=True)
        started, _, state = shown.stdout.strip().rpartition(" ")
        return "" if state.startswith("Z") else started.strip()
    state, ticks = fields[0], fields[19]
    return "" if state == "Z" else f"{boot} {ticks}"


def start(name: str, command: list[str], *, env: dict[str, str], is_ready: Callable[[], bool], seconds: float) -> None:
    """Start a server that outlives this command, and wait until it responds.

    Raises:
        LocalError: it ended, or did not respond in time. The text ends with the last lines of its log.
    """
    log = LOGS / f"{name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    record = {"pid": process.pid, "started": _started_at(process.pid)}
    (RUN / f"{name}.json").write_text(json.dumps(record))
    deadline = time.monotonic() + seconds
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            stop(name)
            reason = "ended at once" if process.poll() is not None else f"did not answer within {seconds:.0f} s"
            raise LocalError(f"{name} {reason}. Its log, {log}, ends with:\n{tail(log)}")
        time.sleep(0.05)


def is_running(name: str) -> bool:
    """Whether the server started under this name is still the process that was started."""
    return _pid(name) is not None


def stop(name: str) -> bool:
    """Stop a server and wait for it. Returns whether it was running."""
    pid = _pid(name)
    if pid is not None:
        _end(pid)
    (RUN / f"{name}.json").unlink(missing_ok=True)
    return pid is not None


def end_unrecorded(command: list[str]) -> bool:
    """Stop processes with exactly this command whose record is missing. Returns whether there were any."""
    return _end_all(lambda words: words == command)


def end_programs_of(folder: Path) -> bool:
    """End the processes whose program is in this folder. Returns whether there were any."""
    return _end_all(lambda words: Path(words[0]).is_relative_to(folder))


def _end_all(matches: Callable[[list[str]], bool]) -> bool:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            if words and matches(words):
                found.append(int(process.name))
    for pid in found:
        _end(pid)
    return bool(found)


def _end(pid: int) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            _reap(pid)
            if not _started_at(pid):
                return
            time.sleep(0.05)


def stop_all() -> list[str]:
    """Stop every recorded server. Returns their names."""
    names = sorted(path.stem for path in RUN.glob("*.json")) if RUN.exists() else []
    return [name for name in names if stop(name)]


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log, indented."""
    return "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-lines:])


def _pid(name: str) -> int | None:
    try:
        record = json.loads((RUN / f"{name}.json").read_text())
        pid, expected = int(record["pid"]), record["started"]
    except (OSError, ValueError, KeyError):
        return None
    return pid if expected and _started_at(pid) == expected else None


def _reap(pid: int) -> None:
    """Wait for an ended child of this command, which would otherwise stay a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
