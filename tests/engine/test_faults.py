"""A fault at each step: the message to the user, what remains, and whether the next plain run continues."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine.clone import ROOT, Clone, tracebacks
from tests.engine.docker_proxy import docker_proxy
from tests.pages import block, documented
from tests.waiting import until

FUNCTION = "cross-account-function"
UP = "pulumi up --yes --skip-preview -s consumer"
DEPLOY = "python -m deployment up --no-registry"
MANIFEST = {"method": "PUT", "path": "/manifests/"}
UPLOAD = {"method": "POST", "path": "/blobs/uploads/"}
LAYER = {"method": "PATCH", "path": "/blobs/uploads/"}
CREATE_FUNCTION = {"method": "POST", "path": "/2015-03-31/functions$"}
UPDATE_CODE = {"method": "PUT", "path": "/2015-03-31/functions/[^/]+/code$"}
EXPIRED = "Your authorization token has expired. Reauthenticate and try again."


def refusal(code: str, message: str) -> dict[str, Any]:
    """An error response of the registry."""
    return {"errors": [{"code": code, "message": message}]}


@pytest.fixture
def message(clone: Clone, request: pytest.FixtureRequest) -> str:
    """The message that the function returns after this test's update."""
    return answering(clone, f"hello {request.node.name}!")


def answering(clone: Clone, text: str) -> str:
    """Have the function return this message after the next update."""
    path = clone.root / "app" / "app.py"
    path.write_text(re.sub(r'"message": "[^"]*"', f'"message": "{text}"', path.read_text()))
    return text


@pytest.fixture
def unchanged(clone: Clone) -> Callable[[], bool]:
    """Whether the tags in the repository and the function's response are the same as before the test."""
    url, ecr = clone.output("consumer", "endpointUrl"), clone.client("registry", "ecr")

    def state() -> tuple[Any, Any]:
        images = ecr.describe_images(repositoryName=FUNCTION)["imageDetails"]
        return sorted(tag for image in images for tag in image.get("imageTags", [])), clone.get_url(url)

    before = state()
    return lambda: state() == before


@contextmanager
def changed(path: Path, text: str) -> Iterator[None]:
    """Replace the text of a file within the block."""
    kept = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(kept)


@contextmanager
def dockerfile_with(clone: Clone, *lines: str) -> Iterator[None]:
    """Add lines to the Dockerfile within the block."""
    path = clone.root / "app" / "Dockerfile"
    with changed(path, "\n".join([path.read_text(), *lines, ""])):
        yield


def fails(clone: Clone, command: str = UP, code: int | None = None, **environment: str) -> str:
    """Run a command that must fail, with this exit code if it is set. Returns its output."""
    ran = clone.shell(command, **environment)
    assert ran.returncode != 0, ran.stdout
    assert ran.returncode == code or code is None, ran.stdout
    assert tracebacks(ran.stdout) == []
    return ran.stdout


def next_run_serves(clone: Clone, message: str, *options: str) -> None:
    ran = clone.shell(f"{' '.join([UP, *options])} && pulumi stack output endpointUrl -s consumer")
    assert ran.returncode == 0, ran.stdout
    assert clone.get_url(ran.stdout.split()[-1]) == (200, {"message": message})


def in_state(clone: Clone, stack: str, kind: str) -> dict[str, Any]:
    """The only resource of a type in the state of a stack."""
    (found,) = [resource for resource in clone.resources(stack) if resource["type"] == kind]
    return found


def kill_engine(clone: Clone, process: subprocess.Popen[str]) -> None:
    """Send SIGKILL to the engine that the lock names. The stand-in plugins end with it."""
    (lock,) = (clone.root / ".local" / "state" / ".pulumi" / "locks").rglob("*.json")
    os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)
    process.communicate()


# ---- the build


def test_a_build_that_fails_in_the_middle_or_fills_the_disk(clone: Clone, unchanged: Callable[[], bool]) -> None:
    """`pulumi` shows what failed, `deployment` also its output. The next build starts."""
    failing = ["RUN echo the first step", "RUN echo the sum is $((40 + 2)) >&2; exit 3", "RUN echo the third step"]
    # /dev/shm of a build is a file system of 64 MiB.
    full = ["RUN head -c 70000000 /dev/zero > /dev/shm/file"]
    with dockerfile_with(clone, *failing):
        assert "echo the sum is" in fails(clone)
    with dockerfile_with(clone, *full):
        said = fails(clone, DEPLOY, code=5)
    assert "head -c 70000000" in said
    assert "No space left on device" in said
    assert unchanged()


