"""Measures on the real engine, with a real Docker engine and the local cloud."""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.ground import CONSUMER, REGISTRY, Ground, installed
from bench.measure import CommandFailed, Measure, Run, busy, run, tell

SIZES = (1, 10, 50)
# Functions of the flat program with about as many resources as so many functions have with components.
AS_MANY = {1: 1, 10: 13, 50: 64}
# Whether plugins are installed, and the stack.
UNCHANGED_GOALS = {(True, REGISTRY): 1.2, (True, CONSUMER): 1.5, (False, REGISTRY): 1.5, (False, CONSUMER): 2.2}
MANY = [f"many-{number}" for number in range(10)]
# What each program with the Automation API does first: its imports, and `pulumi version`.
AUTOMATION = "from pulumi.automation import PulumiCommand; PulumiCommand()"
POLL_SECONDS = 0.01
ANSWER_SECONDS = 60


def unchanged(ground: Ground, rounds: int) -> list[Measure]:
    """`pulumi up` without changes: its time and calls, and the additional time of `make demo`."""
    ups, demo, asked = list[dict[str, Run]](), list[Run](), []
    for number in range(rounds):
        tell(f"no-op up and make demo, round {number + 1} of {rounds}")
        before = ground.calls()
        ups.append(_runs(ground.up))
        asked.append(ground.calls() - before)
        demo.append(run(["make", "demo"], cwd=ground.clone.root, env=ground.clone.env))
    measures = _against_empty("no-op up", ups)
    names = {"build": "builds", "push": "pushes", "UpdateFunctionCode": "calls of UpdateFunctionCode"}
    for call, what in names.items():
        counts = [float(calls[call]) for calls in asked]
        measures.append(Measure(name=f"{what} for unchanged content", against="none", goal=0, values=counts, unit=""))
    added = [
        whole.seconds - runs[REGISTRY].seconds - runs[CONSUMER].seconds for whole, runs in zip(demo, ups, strict=True)
    ]
    return [*measures, Measure(name="make demo, warm: time on top", against="sum of its two ups", goal=5, values=added)]


def preview(ground: Ground, rounds: int) -> list[Measure]:
    """`pulumi preview` of both stacks."""
    previews = list[dict[str, Run]]()
    for number in range(rounds):
        tell(f"preview, round {number + 1} of {rounds}")
        previews.append(_runs(ground.preview))
    return _against_empty("preview", previews)


def _runs(act: Callable[..., Run]) -> dict[str, Run]:
    """A run of an empty program, of each stack, and of a program with the stack's providers and nothing else."""
    runs = {"empty": act("empty", program="empty")}
    for stack in (REGISTRY, CONSUMER):
        runs[stack], runs[f"{stack} bound"] = act(stack), act(stack, program="providers")
    return runs


def _against_empty(what: str, rounds: list[dict[str, Run]]) -> list[Measure]:
    return [
        Measure(
            name=f"{what}, {stack}",
            against="an empty program",
            goal=UNCHANGED_GOALS[bool(installed()), stack],
            values=[runs[stack].seconds for runs in rounds],
            anchors=[runs["empty"].seconds for runs in rounds],
            bound=[runs[f"{stack} bound"].seconds / runs["empty"].seconds for runs in rounds],
            note="bound: a program with the stack's providers and nothing else",
        )
        for stack in (REGISTRY, CONSUMER)
    ]


