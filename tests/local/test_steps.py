"""Steps of the local set-up."""

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from local import __main__ as main
from local import steps, toolchain
from local.workspace import LocalError
from offline.plugins import server

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "steps.jsonl"
    monkeypatch.setattr(steps, "RECORD", path)
    return path


def test_lanes_run_at_once() -> None:
    both = threading.Barrier(2, timeout=10)
    steps.side_by_side([both.wait], [both.wait])


def test_a_lane_keeps_its_order_and_ends_with_its_first_failure() -> None:
    taken: list[str] = []

    def fail() -> None:
        raise LocalError("no Go")

    with pytest.raises(LocalError, match="no Go"):
        steps.side_by_side(
            [lambda: taken.append("first"), fail, lambda: taken.append("never")], [lambda: taken.append("other")]
        )
    assert sorted(taken) == ["first", "other"]


def test_all_lanes_that_failed_say_why() -> None:
    def fail(reason: str) -> None:
        raise LocalError(reason)

    with pytest.raises(LocalError, match="(?s)no Go.*no engine"):
        steps.side_by_side([lambda: fail("no Go")], [lambda: fail("no engine")])


def test_the_set_up_begins_in_an_empty_folder_by_whatever_python(tmp_path: Path) -> None:
    """The interpreter of a linked environment, with nothing else prepared and nothing to be had."""
    for room in ("local", "offline", "app"):
        shutil.copytree(ROOT / room, tmp_path / room)
    for file in ("requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / file, tmp_path)
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "venv").symlink_to(sys.prefix)
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, script in {"docker": "exit 1", "timeout": "exit 1", "pulumi": "echo v3.300.0"}.items():
        (commands / name).write_text(f"#!/bin/sh\n{script}\n")
        (commands / name).chmod(0o755)
    done = subprocess.run(
        [tmp_path / ".local" / "venv" / "bin" / "python", "-m", "local", "tools"],
        cwd=tmp_path,
        env={"PATH": str(commands), "DOCKER_HOST": "unix:///nowhere"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 1
    assert "go is not installed" in done.stdout
    assert "DOCKER_HOST=unix:///nowhere does not answer" in done.stdout
    assert "Traceback" not in done.stdout


def test_steps_side_by_side_print_a_line_each_and_are_recorded(record: Path, capsys: pytest.CaptureFixture) -> None:
    both = threading.Barrier(2, timeout=10)

    def take(title: str) -> None:
        with steps.step(title) as current:
            both.wait()
            current.done("found", "here")

    steps.side_by_side([lambda: take("one")], [lambda: take("other")])
    assert sorted(line.split()[1] for line in capsys.readouterr().out.splitlines()) == ["one", "other"]
    recorded = [json.loads(line) for line in record.read_text().splitlines()]
    assert sorted(step["title"] for step in recorded) == ["one", "other"]


def test_a_plugin_finds_the_engine_behind_options_with_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["plugin", "-v=9", "--tracing", "tcp://127.0.0.1:1", "127.0.0.1:2"])
    assert server.engine_address() == "127.0.0.1:2"


def test_lint_runs_with_all_tests_and_not_with_some(monkeypatch: pytest.MonkeyPatch) -> None:
    beside: list[object] = []
    monkeypatch.setattr(main, "_with_tools", lambda *arguments, besides: beside.append(besides))
    main.test()
    main.test("tests/unit")
    assert beside == [[toolchain.browser, main.lint], [toolchain.browser]]
