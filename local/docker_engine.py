"""Finds a running Docker engine, or starts one with its data in `.local/`; and finds a client for it."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from local import processes
from local.steps import run, step, succeeds
from local.workspace import BIN, DOCKER_CONFIG, LOCAL, ROOT, LocalError

NAME = "dockerd"
READY_SECONDS = 60
ANSWER_SECONDS = 10
BRIDGE = Path("/sys/class/net/docker0")
RUNTIMES = Path("/run")
RUNTIME = "cross-account-ecr-"
# Since this version, the client needs the buildx plugin for BuildKit.
BUILDKIT_OUTSIDE = 23


def runtime_folder() -> Path:
    """Folder for the files of our own engine. Its path is short, because a socket's path may have 107 bytes."""
    return RUNTIMES / f"{RUNTIME}{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"


def address() -> str:
    """Address of our own engine."""
    return f"unix://{runtime_folder() / 'docker.sock'}"


def host() -> str | None:
    """The value of DOCKER_HOST for the engine in use; None if there is no engine."""
    with contextlib.suppress(StopIteration):
        return _first_answering()
    return None


@cache
def _first_answering() -> str:
    # Do not cache that there is no engine: another thread may start one.
    return next(filter(_answers, _candidates()))


def _candidates() -> Iterator[str]:
    """Our own engine and the engine of DOCKER_HOST; otherwise the client's default and the engines of other clones.

    Clones share an engine, because two engines on one bridge would give their containers the same addresses.
    """
    if processes.is_running(NAME):
        yield address()
    if given := _given():
        yield given
        return
    if shutil.which("docker"):
        shown = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
        yield subprocess.run(shown, capture_output=True, text=True).stdout.strip()
    for path in sorted(RUNTIMES.glob(f"{RUNTIME}*/docker.sock")):
        yield f"unix://{path}"


def _given() -> str | None:
    """DOCKER_HOST; None if `make shell` has set it."""
    given = os.environ.get("DOCKER_HOST")
    return given if given != address() else None


def engine() -> None:
    """Find or start a Docker engine, and find a client that builds with BuildKit.

    Raises:
        LocalError: the engine of DOCKER_HOST does not respond, or an engine or client is missing and cannot be
            installed.
    """
    with step("Docker engine") as current:
        if shutil.which("docker") is None:
            apt_install("docker.io", say=current.say)
        if not host():
            if given := _given():
                raise LocalError(
                    f"DOCKER_HOST={given} does not answer: {_error(given)}\n"
                    "Start that engine, or unset DOCKER_HOST to use another one."
                )
            if os.geteuid() != 0:
                raise LocalError("No Docker engine is running, and only root can start one. Start Docker first.")
            if shutil.which("dockerd") is None:
                # Debian's package may have started its own engine.
                apt_install("docker.io", say=current.say)
        how = "running" if processes.is_running(NAME) else "found"
        if not host():
            current.say("starting dockerd")
            _start()
            how = "started"
        _choose_client()
        current.done(how, f"{docker('version', '--format', '{{.Server.Version}}').stdout.strip()} at {host()}")


def _start() -> None:
    processes.stop(NAME)
    runtime = runtime_folder()
    runtime.mkdir(mode=0o700, exist_ok=True)
    if not BRIDGE.exists():
        (runtime / "made-bridge").touch()
    folders = ["--data-root", str(LOCAL / "docker"), "--exec-root", str(runtime / "exec")]
    command = ["dockerd", *folders, "--pidfile", str(runtime / "dockerd.pid"), "--host", address()]
    processes.start(NAME, command, env=dict(os.environ), is_ready=lambda: _answers(address()), seconds=READY_SECONDS)


def _choose_client() -> None:
    """Use a client that builds with BuildKit: the first client on PATH, or a link to a later one.

    Raises:
        LocalError: no client builds with BuildKit.
    """
    link, plugins = BIN / "docker", DOCKER_CONFIG / "cli-plugins"
    own = Path.home() / ".docker" / "cli-plugins"
    if own.exists() and not plugins.exists():
        plugins.symlink_to(own)
    folders = [folder for folder in os.get_exec_path() if Path(folder) != BIN]
    clients = [Path(folder, "docker") for folder in folders if shutil.which("docker", path=folder)]
    chosen = next(filter(_has_buildkit, clients), None)
    if chosen is None:
        raise LocalError(
            "No `docker` on PATH builds with BuildKit: the buildx plugin is missing. Install the package "
            "docker-buildx-plugin (of Docker), docker-buildx (Debian 13) or docker.io (Debian 12)."
        )
    link.unlink(missing_ok=True)
    if chosen != clients[0]:
        link.symlink_to(chosen)


def _has_buildkit(client: Path) -> bool:
    if succeeds([client, "buildx", "version"], env={**os.environ, "DOCKER_CONFIG": str(DOCKER_CONFIG)}):
        return True
    shown = subprocess.run([client, "--version"], capture_output=True, text=True).stdout
    match = re.match(r"Docker version (\d+)\.", shown)
    return match is not None and int(match[1]) < BUILDKIT_OUTSIDE


def stop() -> bool:
    """Stop the engine if it is ours. Returns whether it was stopped."""
    stopped = processes.stop(NAME)
    _first_answering.cache_clear()
    if stopped:
        if (runtime_folder() / "made-bridge").exists() and not _another_engine_runs():
            subprocess.run(["ip", "link", "delete", BRIDGE.name], capture_output=True)
        shutil.rmtree(runtime_folder(), ignore_errors=True)
    return stopped


def apt_install(*packages: str, say: Callable[[str], None]) -> None:
    """Install Debian packages.

    Raises:
        LocalError: the system is not Debian, or the user is not root.
    """
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise LocalError(f"Install {', '.join(packages)}. Only root on Debian can install it here.")
    say(f"installing Debian's {packages[0]}")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-update", ["apt-get", "update", "-q"], env=env)
    run(f"apt-{packages[0]}", ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], env=env)


def variables() -> dict[str, str]:
    """Environment variables that make `docker` use the engine and build images that Lambda supports.

    With an attestation, the result is an image index, which Lambda does not support.
    """
    return {
        "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
        "DOCKER_CONFIG": str(DOCKER_CONFIG),
        "DOCKER_BUILDKIT": "1",
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        **({"DOCKER_HOST": found} if (found := host()) else {}),
    }


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the `docker` command against the engine in use."""
    return subprocess.run(["docker", *arguments], env={**os.environ, **variables()}, capture_output=True, text=True)


def _answers(address: str) -> bool:
    return address != "" and _error(address) == ""


def _error(address: str) -> str:
    """Why an engine does not respond; empty if it does."""
    command = ["timeout", str(ANSWER_SECONDS), "docker", "version", "--format", "{{.Server.Version}}"]
    try:
        shown = subprocess.run(command, env={**os.environ, "DOCKER_HOST": address}, capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return "" if shown.returncode == 0 else shown.stderr.strip() or f"no answer within {ANSWER_SECONDS} s"


def _another_engine_runs() -> bool:
    """Whether another dockerd is running, which may use the bridge that our engine created."""
    return succeeds(["pgrep", "-x", "dockerd"])
