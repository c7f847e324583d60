"""`__main__.py` runs the stack that the configuration names, and nothing else."""

import atexit
import gc
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pulumi
import pytest

import settings
from settings import ConsumerSettings, RegistrySettings


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], list[Any]]]:
    """Run `__main__.py` with these settings. Gives the programs that it has handed to Pulumi."""
    programs: list[Any] = []
    monkeypatch.setattr(pulumi, "run", programs.append)
    monkeypatch.setattr(atexit, "register", lambda function: None)
    before = signal.getsignal(signal.SIGINT)

    def run(given: Any) -> list[Any]:
        monkeypatch.setattr(settings, "load", lambda config: given)
        runpy.run_path("__main__.py")
        return programs

    yield run
    gc.enable()
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("kind", "stack"), [(RegistrySettings, "registry"), (ConsumerSettings, "consumer")], ids=["registry", "consumer"]
)
def test_a_stack_deploys_its_settings(
    run: Callable[[Any], list[Any]], monkeypatch: pytest.MonkeyPatch, kind: Any, stack: str
) -> None:
    module = __import__(f"stacks.{stack}", fromlist=["deploy"])
    monkeypatch.setattr(module, "deploy", lambda given: given)
    given = kind.model_construct()
    [program] = run(given)
    assert program() is given


def test_a_stack_imports_only_its_own_module(run: Callable[[Any], list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "stacks"]:
        monkeypatch.delitem(sys.modules, name)
    run(RegistrySettings.model_construct())
    assert "stacks.registry" in sys.modules
    assert "stacks.consumer" not in sys.modules


def test_the_program_disables_garbage_collection_and_ends_without_a_traceback(run: Callable[[Any], list[Any]]) -> None:
    run(RegistrySettings.model_construct())
    assert not gc.isenabled()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL


def test_importing_the_program_loads_no_module_of_the_aws_sdk() -> None:
    # An annotation that is not quoted loads the module of its type, which takes longer than an empty program.
    loaded = "[name for name in sys.modules if re.fullmatch(r'pulumi_aws[.]\\w+[.]_inputs', name)]"
    program = f"import re, sys, settings, stacks.consumer, stacks.registry; print({loaded})"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_a_registry_stack_loads_no_docker_provider() -> None:
    program = "import sys, settings, stacks.registry; print('pulumi_docker' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
