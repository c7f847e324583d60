"""Mutation tests: change the code in one place at a time, and list the changes that no unit test detects.

    make mutants
    make mutants ARGS="deployment/grants.py --sample 100"

The mutations are those of mutmut. Its own command line does not mutate tables and regular expressions, and cannot
sample.
"""

import argparse
import ast
import gc
import importlib
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from difflib import unified_diff
from multiprocessing import connection
from operator import itemgetter
from pathlib import Path
from typing import cast

import pytest
from coverage import Coverage, CoverageData
from libcst import CSTNode, Module
from mutmut.mutation.file_mutation import create_mutations

ROOT = Path(__file__).parents[1]
CODE = ("settings.py", "components/**/*.py", "stacks/*.py", "deployment/*.py", "policy_pack/rules.py", "plugin/*.py")
SEED = 15

# Imports that take most of the start of a test run.
SLOW = (
    *("hypothesis.strategies", "ministack.core.iam_evaluator", "pulumi", "pulumi.automation", "pulumi_aws"),
    *("pulumi_docker", "pulumi_policy", "pydantic", "yaml", "rich.table"),
)

# Mutants that change nothing for a user: module, line before, line after, and the reason. They are not counted.
EQUIVALENT = (
    (
        "components/image/build.py",
        "CHUNK_BYTES = 2**20",
        "CHUNK_BYTES = 2 * 20",
        "any chunk size gives the same hash",
    ),
    (
        "components/image/dockerfile.py",
        "return int(name) if int(name) < len(names) else -1",
        "return int(name) if int(name) < len(names) else -2",
        "callers compare with 0",
    ),
    (
        "components/image/dockerfile.py",
        r'ESCAPE = re.compile(r"#\s*escape\s*=\s*(\S)", re.IGNORECASE)',
        r'ESCAPE = re.compile(r"#\s*ESCAPE\s*=\s*(\S)", re.IGNORECASE)',
        "the case is ignored",
    ),
    (
        "components/model.py",
        "Location = tuple[str | int, ...]",
        "Location = None",
        "only annotations use it",
    ),
    (
        "components/model.py",
        'yield Problem(found["type"], context.get("text", ""), path, fields, owner, found["input"])',
        'yield Problem(found["type"], context.get("text", None), path, fields, owner, found["input"])',
        "only rules read the text, and each has one",
    ),
    (
        "deployment/deployment.py",
        'environment = {"PULUMI_CONFIG_PASSPHRASE": "unused", **stack.workspace.env_vars}',
        'environment = {"PULUMI_CONFIG_PASSPHRASE": "UNUSED", **stack.workspace.env_vars}',
        "any passphrase works",
    ),
    (
        "deployment/deployment.py",
        'file = Path(stack.workspace.work_dir, "state.json")',
        'file = Path(stack.workspace.work_dir, "XXstate.jsonXX")',
        "any name works",
    ),
    (
        "deployment/init.py",
        'images: ["ecr:CreateRepository", "ecr:SetRepositoryPolicy", "ecr:ListImages", *PUSH_ACTIONS],',
        'images: ["ecr:CreateRepository", "ECR:SETREPOSITORYPOLICY", "ecr:ListImages", *PUSH_ACTIONS],',
        "IAM ignores the case of actions",
    ),
    (
        "deployment/view.py",
        'BYTES = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}',
        'BYTES = {"b": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}',
        "an unknown unit is read as bytes",
    ),
    (
        "deployment/watch.py",
        "is_outdated: Callable[[], bool] = field(default=lambda: False, repr=False, compare=False)",
        "is_outdated: Callable[[], bool] = field(default=lambda: False, repr=None, compare=False)",
        "None is as false",
    ),
    (
        "deployment/workspace.py",
        'return UpdateSummary("", datetime.now(UTC), "", {}, {}, "")',
        'return UpdateSummary("", datetime.now(None), "", {}, {}, "")',
        "the SDK requires a summary; nothing reads it",
    ),
)

