"""The Pulumi CLI as the Automation API runs it, but so that it can be interrupted."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from typing import Any

from pulumi.automation import CommandResult, OnOutput, PulumiCommand
from pulumi.automation.errors import InvalidVersionError, create_command_error

from deployment.errors import ConfigurationError

# The Automation API confirms by options. The user's confirmation of everything clashes with `refresh --preview-only`.
OWN = {"PULUMI_AUTOMATION_API": "true", "PULUMI_SKIP_CONFIRMATIONS": "false"}


class InterruptibleCommand(PulumiCommand):
    """Runs commands of which the running ones can be sent the signal that Ctrl-C sends.

    The CLI then ends what is under way, saves the state and gives up the lock. At a second signal it ends its providers
    as well, whatever they are doing.

    Attributes:
        interrupted: set when everything was interrupted; nothing is started any more.

    Raises:
        ConfigurationError: there is no such CLI, or one of another age than the SDK.
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

        The base class does the same but keeps the process to itself, so nothing could interrupt it
        (test_what_is_cancelled_or_takes_too_long_ends_soon_and_leaves_a_state_to_go_on_from).

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
                # Out of reach of the terminal's Ctrl-C: `interrupt` passes it on, and twice would end it at once.
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
        finally:
            with self._lock:
                del self._running[process]
        result = CommandResult(stdout="\n".join(lines["stdout"]), stderr="\n".join(lines["stderr"]), code=code)
        if code != 0:
            raise create_command_error(result)
        return result

    def interrupt(self, folder: str | None = None) -> None:
        """Interrupt what runs.

        Args:
            folder: only the commands of this working directory; default all, and nothing is started any more.
        """
        if folder is None:
            self.interrupted.set()
        self._send(signal.SIGINT, folder)

    def kill(self, folder: str) -> None:
        """End the commands of a working directory without a chance to save the state."""
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
