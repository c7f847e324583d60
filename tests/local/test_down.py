"""`make down` ends everything, whatever one of its steps runs into."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local import __main__ as commands
from local import cloud, docker_engine, processes, stacks, workspace

STEPS: list[tuple[Any, str, str]] = [
    (stacks, "destroy", "The stacks were not destroyed, but their resources ended with the local cloud"),
    (cloud, "stop", "The local cloud did not stop"),
    (docker_engine, "stop", "The Docker engine did not stop"),
    (processes, "stop_all", "A server did not stop"),
    (workspace, "remove", "The state was not removed"),
]
# Of this process: tests of another clone may run at the same time.
SLEEP = str(1_000_000 + os.getpid())


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that were taken, none of which does anything here."""
    taken: list[str] = []

    def step(module: Any, name: str) -> Callable[..., list[str]]:
        return lambda *_: taken.append(module.__name__) or []

    for module, name, _ in STEPS:
        monkeypatch.setattr(module, name, step(module, name))
    monkeypatch.setattr(stacks, "recover", lambda: None)
    monkeypatch.setattr(cloud, "is_running", lambda: True)
    return taken


@pytest.mark.parametrize(("module", "name", "said"), STEPS)
def test_down_continues_after_a_failed_step(
    module: Any, name: str, said: str, ended: list[str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*_: Any) -> None:
        raise RuntimeError("the state is gone")

    monkeypatch.setattr(module, name, fail)
    assert commands.down() == 1
    assert {other.__name__ for other, _, _ in STEPS if other is not module} <= set(ended)
    assert f"{said}: RuntimeError: the state is gone" in capsys.readouterr().err


def test_down_prints_no_error_if_every_step_succeeds(ended: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.down() == 0
    assert not capsys.readouterr().err


def test_a_server_without_a_record_is_ended() -> None:
    command = ["sleep", SLEEP]
    with subprocess.Popen(command) as server:
        assert processes.end_unrecorded([*command, "more"]) is False
        assert processes.end_unrecorded(command) is True
        assert not processes.is_alive(server.pid)


def test_a_program_of_a_folder_is_ended_and_no_other(tmp_path: Path) -> None:
    program = tmp_path / "plugins" / "provider"
    program.parent.mkdir()
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, SLEEP]) as provider, subprocess.Popen(["sleep", f"{SLEEP}1"]) as other:
        assert processes.end_programs_of(program.parent) is True
        assert not processes.is_alive(provider.pid)
        assert processes.is_alive(other.pid)
        assert processes.end_programs_of(program.parent) is False
        other.kill()
