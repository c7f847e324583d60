"""`deployment.command`: how a running CLI is interrupted, with a script in place of the CLI."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from deployment.command import InterruptibleCommand

PULUMI = """\
#!/bin/sh
if [ "$*" = version ]; then echo v3.274.1; exit; fi
trap 'echo interrupted > ended; exit 1' INT
echo running
for _ in $(seq 600); do sleep 0.05; done
"""


def test_a_command_ends_with_the_call_that_ctrl_c_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pulumi").write_text(PULUMI)
    (tmp_path / "pulumi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    others = {*threading.enumerate()}

    def press(line: str) -> None:
        # One thread reads the output, one the errors. An earlier signal would stop the second one's start.
        while [reader.is_alive() for reader in {*threading.enumerate()} - others] != [True, True]:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            InterruptibleCommand().run(["config"], str(tmp_path), {}, on_output=press)
    finally:
        signal.signal(signal.SIGINT, before)
    for reader in {*threading.enumerate()} - others:
        reader.join(20)
        assert not reader.is_alive()
    assert (tmp_path / "ended").read_text() == "interrupted\n"
