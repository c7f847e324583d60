"""The stand-in plugins as commands on PATH."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from offline import go, stand_ins


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of commands, beside a cache that is not there yet."""
    runner = tmp_path / "sdk" / "python" / "cmd" / stand_ins.RUNNER
    runner.parent.mkdir(parents=True)
    runner.write_text("runner")
    monkeypatch.setattr(go, "source", lambda tool, module, run: tmp_path / "sdk")
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def run(
    name: str, command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    raise AssertionError(f"{name} was run")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_all_that_is_written_is_removed_where_the_official_plugins_are_found(folder: Path) -> None:
    stand_ins.write(folder, Path(sys.executable), folder.with_name("cache"), run)
    assert names(folder) == {*stand_ins.PLUGINS, stand_ins.RUNNER}
    stand_ins.remove(folder)
    assert names(folder) == set()
