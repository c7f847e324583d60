"""Which Docker engine and which client a local run takes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from local import docker_engine, processes, steps
from local.workspace import LocalError

# A client that talks to the one engine in ENGINE, with a buildx plugin or of a version that has BuildKit inside.
CLIENT = """#!/bin/sh
case "$1 $2" in
  "version --format") [ "$DOCKER_HOST" = "$ENGINE" ] && echo 28.0 || {{ echo "Cannot connect" >&2; exit 1; }} ;;
  "buildx version") exit {buildx} ;;
  "--version "*) echo "Docker version {version}, build 0" ;;
  "context inspect") echo unix:///default.sock ;;
esac
"""
Install = Callable[..., Path]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Installs a client in a folder that comes behind those before on PATH."""
    monkeypatch.setattr(steps, "RECORD", tmp_path / "steps.jsonl")
    monkeypatch.setattr(processes, "RUN", tmp_path)  # no engine that runs here is seen, or stopped
    for name in ("BIN", "DOCKER_CONFIG", "RUNTIMES"):
        monkeypatch.setattr(docker_engine, name, tmp_path / name)
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ENGINE", "unix:///default.sock")
    docker_engine._first_answering.cache_clear()
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "timeout").symlink_to(str(shutil.which("timeout")))
    monkeypatch.setenv("PATH", str(tmp_path / "commands"))

    def install(folder: str, version: str, *, buildx: bool = False) -> Path:
        client = tmp_path / folder / "docker"
        client.parent.mkdir()
        client.write_text(CLIENT.format(version=version, buildx=0 if buildx else 1))
        client.chmod(0o755)
        monkeypatch.setenv("PATH", os.pathsep.join([os.environ["PATH"], str(client.parent)]))
        return client

    return install


def test_a_given_engine_that_does_not_answer_is_an_error_and_not_replaced(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("new", "28.2.2", buildx=True)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(LocalError, match=r"DOCKER_HOST=tcp://127.0.0.1:1 does not answer: Cannot connect\n.*unset"):
        docker_engine.engine()


def test_clones_share_the_engine_that_one_of_them_has_started(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("new", "28.2.2", buildx=True)
    other = docker_engine.RUNTIMES / "cross-account-ecr-other" / "docker.sock"
    other.parent.mkdir()
    other.touch()
    monkeypatch.setenv("ENGINE", f"unix://{other}")
    docker_engine.engine()
    assert docker_engine.host() == f"unix://{other}"
    assert not docker_engine.stop()


@pytest.mark.parametrize(("version", "buildx"), [("28.2.2", True), ("20.10.24+dfsg1", False)])
def test_the_first_client_is_taken_if_it_builds_with_buildkit(install: Install, version: str, buildx: bool) -> None:
    install("first", version, buildx=buildx)
    docker_engine.engine()
    assert not (docker_engine.BIN / "docker").is_symlink()


def test_another_client_goes_in_front_of_one_without_buildkit(install: Install) -> None:
    install("new", "28.2.2")
    old = install("old", "20.10.24+dfsg1")
    docker_engine.engine()
    assert (docker_engine.BIN / "docker").readlink() == old
    assert docker_engine.variables()["PATH"].startswith(str(docker_engine.BIN))


def test_without_a_client_that_builds_with_buildkit_the_error_names_the_packages(install: Install) -> None:
    install("new", "28.2.2")
    with pytest.raises(LocalError, match="docker-buildx"):
        docker_engine.engine()