# A module, a node in it, and the possible replacements of that node.
Place = tuple[Module, CSTNode, list[CSTNode]]


@dataclass(frozen=True)
class Mutant:
    """A module with one change.

    Attributes:
        module: its path.
        text: the changed module.
        line: number of the first line that differs.
        before, after: that line.
        lines: those of the statement that is changed.
        is_imported: whether an import runs it, such as a table or the default of a parameter.
    """

    module: str
    text: str
    line: int
    before: str
    after: str
    lines: range
    is_imported: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line}\n    {self.before}\n    {self.after}"


def main() -> int:
    """Run the command line. Returns 1 if a module is below the goal."""
    parser = argparse.ArgumentParser(description="Mutation tests of the unit tests.")
    parser.add_argument("modules", nargs="*", help="paths of modules; default all")
    parser.add_argument("--sample", type=int, default=330, help="number of mutants over all modules (%(default)s)")
    parser.add_argument("--goal", type=int, default=85, help="required score of each module in percent (%(default)s)")
    parser.add_argument("--seconds", type=int, default=900, help="start no mutant after this time (%(default)s)")
    options = parser.parse_args()
    sizes = {module: size for pattern in CODE for module in map(str, Path().glob(pattern)) if (size := size_of(module))}
    chosen = [
        mutant
        for module in sorted(options.modules or sizes)
        for mutant in sample(module, max(5, options.sample * sizes[module] // sum(sizes.values())))
    ]
    for module, before, *_ in EQUIVALENT:
        if before not in map(str.strip, Path(module).read_text().splitlines()):
            sys.exit(f"EQUIVALENT: {module} has no line {before}")
    # Shuffled, so that a run that reaches its time limit has tested every module.
    random.Random(SEED).shuffle(chosen)  # noqa: S311  # a sample, not a secret
    return report(run(chosen, options.seconds), options.goal)


def size_of(module: str) -> int:
    """How much of a module can be changed, roughly: its expressions."""
    return sum(isinstance(node, ast.expr) for node in ast.walk(ast.parse(Path(module).read_text())))


def places(module: str) -> list[Place]:
    """The nodes of a module that have mutations."""
    tree, mutations, *_ = create_mutations(module, Path(module).read_text())
    changes: dict[CSTNode, list[CSTNode]] = defaultdict(list)
    for mutation in mutations:
        changes[mutation.original_node].append(mutation.mutated_node)
    return [(tree, before, after) for before, after in changes.items()]


def sample(module: str, size: int) -> Iterator[Mutant]:
    """A seeded choice of nodes, with one mutation each."""
    chance = random.Random(f"{SEED} {module}")  # noqa: S311
    code = Path(module).read_text().splitlines()
    statements, called = statements_of(Path(module)), lines_of_functions(Path(module))
    found = places(module)
    for tree, before, changes in chance.sample(found, min(size, len(found))):
        text = cast(Module, tree.deep_replace(before, chance.choice(changes))).code
        differ = list(unified_diff(code, text.splitlines(), n=0, lineterm=""))[2:]
        line = int(differ[0].split()[1].strip("-").partition(",")[0])
        removed, added = (next((each[1:].strip() for each in differ if each[0] == mark), "") for mark in "-+")
        mutant = Mutant(module, text, line, removed, added, statements[line], line not in called)
        if (module, removed, added) not in [entry[:3] for entry in EQUIVALENT]:
            yield mutant


def statements_of(file: Path) -> dict[int, range]:
    """The lines of the statement of each line; of one with others in it, those of its head."""
    found: dict[int, range] = {}
    # Outer ones come first.
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.stmt):
            inner = getattr(node, "body", None)
            last = inner[0].lineno - 1 if inner else node.end_lineno or node.lineno
            lines = range(node.lineno, max(last, node.lineno) + 1)
            found |= dict.fromkeys(lines, lines)
    return found


def lines_of_functions(file: Path) -> set[int]:
    """The lines in the bodies of functions."""
    nodes = ast.walk(ast.parse(file.read_text()))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {
        line for each in functions for line in range(each.body[0].lineno, (each.end_lineno or each.body[0].lineno) + 1)
    }


def run(mutants: list[Mutant], seconds: float) -> list[tuple[Mutant, bool]]:
    """Run the tests of each mutant, in a copy of the project for each processor. Yields the mutants that survived."""
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], check=True, capture_output=True, text=True)
    for name in SLOW:
        importlib.import_module(name)
    # What is imported stays; and what pytest compiles of the tests is kept for the next mutant.
    gc.freeze()
    sys.dont_write_bytecode = False
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        free = [Path(scratch, str(number)) for number in range(os.cpu_count() or 1)]
        for copy in free:
            for name in filter(os.path.isfile, files.stdout.splitlines()):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(name, copy / name)
            for command in (["init", "-q"], ["add", "."]):  # a test asks git for the project's files
                subprocess.run(["git", "-C", str(copy), *command], check=True)
        tests = sorted({test for mutant in mutants for test in tests_of(mutant.module)})
        process = start(free[0], tests, Recorder(Path(scratch, "coverage"), Path(scratch, "seconds")))
        process.join()
        if process.exitcode:
            sys.exit(f"{Path(f'{free[0]}.log').read_text()}\nThe tests fail without a mutation.")
        runs = Runs(Path(scratch, "coverage"), Path(scratch, "seconds"), free[0])
        end = time.monotonic() + seconds
        results: list[tuple[Mutant, bool]] = []
        running: dict[Path, tuple[Mutant, multiprocessing.Process, float]] = {}
        waiting = list(mutants)
        while running or (waiting and time.monotonic() < end):
            while free and waiting and time.monotonic() < end:
                mutant, copy = waiting.pop(), free.pop()
                chosen = runs.of(mutant, tests_of(mutant.module))
                if not chosen:
                    free.append(copy)
                    results.append((mutant, True))
                    print(f"\n{mutant}", end="", flush=True)
                    continue
                (copy / mutant.module).write_text(mutant.text)
                # Python reuses compiled files for a source of the same size and time.
                os.utime(copy / mutant.module, (len(waiting), len(waiting)))
                limit = 20 + 4 * sum(runs.seconds[test] for test in chosen)
                plugin = Chosen(chosen, set(runs.seconds) - set(chosen))
                running[copy] = mutant, start(copy, files_of(chosen), plugin), time.monotonic() + limit
            connection.wait([process.sentinel for _, process, _ in running.values()], timeout=1)
            for copy, (mutant, process, limit) in list(running.items()):
                if process.is_alive() and time.monotonic() < limit:
                    continue
                process.kill()
                process.join()
                shutil.copy2(mutant.module, copy / mutant.module)
                del running[copy]
                free.append(copy)
                results.append((mutant, process.exitcode == 0))
                print(f"\n{mutant}" if process.exitcode == 0 else ".", end="", flush=True)
        return results