def change(ground: Ground, rounds: int) -> list[Measure]:
    """The time from a changed line to its response, compared with the same by hand; and the bytes pushed."""
    ours, by_hand, bound = list[float](), list[float](), list[float]()
    pushed, needed, layers = list[float](), list[float](), list[float]()
    url, by_hand_url, hand = _by_hand(ground)
    for number in range(rounds):
        tell(f"code change, round {number + 1} of {rounds}")
        text = f"round {number}"
        empty = ground.up("empty", program="empty").seconds
        providers = ground.up(CONSUMER, program="providers").seconds
        edit(ground.clone.root / "app" / "app.py", text)
        before, uploads = ground.calls(), len(ground.uploads())
        began = time.monotonic()
        ground.up(CONSUMER)
        _until_answer(ground, url, text)
        ours.append(time.monotonic() - began - empty)
        asked = ground.calls() - before
        if not asked["build"] or asked["push"] != 1 or asked["manifest"] != 1 or asked["UpdateFunctionCode"] != 1:
            raise CommandFailed(f"Expected one build, push and update for a changed line; found: {dict(asked)}")
        manifest = _manifest(ground)
        sizes = {part["digest"]: part["size"] for part in (*manifest["layers"], manifest["config"])}
        itself = len(json.dumps(manifest))
        pushed.append(float(itself + sum(sizes[digest] for digest in ground.uploads()[uploads:])))
        layers.append(float(manifest["layers"][-1]["size"]))
        needed.append(layers[-1] + manifest["config"]["size"] + itself)
        began = time.monotonic()
        hand(text)
        _until_answer(ground, by_hand_url, text)
        by_hand.append(time.monotonic() - began)
        bound.append((by_hand[-1] + providers - empty) / by_hand[-1])
    watched = _watched(ground, rounds, url, by_hand_url, hand)
    ground.clone.restore()
    ground.up(CONSUMER)
    return [
        watched,
        Measure(
            name="code change until it answers",
            against="docker build, docker push, UpdateFunctionCode and waiting, by hand",
            goal=1.5,
            values=ours,
            anchors=by_hand,
            bound=bound,
            note="without the engine's time for an empty program; bound: by hand, and the start of the providers",
        ),
        Measure(
            name="bytes pushed for a changed line",
            against="the changed layer, and its configuration and manifest",
            goal=1.2,
            values=pushed,
            anchors=needed,
            unit="B",
            note=f"the layer alone has {statistics.median(layers):.0f} B",
        ),
    ]


