"""Fixtures of the unit tests."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.image.manifest import RepositoryReader
from tests.unit.recorder import PROJECT, Recorder

Run = Callable[[Callable[[], Awaitable[pulumi.Inputs]]], dict[str, Any]]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def run(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a program against the recorder; gives its outputs, resolved."""
    monkeypatch.setattr(RepositoryReader, "get", lambda self, path: recorder.registry(path))
    # What an earlier test left unfinished belongs to a loop that is closed.
    pulumi.runtime.settings.SETTINGS.rpc_manager.clear()
    pulumi.runtime.settings.SETTINGS.outputs.clear()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_mocks(recorder, project=PROJECT, stack="consumer", organization="organization")

    def start(program: Callable[[], Awaitable[pulumi.Inputs]]) -> dict[str, Any]:
        resolved: dict[str, Any] = {}

        async def main() -> None:
            outputs = await program()
            resolved.update(await pulumi.Output.all(**outputs).future() or {})

        loop.run_until_complete(pulumi.runtime.stack.run_pulumi_func(main))
        return resolved

    yield start
    loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Path]:
    """A folder with a small build context `app`, as the working directory."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY app.py /\n")
    (folder / "app.py").write_text("print('hello')\n")
    with contextlib.chdir(tmp_path):
        yield folder
