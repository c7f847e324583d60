"""A Docker engine: the one that is running, or our own one with its data in `.local/`."""

import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from local import processes
from local.steps import run, step, succeeds
from local.toolchain import go_build
from local.workspace import DOCKER_CONFIG, LOCAL, ROOT, LocalError

NAME = "dockerd"
READY_SECONDS = 60
ANSWER_SECONDS = 10
BRIDGE = Path("/sys/class/net/docker0")


def runtime_folder() -> Path:
    """Sockets and other files of a running engine of ours. Short, since a socket's path may have 107 bytes."""
    return Path("/run") / f"cross-account-ecr-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"


def socket() -> Path:
    """Where our own engine listens."""
    return runtime_folder() / "docker.sock"


@cache
def host() -> str | None:
    """The value of DOCKER_HOST for the engine in use; None if there is no engine."""
    if processes.is_running(NAME) and _answers(f"unix://{socket()}"):
        return f"unix://{socket()}"
    if given := os.environ.get("DOCKER_HOST"):
        return given if _answers(given) else None
    shown = (
        subprocess.run(
            ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"], capture_output=True, text=True
        )
        if shutil.which("docker")
        else None
    )
    found = shown.stdout.strip() if shown else ""
    return found if found and _answers(found) else None


def engine() -> None:
    """Find or start a Docker engine.

    Raises:
        LocalError: there is none, and none can be started here.
    """
    with step("Docker engine") as current:
        if host():
            how = "started" if processes.is_running(NAME) else "found"
            current.done("found" if how == "found" else "running", _describe())
            return
        if os.geteuid() != 0:
            raise LocalError("No Docker engine answers, and only root can start one. Start Docker and run this again.")
        if shutil.which("dockerd") is None:
            current.say("installing Debian's docker.io")
            apt_install("docker.io")
            # Where Debian starts services, the package has started its own by now.
            host.cache_clear()
            if host():
                current.done("installed", _describe())
                return
        current.say("starting dockerd")
        processes.stop(NAME)
        runtime_folder().mkdir(exist_ok=True)
        if not BRIDGE.exists():
            (runtime_folder() / "made-bridge").touch()
        command = [
            "dockerd",
            "--data-root",
            str(LOCAL / "docker"),
            "--exec-root",
            str(runtime_folder() / "exec"),
            "--pidfile",
            str(runtime_folder() / "dockerd.pid"),
            "--host",
            f"unix://{socket()}",
        ]
        processes.start(
            NAME, command, env=dict(os.environ), is_ready=lambda: _answers(f"unix://{socket()}"), seconds=READY_SECONDS
        )
        host.cache_clear()
        current.done("started", _describe())


def buildx() -> None:
    """BuildKit's front end for the `docker` command: the one installed, or built from its pinned Go module."""
    with step("Docker buildx") as current:
        if succeeds(["docker", "buildx", "version"], env={**os.environ, "DOCKER_CONFIG": str(DOCKER_CONFIG)}):
            current.done("found")
            return
        current.say("building it from its pinned Go module (a minute)")
        binary = go_build("buildx", "github.com/docker/buildx/cmd/buildx", "-ldflags", "-s -w")
        plugins = DOCKER_CONFIG / "cli-plugins"
        plugins.mkdir(exist_ok=True)
        (plugins / "docker-buildx").unlink(missing_ok=True)
        (plugins / "docker-buildx").symlink_to(binary)
        current.done("built", "from its Go module")


def stop() -> bool:
    """End the engine, if it is ours. Returns whether it was."""
    stopped = processes.stop(NAME)
    host.cache_clear()
    if stopped:
        if (runtime_folder() / "made-bridge").exists() and not _another_engine_runs():
            subprocess.run(["ip", "link", "delete", BRIDGE.name], capture_output=True)
        shutil.rmtree(runtime_folder(), ignore_errors=True)
    return stopped


def apt_install(*packages: str) -> None:
    """Install Debian packages.

    Raises:
        LocalError: this is no Debian, or not root.
    """
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise LocalError(f"Please install {', '.join(packages)}: it is missing, and this is not root on Debian.")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-update", ["apt-get", "update", "-q"], env=env)
    run(f"apt-{packages[0]}", ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], env=env)


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the `docker` command against the engine in use."""
    env = {**os.environ, "DOCKER_HOST": host() or "", "DOCKER_CONFIG": str(DOCKER_CONFIG)}
    return subprocess.run(["docker", *arguments], env=env, capture_output=True, text=True)


def _answers(address: str) -> bool:
    return succeeds(
        ["timeout", str(ANSWER_SECONDS), "docker", "version", "--format", "{{.Server.Version}}"],
        env={**os.environ, "DOCKER_HOST": address},
    )


def _another_engine_runs() -> bool:
    """Whether there is another dockerd, which may have come to use the bridge that ours made."""
    return succeeds(["pgrep", "-x", "dockerd"])


def _describe() -> str:
    return f"{docker('version', '--format', '{{.Server.Version}}').stdout.strip()} at {host()}"
