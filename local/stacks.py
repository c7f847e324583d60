"""Deploys, calls and destroys the two stacks on the local cloud, with plain `pulumi`."""

import json
import re
import signal
import subprocess
import threading
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local import cloud, credentials, endpoint, processes
from local.environment import environment
from local.steps import step
from local.workspace import ACCOUNTS, BIN, CLOUD_STATE, LOGS, REGION, STATE, LocalError, port, remove

STACKS = tuple(ACCOUNTS)
# Docker's progress of a push: hundreds of lines, because the CLI prints each on a line of its own here.
PROGRESS = re.compile(r"creating \(\d+s\) (Preparing|Waiting|Pushing +[\[\d])")


def up(stack: str) -> None:
    """Run `pulumi up` of one stack, with a refresh after a failed update.

    Raises:
        LocalError: the update failed.
    """
    refresh = ["--refresh"] if any(item.get("initErrors") for item in _resources(stack)) else []
    print(f"\n$ {' '.join(['pulumi', 'up', *refresh, '-s', stack])}", flush=True)
    if not exists(stack):
        pulumi("stack", "init", stack, quiet=True)
    pulumi("up", "--yes", "--skip-preview", "--suppress-outputs", *refresh, "-s", stack)


def call() -> None:
    """GET the endpoint and print URL, status and body.

    Raises:
        LocalError: there is no response, or its status is not 200.
    """
    url = output("consumer", "endpointUrl")
    began = time.monotonic()
    try:
        with endpoint.opener().open(url, timeout=60) as answer:
            status, body = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read().decode()
    except OSError as error:
        raise LocalError(f"GET {url} failed: {error}. The local cloud's log: {LOGS / 'cloud.log'}") from error
    print(f"\nGET {url}\n{status} {body}   ({time.monotonic() - began:.1f} s)")
    if status != 200:
        raise LocalError(f"The endpoint answered {status}. The local cloud's log: {LOGS / 'cloud.log'}")


def destroy() -> None:
    """Run `pulumi destroy` of both stacks, the consumer first.

    Before that, remove the protection of the repository and its images, which ECR requires.
    """
    for stack in reversed(STACKS):
        if not exists(stack):
            continue
        with step(f"Destroy {stack}") as current:
            if stack == "registry":
                _empty(output("registry", "repositoryName", or_else=""))
                pulumi("state", "unprotect", "--all", "--yes", "-s", stack, quiet=True)
            current.say("pulumi destroy")
            pulumi("destroy", "--yes", "--skip-preview", "-s", stack, quiet=True)
            pulumi("stack", "rm", "--yes", "--preserve-config", stack, quiet=True)
            current.done("done")


def exists(stack: str) -> bool:
    """Whether the stack exists in the local state backend."""
    return any((STATE / ".pulumi" / "stacks").rglob(f"{stack}.json"))


def output(stack: str, name: str, *, or_else: str | None = None) -> str:
    """One output of a stack.

    Raises:
        LocalError: the output is missing, and there is no `or_else`.
    """
    shown = subprocess.run(
        [BIN / "pulumi", "stack", "output", "--json", "-s", stack], env=environment(), capture_output=True, text=True
    )
    outputs = json.loads(shown.stdout) if shown.returncode == 0 else {}
    if name in outputs:
        return str(outputs[name])
    if or_else is not None:
        return or_else
    raise LocalError(f"stack {stack} has no output {name}. {shown.stderr.strip()}")


def recover() -> None:
    """Recover from an interrupted update: remove its lock and, after an interrupted create, reset the local cloud.

    The next update repeats interrupted updates and deletes.

    Raises:
        LocalError: an update is running.
    """
    locks = {path: _read(path) for path in (STATE / ".pulumi" / "locks").rglob("*.json")}
    if alive := [lock["pid"] for lock in locks.values() if processes.is_alive(lock["pid"])]:
        raise LocalError(f"An update of a local stack is running (process {alive[0]}). Wait for it, or stop it.")
    unknown = _pending_creates()
    if not unknown and not locks:
        return
    with step("Interrupted update") as current:
        for path in locks:
            path.unlink()
        if unknown:
            cloud.stop()
            for folder in (CLOUD_STATE, STATE):
                remove(folder)
                folder.mkdir()
            current.done("recovered", f"creates were interrupted ({unknown}): the local cloud is reset")
        else:
            current.done("recovered", "a lock without an owner was removed")


def pulumi(*arguments: str, quiet: bool = False) -> None:
    """Run the CLI. It handles Ctrl-C itself: it cancels the update and saves the state.

    Raises:
        LocalError: it failed.
        KeyboardInterrupt: it was interrupted.
    """
    interrupted = threading.Event()
    previous = signal.signal(signal.SIGINT, lambda number, frame: interrupted.set())
    try:
        with subprocess.Popen(
            [BIN / "pulumi", "--non-interactive", *arguments],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
        ) as process:
            shown = []
            for line in process.stdout or ():
                if quiet:
                    shown.append(line)
                elif not PROGRESS.search(line):
                    print(line, end="", flush=True)
            code = process.wait()
    finally:
        signal.signal(signal.SIGINT, previous)
    if interrupted.is_set():
        raise KeyboardInterrupt
    if code != 0:
        raise LocalError(f"`pulumi {' '.join(arguments)}` failed with {code}. {''.join(shown).strip()}".strip())


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except ValueError as error:
        raise LocalError(f"{path} is damaged ({error}). Start again: make down && make demo") from error


def _pending_creates() -> int:
    """Number of interrupted create operations, whose outcome is unknown."""
    pending = [state.get("pending_operations") or [] for state in _states("*")]
    return sum(operation["type"] == "creating" for operations in pending for operation in operations)


def _resources(stack: str) -> list[dict[str, Any]]:
    return [item for state in _states(stack) for item in state.get("resources") or []]


def _states(stack: str) -> Iterator[dict[str, Any]]:
    for file in (STATE / ".pulumi" / "stacks").rglob(f"{stack}.json"):
        yield (_read(file).get("checkpoint") or {}).get("latest") or {}


def _empty(repository: str) -> None:
    import boto3

    if not repository:
        return
    address = f"http://127.0.0.1:{port()}"
    account = ACCOUNTS["registry"]
    login = {"aws_access_key_id": account, "aws_secret_access_key": credentials.secret_access_key(account)}
    region = output("registry", "region", or_else=REGION)
    ecr = boto3.client("ecr", region_name=region, endpoint_url=address, **login)
    images = [
        image
        for page in ecr.get_paginator("list_images").paginate(repositoryName=repository)
        for image in page["imageIds"]
    ]
    if images:
        ecr.batch_delete_image(
            repositoryName=repository, imageIds=[{"imageDigest": image["imageDigest"]} for image in images]
        )
