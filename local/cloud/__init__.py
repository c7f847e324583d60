"""The local cloud: MiniStack behind a thin layer (`front.py`), on loopback only."""

import http.client
import os
import socket

from local import base_image, credentials, docker_engine, processes
from local.steps import step
from local.workspace import (
    DOCKER_CONFIG,
    PORT_FILE,
    PYTHON,
    ROOT,
    STATE,
    LocalError,
    port,
)

NAME = "cloud"
COMMAND = [str(PYTHON), "-m", "local.cloud.server"]
READY_SECONDS = 60
ANSWER_SECONDS = 10
HEALTH = "/_local/health"
# MiniStack labels its containers with this name and the port. Clones on one engine have different ports.
INSTANCE = "cross-account-ecr"
LABEL = "ministack.instance"


def cloud() -> None:
    """Find or start the local cloud. A restart keeps its contents.

    Raises:
        LocalError: another program uses the port, or the server does not start.
    """
    with step("Local cloud") as current:
        if is_running():
            current.done("running", f"http://127.0.0.1:{port()}")
            return
        processes.stop(NAME)
        _require_free_port()
        again = (STATE / ".pulumi" / "stacks").exists()
        credentials.write_aws_profiles()
        current.say("starting MiniStack")
        _remove_left_behind()
        processes.start(
            NAME,
            COMMAND,
            env=_environment(),
            is_ready=_healthy,
            seconds=READY_SECONDS,
        )
        PORT_FILE.write_text(str(port()))
        detail = f"MiniStack at http://127.0.0.1:{port()}"
        current.done("started", detail + (", with what was in it" if again else ""))


def stop() -> bool:
    """Stop the local cloud and the containers of its functions. Returns whether it was running."""
    stopped = processes.stop(NAME)
    stopped = processes.end_unrecorded(COMMAND) or stopped
    instance = f"label={LABEL}={INSTANCE}:{port()}"
    PORT_FILE.unlink(missing_ok=True)
    if docker_engine.host():
        listed = docker_engine.docker("ps", "-aq", "--filter", instance)
        if ids := listed.stdout.split():
            docker_engine.docker("rm", "-f", *ids)
    return stopped


def _remove_left_behind() -> None:
    """Remove what local clouds that were killed have left: containers, and networks of earlier versions.

    It belongs to a port that nobody listens on.
    """
    shown = f'{{{{.ID}}}} {{{{.Label "{LABEL}"}}}}'
    listed = docker_engine.docker("ps", "-a", "--filter", f"label={LABEL}", "--format", shown)
    for line in listed.stdout.splitlines():
        container, _, owner = line.partition(" ")
        instance, _, number = owner.partition(":")
        if instance == INSTANCE and number.isdigit() and not listens(int(number)):
            docker_engine.docker("rm", "-f", container)
    networks = docker_engine.docker("network", "ls", "--filter", f"name=^{INSTANCE}-", "--format", "{{.Name}}")
    for name in networks.stdout.split():
        number = name.removeprefix(f"{INSTANCE}-")
        if number.isdigit() and not listens(int(number)):
            docker_engine.docker("network", "rm", name)


def listens(number: int) -> bool:
    """Whether a loopback port is in use."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) == 0


def _healthy() -> bool:
    """Whether the local cloud of this folder responds, and not another program on its port."""
    connection = http.client.HTTPConnection("127.0.0.1", port(), timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", HEALTH, headers={"Authorization": f"Bearer {credentials.secret()}"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _require_free_port() -> None:
    if listens(port()):
        raise LocalError(
            f"Port {port()} is taken by another program. Free it or choose another one: "
            f"LOCAL_CLOUD_PORT={port() + 1} make demo"
        )


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MINISTACK_HOSTNAME": INSTANCE,
        "LOCAL_CLOUD_GATE_IMAGE": base_image.with_python(),
        "LOCAL_CLOUD_PORT": str(port()),
        "DOCKER_HOST": docker_engine.host() or "",
        "DOCKER_CONFIG": str(DOCKER_CONFIG),
    }


def is_running() -> bool:
    """Whether the local cloud of this folder is running."""
    return processes.is_running(NAME) and _healthy()
