"""The environment of measurements: a clone with both stacks deployed, and programs for comparison."""

import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.docker_calls import DockerCalls
from bench.measure import CommandFailed, Run, run, tell
from local import docker_engine
from local.workspace import BIN, ROOT
from tests.engine.clone import Clone

PROGRAMS = Path(__file__).resolve().parent / "programs"
REGISTRY, CONSUMER = "registry", "consumer"
STAND_INS, REAL = "stand-in plugins", "installed plugins"

# Calls in the log of the local cloud: method, path, action, status.
CLOUD_CALLS = {
    "UpdateFunctionCode": re.compile(r" PUT /2015-03-31/functions/[^/ ]+/code "),
    "manifest": re.compile(r" PUT /v2/\S+/manifests/"),
}
UPLOAD = re.compile(r" PUT /v2/\S+/blobs/uploads/\S+digest=(sha256(?::|%3A)[0-9a-f]{64})")


def installed() -> str:
    """The measured plugins, such as `aws 7.51.1, docker 5.2.0`; empty for the stand-ins."""
    if (BIN / "pulumi-resource-aws").exists():
        return ""
    found = json.loads(run([BIN / "pulumi", "plugin", "ls", "--json"], cwd=ROOT).output)
    return ", ".join(sorted(f"{plugin['name']} {plugin['version']}" for plugin in found))


@dataclass
class Ground:
    """The clone and the programs for comparison.

    Attributes:
        clone: the clone, after `make demo`.
        folder: folder of the programs.
        env: the clone's environment.
        docker: the Docker endpoint that all of them use.
    """

    clone: Clone
    folder: Path
    env: dict[str, str]
    docker: DockerCalls

    def pulumi(self, *arguments: str, program: str = "") -> Run:
        """Run the CLI on the stacks of the clone or of a program."""
        command: list[str | Path] = [self.clone.root / ".local" / "bin" / "pulumi", "--non-interactive", *arguments]
        return run(command, cwd=self.folder / program if program else self.clone.root, env=self.env)

    def up(self, stack: str, *, program: str = "", config: dict[str, str] | None = None) -> Run:
        """`pulumi up` of a stack."""
        given = [f"--config={key}={value}" for key, value in (config or {}).items()]
        return self.pulumi("up", "--yes", "--skip-preview", "--stack", stack, *given, program=program)

    def preview(self, stack: str, *, program: str = "", config: dict[str, str] | None = None) -> Run:
        """`pulumi preview` of a stack."""
        given = [f"--config={key}={value}" for key, value in (config or {}).items()]
        return self.pulumi("preview", "--stack", stack, *given, program=program)

    def outputs(self, stack: str, *, program: str = "") -> dict[str, Any]:
        """All outputs of a stack."""
        return dict(json.loads(self.pulumi("stack", "output", "--json", "--stack", stack, program=program).output))

    def _deploy_bounds(self) -> None:
        """Deploy the bounds: for each stack, a program with only its providers."""
        for stack, profiles, docker in ((REGISTRY, ["registry"], False), (CONSUMER, ["consumer", "registry"], True)):
            config = {"docker": json.dumps(docker)}
            config |= {f"profiles[{number}]": profile for number, profile in enumerate(profiles)}
            self.pulumi("stack", "init", stack, program="providers")
            for key, value in config.items():
                self.pulumi("config", "set", "--path", key, value, "--stack", stack, program="providers")
            self.up(stack, program="providers")

    def calls(self) -> Counter[str]:
        """Number of calls of the local cloud and Docker: builds, pushes, manifests, updates of code."""
        log = self._log()
        return self.docker.counted + Counter({name: len(call.findall(log)) for name, call in CLOUD_CALLS.items()})

    def uploads(self) -> list[str]:
        """Digests of all uploaded layers and configurations, with repetitions."""
        return [digest.replace("%3A", ":") for digest in UPLOAD.findall(self._log())]

    def _log(self) -> str:
        return (self.clone.root / ".local" / "logs" / "cloud.log").read_text(errors="replace")


@contextmanager
def ground() -> Iterator[Ground]:
    """Create the clone, run `make demo` in it, and deploy the programs. Stops everything at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        # One endpoint for everything, because the Docker provider treats another one as a change.
        docker = DockerCalls(docker_engine.host() or "")
        os.environ["DOCKER_HOST"] = docker.host
        tell("a clone with both stacks: make demo")
        clone = Clone.make_in(folder / "clone")
        try:
            ran = clone.make("demo")
            if ran.returncode != 0:
                raise CommandFailed(f"make demo failed with {ran.returncode}:\n{ran.stdout}")
            pairs = (pair.split("=", 1) for pair in clone.shell("env -0").stdout.split("\0") if "=" in pair)
            made = Ground(clone, folder, dict(pairs), docker)
            tell("the programs to compare with")
            for program in PROGRAMS.iterdir():
                shutil.copytree(program, folder / program.name)
                shutil.copytree(clone.root / "app", folder / program.name / "app")
                (folder / program.name / "components").symlink_to(clone.root / "components")
                (folder / program.name / "venv").symlink_to(clone.root / ".local" / "venv")
            made.pulumi("stack", "init", "empty", program="empty")
            made.up("empty", program="empty")
            made._deploy_bounds()
            yield made
        finally:
            clone.make("down")
            docker.close()
