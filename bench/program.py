"""Measurements without the engine: the program's imports, the hash of a build context, a recorded set-up."""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

from bench.ground import CONSUMER, REGISTRY, Ground
from bench.measure import CommandFailed, Measure, Run, run, tell
from local.workspace import ROOT

STACKS = (REGISTRY, CONSUMER)
FILES, FOLDERS, FILE_BYTES = 10_000, 100, 100_000
LAST_STEP = "Local cloud"
SOURCE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
HASH = "from components.image.build import ImageBuild; build = ImageBuild(context='context'); "
# Run the program until its first resource.
PROGRAM = "import pulumi, runpy; pulumi.run = lambda program: None; runpy.run_path('__main__.py')"
# A lazily loaded module has another type until its first use. Reading an attribute would be the first use.
LOADED = "import sys; print(*(name for name, module in sys.modules.items() if type(module) is type(sys)))"


def imports(ground: Ground, rounds: int) -> list[Measure]:
    """Processor time of the program before its first resource, and the provider modules that it has loaded."""
    configurations = {stack: _configuration(ground, stack) for stack in STACKS}
    loaded = {stack: _loaded_modules(configurations[stack]) for stack in STACKS}
    alone = list[Run]()
    program: dict[str, list[Run]] = {stack: [] for stack in STACKS}
    least: dict[str, list[Run]] = {stack: [] for stack in STACKS}
    for number in range(rounds):
        tell(f"imports, round {number + 1} of {rounds}")
        alone.append(_python("import pulumi"))
        for stack in STACKS:
            program[stack].append(_python(PROGRAM, configurations[stack]))
            # An import does not load a lazy module.
            use = "".join(f"; hasattr({module}, 'any')" for module in loaded[stack])
            least[stack].append(_python(f"import {', '.join(['pulumi', *loaded[stack]])}{use}"))
    anchors = [one.processor for one in alone]
    measures = []
    for stack in STACKS:
        measures.append(
            Measure(
                name=f"import of the program, {stack}",
                against="import pulumi",
                goal=1.6,
                values=[one.processor for one in program[stack]],
                anchors=anchors,
                bound=[one.processor / anchor for one, anchor in zip(least[stack], anchors, strict=True)],
                note="processor time until `pulumi.run`; bound: pulumi and the provider modules that they load",
            )
        )
        more = sorted(loaded[stack] - _used_modules(ground, stack))
        measures.append(
            Measure(
                name=f"provider modules that are not used, {stack}",
                against="none",
                goal=0,
                values=[float(len(more))],
                unit="",
                note=", ".join(more),
            )
        )
    return measures


def _configuration(ground: Ground, stack: str) -> dict[str, str]:
    """A stack's configuration as the engine passes it to the program, and the values of its build arguments."""
    values = json.loads(ground.pulumi("config", "--json", "--stack", stack).output)
    # Without the engine, this is the project's name.
    texts = {key.replace("cross-account-ecr:", "project:"): value["value"] for key, value in values.items()}
    return {**ground.env, "PULUMI_CONFIG": json.dumps(texts), "LAMBDA_BASE_IMAGE": "any"}


def _loaded_modules(configuration: dict[str, str]) -> set[str]:
    """The modules of the SDK that the program's imports load."""
    loaded = _python(f"{PROGRAM}; {LOADED}", configuration).output
    return set(re.findall(r"\bpulumi_docker\b|\bpulumi_aws\.\w+(?=\._inputs\b)", loaded))


def _used_modules(ground: Ground, stack: str) -> set[str]:
    """The modules of the SDK for the resource types in a stack's state."""
    state = json.loads(ground.pulumi("stack", "export", "--stack", stack).output)
    modules = set[str]()
    for resource in state["deployment"]["resources"]:
        package, module, _ = resource["type"].split(":", 2)
        if package == "aws":
            folder = module.partition("/")[0]
            modules.add(f"pulumi_aws.{'lambda_' if folder == 'lambda' else folder}")
        elif package == "docker":
            modules.add("pulumi_docker")
    return modules


def _python(code: str, env: dict[str, str] | None = None) -> Run:
    return run([sys.executable, "-c", code], cwd=ROOT, env=env)


def hashing(rounds: int) -> list[Measure]:
    """The content tag of a context of 10,000 files, 1 GB in all."""
    ours, theirs, start = list[Run](), list[Run](), list[Run]()
    with tempfile.TemporaryDirectory(prefix="bench-context-") as name:
        folder = Path(name)
        tell(f"a context of {FILES} files, {FILES * FILE_BYTES / 1e9:.0f} GB")
        for number in range(FILES):
            file = folder / "context" / f"folder-{number % FOLDERS}" / f"file-{number}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(FILE_BYTES))
        (folder / "context" / "Dockerfile").write_text("FROM scratch\n")
        for number in range(rounds):
            tell(f"hashing, round {number + 1} of {rounds}")
            start.append(run([sys.executable, "-c", f"{SOURCE}{HASH}"], cwd=folder))
            ours.append(run([sys.executable, "-c", f"{SOURCE}{HASH}build.tag, build.fingerprint"], cwd=folder))
            theirs.append(run(["sh", "-c", "find context -type f -print0 | xargs -0 sha256sum"], cwd=folder))
    return [
        Measure(
            name="content hash of 10,000 files, 1 GB",
            against="sha256sum over the same files",
            goal=1.2,
            values=[one.seconds - begun.seconds for one, begun in zip(ours, start, strict=True)],
            anchors=[one.seconds for one in theirs],
            note="without the start of Python",
        )
    ]


def fresh(record: Path) -> list[Measure]:
    """The time of the set-up of `make demo` on a fresh machine, from its record.

    Args:
        record: `.local/logs/steps.jsonl` of the machine, after its first `make demo`.

    Raises:
        CommandFailed: the file is not such a record.
    """
    steps = [json.loads(line) for line in record.read_text().splitlines()]
    ends = [step["began"] + step["seconds"] for step in steps if step["title"] == LAST_STEP]
    if not ends:
        raise CommandFailed(f"{record} is not the record of a set-up: it has no step {LAST_STEP}")
    total = ends[0] - min(step["began"] for step in steps)
    name = "set-up of make demo on a fresh machine"
    return [Measure(name=name, against="none", goal=360, values=[total], note="recorded")]
