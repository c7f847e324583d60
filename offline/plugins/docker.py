"""Stand-in for `pulumi-resource-docker`: the resource `docker.Image`.

Builds with BuildKit (`docker buildx build`, no attestations, which would make an image index that Lambda refuses),
pushes through the engine, and diffs like the real provider: structurally over the inputs with a hash of the build
context, never because of a registry's user name or password. A refresh and a delete do nothing: the image stays.
https://github.com/pulumi/pulumi-docker/blob/master/provider/provider.go
"""

import hashlib
import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import docker
import docker.errors
import docker.utils.build
import requests
import urllib3.exceptions

from offline.plugins import schema
from offline.plugins.provider import Provider, Refused, Values, WrongInputs, is_unknown, serve_provider

IMAGE = "docker:index/image:Image"
IMAGE_ARGS = "pulumi_docker.ImageArgs"
PING_SECONDS = 5
SHOWN_LINES = 40


class DockerProvider(Provider):
    """`docker.Image`, with the Docker engine that DOCKER_HOST names."""

    version: ClassVar[str] = version("pulumi-docker")

    def __init__(self) -> None:
        self._builds: set[subprocess.Popen[str]] = set()
        self._schema = schema.load("pulumi_docker", [IMAGE_ARGS])

    def configure(self, config: Values) -> None:
        try:
            self._docker = docker.from_env(timeout=PING_SECONDS)
            self._docker.ping()
            self._docker = docker.from_env(timeout=600)
        except docker.errors.DockerException as error:
            raise Refused(
                f"failed to connect to any docker daemon ({os.environ.get('DOCKER_HOST', 'the default socket')}): "
                f"{_reason(error)}. Start Docker, or run an existing image, for which none is needed."
            ) from error

    def check(self, kind: str, name: str, olds: Values, news: Values, seed: bytes) -> Values:
        if kind != IMAGE:
            raise Refused(f"the local stand-in of docker does not know the resource type {kind}; it knows {IMAGE}")
        if problems := schema.undeclared(self._schema, IMAGE_ARGS, news):
            raise WrongInputs(problems)
        if is_unknown(news.get("build")):
            return news
        build = {"context": ".", **news.get("build", {})}
        dockerfile = Path(build.get("dockerfile") or Path(build["context"], "Dockerfile"))
        if not dockerfile.is_file():
            raise Refused(f"could not open dockerfile at relative path {dockerfile}: no such file")
        digest = _context_digest(Path(build["context"]), dockerfile)
        return {**news, "build": {**news.get("build", {}), "contextDigest": digest}}

    def replaces(self, kind: str) -> frozenset[str]:
        return frozenset()

    def ignored_in_diff(self, kind: str, name: str, old: Any, new: Any) -> bool:
        return name == "registry" and bool(old) and bool(new) and old.get("server") == new.get("server")

    def computed(self, kind: str) -> frozenset[str]:
        return frozenset({"baseImageName", "repoDigest", "registryServer", "context", "dockerfile", "platform"})

    def changed_outputs(self, kind: str, changed: set[str], news: Values) -> frozenset[str]:
        return self.computed(kind) if changed else frozenset()

    def input_names(self, kind: str) -> frozenset[str]:
        return frozenset({"imageName", "build", "registry", "skipPush", "buildOnPreview"})

    def create(self, kind: str, urn: str, inputs: Values) -> tuple[str, Values]:
        return str(inputs["imageName"]), self._build_and_push(urn, inputs)

    def read(self, kind: str, identity: str, state: Values) -> tuple[str, Values] | None:
        return identity, state

    def update(self, kind: str, urn: str, identity: str, olds: Values, news: Values) -> Values:
        return self._build_and_push(urn, news)

    def delete(self, kind: str, identity: str, state: Values) -> None:
        """The real provider leaves the image where it is."""

    def cancel(self) -> None:
        for build in list(self._builds):
            build.terminate()

    def _build_and_push(self, urn: str, inputs: Values) -> Values:
        build, name = inputs.get("build", {}), inputs["imageName"]
        context = build.get("context", ".")
        dockerfile = build.get("dockerfile") or str(Path(context, "Dockerfile"))
        self._build(urn, name, context, dockerfile, build)
        outputs = {
            "imageName": name,
            "baseImageName": name,
            "context": context,
            "dockerfile": dockerfile,
            "platform": build.get("platform", ""),
            "registryServer": inputs.get("registry", {}).get("server", ""),
        }
        if inputs.get("skipPush"):
            return {**outputs, "repoDigest": self._docker.images.get(name).id}
        return {**outputs, "repoDigest": self._push(urn, name, inputs.get("registry", {}))}

    def _build(self, urn: str, name: str, context: str, dockerfile: str, build: Values) -> None:
        command = ["docker", "buildx", "build", "--progress=plain", "--provenance=false", "--sbom=false", "--load"]
        command += ["--tag", name, "--file", dockerfile]
        for option in ("platform", "target", "network"):
            if build.get(option):
                command += [f"--{option}", build[option]]
        for key in build.get("args") or {}:
            command += ["--build-arg", key]
        for image in (build.get("cacheFrom") or {}).get("images", []):
            command += ["--cache-from", image]
        for host in build.get("addHosts") or []:
            command += ["--add-host", host]
        self.log(urn, "Building the image", passing=True)
        lines: list[str] = []
        with subprocess.Popen(
            [*command, context],
            env={**os.environ, **(build.get("args") or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            self._builds.add(process)
            for line in process.stdout or ():
                if shown := line.rstrip():
                    lines.append(shown)
                    self.log(urn, shown, passing=True)
            code = process.wait()
            self._builds.discard(process)
        if code < 0:
            raise Refused("the build was cancelled; nothing was pushed")
        if code != 0:
            shown_lines = "\n".join(lines[-SHOWN_LINES:])
            raise Refused(f"the image did not build; nothing was pushed. The build's last lines:\n{shown_lines}")

    def _push(self, urn: str, name: str, registry: Values) -> str:
        repository, _, tag = name.rpartition(":")
        login = {"username": registry.get("username", ""), "password": registry.get("password", "")}
        self.log(urn, "Pushing the image", passing=True)
        digest, told = "", dict[str, str]()
        try:
            for event in self._docker.api.push(repository, tag=tag, auth_config=login, stream=True, decode=True):
                if "error" in event:
                    raise Refused(f"the push of {name} failed: {event['error']}")
                digest = event.get("aux", {}).get("Digest", digest)
                layer, status = event.get("id"), event.get("status")
                if layer and status != told.get(layer):
                    told[layer] = status
                    self.log(urn, f"{layer}: {status}", passing=True)
        except (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Refused(f"the push of {name} failed: the Docker engine broke it off ({_reason(error)})") from error
        if not digest:
            raise Refused(f"the push of {name} ended without a digest")
        return f"{repository}@{digest}"


def _context_digest(context: Path, dockerfile: Path) -> str:
    """A hash over path, mode and content of what is sent to the builder, and of the Dockerfile."""
    ignore = context / ".dockerignore"
    patterns = ignore.read_text().splitlines() if ignore.is_file() else []
    kept = [line.strip() for line in patterns if line.strip() and not line.startswith("#")]
    sha = hashlib.sha256(dockerfile.read_bytes())
    for relative in sorted(docker.utils.build.exclude_paths(str(context), kept)):
        path = context / relative
        if path.is_file():
            sha.update(f"{relative}\0{path.stat().st_mode:o}\0".encode())
            sha.update(path.read_bytes())
    return sha.hexdigest()


def _reason(error: BaseException) -> str:
    """The innermost text of an exception chain: what the system said."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error)


def main() -> None:
    """Serve the provider to the engine that started this process."""
    serve_provider(DockerProvider())
