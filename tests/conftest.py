"""What holds for all tests but those on the real engine: a limit of time, an environment, repeatable examples."""

import contextlib
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.internal.conjecture import providers

ENGINE = Path(__file__).parent / "engine"
TEST_SECONDS = 120  # a test takes a few at most; this leaves room on a machine that does something else

# The same inputs in every run; nothing is written but below .local.
set_hypothesis_home_dir(Path(__file__).parents[1] / ".local" / "hypothesis")
settings.register_profile(
    "repeatable",
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow],
)
# Others in every run: pytest tests/unit/test_properties.py --hypothesis-profile=thorough
settings.register_profile("thorough", settings.get_profile("repeatable"), derandomize=False, max_examples=100)
settings.load_profile("repeatable")
# Hypothesis also draws the constants of all modules that are imported, which differ from worker to worker. It has no
# option for this, so a private name is replaced; the assertion fails if the name moves.
assert callable(providers._get_local_constants)
providers._get_local_constants = providers.Constants

# Looking for garbage in what is imported, which stays, takes a third of the time of imports and of runs with mocks.
gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage in what tests create only, and seldom."""
    gc.freeze()
    gc.set_threshold(100_000)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound each test."""
    for item in items:
        if ENGINE not in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture(autouse=True)
def outside_of_a_local_run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same environment under `make test`, where a local run sets these variables, as under `make test-unit`."""
    if ENGINE in request.path.parents:
        return
    for name in os.environ:
        if name.startswith(("AWS_", "DOCKER_", "LAMBDA_", "PULUMI_")):
            monkeypatch.delenv(name)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Path]:
    """A folder with a small build context `app`, as the working directory."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY app.py /\n")
    (folder / "app.py").write_text("print('hello')\n")
    with contextlib.chdir(tmp_path):
        yield folder
