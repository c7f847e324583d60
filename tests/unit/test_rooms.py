"""The program imports neither `local` nor `offline`, and `offline` nothing of `local`; no module is in a circle."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ("__main__.py", "settings.py", "components", "stacks", "deployment", "plugin", "policy_pack")


def modules(*rooms: str) -> dict[str, Path]:
    """The modules of folders and files, by name."""
    found = [
        path for room in rooms for path in ([ROOT / room] if (ROOT / room).is_file() else (ROOT / room).rglob("*.py"))
    ]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in found}


@cache
def imported(path: Path) -> tuple[str, ...]:
    """Every name that a module imports, inside of functions as well."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    ("rooms", "unknown"), [(PROGRAM, {"local", "offline"}), (("offline",), {"local"})], ids=["program", "offline"]
)
def test_a_room_does_without_those_above(rooms: tuple[str, ...], unknown: set[str]) -> None:
    names = {(module, name) for module, path in modules(*rooms).items() for name in imported(path)}
    assert len(names) > len(modules(*rooms))
    assert {(module, name) for module, name in names if name.split(".")[0] in unknown} == set()


@pytest.mark.parametrize(
    ("rooms", "module", "needed"),
    [
        (PROGRAM, "stacks.consumer", {"settings", "components.function"}),
        (("local", "offline"), "local.toolchain", {"local.steps", "local.docker_engine"}),
    ],
    ids=["program", "local run"],
)
def test_no_module_imports_itself_through_others(rooms: tuple[str, ...], module: str, needed: set[str]) -> None:
    paths = modules(*rooms)
    graph = {
        one: {
            found
            for name in imported(path)
            # `from package import module`, or `from module import name`.
            for found in (name if name in paths else name.rpartition(".")[0],)
            if found in paths and found != one
        }
        for one, path in paths.items()
    }
    assert needed <= graph[module]
    TopologicalSorter(graph).prepare()
