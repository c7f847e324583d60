"""The environment of `make shell`."""

import os
import subprocess
from pathlib import Path

import pytest

from local import environment


def test_make_shell_finds_its_own_tools_before_those_of_the_users_startup_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "RUN", tmp_path)
    monkeypatch.setattr(environment, "_changes", dict)
    # Version managers put their folders first.
    (tmp_path / ".bashrc").write_text("export PATH=/of/the/user:$PATH\n")
    shown = subprocess.run(
        ["bash", "--rcfile", environment.bash_startup(), "-i", "-c", "echo $PATH"], env={"HOME": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, second, third, *_ = shown.stdout.split(":")
    assert [first, second, third] == [str(environment.BIN), str(environment.VENV / "bin"), "/of/the/user"]


def test_make_in_make_shell_is_no_recursive_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_changes", dict)
    for name in environment.MAKE:
        monkeypatch.setenv(name, "1")
    shown = subprocess.run(["make", "help"], env=environment.environment(), capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("help ")


def test_python_keeps_what_it_compiles() -> None:
    """Packages are installed without it, and images of Python often set this variable."""
    command = ["make", "env", "PYTHON=env #"]
    shown = subprocess.run(command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True)
    assert "PATH=" in shown.stdout
    assert "PYTHONDONTWRITEBYTECODE" not in shown.stdout
