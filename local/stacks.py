"""The two stacks on the local cloud: deploy, call, destroy. Plain `pulumi` does the work."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from types import FrameType

from local import cloud, processes
from local.steps import step
from local.workspace import ACCOUNTS, BIN, STATE, LocalError, environment

STACKS = tuple(ACCOUNTS)


def up(stack: str) -> None:
    """`pulumi up` of one stack, its output shown.

    Raises:
        LocalError: the update failed; what is there is left as it is.
    """
    print(f"\n$ pulumi up -s {stack}", flush=True)
    pulumi("stack", "select", "--create", stack, quiet=True)
    pulumi("up", "--yes", "--skip-preview", "-s", stack)


def call() -> None:
    """GET the endpoint and print URL, status and body.

    Raises:
        LocalError: the answer is not 200.
    """
    url = output("consumer", "endpointUrl")
    began = time.monotonic()
    status, body = cloud.get(url)
    print(f"\nGET {url}\n{status} {body}   ({time.monotonic() - began:.1f} s)")
    if status != 200:
        raise LocalError(f"The endpoint answered {status}. The function's log is in `docker ps` and `docker logs`.")


def destroy() -> None:
    """`pulumi destroy` of both stacks, the consumer first.

    The repository is protected, and ECR refuses to delete one that holds images: both are settled before.
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
    """Whether the local state backend knows the stack."""
    return any((STATE / ".pulumi" / "stacks").rglob(f"{stack}.json"))


def output(stack: str, name: str, *, or_else: str | None = None) -> str:
    """One output of a stack.

    Raises:
        LocalError: there is no such output, and no `or_else`.
    """
    shown = subprocess.run(
        [BIN / "pulumi", "stack", "output", "--json", "-s", stack], env=_env(), capture_output=True, text=True
    )
    outputs = json.loads(shown.stdout) if shown.returncode == 0 else {}
    if name in outputs:
        return str(outputs[name])
    if or_else is not None:
        return or_else
    raise LocalError(f"stack {stack} has no output {name}. {shown.stderr.strip()}")


def recover() -> None:
    """Clear what an interrupted update left: its lock and, if operations were under way, the half-known cloud."""
    pending, locked = _pending_operations(), _stale_locks()
    if not pending and not locked:
        return
    with step("Interrupted update") as current:
        for lock in locked:
            lock.unlink()
        if pending:
            cloud.stop()
            current.done("recovered", f"{pending} operations were under way: the local cloud starts anew")
        else:
            current.done("recovered", "a lock without an owner was removed")


def pulumi(*arguments: str, quiet: bool = False) -> None:
    """Run the CLI. Ctrl-C is the CLI's to handle: it ends what is under way and saves the state.

    Raises:
        LocalError: it failed.
    """
    previous = signal.signal(signal.SIGINT, _leave_it_to_pulumi)
    try:
        with subprocess.Popen(
            [BIN / "pulumi", "--non-interactive", *arguments],
            env=_env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
        ) as process:
            shown = process.stdout.read() if process.stdout else ""
            code = process.wait()
    finally:
        signal.signal(signal.SIGINT, previous)
    if code != 0:
        raise LocalError(f"`pulumi {' '.join(arguments)}` failed with {code}. {shown.strip()}".strip())


def _leave_it_to_pulumi(number: int, frame: FrameType | None) -> None:
    """Both processes get the signal of the terminal; this one waits."""


def _env() -> dict[str, str]:
    return {**os.environ, **environment()}


def _pending_operations() -> int:
    states = (STATE / ".pulumi" / "stacks").rglob("*.json")
    checkpoints = (json.loads(state.read_text()).get("checkpoint") or {} for state in states)
    return sum(len((checkpoint.get("latest") or {}).get("pending_operations") or []) for checkpoint in checkpoints)


def _stale_locks() -> list[Path]:
    """Lock files of this machine whose process is gone."""
    locks = (STATE / ".pulumi" / "locks").rglob("*.json")
    return [lock for lock in locks if not processes.is_alive(json.loads(lock.read_text())["pid"])]


def _empty(repository: str) -> None:
    import boto3

    if not repository:
        return
    os.environ.update(environment())
    ecr = boto3.Session(profile_name="registry").client("ecr")
    images = [
        image
        for page in ecr.get_paginator("list_images").paginate(repositoryName=repository)
        for image in page["imageIds"]
    ]
    if images:
        ecr.batch_delete_image(
            repositoryName=repository, imageIds=[{"imageDigest": image["imageDigest"]} for image in images]
        )
