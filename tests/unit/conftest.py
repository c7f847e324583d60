"""Fixtures of the unit tests of the program."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import pulumi
import pytest

from components.image.manifest import RepositoryReader
from tests.unit import registered
from tests.unit import registry as loopback
from tests.unit.recorder import Recorder
from tests.unit.registered import Deployed

Run = Callable[[Callable[[], Awaitable[pulumi.Inputs]]], dict[str, Any]]


class Deploy(Protocol):
    """See `registered.deploy`."""

    def __call__(self, stack: str, **changed: Any) -> Deployed: ...


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """The providers' answers, and the registry's."""
    recorder = Recorder()
    monkeypatch.setattr(RepositoryReader, "get", lambda self, path: recorder.registry(path))
    return recorder


@pytest.fixture
def run(recorder: Recorder) -> Run:
    """Run a program against the recorder; gives its outputs, resolved."""
    return lambda program: registered.run_program(recorder, program).outputs


@pytest.fixture
def deploy(recorder: Recorder) -> Deploy:
    """Deploy a committed stack file with changes against the recorder."""
    return lambda stack, **changed: registered.deploy(recorder, stack, **changed)


@pytest.fixture
def registry() -> Iterator[loopback.Registry]:
    """A registry on loopback with one image."""
    with loopback.serving() as server:
        yield server
