"""`deployment/` on the real engine: order, events, errors, drift, comments, workflows."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from botocore.exceptions import ClientError

import settings
from deployment import BuildError, ConfigurationError, CredentialsError, Event, PolicyViolated, Step
from scripts.permissions import policy
from tests.engine.clone import STACKS, Clone, free_port
from tests.engine.logins import CONSUMER, REGISTRY, Logins, role_arn, trusts, trusts_workflow
from tests.engine.program import NAME, Program
from tests.engine.test_access import CALLER, Document, repository_policy

FUNCTION = "aws:lambda/function:Function"

FAILING = """\
ARG LAMBDA_BASE_IMAGE
FROM ${LAMBDA_BASE_IMAGE}
RUN echo the sum is $((40 + 2)); false
"""


# ---- previews, which leave the stacks as they are


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


def test_missing_credentials_are_typed(program: Program) -> None:
    nothing = {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    with program.deployment(environment=nothing) as deployment, pytest.raises(CredentialsError) as refused:
        deployment.preview()
    assert refused.value.stack == "consumer"
    assert "profile" in refused.value.hint


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


# ---- pull requests


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


# ---- what can go wrong


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


def test_a_refused_configuration_is_typed_and_nothing_is_made(program: Program) -> None:
    program.config["consumer"]["function"]["memory"] = 1
    with program.deployment() as deployment, pytest.raises(ConfigurationError, match="function.memory") as refused:
        deployment.up()
    assert refused.value.stack == "consumer"
    assert refused.value.outcomes == {"consumer": refused.value}
    assert "nothing was created" in refused.value.hint


def test_a_build_that_fails_is_typed_and_callers_notice_nothing(program: Program) -> None:
    program.config["consumer"]["image"] = program.build("failing", FAILING)
    running = program.image()
    with program.deployment() as deployment, pytest.raises(BuildError, match="the sum is 42") as failed:
        deployment.up()
    assert "docker:index/image:Image" in failed.value.urn
    assert program.image() == running


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
