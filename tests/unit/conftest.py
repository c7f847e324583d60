"""Fixtures of the unit tests."""

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pulumi
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from components.image.manifest import RepositoryReader
from tests.unit import registered
from tests.unit import registry as loopback
from tests.unit.recorder import Recorder
from tests.unit.registered import Deployed

Run = Callable[[Callable[[], Awaitable[pulumi.Inputs]]], dict[str, Any]]


TEST_SECONDS = 120  # a test takes a few at most; this leaves room on a machine that does something else


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound each unit test."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


class Deploy(Protocol):
    """See `registered.deploy`."""

    def __call__(self, stack: str, **changed: Any) -> Deployed: ...


# The same inputs in every run; nothing is written but below .local.
set_hypothesis_home_dir(Path(__file__).parents[2] / ".local" / "hypothesis")
settings.register_profile(
    "repeatable",
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def outside_of_a_local_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same environment under `make test`, where a local run sets these variables, as under `make test-unit`."""
    for name in os.environ:
        if name.startswith(("AWS_", "DOCKER_", "LAMBDA_", "PULUMI_")):
            monkeypatch.delenv(name)


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


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Path]:
    """A folder with a small build context `app`, as the working directory."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY app.py /\n")
    (folder / "app.py").write_text("print('hello')\n")
    with contextlib.chdir(tmp_path):
        yield folder