def test_a_docker_engine_that_is_lost_during_the_build(
    clone: Clone, unchanged: Callable[[], bool], tmp_path: Path
) -> None:
    # Only the output of the step contains the sum, not its text. The step is not in the cache of other runs.
    with (
        dockerfile_with(clone, f"RUN echo lost at $((40 + 2)) && sleep 3{os.getpid()}"),
        docker_proxy(tmp_path, b"lost at 42") as docker,
    ):
        assert "docker:index:Image" in fails(clone, DOCKER_HOST=docker.host)
        assert docker.was_cut.is_set()
        said = fails(clone, f"DOCKER_HOST={docker.host} {DEPLOY}", code=5)
        assert "failed to connect to any docker daemon" in said
    assert unchanged()


# ---- the push


def test_a_docker_engine_that_is_lost_during_the_push(
    clone: Clone, message: str, unchanged: Callable[[], bool], tmp_path: Path
) -> None:
    # The engine cancels a push without a client. If the push is faster, its manifest is refused.
    clone.control("POST", {**MANIFEST, "status": 503})
    with docker_proxy(tmp_path, b'"status":"Preparing"') as docker:
        assert "docker:index/image:Image" in fails(clone, f"DOCKER_HOST={docker.host} {DEPLOY}", code=5)
        assert docker.was_cut.is_set()
    clone.control("DELETE")
    assert unchanged()
    # Also after the builds above.
    next_run_serves(clone, message)


def test_a_push_that_fails(clone: Clone, unchanged: Callable[[], bool]) -> None:
    """It is an error of Docker, even if the registry's message is about a token. The next run pushes."""
    message = ""
    for said, faults in {
        # Docker sends a layer up to five times, and a manifest once.
        "EOF": [{**LAYER, "cut": True}, {**MANIFEST, "cut": True}],
        "503 Service Unavailable": [{**MANIFEST, "status": 503}],
        "Rate exceeded": [{**UPLOAD, "status": 429, "body": refusal("TOOMANYREQUESTS", "Rate exceeded")}],
        f"denied: {EXPIRED}": [{**UPLOAD, "status": 403, "body": refusal("DENIED", EXPIRED)}],
    }.items():
        # Content whose layers are not in the registry.
        message = answering(clone, f"hello {said}!")
        with clone.faults(*faults) as struck:
            shown = fails(clone, DEPLOY, code=5) if EXPIRED in said else fails(clone)
        assert struck == [1] * len(faults)
        assert said in shown
        assert unchanged()
    next_run_serves(clone, message)


# ---- the account


def test_a_profile_with_the_credentials_of_another_account(clone: Clone, unchanged: Callable[[], bool]) -> None:
    owned = clone.owned()
    path = clone.root / ".local" / "aws" / "credentials"
    for account in ("222222222222", "111111111111"):
        text = path.read_text().replace(clone.secret_access_key(account), clone.secret_access_key("999999999999"))
        with changed(path, text.replace(account, "999999999999")):
            said = fails(clone)
        assert "AWS account ID not allowed: 999999999999" in said
    assert clone.owned() == owned
    assert unchanged()


def test_the_region_of_a_profile_does_not_count(clone: Clone) -> None:
    # Also the first run after the one above.
    path = clone.root / ".local" / "aws" / "config"
    with changed(path, path.read_text().replace("us-east-1", "eu-west-1")):
        assert clone.planned("registry") == clone.planned("consumer") == {}


# ---- the function


def test_an_update_waits_for_a_new_role_and_the_next_one_repairs_a_function_that_was_never_ready(
    clone: Clone, message: str
) -> None:
    assert clone.shell("pulumi destroy --yes --skip-preview -s consumer").returncode == 0
    not_yet = {"Type": "User", "message": "The role defined for the function cannot be assumed by Lambda."}
    header = {"x-amzn-errortype": "InvalidParameterValueException"}
    role = {**CREATE_FUNCTION, "times": 2, "status": 400, "headers": header, "body": not_yet}
    unseen = {"method": "GET", "path": f"/functions/{FUNCTION}", "times": 99, "status": 500, "body": {"Message": "no"}}
    with clone.faults(role, unseen) as struck:
        said = fails(clone)
    # The provider waits for the role. Then the function is created, and the state keeps it.
    assert struck[0] == 2
    assert "aws:lambda:Function function" in said
    assert clone.owned()["functions"] == [FUNCTION]
    # The state has no ARNs of a function that did not become ready.
    next_run_serves(clone, message, "--refresh")


