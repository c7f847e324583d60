"""The Pulumi CLI, run as the Automation API runs it, with interruption."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from typing import Any

from pulumi.automation import CommandResult, OnOutput, PulumiCommand
from pulumi.automation.errors import InvalidVersionError, create_command_error

from deployment.errors import ConfigurationError

# The Automation API confirms with options. PULUMI_SKIP_CONFIRMATIONS would conflict with `refresh --preview-only`.
OWN = {"PULUMI_AUTOMATION_API": "true", "PULUMI_SKIP_CONFIRMATIONS": "false"}


class InterruptibleCommand(PulumiCommand):
    """Runs commands, and can send SIGINT to those that are running.

    On the first signal the CLI finishes the operations in progress, saves the state and releases the lock. On the
    second one it also ends its providers.

    Attributes:
        interrupted: set when all commands were interrupted; no further command starts.

    Raises:
        ConfigurationError: the CLI is missing, or its version does not match the SDK.
    """

    def __init__(self) -> None:
        try:
            super().__init__()
        except (OSError, InvalidVersionError) as error:
            hint = "Install the Pulumi CLI: https://www.pulumi.com/docs/iac/download-install/"
            raise ConfigurationError(f"no usable `pulumi` on PATH: {error}", stack="", hint=hint) from None
        self._running: dict[subprocess.Popen[str], str] = {}
        self._lock = threading.Lock()
        self.interrupted = threading.Event()

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: OnOutput | None = None,
        on_error: OnOutput | None = None,
    ) -> CommandResult:
        """Run a command to its end. The arguments are those of the base class.

        The base class does not expose its process, so it cannot be interrupted
        (test_a_cancelled_or_timed_out_operation_ends_soon_and_the_next_one_continues).

        Raises:
            CommandError: it failed, or was interrupted.
        """
        with self._lock:
            if self.interrupted.is_set():
                raise create_command_error(CommandResult(stdout="", stderr="interrupted", code=-signal.SIGINT))
            process = subprocess.Popen(
                [self.command, "--non-interactive", *args],
                cwd=cwd,
                env={**os.environ, **additional_env, **OWN},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                # Outside the terminal's process group: its Ctrl-C and `interrupt` would send two signals.
                process_group=0,
            )
            self._running[process] = cwd
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
        except KeyboardInterrupt:
            # At its exit, Python waits for the readers.
            process.send_signal(signal.SIGINT)
            raise
        finally:
            with self._lock:
                del self._running[process]
        result = CommandResult(stdout="\n".join(lines["stdout"]), stderr="\n".join(lines["stderr"]), code=code)
        if code != 0:
            raise create_command_error(result)
        return result

    def interrupt(self, folder: str | None = None) -> None:
        """Interrupt running commands.

        Args:
            folder: interrupt only the commands of this working directory. Default: all, and no further command starts.
        """
        if folder is None:
            self.interrupted.set()
        self._send(signal.SIGINT, folder)

    def kill(self, folder: str) -> None:
        """Kill the commands of a working directory. They do not save the state."""
        self._send(signal.SIGKILL, folder)

    def _send(self, number: signal.Signals, folder: str | None) -> None:
        with self._lock:
            for process, cwd in self._running.items():
                if folder in (None, cwd):
                    process.send_signal(number)


def _read(stream: Any, tell: OnOutput | None, lines: list[str]) -> None:
    for line in stream:
        lines.append(line.rstrip())
        if tell:
            tell(line.rstrip())
    stream.close()
