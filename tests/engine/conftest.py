"""Fixtures of the engine tests: the real Pulumi engine, a real Docker engine, the local cloud."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from scripts.pictures import chromium
from tests.engine.clone import Clone
from tests.engine.program import Program


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Clone, str]]:
    """A clone in which `make demo` ran once, and its output."""
    clone = Clone.make_in(tmp_path_factory.mktemp("demo"))
    try:
        ran = clone.make("demo")
        assert ran.returncode == 0, ran.stdout
        clone.remember()
        # Calls endpoints of the clone as a program in its shell does.
        urllib.request.install_opener(clone.opener)
        yield clone, ran.stdout
    finally:
        clone.end()


@pytest.fixture(scope="module")
def clone(demo: tuple[Clone, str]) -> Iterator[Clone]:
    """The clone of `demo` for the tests of a file, with files and stacks as committed before the first one."""
    clone, _ = demo
    clone.reset()
    yield clone
    clone.leave()


@pytest.fixture
def deployed(updatable: Clone) -> Clone:
    """The clone of `demo`, with files and stacks as committed before the test."""
    updatable.reset()
    return updatable


@pytest.fixture
def updatable(demo: tuple[Clone, str]) -> Iterator[Clone]:
    """The clone of `demo`, with files as committed before the test, for tests that update the consumer first.

    Its stacks are as the test before left them, so that this takes one update less than `deployed`.
    """
    clone, _ = demo
    yield clone
    if clone.git_status():
        clone.leave()


@pytest.fixture
def program(clone: Clone) -> Iterator[Program]:
    """The clone of a file with the committed configuration. Deployments must not edit its files."""
    yield Program(clone)
    assert clone.git_status() == ""


@pytest.fixture(scope="module")
def stale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Clone, str]]:
    """A clone with files of an earlier version in `.local/`, after `make setup`, and the output of that."""
    clone = Clone.make_in(tmp_path_factory.mktemp("stale"))
    (clone.root / ".local" / "layout").write_text("0")
    stacks = clone.root / ".local" / "state" / ".pulumi" / "stacks" / "cross-account-ecr"
    stacks.mkdir(parents=True)
    (stacks / "registry.json").write_text("not of this version")
    try:
        ran = clone.make("setup")
        assert ran.returncode == 0, ran.stdout
        yield clone, ran.stdout
    finally:
        clone.end()


@pytest.fixture
def empty(stale: tuple[Clone, str]) -> Iterator[Clone]:
    """A clone with an empty local cloud, before and after the test."""
    clone, _ = stale
    yield clone
    clone.restore()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """Chromium, which opens addresses of the local run as a user's browser does."""
    driver = chromium(tmp_path)
    yield driver
    driver.quit()
