"""The stand-in of the language host ends a program as the official one does.

Source: `cmd.Cancel` and `cmd.WaitDelay` in `Run` of
https://github.com/pulumi/pulumi/blob/master/sdk/python/cmd/pulumi-language-python/main.go
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pulumi.runtime.proto import language_pb2

from offline.plugins import language as stand_in
from offline.plugins.language import Language
from tests.waiting import until

# A shell that starts the tests in the background lets them, and so a program, ignore SIGINT.
IMPORTS = """
import signal, sys, time, pathlib
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
WAITING = """
try:
    pathlib.Path(sys.argv[-1]).with_name('ready').touch()
    time.sleep(60)
finally:
    pass
"""
TELLING = WAITING.replace("finally:\n    pass", "except KeyboardInterrupt:\n    sys.exit(7)")
EXITED = "program exited with non-zero exit code"


class Call:
    """A call of the engine, which ends it."""

    def __init__(self) -> None:
        self.cancel: Callable[[], None] | None = None

    def add_callback(self, callback: Callable[[], None]) -> None:
        self.cancel = callback


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Run a program whose call is ended once it waits. Gives the error that the engine gets."""
    # The runner is the program itself here; it gets the path of the entry point as its last argument.
    runner = tmp_path / "pulumi-language-python-exec"
    runner.touch(0o644)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def run(program: str) -> str:
        runner.write_text(IMPORTS + program)
        call = Call()

        def cancel() -> None:
            until(lambda: call.cancel and (tmp_path / "ready").exists())
            assert call.cancel
            call.cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        request = language_pb2.RunRequest(
            pwd=str(tmp_path), info=language_pb2.ProgramInfo(program_directory=str(tmp_path), entry_point="program")
        )
        answer = Language("").Run(request, call)
        canceller.join()
        return str(answer.error)

    return run


def test_a_program_is_ended_with_sigint(run: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_in, "WAIT_SECONDS", 60)
    assert run(f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{TELLING}") == f"{EXITED}: 7"


def test_a_program_that_goes_on_is_killed(run: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_in, "WAIT_SECONDS", 0.2)
    assert run(f"signal.signal(signal.SIGINT, signal.SIG_IGN)\n{WAITING}") == f"{EXITED}: -1"


def test_a_program_runs_in_the_virtual_environment_of_its_project(tmp_path: Path) -> None:
    info = language_pb2.ProgramInfo(root_directory=str(tmp_path))
    assert stand_in._python(info) == sys.executable
    info.options.update({"virtualenv": "venv"})
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").touch()
    assert stand_in._python(info) == str(tmp_path / "venv" / "bin" / "python")


def test_cancel_ends_all_programs_and_plugins_with_sigint() -> None:
    host = Language("")
    waiting = f"{IMPORTS}signal.signal(signal.SIGINT, signal.SIG_DFL)\nprint(flush=True)\ntime.sleep(60)"
    children = [host._start([sys.executable, "-c", waiting], stdout=subprocess.PIPE) for _ in range(2)]
    for child in children:
        assert child.stdout
        child.stdout.readline()
    host.Cancel(None, None)
    assert [child.wait(10) for child in children] == [-signal.SIGINT] * 2
