"""How the local run calls the CLI."""

import os
from pathlib import Path

import pytest

from local import stacks
from local.workspace import LocalError

OUTPUT = """\
 +  docker:index:Image function-image creating (0s) Pushing Image to the registry
 +  docker:index:Image function-image creating (0s) Preparing
 +  docker:index:Image function-image creating (1s) Pushing [=====>     ]  549.4kB/158.5MB
 +  docker:index:Image function-image creating (1s) Pushing  2.048kB
 +  docker:index:Image function-image creating (2s) Pushed
 +  aws:lambda:Function function creating (0s)
"""


@pytest.fixture(autouse=True)
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CLI that prints the output of an update, and fails if it is told to."""
    (tmp_path / "output").write_text(OUTPUT)
    (tmp_path / "pulumi").write_text(f'#!/bin/sh\ncat {tmp_path}/output\n[ "$2" != fail ]\n')
    (tmp_path / "pulumi").chmod(0o755)
    monkeypatch.setattr(stacks, "BIN", tmp_path)
    monkeypatch.setattr(stacks, "environment", lambda: dict(os.environ))


def test_an_update_prints_no_progress_of_single_layers(capfd: pytest.CaptureFixture[str]) -> None:
    stacks.pulumi("up")
    shown = capfd.readouterr().out.splitlines()
    assert [line.partition(") ")[2] for line in shown] == ["Pushing Image to the registry", "Pushed", ""]


def test_a_quiet_command_shows_its_output_only_if_it_fails(capfd: pytest.CaptureFixture[str]) -> None:
    stacks.pulumi("up", quiet=True)
    assert capfd.readouterr().out == ""
    with pytest.raises(LocalError, match=r"(?s)`pulumi fail` failed with 1\..*Preparing"):
        stacks.pulumi("fail", quiet=True)
