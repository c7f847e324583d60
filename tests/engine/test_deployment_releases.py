"""`deployment/` on the real engine: releases, interrupted runs, the stack file, shared state, `watch`."""

import collections
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment import (
    Backend,
    Cancelled,
    Check,
    CheckFailed,
    ConfigurationError,
    ConflictError,
    Deployment,
    DeploymentError,
    Event,
    Options,
    Progress,
    Step,
    TimedOut,
)
from local.cloud import listens
from tests.engine.clone import Clone, free_port, tracebacks
from tests.engine.program import NAME, Program
from tests.waiting import until

ALIAS = "aws:lambda/alias:Alias"

# A unique number, to find the build among the machine's processes.
SLEEP = f"sleep 6{os.getpid()}"
SLOW = f"""\
ARG LAMBDA_BASE_IMAGE
FROM ${{LAMBDA_BASE_IMAGE}}
RUN {SLEEP}
"""


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


# ---- releases


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


def test_a_release_shifts_calls_in_shares_and_rolls_back_without_a_failed_call(
    program: Program,
) -> None:
    """A client sends a request every 50 ms while a broken image is refused, and a good one is released and reverted."""
    release = {"testEvent": {"httpMethod": "GET"}}
    # With the default of 3 s, a call that a busy machine delays would fail.
    program.config["consumer"]["function"] |= {"release": release, "timeout": 20}
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
        deployment.up(check=Check(seconds=12))
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


# ---- interrupted runs


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


def test_a_cancelled_or_timed_out_operation_ends_soon_and_the_next_one_continues(program: Program) -> None:
    """The docker provider does not end a build on request, and would push the image afterwards."""
    program.config["consumer"]["image"] = program.build("slow", SLOW)
    ecr = program.clone.client("registry", "ecr")
    pushed = len(ecr.describe_images(repositoryName=NAME)["imageDetails"])

    def cancel() -> None:
        deployment.cancel()

    with program.deployment(on_event=until_it_builds(cancel)) as deployment:
        with pytest.raises(Cancelled):
            deployment.up()
        with pytest.raises(Cancelled):
            deployment.preview()
    until(lambda: not builds())
    with program.deployment() as deployment:
        assert deployment.status()["consumer"].pending == ()
    with program.deployment(timeout=15) as deployment:
        with pytest.raises(TimedOut, match="15 s"):
            deployment.up()
        assert deployment.status()["consumer"].pending == ()
        program.config["consumer"]["image"] = program.committed("consumer")["image"]
    until(lambda: not builds())
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
            thread.join()
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
    assert tracebacks(shown) == []
    assert program.command("status", "--no-registry").returncode == 0


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
            until(lambda: listens(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


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


# ---- `watch`


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
            until(lambda: program.clone.get()[0] == 502)
            app.write_text(answering("mended"))
            shown = until_it_watches()
            assert re.search(r"^app/app.py: \d+\.\d s from save to next save$", shown, re.MULTILINE), shown
            shown = until_it_watches()
            assert re.search(r"^app/app.py: \d+\.\d s from save to answer$", shown, re.MULTILINE), shown
            assert program.clone.get() == (200, {"message": "mended"})
            process.send_signal(signal.SIGINT)
            process.communicate()
            assert process.returncode == 0
        finally:
            process.kill()
            (app.parent / "notes.md").unlink(missing_ok=True)
            program.clone.restore()