REFUSED = {
    "status": 400,
    "headers": {"x-amzn-errortype": "InvalidParameterValueException"},
    "body": {"Type": "User", "message": "refused by a test"},
}


@pytest.mark.parametrize("fix", ["deployment", "deployment --check", "pulumi"])
def test_the_update_after_a_failed_one_applies_what_only_the_state_has(clone: Clone, message: str, fix: str) -> None:
    """Pulumi keeps the new values of a function whose code was not updated: https://github.com/pulumi/pulumi/issues/21458."""
    lambda_ = clone.client("consumer", "lambda")

    def running() -> str:
        return str(lambda_.get_function(FunctionName=FUNCTION)["Code"]["ImageUri"]).partition("@")[2]

    before = running()
    with clone.faults({**UPDATE_CODE, **REFUSED}):
        said = fails(clone, DEPLOY, code=1) if fix == "deployment" else fails(clone)
    assert "refused by a test" in said
    assert running() == before
    assert clone.output("consumer", "imageDigest") == before
    if fix == "deployment":
        assert "pulumi up --refresh" in said
        shown = fails(clone, "python -m deployment status --no-registry", code=10)
        assert "function:Function" in shown
        assert "pulumi up --refresh" in shown
        fails(clone, "python -m deployment drift --no-registry", code=8)
    elif fix == "deployment --check":
        function = in_state(clone, "consumer", "aws:lambda/function:Function")
        assert function["initErrors"]
        assert before not in function["outputs"]["imageUri"]
        # A plain update finds no change.
        assert clone.shell(UP).returncode == 0
        assert running() == before
    command = {"deployment": DEPLOY, "deployment --check": f"{DEPLOY} --check", "pulumi": f"{UP} --refresh"}[fix]
    done = clone.shell(command)
    assert done.returncode == 0, done.stdout
    assert running() == clone.output("consumer", "imageDigest") != before
    assert clone.get() == (200, {"message": message})
    if fix == "deployment":
        assert clone.shell("python -m deployment status --no-registry").returncode == 0


# ---- two at once, and one that is killed


def test_a_second_update_names_who_holds_the_lock_and_continues_a_killed_one(clone: Clone, message: str) -> None:
    with clone.faults({**UPDATE_CODE, "hold": True}):
        first = clone.begin(UP)
        until(lambda: clone.control("GET") == [1])
        said = fails(clone)
        assert re.search(r"the stack is currently locked by 1 lock\(s\).*pulumi cancel", said)
        assert re.search(r"created by \S+@\S+ \(pid \d+\) at 20\S+", said)
        assert re.search(r"An update of a local stack is running \(process \d+\)", clone.make("demo").stdout)
        kill_engine(clone, first)
    # The outcome of the function's update is unknown, and the state says so. The lock still exists.
    assert "pulumi cancel" in fails(clone)
    assert clone.shell("pulumi cancel --yes -s consumer").returncode == 0
    again = clone.shell(f"{UP} --refresh")
    assert again.returncode == 0, again.stdout
    assert clone.get() == (200, {"message": message})
    assert not clone.latest("consumer").get("pending_operations")


def test_resources_that_were_being_created_when_the_engine_was_killed_are_imported(clone: Clone, message: str) -> None:
    """The log group, and then, in the update that continues, the function."""
    confirm = "export PULUMI_SKIP_CONFIRMATIONS=true"
    *prepare, function = block("docs/failures.md", "pulumi refresh --clear-pending-creates -s consumer")
    (end,) = re.findall(r"end the last command with `(.*)`", (ROOT / "docs" / "failures.md").read_text())
    log_group = f"{function.partition(' aws:lambda/')[0]} {end}"

    def kill_and_import(created: str, fault: dict[str, Any], said: str, command: str) -> None:
        with clone.faults({**fault, "hold": True}):
            # One operation at a time, so that nothing else is being created when the engine is killed.
            killed = clone.begin(f"{UP} --refresh --parallel 1")
            until(lambda: clone.control("GET") == [1])
            kill_engine(clone, killed)
        until(lambda: created in clone.owned())
        assert clone.shell(f"{confirm} && {documented('pulumi cancel -s consumer')}").returncode == 0
        assert said in fails(clone)
        imported = clone.shell(" && ".join([confirm, *prepare, command]))
        assert "1 imported" in imported.stdout, imported.stdout

    assert clone.shell("pulumi destroy --yes --skip-preview -s consumer").returncode == 0
    exists = f"The log group /aws/lambda/{FUNCTION} exists in account"
    kill_and_import("log groups", {"target": "CreateLogGroup"}, exists, log_group)
    kill_and_import("functions", CREATE_FUNCTION, f"Function already exist: {FUNCTION}", function)
    again = clone.shell(f"{confirm} && {documented('pulumi up --refresh -s consumer')}")
    assert again.returncode == 0, again.stdout
    assert clone.get() == (200, {"message": message})


