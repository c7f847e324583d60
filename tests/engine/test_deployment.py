"""`deployment/` on the real engine: order, events, errors, releases, state backends, comments, workflows."""

import asyncio
import collections
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import hypothesis
import pulumi
import pytest
import yaml
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

import settings
from deployment import (
    Backend,
    BuildError,
    Cancelled,
    Check,
    CheckFailed,
    ConfigurationError,
    ConflictError,
    CredentialsError,
    Deployment,
    DeploymentError,
    Event,
    Options,
    PolicyViolated,
    Progress,
    Step,
    TimedOut,
)
from scripts.permissions import policy
from tests.engine.clone import Clone, free_port
from tests.engine.logins import CONSUMER, REGISTRY, Logins, role_arn, trusts, trusts_workflow
from tests.engine.test_access import CALLER, Document, repository_policy

ALIAS = "aws:lambda/alias:Alias"
FUNCTION = "aws:lambda/function:Function"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
NAME = "cross-account-function"
STACKS = ("registry", "consumer")

# A unique number, to find the build among the machine's processes.
SLEEP = f"sleep 6{os.getpid()}"
SLOW = f"""\
ARG LAMBDA_BASE_IMAGE
FROM ${{LAMBDA_BASE_IMAGE}}
RUN {SLEEP}
"""
FAILING = """\
ARG LAMBDA_BASE_IMAGE
FROM ${LAMBDA_BASE_IMAGE}
RUN echo the sum is $((40 + 2)); false
"""