def _watched(ground: Ground, rounds: int, url: str, by_hand_url: str, hand: Callable[[str], None]) -> Measure:
    """A saved line until it answers, under `python -m deployment watch`, against the same by hand."""
    ours, by_hand, bound = list[float](), list[float](), list[float]()
    command = [sys.executable, "-m", "deployment", "watch", "--no-registry"]
    with subprocess.Popen(
        command, cwd=ground.clone.root, env=ground.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:

        def until(text: str) -> None:
            lines = list[str]()
            while process.stdout and (line := process.stdout.readline()):
                lines.append(line)
                if text in line:
                    return
            raise CommandFailed(f"watch has ended:\n{''.join(lines)}")

        try:
            until("Watching")
            for number in range(rounds):
                tell(f"save under watch, round {number + 1} of {rounds}")
                text = f"save {number}"
                empty = ground.up("empty", program="empty").seconds
                providers = ground.up(CONSUMER, program="providers").seconds
                began = time.monotonic()
                edit(ground.clone.root / "app" / "app.py", text)
                # Polling the endpoint all the time would take a processor from the update.
                until("from save to answer")
                _until_answer(ground, url, text)
                ours.append(time.monotonic() - began - empty)
                until("Watching")
                began = time.monotonic()
                hand(text)
                _until_answer(ground, by_hand_url, text)
                by_hand.append(time.monotonic() - began)
                bound.append((by_hand[-1] + providers - empty) / by_hand[-1])
        finally:
            process.send_signal(signal.SIGINT)
    return Measure(
        name="save until it answers, watch",
        against="docker build, docker push, UpdateFunctionCode and waiting, by hand",
        goal=1.3,
        values=ours,
        anchors=by_hand,
        bound=bound,
        note="without the engine's time for an empty program; bound: by hand, and the start of the providers",
    )


def _by_hand(ground: Ground) -> tuple[str, str, Callable[[str], None]]:
    """The URLs of both functions, and a function that changes the flat program's function by hand."""
    ground.pulumi("stack", "init", "by-hand", program="flat")
    ground.up("by-hand", program="flat", config={"name": "by-hand"})
    outputs = ground.outputs("by-hand", program="flat")
    ground.clone.log_in_to_registry()
    client = ground.clone.client("consumer", "lambda")
    app = ground.folder / "by-hand"
    shutil.copytree(ground.clone.root / "app", app)

    def deploy(text: str) -> None:
        edit(app / "app.py", text)
        image = f"{outputs['repositoryUrl']}:{text.replace(' ', '-')}"
        build = ["docker", "build", "--platform=linux/amd64", "--tag", image]
        if "LAMBDA_BASE_IMAGE" in ground.env:
            build.append("--build-arg=LAMBDA_BASE_IMAGE")
        run([*build, app], cwd=app, env=ground.env)
        run(["docker", "push", image], cwd=app, env=ground.env)
        client.update_function_code(FunctionName=outputs["functionName"], ImageUri=image)
        client.get_waiter("function_updated_v2").wait(
            FunctionName=outputs["functionName"], WaiterConfig={"Delay": 1, "MaxAttempts": ANSWER_SECONDS}
        )

    return ground.clone.output(CONSUMER, "endpointUrl"), str(outputs["endpointUrl"]), deploy


def edit(file: Path, text: str) -> None:
    """Change the response in the code."""
    changed, count = re.subn(r'"message": "[^"]*"', f'"message": "{text}"', file.read_text())
    if count != 1:
        raise CommandFailed(f"{file} has no line to change")
    file.write_text(changed)


def _until_answer(ground: Ground, url: str, text: str) -> None:
    """Call until the changed response is returned."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while (answer := ground.clone.get_url(url)) != (200, {"message": text}):
        if time.monotonic() > deadline:
            raise CommandFailed(f"{url} still answers {answer}, not {text!r}")
        time.sleep(POLL_SECONDS)


def _manifest(ground: Ground) -> dict[str, Any]:
    """The manifest of the image that the consumer runs."""
    image = ground.clone.client("registry", "ecr").batch_get_image(
        repositoryName=ground.clone.output(REGISTRY, "repositoryName"),
        imageIds=[{"imageDigest": ground.clone.output(CONSUMER, "imageDigest")}],
    )
    return dict(json.loads(image["images"][0]["imageManifest"]))


FIRST_REGISTRY = """config:
  cross-account-ecr:stackType: registry
  cross-account-ecr:account: "111111111111"
  cross-account-ecr:region: us-east-1
  cross-account-ecr:profile: registry
  cross-account-ecr:repository: {name: first-stacks, protect: false, retainOnDelete: false, forceDelete: true}
  cross-account-ecr:consumers: [{account: "222222222222"}]
"""
FIRST_CONSUMER = """config:
  cross-account-ecr:stackType: consumer
  cross-account-ecr:account: "222222222222"
  cross-account-ecr:region: us-east-1
  cross-account-ecr:profile: consumer
  cross-account-ecr:registry: {stack: first-registry, profile: registry}
  cross-account-ecr:image: {context: app, args: {LAMBDA_BASE_IMAGE: null}}
  cross-account-ecr:function: {name: first-stacks}
  cross-account-ecr:api: {path: hello, public: true}
"""


def first(ground: Ground, rounds: int) -> list[Measure]:
    """First deployment of both stacks with cached image layers, compared with the flat program."""
    ours, flat, bound = list[float](), list[float](), list[float]()
    stacks = {"first-registry": FIRST_REGISTRY, "first-consumer": FIRST_CONSUMER}
    for stack, text in stacks.items():
        (ground.clone.root / f"Pulumi.{stack}.yaml").write_text(text)
        ground.pulumi("stack", "init", stack)
    ground.pulumi("stack", "init", "first", program="flat")
    for number in range(rounds):
        tell(f"first deployment, round {number + 1} of {rounds}")
        ours.append(sum(ground.up(stack).seconds for stack in stacks))
        flat.append(ground.up("first", program="flat", config={"name": "first-flat"}).seconds)
        second = ground.up(REGISTRY, program="providers").seconds
        bound.append((flat[-1] + second) / flat[-1])
        for stack in reversed(stacks):
            ground.pulumi("destroy", "--yes", "--skip-preview", "--stack", stack)
        ground.pulumi("destroy", "--yes", "--skip-preview", "--stack", "first", program="flat")
    for stack in stacks:
        (ground.clone.root / f"Pulumi.{stack}.yaml").unlink()
    return [
        Measure(
            name="first deployment of both stacks",
            against="the same resources in one flat program",
            goal=1.3,
            values=ours,
            anchors=flat,
            bound=bound,
            note="bound: the flat program, and a second run of the engine with its provider for the second stack",
        )
    ]


def together(ground: Ground, rounds: int) -> list[Measure]:
    """`python -m deployment` without changes: of both stacks and of ten consumers, compared with the CLI by hand."""
    for name in MANY:
        text = FIRST_CONSUMER.replace("first-registry", REGISTRY).replace("first-stacks", name)
        (ground.clone.root / f"Pulumi.{name}.yaml").write_text(text)

    def deployment(command: str, *options: str) -> float:
        whole = [sys.executable, "-m", "deployment", command, *options]
        return run(whole, cwd=ground.clone.root, env=ground.env).seconds

    many = ["--no-registry", *(f"--consumer={name}" for name in MANY)]
    deployment("up", *many)
    measures = []
    for command, by_hand in (("up", ground.up), ("preview", ground.preview)):
        both, ten = list[float](), list[float]()
        both_by_hand, slowest = list[float](), list[float]()
        both_bound, ten_bound = list[float](), list[float]()
        for number in range(rounds):
            tell(f"deployment {command}, round {number + 1} of {rounds}")
            both.append(deployment(command))
            both_by_hand.append(sum(by_hand(stack).seconds for stack in (REGISTRY, CONSUMER)))
            start = run([sys.executable, "-c", AUTOMATION], cwd=ground.clone.root, env=ground.env).seconds
            both_bound.append((both_by_hand[-1] + start) / both_by_hand[-1])
            ten.append(deployment(command, *many))
            before = busy()
            slowest.append(max(by_hand(name).seconds for name in MANY))
            ten_bound.append((busy() - before) / (os.cpu_count() or 1) / slowest[-1])
        measures += [
            Measure(
                name=f"deployment {command}, both stacks",
                against="the CLI, one after the other",
                goal=1.05,
                values=both,
                anchors=both_by_hand,
                bound=both_bound,
                note="bound: the CLI, and the start of Pulumi's Automation API",
            ),
            Measure(
                name=f"deployment {command}, ten consumers",
                against="the slowest of them with the CLI",
                goal=2,
                values=ten,
                anchors=slowest,
                bound=ten_bound,
                note="bound: the work of the processors while the ten run one by one, divided by their number",
            ),
        ]
    for name in MANY:
        (ground.clone.root / f"Pulumi.{name}.yaml").unlink()
    return measures


def growth(ground: Ground, rounds: int) -> list[Measure]:
    """Previews with more functions and consumers, compared with a flat program with the same number."""
    functions: dict[str, list[dict[int, Run]]] = {"composed": [], "flat": [], "as many": []}
    consumers: dict[str, list[dict[int, Run]]] = {"ours": [], "flat": []}
    for program in ("composed", "flat"):
        ground.pulumi("stack", "init", "growth", program=program)
    for size in SIZES:
        accounts = ", ".join(f'{{account: "{number:012}"}}' for number in range(1, size + 1))
        text = re.sub(r"consumers: .*", f"consumers: [{accounts}]", FIRST_REGISTRY)
        (ground.clone.root / f"Pulumi.growth-{size}.yaml").write_text(text)
        ground.pulumi("stack", "init", f"growth-{size}")
    for number in range(rounds):
        tell(f"growth, round {number + 1} of {rounds}")
        for runs in (*functions.values(), *consumers.values()):
            runs.append({})
        for size in SIZES:
            for runs, count in ((functions["flat"], size), (functions["as many"], AS_MANY[size])):
                many = {"name": "growth", "functions": str(count), "consumers": "1"}
                runs[-1][size] = ground.preview("growth", program="flat", config=many)
            many = {"functions": str(size)}
            functions["composed"][-1][size] = ground.preview("growth", program="composed", config=many)
            many = {"name": "growth", "functions": "0", "consumers": str(size)}
            consumers["flat"][-1][size] = ground.preview("growth", program="flat", config=many)
            consumers["ours"][-1][size] = ground.preview(f"growth-{size}")
    measures = [
        Measure(
            name=f"processor time for each additional resource, {small} to {large} functions",
            against="the flat program",
            goal=1.1,
            values=[_slope(runs, small, large) for runs in functions["composed"]],
            anchors=[_slope(runs, small, large) for runs in functions["flat"]],
            bound=[
                _slope(as_many, small, large) / _slope(flat, small, large)
                for as_many, flat in zip(functions["as many"], functions["flat"], strict=True)
            ],
            note="bound: the flat program with as many resources as the components have",
        )
        for small, large in ((1, 10), (10, 50))
    ]
    measures += [
        Measure(
            name=f"processor time with {size} consumers, divided by that with one",
            against="the flat program's",
            goal=1.1,
            values=[runs[size].processor / runs[1].processor for runs in consumers["ours"]],
            anchors=[runs[size].processor / runs[1].processor for runs in consumers["flat"]],
            unit="",
        )
        for size in SIZES[1:]
    ]
    memory = {"functions": (functions["composed"], functions["flat"]), "consumers": consumers.values()}
    return measures + [
        Measure(
            name=f"memory with 50 {what}",
            against="the flat program",
            goal=1.1,
            values=[runs[50].memory for runs in ours],
            anchors=[runs[50].memory for runs in flat],
            unit="MiB",
            note="of the largest process",
        )
        for what, (ours, flat) in memory.items()
    ]


def _slope(runs: dict[int, Run], small: int, large: int) -> float:
    """Processor seconds for each additional resource."""
    return (runs[large].processor - runs[small].processor) / (_resources(runs[large]) - _resources(runs[small]))


def _resources(preview: Run) -> int:
    found = re.search(r"\+ (\d+) to create", preview.output)
    if found is None:
        raise CommandFailed(f"a preview that creates nothing:\n{preview.output}")
    return int(found[1])