def test_a_demo_that_was_killed_during_a_create_starts_with_an_empty_cloud(clone: Clone, message: str) -> None:
    stack_file = clone.root / "Pulumi.consumer.yaml"
    other = stack_file.read_text().replace("function: {", "function: {name: other, ")
    with changed(stack_file, other), clone.faults({**CREATE_FUNCTION, "hold": True}):
        killed = clone.start("demo")
        until(lambda: clone.control("GET") == [1])
        kill_engine(clone, killed)
    ran = clone.make("demo")
    # On a busy machine, others may be created at the same time.
    assert re.search(r"creates were interrupted \(\d+\): the local cloud is reset", ran.stdout), ran.stdout
    assert f'200 {{"message": "{message}"}}' in ran.stdout, ran.stdout


# ---- the local cloud


def test_a_local_cloud_that_is_killed_between_two_resources_comes_back_with_what_was_in_it(
    clone: Clone, message: str
) -> None:
    clone.control("POST", {**UPDATE_CODE, "hold": True})
    update = clone.begin(UP)
    until(lambda: clone.control("GET") == [1])
    # The image is pushed, but the function is not updated.
    record = json.loads((clone.root / ".local" / "run" / "cloud.json").read_text())
    os.kill(record["pid"], signal.SIGKILL)
    said, _ = update.communicate()
    assert update.returncode != 0
    assert tracebacks(said) == []
    ran = clone.make("demo")
    assert re.search(r"Local cloud +started .*, with what was in it", ran.stdout)
    assert f'200 {{"message": "{message}"}}' in ran.stdout, ran.stdout
    assert clone.last_update("registry") == {}
    assert clone.output("consumer", "imageSource") == "reused"
    # Nothing of the state is missing in the cloud.
    assert clone.planned("consumer", refresh=True) == {}


# ---- the registry


def test_an_unprotected_registry_names_its_consumers_and_a_refused_destroy_keeps_their_access(clone: Clone) -> None:
    destroy, ecr = "pulumi destroy --yes --skip-preview -s registry", clone.client("registry", "ecr")
    policy = ecr.get_repository_policy(repositoryName=FUNCTION)["policyText"]
    assert "because it is protected" in fails(clone, destroy)
    stack_file = clone.root / "Pulumi.registry.yaml"
    with changed(
        stack_file,
        stack_file.read_text().replace("{name: cross", "{retainOnDelete: false, protect: false, name: cross"),
    ):
        given_up = clone.shell("pulumi up --yes --skip-preview -s registry").stdout
    named = "Then functions in 222222222222 that run its images fail"
    assert f"`pulumi destroy` deletes it, once it holds no image. {named}" in given_up
    assert "not empty, consider using force_delete" in fails(clone, destroy)
    # Neither failed update removed a permission of the consumers.
    assert ecr.get_repository_policy(repositoryName=FUNCTION)["policyText"] == policy
    clone.up("registry")
    assert in_state(clone, "registry", "aws:ecr/repository:Repository")["protect"] is True


def test_a_policy_that_was_edited_by_hand_is_shown_and_put_right(clone: Clone) -> None:
    ecr = clone.client("registry", "ecr")
    policy = json.loads(ecr.get_repository_policy(repositoryName=FUNCTION)["policyText"])
    edited = {**policy, "Statement": policy["Statement"][:1]}
    ecr.set_repository_policy(repositoryName=FUNCTION, policyText=json.dumps(edited))
    assert clone.planned("registry", refresh=True) == {"aws:ecr/repositoryPolicy:RepositoryPolicy": "update"}
    assert clone.shell("pulumi up --yes --skip-preview --refresh -s registry").returncode == 0
    assert json.loads(ecr.get_repository_policy(repositoryName=FUNCTION)["policyText"]) == policy