class Program:
    """The deployed clone, and deployments of it in this process.

    Attributes:
        clone: the clone with the program.
        environment: the environment of a shell in the local run.
        config: configuration of both stacks, initially as committed. If it is changed, it replaces the files.
    """

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        lines = clone.shell("env -0").stdout.split("\0")
        self.environment = dict(line.split("=", 1) for line in lines if "=" in line)
        self.config = {name: self.committed(name) for name in STACKS}

    def committed(self, stack: str) -> dict[str, Any]:
        """The configuration in a stack's file."""
        config = yaml.safe_load((self.clone.root / f"Pulumi.{stack}.yaml").read_text())["config"]
        return {key.partition(":")[2]: value for key, value in config.items()}

    def deployment(
        self, *, registry: str | None = None, consumers: tuple[str, ...] = ("consumer",), **options: Any
    ) -> Deployment:
        """A deployment, by default without the registry."""
        given = {name: options.pop(name) for name in ("on_event", "program") if name in options}
        environment = {**self.environment, **options.pop("environment", {})}
        return Deployment(
            self.clone.root, registry=registry, consumers=consumers, settings=self.config,
            options=Options(environment=environment, **options), **given,
        )  # fmt: skip

    def build(self, name: str, dockerfile: str | None = None, code: str | None = None) -> dict[str, Any]:
        """The configuration of an image with another Dockerfile or other code."""
        context = self.clone.root / ".local" / "contexts" / name
        shutil.copytree(self.clone.root / "app", context, dirs_exist_ok=True)
        if dockerfile:
            (context / "Dockerfile").write_text(dockerfile)
        if code:
            (context / "app.py").write_text(code)
        return {"context": str(context.relative_to(self.clone.root)), "args": {"LAMBDA_BASE_IMAGE": None}}

    def answering(self, message: str) -> dict[str, Any]:
        """The configuration of an image whose function returns a message."""
        code = (self.clone.root / "app" / "app.py").read_text()
        return self.build(message, code=code.replace("hello world!", message))

    def command(self, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m deployment` as a person does."""
        return subprocess.run(
            [sys.executable, "-m", "deployment", *arguments], cwd=self.clone.root, text=True, capture_output=True,
            env={**self.environment, **changed},
        )  # fmt: skip

    def image(self) -> str:
        """The digest of the image that the function runs."""
        function = self.clone.client("consumer", "lambda").get_function(FunctionName=NAME)
        return str(function["Code"]["ImageUri"]).partition("@")[2]

    def alias(self) -> tuple[str, dict[str, float]]:
        """The version of the alias, and other versions with a share of the calls."""
        alias = self.clone.client("consumer", "lambda").get_alias(FunctionName=NAME, Name="live")
        return alias["FunctionVersion"], alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})


@pytest.fixture
def program(clone: Clone) -> Iterator[Program]:
    """The clone with the committed configuration. Deployments must not edit its files."""
    yield Program(clone)
    assert clone.git_status() == ""


def answers(url: str, stop: threading.Event) -> collections.Counter[tuple[object, str]]:
    """The status and body of each response to a client that sends a request every 50 ms."""
    counted: collections.Counter[tuple[object, str]] = collections.Counter()
    while not stop.is_set():
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310
                counted[answer.status, answer.read().decode()] += 1
        except urllib.error.HTTPError as error:
            counted[error.code, ""] += 1
        except OSError as error:
            counted[str(error), ""] += 1
        stop.wait(0.05)
    return counted


# ---- both stacks in order


def test_the_registry_comes_first_its_events_are_typed_and_nothing_changes(program: Program) -> None:
    seen: list[Event] = []
    with program.deployment(registry="registry", on_event=seen.append) as deployment:
        results = deployment.preview()
    assert list(results) == ["registry", "consumer"]
    assert [result.changes for result in results.values()] == [{}, {}]
    stacks = [event.stack for event in seen]
    assert stacks == sorted(stacks, key=STACKS.index)
    functions = [event for event in seen if isinstance(event, Step) and event.type == FUNCTION]
    assert {(step.operation, step.state, step.name) for step in functions} == {("same", "planned", "function")}
    assert results["consumer"].outputs["imageDigest"] == program.image()
    assert results["consumer"].log.read_text()


def test_an_inline_program_is_run_in_this_process(program: Program) -> None:
    ran_in: list[int] = []

    def inline() -> None:
        ran_in.append(os.getpid())
        # Imported here, because the modules of a program import what exists only while a program runs.
        from stacks import registry

        loaded = settings.load(pulumi.Config())
        assert isinstance(loaded, settings.RegistrySettings)
        pulumi.run(lambda: registry.deploy(loaded))

    with program.deployment(registry="registry", consumers=(), program=inline) as deployment:
        results = deployment.preview()
    assert results["registry"].changes == {}
    assert results["registry"].outputs["repositoryName"] == NAME
    assert ran_in == [os.getpid()]


def test_deployments_in_threads_of_one_process_do_not_mix(program: Program) -> None:
    """Each has its own events, environment and configuration, and both run at the same time."""
    together = threading.Barrier(2, timeout=120)

    def deploy(memory: int, mark: str) -> tuple[set[int], str]:
        seen: list[Step] = []
        met = threading.Event()

        def on_event(event: Event) -> None:
            if not met.is_set():
                met.set()
                together.wait()
            if isinstance(event, Step) and event.type == FUNCTION:
                seen.append(event)

        mine = Program(program.clone)
        mine.config["consumer"]["function"]["memory"] = memory
        mine.config["consumer"]["image"]["args"]["MARK"] = None
        with mine.deployment(on_event=on_event, environment={"MARK": mark}) as deployment:
            result = deployment.preview()["consumer"]
        return {step.new["memorySize"] for step in seen}, result.outputs["imageTag"]

    async def both() -> list[tuple[set[int], str]]:
        return await asyncio.gather(
            asyncio.to_thread(deploy, 256, "one"), asyncio.to_thread(deploy, 512, "two")
        )  # fmt: skip

    (first, one), (second, two) = asyncio.run(both())
    assert (first, second) == ({256}, {512})
    assert one != two


def test_consumers_go_side_by_side(program: Program) -> None:
    """A second consumer runs the image of the first. It is promoted, rolled back and destroyed alone."""
    second = {**program.committed("consumer"), "image": {"promote": "consumer"}}
    program.config["production"] = {**second, "function": {**second["function"], "name": "production"}}
    seen: list[str] = []
    with program.deployment(
        consumers=("consumer", "production"), on_event=lambda event: seen.append(event.stack)
    ) as deployment:
        results = deployment.up()
        assert {"consumer", "production"} == set(results)
        assert seen.index("production") < len(seen) - 1 - seen[::-1].index("consumer")
        assert seen.index("consumer") < len(seen) - 1 - seen[::-1].index("production")
        first = results["production"].outputs["imageDigest"]
        assert first == results["consumer"].outputs["imageDigest"]

        program.config["consumer"]["image"] = program.answering("second")
        other = deployment.sync(["consumer"])["consumer"].outputs["imageDigest"]
        assert deployment.promote("consumer", "production").outputs["imageDigest"] == other
        assert deployment.rollback("production").outputs["imageDigest"] == first

    with program.deployment(consumers=("production",)) as deployment:
        assert deployment.destroy()["production"].changes["delete"] > 10
        assert not deployment.status()["production"].deployed


# ---- what can go wrong


def test_a_refused_configuration_is_typed_and_nothing_is_made(program: Program) -> None:
    program.config["consumer"]["function"]["memory"] = 1
    with program.deployment() as deployment, pytest.raises(ConfigurationError, match="function.memory") as refused:
        deployment.up()
    assert refused.value.stack == "consumer"
    assert refused.value.outcomes == {"consumer": refused.value}
    assert "nothing was created" in refused.value.hint


def test_missing_credentials_are_typed(program: Program) -> None:
    nothing = {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    with program.deployment(environment=nothing) as deployment, pytest.raises(CredentialsError) as refused:
        deployment.preview()
    assert refused.value.stack == "consumer"
    assert "profile" in refused.value.hint


def test_a_build_that_fails_is_typed_and_callers_notice_nothing(program: Program) -> None:
    program.config["consumer"]["image"] = program.build("failing", FAILING)
    running = program.image()
    with program.deployment() as deployment, pytest.raises(BuildError, match="the sum is 42") as failed:
        deployment.up()
    assert "docker:index/image:Image" in failed.value.urn
    assert program.image() == running


def test_a_violation_of_a_policy_pack_is_typed_and_told_with_its_rule(program: Program) -> None:
    program.config["registry"]["repository"]["scanOnPush"] = False
    packs = [program.clone.root / "policy_pack"]
    with (
        program.deployment(registry="registry", consumers=(), policy_packs=packs) as deployment,
        pytest.raises(PolicyViolated, match="repository-scan-on-push") as violated,
    ):
        deployment.preview()
    assert "aws:ecr/repository:Repository" in violated.value.urn


def test_without_docker_a_preview_says_how_to_go_on_and_does(program: Program) -> None:
    nowhere = {"DOCKER_HOST": "unix:///nowhere.sock"}
    program.config["consumer"]["image"] = program.answering("unbuilt")
    program.config["consumer"]["function"]["memory"] = 256
    with program.deployment(environment=nowhere) as deployment:
        with pytest.raises(BuildError, match="docker daemon") as failed:
            deployment.preview()
        assert "--no-build" in failed.value.hint
        result = deployment.preview(build=False)["consumer"]
    assert [step.type for step in result.changed if step.type.startswith("aws:")] == [FUNCTION]


def test_a_preview_that_may_not_pull_says_so_once_and_an_update_is_refused(program: Program) -> None:
    """A role for reading is not always one of the roles that the registry lets pull."""

    def only_a_role(policy: Document) -> None:
        (statement,) = [statement for statement in policy["Statement"] if statement["Sid"] == CALLER]
        statement["Principal"] = {"AWS": role_arn(CONSUMER, "deployer")}

    with repository_policy(program.clone, only_a_role), program.deployment() as deployment:
        result = deployment.preview()["consumer"]
        assert sum("may not pull from" in line.text for line in result.diagnostics) == 1
        assert result.changes == {}
        with pytest.raises(ConfigurationError, match="may not pull"):
            deployment.up()


def until_it_builds(act: Callable[[], object]) -> Callable[[Event], None]:
    """An event listener that calls a function once, when the slow build starts."""
    done = threading.Event()

    def on_event(event: Event) -> None:
        if isinstance(event, Progress) and SLEEP in event.text and not done.is_set():
            done.set()
            threading.Thread(target=act).start()

    return on_event


def builds() -> list[str]:
    """The processes of the slow build in this machine's Docker engine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            found += [line] if line.startswith(SLEEP) else []
    return found


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited for {seconds} s"
        time.sleep(0.1)


def test_a_cancelled_or_timed_out_operation_ends_soon_and_the_next_one_continues(program: Program) -> None:
    """The docker provider does not end a build on request, and would push the image afterwards."""
    program.config["consumer"]["image"] = program.build("slow", SLOW)
    ecr = program.clone.client("registry", "ecr")
    pushed = len(ecr.describe_images(repositoryName=NAME)["imageDetails"])
    asked: list[float] = []

    def cancel() -> None:
        asked.append(time.monotonic())
        deployment.cancel()

    with program.deployment(on_event=until_it_builds(cancel)) as deployment:
        with pytest.raises(Cancelled):
            deployment.up()
        assert time.monotonic() - asked[0] < 30
        with pytest.raises(Cancelled):
            deployment.preview()
    until(lambda: not builds(), 20)
    with program.deployment() as deployment:
        assert deployment.status()["consumer"].pending == ()
    with program.deployment(timeout=15) as deployment:
        began = time.monotonic()
        with pytest.raises(TimedOut, match="15 s"):
            deployment.up()
        assert time.monotonic() - began < 60
        assert deployment.status()["consumer"].pending == ()
        program.config["consumer"]["image"] = program.committed("consumer")["image"]
    until(lambda: not builds(), 20)
    assert len(ecr.describe_images(repositoryName=NAME)["imageDetails"]) == pushed
    with program.deployment() as deployment:
        deployment.up()


def test_a_push_that_is_cancelled_ends_soon_and_is_done_by_the_next_update(program: Program) -> None:
    program.config["consumer"]["image"] = program.answering(f"pushed {os.getpid()}")
    with program.clone.faults({"method": "POST", "path": "/blobs/uploads/", "hold": True}):
        with program.deployment() as deployment:
            ended: list[BaseException] = []

            def deploy() -> None:
                try:
                    deployment.up()
                except DeploymentError as error:
                    ended.append(error)

            thread = threading.Thread(target=deploy)
            thread.start()
            until(lambda: program.clone.control("GET") == [1])
            deployment.cancel()
            thread.join(30)
            assert not thread.is_alive()
        assert [type(error) for error in ended] == [Cancelled]
        pushed = program.clone.client("registry", "ecr").describe_images(repositoryName=NAME)["imageDetails"]
    again = program.clone.client("registry", "ecr").describe_images(repositoryName=NAME)["imageDetails"]
    assert len(again) == len(pushed)
    with program.deployment() as deployment:
        assert deployment.status()["consumer"].pending == ()
        assert deployment.up()["consumer"].outputs["imageDigest"] == program.image()


def test_what_a_killed_run_leaves_is_found_named_and_repaired(program: Program) -> None:
    program.config["consumer"]["image"] = program.build("slow", SLOW)
    killed: list[int] = []

    def kill() -> None:
        for process in list(deployment._command._running):
            killed.append(process.pid)
            process.send_signal(signal.SIGKILL)

    with program.deployment(on_event=until_it_builds(kill)) as deployment, pytest.raises(DeploymentError):
        deployment.up()
    program.config["consumer"]["image"] = program.committed("consumer")["image"]
    shown = program.command("status", "--no-registry")
    assert shown.returncode == 10
    assert "docker:index/image:Image" in shown.stdout
    with program.deployment() as deployment:
        with pytest.raises(ConflictError) as conflict:
            deployment.up()
        assert f"process {killed[0]}," in conflict.value.holder
        deployment.repair("consumer")
        assert deployment.status()["consumer"].pending == ()
        deployment.up()


def test_drift_is_found_and_the_state_stays_until_it_is_refreshed(program: Program) -> None:
    ecr, lambda_ = program.clone.client("registry", "ecr"), program.clone.client("consumer", "lambda")
    policy = json.loads(ecr.get_repository_policy(repositoryName=NAME)["policyText"])
    ecr.delete_repository_policy(repositoryName=NAME)
    lambda_.update_function_configuration(FunctionName=NAME, MemorySize=256)
    states = [program.clone.state(stack) for stack in STACKS]
    shown = program.command("drift", "--json")
    assert shown.returncode == 8, shown.stderr
    stacks = json.loads(shown.stdout)["stacks"]
    assert [stacks[stack]["changes"] for stack in STACKS] == [{"delete": 1}, {"update": 1}]
    assert [program.clone.state(stack) for stack in STACKS] == states
    with program.deployment(registry="registry") as deployment:
        assert [result.changes for result in deployment.refresh().values()] == [{"delete": 1}, {"update": 1}]
        assert [result.changes for result in deployment.up().values()] == [{"create": 1}, {"update": 1}]
    assert json.loads(ecr.get_repository_policy(repositoryName=NAME)["policyText"]) == policy
    assert lambda_.get_function_configuration(FunctionName=NAME)["MemorySize"] == 128
    with program.deployment() as deployment:
        assert deployment.drift()["consumer"].changes == {}


# ---- releases


def test_a_release_shifts_calls_in_shares_and_rolls_back_without_a_failed_call(
    program: Program,
) -> None:
    """A client sends a request every 50 ms while a broken image is refused, and a good one is released and reverted."""
    program.config["consumer"]["function"]["release"] = {"testEvent": {"httpMethod": "GET"}}
    seen: list[tuple[str, dict[str, float]]] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Step) and event.type == ALIAS and event.state == "done" and event.operation == "update":
            seen.append(program.alias())

    with program.deployment(on_event=on_event) as deployment:
        outputs = deployment.up()["consumer"].outputs
        first, url = outputs["imageDigest"], outputs["endpointUrl"]
        stop = threading.Event()
        counted: list[collections.Counter[tuple[object, str]]] = []
        client = threading.Thread(target=lambda: counted.append(answers(url, stop)))
        client.start()
        try:
            broken = "def handler(event, context):\n    raise RuntimeError('broken')\n"
            program.config["consumer"]["image"] = program.build("broken", code=broken)
            with pytest.raises(CheckFailed, match="broken.* runs .* again") as failed:
                deployment.up(check=Check())
            assert "aws:lambda/invocation:Invocation" in failed.value.urn
            assert (failed.value.exit_code, failed.value.rolled_back_to, program.image()) == (6, first, first)

            program.config["consumer"]["image"] = program.answering("canary")
            seen.clear()
            before, _ = program.alias()
            outputs = deployment.up(check=Check(answers=3), shares=[0.1])["consumer"].outputs
            assert outputs["imageDigest"] == program.image() != first
            new = outputs["functionVersion"]
            assert seen == [(new, {before: 0.9}), (new, {})]
            assert program.clone.get_url(url)[1] == {"message": "canary"}

            assert deployment.rollback("consumer").outputs["imageDigest"] == first
        finally:
            stop.set()
            client.join()
    assert {status for status, _ in counted[0]} == {200}
    # The client called the image before the release and the released one; the broken one never answered.
    assert len(counted[0]) == 2
    print(f"{counted[0].total()} answers, all 200")


def test_an_image_that_fails_its_check_is_rolled_back(program: Program) -> None:
    running = program.image()
    code = "def handler(event, context):\n    return {'statusCode': 500, 'body': 'not well'}\n"
    program.config["consumer"]["image"] = program.build("unwell", code=code)
    with program.deployment() as deployment, pytest.raises(CheckFailed, match="500 not well") as failed:
        deployment.up(check=Check(seconds=3))
    assert failed.value.image not in ("", running)
    assert (failed.value.rolled_back_to, program.image()) == (running, running)


@pytest.mark.parametrize(
    ("change", "check", "shares", "expected"),
    [
        ({}, None, [0.1], "no function.release"),
        ({"function": {"release": {}}}, None, [0.5, 0.1], "rising numbers"),
        ({"api": {"public": False}}, Check(), [], "not public"),
    ],
    ids=["no release", "falling shares", "private"],
)
def test_an_unsupported_release_is_refused_before_any_change(
    program: Program, change: dict[str, Any], check: Check | None, shares: list[float], expected: str
) -> None:
    program.config["consumer"].update(change)
    seen: list[Event] = []
    with (
        program.deployment(registry="registry", on_event=seen.append) as deployment,
        pytest.raises(ConfigurationError, match=expected) as refused,
    ):
        deployment.up(check=check, shares=shares)
    assert refused.value.hint
    assert seen == []


# ---- the stack file


NUMBERS = ["012345678989", "12e9", "0o17", "0x1f", "1_000", "1.0", "-0", ".5", "12345678901234567890", "1:30"]
WORDS = ["yes", "no", "on", "~", "null", "Null", "true", "TRUE", "2001-01-01", "=", "<<", "y"]
SPECIAL = [*NUMBERS, *WORDS, "''", *(f"'{text}'" for text in [*NUMBERS, *WORDS])]
SCALARS = st.one_of(
    st.sampled_from(SPECIAL),
    st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"])).map(
        lambda text: json.dumps(text, ensure_ascii=False)
    ),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
)
VALUES = st.recursive(
    SCALARS,
    lambda value: st.one_of(
        st.lists(value, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.from_regex(r"[a-zA-Z0-9]{1,8}", fullmatch=True), value, max_size=4).map(
            lambda items: "{" + ", ".join(f'"{key}": {item}' for key, item in items.items()) + "}"
        ),
    ),
    max_leaves=6,
)
SHOWS_ITS_CONFIGURATION = """\
import json
import os
import pulumi
pulumi.export("seen", json.dumps(json.loads(os.environ["PULUMI_CONFIG"]), sort_keys=True))
"""


@hypothesis.settings(
    max_examples=1,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.generate],
)
# The simplest example, with which Hypothesis starts, has a hundred equal values.
@given(values=st.lists(VALUES, min_size=100, max_size=100).filter(lambda values: len({*values}) > 1))
def test_the_program_gets_the_same_configuration_from_pulumi_and_from_deployment(
    clone: Clone, values: list[str]
) -> None:
    """For any YAML value, also if a run changes another value."""
    program = Program(clone)
    with tempfile.TemporaryDirectory(dir=clone.root / ".local") as name:
        folder = Path(name)
        project = f"yaml-{folder.name.lower()}"
        (folder / "Pulumi.yaml").write_text(f"name: {project}\nruntime: python\n")
        (folder / "__main__.py").write_text(SHOWS_ITS_CONFIGURATION)
        lines = [f"  {project}:v{number}: {value}" for number, value in enumerate([*SPECIAL, *values])]
        text = "\n".join(["config:", f"  {project}:image: {{context: app}}", *lines, ""])
        (folder / "Pulumi.one.yaml").write_text(text)
        environment = {**os.environ, **program.environment, "PULUMI_BACKEND_URL": f"file://{folder}"}
        options = Options(environment=environment)
        with Deployment(folder, registry=None, consumers=["one"], options=options) as deployment:
            seen = json.loads(deployment.up()["one"].outputs["seen"])
            changed = json.loads(deployment._up("one", image={"digest": "sha256:1"}).outputs["seen"])
        assert (folder / "Pulumi.one.yaml").read_text() == text
        cli = shutil.which("pulumi", path=program.environment["PATH"])
        up = [cli, "-C", folder, "up", "--yes", "--skip-preview", "-s", "one"]
        subprocess.run(up, env=environment, capture_output=True, check=True)
        state = json.loads((folder / ".pulumi" / "stacks" / project / "one.json").read_text())
        (stack,) = state["checkpoint"]["latest"]["resources"]
        expected = json.loads(stack["outputs"]["seen"])
    assert seen == expected
    assert json.loads(changed.pop(f"{project}:image")) == {"digest": "sha256:1"}
    expected.pop(f"{project}:image")
    assert changed == expected


# ---- state that a team shares


@pytest.fixture
def storage() -> Iterator[str]:
    """The address of a separate emulator with S3 and KMS, which the local cloud lacks."""
    port = free_port()
    environment = {**os.environ, "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0"}
    with subprocess.Popen(
        [sys.executable, "-m", "ministack"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            until(lambda: is_open(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_state_in_s3_is_locked_and_its_secrets_stay_with_the_key_they_were_made_with(
    program: Program, storage: str
) -> None:
    login = {"aws_access_key_id": "111111111111", "aws_secret_access_key": "unchecked", "region_name": "us-east-1"}
    s3, kms = (boto3.client(service, endpoint_url=storage, **login) for service in ("s3", "kms"))
    s3.create_bucket(Bucket="state")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    where = f"region=us-east-1&profile=registry&endpoint={storage}"
    url, provider = f"s3://state?{where}&s3ForcePathStyle=true", f"awskms:///{key}?{where}"
    loose = {"protect": False, "retainOnDelete": False, "forceDelete": True}
    program.config["registry"]["repository"] = {"name": "shared", **loose}
    program.config["consumer"]["function"] = {"name": "shared"}
    second: list[subprocess.CompletedProcess[str]] = []

    def on_event(event: Event) -> None:
        if not second and isinstance(event, Step) and event.state == "started":
            second.append(program.command("up", "--no-consumers", "--backend", url))

    def provider_of_state() -> str:
        name = ".pulumi/stacks/cross-account-ecr/registry.json"
        state = json.load(s3.get_object(Bucket="state", Key=name)["Body"])
        return str(state["checkpoint"]["latest"]["secrets_providers"]["state"]["url"])

    new = Backend(url=url, secrets_provider=provider)
    with program.deployment(registry="registry", backend=new, on_event=on_event) as deployment:
        assert [result.changes["create"] > 1 for result in deployment.up().values()] == [True, True]
    assert provider_of_state() == provider
    [refused] = second
    assert refused.returncode == 4
    assert "another update holds the stack registry: " in refused.stderr
    order: list[str] = []
    backend = Backend(url=url)
    with program.deployment(
        registry="registry", backend=backend, on_event=lambda event: order.append(event.stack)
    ) as deployment:
        assert deployment.sync(["registry"])["registry"].changes == {}
        assert provider_of_state() == provider
        order.clear()
        assert list(deployment.destroy()) == ["consumer", "registry"]
        assert order == sorted(order)
        assert [stack.deployed for stack in deployment.status().values()] == [False, False]


# ---- the command line, the comment, the workflows


def test_status_names_a_running_update_and_ctrl_c_ends_it_and_saves_the_state(program: Program) -> None:
    program.build("slow", SLOW)
    program.clone.edit("Pulumi.consumer.yaml", "{context: app,", "{context: .local/contexts/slow,")
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "deployment", "up", "--no-registry"], cwd=program.clone.root, text=True,
            env=program.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        ) as process:  # fmt: skip
            until(builds)
            meanwhile = program.command("status", "--no-registry")
            os.killpg(process.pid, signal.SIGINT)
            shown = process.communicate()[0]
    finally:
        program.clone.restore()
    assert meanwhile.returncode == 0, meanwhile.stdout
    assert re.search(r"^  updating  \S+@\S+, process \d+, since \S+$", meanwhile.stdout, re.MULTILINE)
    assert "repair" not in meanwhile.stdout
    assert process.returncode == 130
    assert "Interrupted; waiting for consumer: " in shown
    assert "consumer: consumer was cancelled" in shown
    assert "Traceback" not in shown
    assert program.command("status", "--no-registry").returncode == 0


def test_init_checks_whose_credentials_they_are(program: Program) -> None:
    accounts = ("--registry-account", "111111111111", "--consumer-account", "222222222222", "--region", "us-east-1")
    given = ("init", "--dry-run", *accounts, "--consumer-profile", "consumer", "--registry-profile")
    shown = program.command(*given, "registry")
    assert shown.returncode == 0, shown.stderr
    assert "registry: arn:aws:iam::111111111111:root: allowed: ecr:CreateRepository" in shown.stderr
    assert shown.stdout.startswith("# Pulumi.registry.yaml\nconfig:\n")
    shown = program.command(*given, "consumer")
    assert (shown.returncode, shown.stdout) == (3, "")
    assert "registry: the credentials belong to account 222222222222, not to 111111111111" in shown.stderr


def test_a_save_ends_the_check_of_a_broken_one_and_is_deployed_and_answers(program: Program) -> None:
    app = program.clone.root / "app" / "app.py"
    good = app.read_text()

    def answering(message: str) -> str:
        return good.replace("hello world!", message)

    with subprocess.Popen(
        [sys.executable, "-m", "deployment", "watch", "--no-registry", "--check-seconds", "600"], text=True,
        cwd=program.clone.root, env=program.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip

        def until_it_watches() -> str:
            lines = []
            while line := process.stdout.readline() if process.stdout else "":
                lines.append(line)
                if line.startswith("Watching"):
                    return "".join(lines)
            raise AssertionError("".join(lines))

        try:
            until_it_watches()
            (app.parent / "notes.md").write_text("excluded by .dockerignore")
            app.write_text(answering("broken").replace("def handler", "def handler("))
            deadline = time.monotonic() + 60
            while program.clone.get()[0] != 502:
                assert time.monotonic() < deadline
            app.write_text(answering("mended"))
            shown = until_it_watches()
            assert re.search(r"^app/app.py: \d+\.\d s from save to next save$", shown, re.MULTILINE), shown
            shown = until_it_watches()
            assert re.search(r"^app/app.py: \d+\.\d s from save to answer$", shown, re.MULTILINE), shown
            assert program.clone.get() == (200, {"message": "mended"})
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            assert process.returncode == 0
        finally:
            process.kill()
            (app.parent / "notes.md").unlink(missing_ok=True)
            program.clone.restore()


def commit_a_pull_request(clone: Clone) -> None:
    """Commit a branch with a change of each kind that a reviewer must know."""
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com"]
    subprocess.run([*git, "checkout", "-qb", "change"], cwd=clone.root, check=True)
    consumers = '[{account: "222222222222", functions: "cross-*"}, {account: "333333333333"}]'
    clone.edit("Pulumi.registry.yaml", '[{account: "222222222222"}]', consumers)
    clone.edit("Pulumi.consumer.yaml", "memory: 128", "memory: 256, environment: {GREETING: hunter2}")
    clone.edit("app/app.py", "hello world!", "hello reviewer!")
    subprocess.run([*git, "commit", "-qam", "change"], cwd=clone.root, check=True)


@pytest.fixture
def pull_request(program: Program) -> Iterator[Program]:
    """The clone, deployed as committed, on a branch with changes."""
    program.clone.leave()
    program.clone.reset()
    main = subprocess.run(
        ["git", "branch", "--show-current"], cwd=program.clone.root, capture_output=True, text=True
    ).stdout.strip()
    subprocess.run(["git", "branch", "-f", "target"], cwd=program.clone.root, check=True)
    commit_a_pull_request(program.clone)
    yield program
    subprocess.run(["git", "checkout", "-q", main], cwd=program.clone.root, check=True)
    subprocess.run(["git", "branch", "-qD", "change", "target"], cwd=program.clone.root, check=True)


GOLDEN = Path(__file__).with_name("comment.md")
VARYING = re.compile(r"content-[0-9a-f]{32}|`[0-9a-f]{12}`")


def test_a_pull_requests_comment_is_the_same_on_every_machine(pull_request: Program, tmp_path: Path) -> None:
    """A run in another folder, with other user, umask, time zone and file times, wrote the golden file."""
    program = pull_request
    there = tmp_path / "elsewhere"
    script = f"umask 077 && git clone -q {program.clone.root} {there} && find {there} -exec touch -d 2001-01-01 {{}} +"
    subprocess.run(["bash", "-c", script], check=True)
    subprocess.run(["git", "branch", "target", "origin/target"], cwd=there, check=True)
    (there / ".local").mkdir()
    for name in ("venv", "bin"):
        (there / ".local" / name).symlink_to(program.clone.root / ".local" / name)
    theirs = subprocess.run(
        ["bash", "-c", f"umask 077; {sys.executable} -m deployment preview --comment - --base target"], cwd=there,
        env={
            **program.environment, "TZ": "Asia/Tokyo", "HOME": str(tmp_path), "USER": "somebody",
            # A workflow that runs the tests sets its own commit.
            "GITHUB_REPOSITORY": "",
        },
        text=True, capture_output=True,
    )  # fmt: skip
    assert theirs.returncode == 0, theirs.stderr
    assert VARYING.sub("X", theirs.stdout) == VARYING.sub("X", GOLDEN.read_text())
    assert "hunter2" not in theirs.stdout


WORKFLOWS = ("preview", "deploy", "drift")
MAIN = "repo:OWNER/NAME:ref:refs/heads/main"
SUBJECTS = {"preview": "repo:OWNER/NAME:pull_request", "deploy": MAIN, "drift": MAIN}


def commands(clone: Clone) -> Iterator[tuple[str, str, dict[str, str]]]:
    """The commands of the workflows, in the order of a change, except those that need GitHub.

    Each has the workflow and the values of variables.
    """
    given = {
        "origin/${{ github.base_ref }}": "target",
        "${{ matrix.stack }}": "consumer",
        "${{ vars.REGISTRY_READ_ROLE }}": role_arn(REGISTRY, "registry-read"),
        "${{ vars.REGISTRY_DEPLOY_ROLE }}": role_arn(REGISTRY, "registry-deploy"),
    }
    for workflow in WORKFLOWS:
        text = (clone.root / ".github" / "workflows" / f"{workflow}.yml").read_text()
        for job in yaml.safe_load(text)["jobs"].values():
            for step in job.get("steps", ()):
                if step.get("run", "").startswith(("docker", "python")):
                    values = {name: given[value] for name, value in step.get("env", {}).items() if value in given}
                    yield workflow, step["run"], values


@pytest.fixture
def roles(program: Program, tmp_path: Path) -> Iterator[Logins]:
    """The roles in the workflows' variables, with the policies and trusted subjects in `docs/policies/`."""
    logins = Logins(program.clone, tmp_path)
    read, deploy = role_arn(CONSUMER, "consumer-read"), role_arn(CONSUMER, "consumer-deploy")
    registry = [role_arn(REGISTRY, name) for name in ("registry-read", "registry-deploy")]

    def assumes(role: str) -> dict[str, Any]:
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}
        return {"Version": "2012-10-17", "Statement": [statement]}

    def rights(*principals: str) -> list[dict[str, Any]]:
        return [dict(policy(principal)) for principal in principals]

    logins.create(
        [
            (read, trusts_workflow(*SUBJECTS.values()), [*rights("consumer-preview"), assumes(registry[0])]),
            (deploy, trusts_workflow(SUBJECTS["deploy"]), [*rights("consumer-deployer"), assumes(registry[1])]),
            (registry[0], trusts({"AWS": read}), rights("registry-preview")),
            (registry[1], trusts({"AWS": deploy}), rights("registry-deployer", "registry-pusher")),
        ]
    )
    yield logins
    # The providers in the states use these roles. The pull request's branch must not be checked out any more.
    program.clone.leave()
    program.clone.reset()
    logins.delete()


def logged_in(roles: Logins, workflow: str) -> dict[str, str]:
    """The environment of a workflow after its login with OIDC: only roles, no profile."""
    role = role_arn(CONSUMER, "consumer-deploy" if workflow == "deploy" else "consumer-read")
    return {**roles.environment, **roles.workflow(role, SUBJECTS[workflow])}


def test_what_the_workflows_run_is_run_here_in_their_order(roles: Logins, pull_request: Program) -> None:
    """They build and call the image, write the preview, deploy the registry and the consumer, and find no drift.

    They use only roles: the stack files' profiles do not exist.
    """
    with pytest.raises(ClientError, match="Not authorized to perform sts:AssumeRoleWithWebIdentity"):
        roles.workflow(role_arn(CONSUMER, "consumer-deploy"), SUBJECTS["preview"])
    program, port = pull_request, free_port()
    python = f"{Path(sys.executable).parent}:{program.environment['PATH']}"
    ran = []
    for workflow, script, values in commands(program.clone):
        # Several runs of this test may share a Docker engine.
        local = re.sub(r"\bhandler\b", f"handler-{port}", script).replace("9000", str(port))
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", local], cwd=program.clone.root, text=True, capture_output=True,
            env={**logged_in(roles, workflow), "PATH": python, **values},
        )  # fmt: skip
        if script.startswith("docker run"):
            subprocess.run(["docker", "rmi", "-f", f"handler-{port}"], env=program.environment, capture_output=True)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        ran.append(script.split()[:4])
    assert ran == [
        ["docker", "build", "--tag", "handler"],
        ["docker", "run", "--detach", "--rm"],
        ["python", "-m", "deployment", "preview"],
        ["python", "-m", "deployment", "up"],
        ["python", "-m", "deployment", "up"],
        ["python", "-m", "deployment", "drift"],
    ]
    assert (program.clone.root / "comment.md").read_text().startswith("<!-- deployment preview -->")
    (program.clone.root / "comment.md").unlink()
    (program.clone.root / "answer.json").unlink()
    assert program.clone.get()[1] == {"message": "hello reviewer!"}