class Recorder:
    """A plugin of pytest that writes which lines each test runs, and how long it takes."""

    # ruff: noqa: D102  # the names of hooks are pytest's

    def __init__(self, lines: Path, seconds: Path) -> None:
        self.file = seconds
        self.seconds: dict[str, float] = defaultdict(float)
        self.coverage = Coverage(str(lines), source=["."], config_file=False)

    def pytest_sessionstart(self) -> None:
        self.coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        self.coverage.save()
        self.file.write_text(json.dumps(self.seconds))


class Chosen:
    """A plugin of pytest that runs these tests only, in this order; and tests whose names a mutant has changed."""

    def __init__(self, tests: Sequence[str], others: Set[str]) -> None:
        self.place: dict[str, int | None] = dict.fromkeys(others) | {test: place for place, test in enumerate(tests, 1)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        places = [(self.place.get(item.nodeid, 0), item) for item in items]
        items[:] = [item for _, item in sorted((each for each in places if each[0] is not None), key=itemgetter(0))]


class Runs:
    """What `Recorder` has written.

    Attributes:
        seconds: of each test.
    """

    def __init__(self, lines: Path, seconds: Path, root: Path) -> None:
        self.seconds: dict[str, float] = json.loads(seconds.read_text())
        self._data = CoverageData(str(lines))
        self._data.read()
        self._root = root

    def of(self, mutant: Mutant, reaching: Set[str]) -> list[str]:
        """The tests for a mutant, those that take least first.

        They are those that run its statement, and then the others of their files: what a fixture runs for several tests
        counts as the first one's. What is run by an import, such as a table, may be used anywhere: of it all tests that
        reach the module, those that run something of it first.
        """
        by_line = self._data.contexts_by_lineno(str((self._root / mutant.module).resolve()))
        near = set().union(*(by_line.get(line, ()) for line in mutant.lines))
        files = {test.partition("::")[0] for test in near}
        if not near or "" in near or mutant.is_imported:
            near, files = set().union(*by_line.values()), set(reaching)
        tests = [test for test in self.seconds if test.partition("::")[0] in files]
        return sorted(tests, key=lambda test: (test not in near, self.seconds[test]))


def files_of(tests: Iterable[str]) -> list[str]:
    """The files of tests."""
    return sorted({test.partition("::")[0] for test in tests})


def start(copy: Path, tests: Iterable[str], plugin: object) -> multiprocessing.Process:
    """Start tests in a copy, in a process that has already imported the slow packages."""

    def child() -> None:
        os.chdir(copy)
        # The modules of the project are imported from the copy.
        sys.path[:] = [str(copy), *(each for each in sys.path if Path(each or ".").resolve() != ROOT)]
        log = os.open(f"{copy}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        # Do not wait for threads of the tests.
        options = ["-qx", "-W", "ignore:Module already imported:pytest.PytestWarning"]
        os._exit(pytest.main([*options, *tests], plugins=[plugin]))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    return cast(multiprocessing.Process, process)


def tests_of(module: str) -> set[str]:
    """The unit tests that reach a module by imports."""

    def reaches(file: str, seen: set[str]) -> bool:
        seen.add(file)
        return module in IMPORTS[file] or any(reaches(each, seen) for each in IMPORTS[file] & set(IMPORTS) - seen)

    tests = {test for test in IMPORTS if Path(test).name.startswith("test_") and reaches(test, set())}
    return tests or sys.exit(f"no unit test reaches {module}")


def imports(file: Path) -> set[str]:
    """The modules of the project that a file imports, by path."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {path(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [path(f"{node.module}.{alias.name}") for alias in node.names]
            found |= {path(node.module), *inner}
            package = Path(node.module.replace(".", "/"), "__init__.py")
            if package.is_file() and package != file and not all(inner):
                found |= imports(package)
    return found - {""}


def path(name: str) -> str:
    """The file of a module of the project; empty for other modules."""
    file = Path(name.replace(".", "/"))
    return next((str(each) for each in (file.with_suffix(".py"), file / "__init__.py") if each.is_file()), "")


def report(results: list[tuple[Mutant, bool]], goal: int) -> int:
    """Print a line for each module."""
    by_module: dict[str, list[bool]] = defaultdict(list)
    print()
    for mutant, survived in sorted(results, key=lambda result: result[0].module):
        by_module[mutant.module].append(not survived)
    by_module["all"] = [killed for each in list(by_module.values()) for killed in each]
    for module, killed in by_module.items():
        print(f"{module:<32} {sum(killed):>4} of {len(killed):>4} killed  {100 * sum(killed) // len(killed):>3} %")
    return int(any(100 * sum(killed) < goal * len(killed) for killed in by_module.values()))


IMPORTS = {str(file): imports(file) for pattern in (*CODE, "tests/unit/*.py") for file in Path().glob(pattern)}

if __name__ == "__main__":
    sys.exit(main())
