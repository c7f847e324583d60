"""`deployment.prepared`: a process that has imported a program's packages and runs it with Pulumi's runner."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

from deployment.prepared import PreparedProgram

RUNNER = """\
import json, os, runpy, sys

loaded = "pulumi_aws.sns.topic" in sys.modules
given = {name: os.environ[name] for name in ("PULUMI_CONFIG", "PULUMI_CONFIG_SECRET_KEYS")}
runpy.run_path(sys.argv[-1])
print(json.dumps({"loaded": loaded, "arguments": sys.argv, **given}))
sys.exit(CODE)
"""
PROGRAM = """\
import signal
import pulumi_aws, own

signal.signal(signal.SIGINT, signal.SIG_DFL)  # only possible in the main thread
pulumi_aws.sns.Topic  # loaded on first use
"""


@pytest.fixture(autouse=True)
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runner on PATH that ends well. What a program prints is kept without this variable, too."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "pulumi-language-python-exec").write_text(RUNNER.replace("CODE", "0"))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "pulumi-language-python-exec"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a program."""
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "own.py").write_text("")
    return folder


def prepared(folder: Path) -> PreparedProgram:
    return PreparedProgram(Path(sys.executable), folder, dict(os.environ), folder / "files")


def run(folder: Path) -> Any:
    """Prepare a program, write it, and run it as the engine does."""
    (folder / "__main__.py").write_text("raise AssertionError")
    program = prepared(folder)
    with grpc.insecure_channel(program.address) as channel:
        (folder / "__main__.py").write_text(PROGRAM)
        request = language_pb2.RunRequest(
            project="p", stack="s", monitor_address="monitor", args=["engine"], parallel=4, pwd=str(folder),
            dryRun=True, config={"p:one": "1"}, configSecretKeys=["p:one"],
            info=language_pb2.ProgramInfo(root_directory="/r", program_directory=str(folder), entry_point="."),
        )  # fmt: skip
        answer = language_pb2_grpc.LanguageRuntimeStub(channel).Run(request, timeout=60)
    program.end()
    return answer


def test_it_runs_the_program_as_it_is_then_with_what_the_engine_gives(folder: Path, runner: Path) -> None:
    assert run(folder) == language_pb2.RunResponse()
    told = json.loads((folder / "files.log").read_text())
    assert told["arguments"] == [
        str(runner), "--monitor=monitor", "--engine=engine", "--project=p", "--stack=s", f"--pwd={folder}",
        "--dry_run=true", "--parallel=4", "--organization=organization", "--root_directory=/r", str(folder),
    ]  # fmt: skip
    assert json.loads(told["PULUMI_CONFIG"]) == {"p:one": "1"}
    assert json.loads(told["PULUMI_CONFIG_SECRET_KEYS"]) == ["p:one"]


def test_the_second_one_has_imported_the_packages_of_the_first_but_not_its_own_files(folder: Path) -> None:
    loaded = []
    for _ in range(2):
        run(folder)
        loaded.append(json.loads((folder / "files.log").read_text())["loaded"])
    assert loaded == [False, True]
    modules = (folder / "files.modules").read_text().split()
    assert "pulumi_aws.sns" in modules
    assert "pulumi_aws.sns.topic" not in modules  # its package imports it
    assert "own" not in modules


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("32", language_pb2.RunResponse(bail=True)),
        ("1", language_pb2.RunResponse(error="program exited with non-zero exit code: 1")),
    ],
)
def test_a_program_that_fails_is_told_as_the_language_host_tells_it(
    folder: Path, runner: Path, code: str, answer: Any
) -> None:
    runner.write_text(RUNNER.replace("CODE", code))
    assert run(folder) == answer


def test_it_ends_with_the_process_that_started_it(folder: Path) -> None:
    program = prepared(folder)
    assert program.address
    assert program.process.poll() is None
    assert program.process.stdin
    program.process.stdin.close()
    assert program.process.wait(30) == 0
    program.end()


def test_without_the_sdk_or_the_runner_nothing_is_prepared(folder: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    for python, environment in ((tmp_path / "venv" / "bin" / "python", dict(os.environ)), (Path(sys.executable), {})):
        program = PreparedProgram(python, folder, environment, folder / "files")
        assert program.address == ""
        program.end()
