"""The Pulumi CLI as the Automation API runs it, but so that it can be interrupted."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from typing import Any

from pulumi.automation import CommandResult, OnOutput, PulumiCommand
from pulumi.automation.errors import create_command_error


class InterruptibleCommand(PulumiCommand):
    """Runs commands of which the running ones can be sent the signal that Ctrl-C sends.

    The CLI then ends what is under way, saves the state and gives up the lock.
    """

    def __init__(self) -> None:
        super().__init__()
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self.interrupted = False

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: OnOutput | None = None,
        on_error: OnOutput | None = None,
    ) -> CommandResult:
        """Run a command to its end. The arguments are those of the base class.

        Raises:
            CommandError: it failed, or was interrupted.
        """
        with self._lock:
            if self.interrupted:
                raise create_command_error(CommandResult(stdout="", stderr="interrupted", code=-signal.SIGINT))
            process = subprocess.Popen(
                [self.command, "--non-interactive", *args],
                cwd=cwd,
                env={**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            self._running.add(process)
        try:
            lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
            readers = [
                threading.Thread(target=_read, args=(process.stdout, on_output, lines["stdout"])),
                threading.Thread(target=_read, args=(process.stderr, on_error, lines["stderr"])),
            ]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()
            code = process.wait()
        finally:
            self._running.discard(process)
        result = CommandResult(stdout="\n".join(lines["stdout"]), stderr="\n".join(lines["stderr"]), code=code)
        if code != 0:
            raise create_command_error(result)
        return result

    def interrupt(self) -> None:
        """Interrupt what runs, and start nothing any more."""
        with self._lock:
            self.interrupted = True
            for process in self._running:
                process.send_signal(signal.SIGINT)


def _read(stream: Any, tell: OnOutput | None, lines: list[str]) -> None:
    for line in stream:
        lines.append(line.rstrip())
        if tell:
            tell(line.rstrip())
    stream.close()
