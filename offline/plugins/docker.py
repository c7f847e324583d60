"""Stand-in for `pulumi-resource-docker`: the resource `docker.Image`.

It builds with BuildKit (`docker build`) and pushes through the engine. Checks, diffs, logs and errors follow the real
provider:
https://github.com/pulumi/pulumi-docker/blob/master/provider/provider.go and `image.go` beside it.
"""

import hashlib
import os
import platform
import re
import signal
import stat
import subprocess
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import docker
import docker.errors
import docker.utils.build
import requests
import urllib3.exceptions

from offline.plugins import schema
from offline.plugins.provider import Provider, Refused, Values, WrongInputs, is_unknown, secret, serve_provider

IMAGE = "docker:index/image:Image"
IMAGE_ARGS = "pulumi_docker.ImageArgs"
PING_SECONDS = 5
USER_SOCKETS = (".docker/run/docker.sock", ".docker/desktop/docker.sock")
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
MOST_LINKS = 255
# With attestations Docker would push an image index, which Lambda refuses.
BUILDKIT = {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
# A line of a build: the number of the step, the seconds if it is output, and the text.
PROGRESS = re.compile(r"#([1-9]\d*) (\d+\.\d+ )?(.*)")
SETTLED = re.compile(r"sha256:|DONE |CACHED$|CANCELED$")
FAILED = re.compile(r"^(ERROR: )?(failed to build: )?(failed to solve: )?")


class DockerProvider(Provider):
    """`docker.Image`, with the Docker engine that the provider's `host` or DOCKER_HOST names."""

    version: ClassVar[str] = version("pulumi-docker")

    def __init__(self) -> None:
        self._builds: set[subprocess.Popen[str]] = set()
        self._schema = schema.load("pulumi_docker", [IMAGE_ARGS])

    def configure(self, config: Values) -> None:
        given = config.get("host") or os.environ.get("DOCKER_HOST")
        hosts = [given] if given else [None, *(f"unix://{Path.home() / socket}" for socket in USER_SOCKETS)]
        for host in hosts:
            environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
            try:
                docker.from_env(timeout=PING_SECONDS, environment=environment).ping()
            except docker.errors.DockerException:
                continue
            os.environ.update(environment)
            self._docker = docker.from_env(timeout=600)
            return
        raise Refused("failed to connect to any docker daemon")

    def check(self, kind: str, name: str, olds: Values, news: Values, seed: bytes) -> Values:
        if kind != IMAGE:
            raise Refused(f"the local stand-in of docker does not know the resource type {kind}; it knows {IMAGE}")
        if problems := schema.undeclared(self._schema, IMAGE_ARGS, news):
            raise WrongInputs(problems)
        news = {"buildOnPreview": False, **news}
        if is_unknown(news.get("build")) and not isinstance(news["build"], dict):
            return news
        build = dict(news.get("build") or {})
        build.setdefault("context", ".")
        if is_unknown(build["context"]) or is_unknown(build.get("dockerfile")):
            return {**news, "build": build}
        build.setdefault("dockerfile", os.path.normpath(os.path.join(build["context"], "Dockerfile")))
        _require_dockerfile(build["context"], build["dockerfile"])
        build["contextDigest"] = context_digest(build["context"], build["dockerfile"])
        build.setdefault("platform", f"linux/{MACHINES.get(platform.machine(), platform.machine())}")
        return {**news, "build": build}

    def replaces(self, kind: str) -> frozenset[str]:
        return frozenset()

    def ignored_in_diff(self, kind: str, name: str, old: Any, new: Any) -> bool:
        return name == "registry" and bool(old) and bool(new) and old.get("server") == new.get("server")

    def compared(self, state: Values, olds: Values) -> Values:
        # The state of an image that an earlier stand-in created has no inputs.
        return dict(state.get("__inputs", olds))

    def ignored_changes(self, asked: Any) -> Any:
        return ()

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

    def update(self, kind: str, urn: str, identity: str, olds: Values, news: Values, changed: set[str]) -> Values:
        return self._build_and_push(urn, news)

    def delete(self, kind: str, identity: str, state: Values) -> None:
        """Do nothing: the real provider does not delete the image."""

    def end(self) -> None:
        """End the Docker clients, so that the engine cancels their builds. The real provider is a client itself."""
        for build in list(self._builds):
            build.send_signal(signal.SIGTERM)

    def _build_and_push(self, urn: str, inputs: Values) -> Values:
        build, name = inputs["build"], inputs["imageName"]
        credentials = _credentials(inputs.get("registry", {}))
        for image in (build.get("cacheFrom") or {}).get("images", []):
            self._pull(urn, image, build["platform"], credentials)
        self._build(urn, name, build)
        outputs = {
            "imageName": name,
            "baseImageName": name,
            "context": build["context"],
            "dockerfile": os.path.relpath(build["dockerfile"], build["context"]),
            "platform": build["platform"],
            "registryServer": inputs.get("registry", {}).get("server", ""),
            "__inputs": secret(inputs),
        }
        if inputs.get("skipPush"):
            return {**outputs, "repoDigest": self._docker.images.get(name).id}
        return {**outputs, "repoDigest": self._push(urn, name, credentials)}

    def _pull(self, urn: str, image: str, platform: str, credentials: Values) -> None:
        """Pull an image for the builder's cache, with the login of the push. Failures are ignored."""
        self.log(urn, f"Pulling cached image {image}", passing=True)
        try:
            events = self._docker.api.pull(image, platform=platform, stream=True, decode=True, **credentials)
            reason = next((event["error"] for event in events if "error" in event), "")
        except docker.errors.APIError as error:
            reason = f"Error response from daemon: {error.explanation}"
        if reason:
            self.log(urn, f"cacheFrom image {image} not available: error pulling cached image {image}: {reason}")

    def _build(self, urn: str, name: str, build: Values) -> None:
        command = ["docker", "build", "--progress=plain", "--tag", name, "--file", build["dockerfile"]]
        for option in ("platform", "target", "network"):
            if build.get(option):
                command += [f"--{option}", build[option]]
        for key in build.get("args") or {}:
            command += ["--build-arg", key]
        for image in (build.get("cacheFrom") or {}).get("images", []):
            command += ["--cache-from", image]
        for host in build.get("addHosts") or []:
            command += ["--add-host", host]
        self.log(urn, "Starting Docker build", passing=True)
        last, vertexes = "", dict[str, str]()
        with subprocess.Popen(
            [*command, build["context"]],
            env={**os.environ, **BUILDKIT, **(build.get("args") or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            self._builds.add(process)
            for line in process.stdout or ():
                last = line.strip() or last
                if told := _told(line, vertexes):
                    self.log(urn, told, passing=True)
            code = process.wait()
            self._builds.discard(process)
        if code != 0:
            raise Refused(f"error reading build output: {FAILED.sub('', last)}")

    def _push(self, urn: str, name: str, credentials: Values) -> str:
        repository, _, tag = name.rpartition(":")
        self.log(urn, "Pushing Image to the registry", passing=True)
        digest, told = "", dict[str, str]()
        try:
            for event in self._docker.api.push(repository, tag=tag, stream=True, decode=True, **credentials):
                if "error" in event:
                    raise Refused(f"error reading push output: {_said(event)}")
                digest = event.get("aux", {}).get("Digest", digest)
                # The real provider logs the progress of each layer without the layer's ID.
                layer, status = event.get("id", ""), f"{event.get('status', '')} {event.get('progress', '')}".strip()
                if status != told.get(layer):
                    told[layer] = status
                    self.log(urn, status, passing=True)
        except docker.errors.APIError as error:
            raise Refused(f"Error response from daemon: {error.explanation}") from error
        except (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Refused(f"error reading push output: error parsing Docker output: {_reason(error)}") from error
        if not digest:
            self.log(
                urn,
                "Push completed without reporting a digest; falling back to local image inspect",
                severity="WARNING",
            )
            names = self._docker.images.get(name).attrs.get("RepoDigests", [])
            return next((found for found in names if found.startswith(f"{repository}@")), "<none>@<none>")
        return f"{repository}@{digest}"


def _credentials(registry: Values) -> Values:
    """The login for a push. The default is the login in the Docker configuration."""
    login = {"username": registry.get("username", ""), "password": registry.get("password", "")}
    return {"auth_config": login} if all(login.values()) else {}


def _require_dockerfile(context: str, dockerfile: str) -> None:
    if os.path.exists(dockerfile):
        return
    missing = f"stat {dockerfile}: no such file or directory"
    if os.path.isabs(dockerfile):
        raise Refused(f'expected a relative Dockerfile path; got "{dockerfile}" instead: {missing}')
    inside = os.path.normpath(os.path.join(context, dockerfile))
    if os.path.exists(inside):
        raise Refused(
            f'could not open dockerfile at relative path "{dockerfile}". Try setting `dockerfile` to "{inside}"'
        )
    raise Refused(f'could not open dockerfile at relative path "{dockerfile}": {missing}')


def _told(line: str, vertexes: dict[str, str]) -> str:
    """The text that the real provider logs for a line of BuildKit (`processLogLine`, which gets messages).

    Args:
        line: a line of `--progress=plain`.
        vertexes: the steps seen so far, by the number at the start of their lines.
    """
    if not (match := PROGRESS.fullmatch(line.strip())):
        return ""
    number, _, text = match.groups()
    known = number in vertexes
    if not known:
        vertexes[number] = f"digest: sha256:{hashlib.sha256(text.encode()).hexdigest()}\n{text}"
    if not known or text.startswith("ERROR: "):
        return vertexes[number] + (f"\nerror: {text.removeprefix('ERROR: ')}" if known else "")
    return "" if SETTLED.match(text) else text


def _said(event: Values) -> str:
    """The real provider's message for an error of the engine (`processLogLine`)."""
    if event.get("errorDetail", {}).get("code") == requests.codes.unauthorized:
        return "authentication is required"
    if event["error"] == "EOF":
        return (
            "EOF\n: This error is most likely due to incorrect or mismatched registry credentials. "
            "Please double check you are using the correct credentials and registry name"
        )
    return str(event["error"])


# ---- the hash of a context -----------------------------------------------------------------------------------------


def context_digest(context: str, dockerfile: str) -> str:
    """The real provider's hash (`hashContext`), byte for byte.

    It covers the Dockerfile, and path, mode and content of each file that is not ignored. Files that follow a dangling
    link in its folder are missing (`fsutil.Walk` treats the error as a folder to skip).
    """
    patterns = [docker.utils.build.Pattern(line) for line in _ignore_lines(context, dockerfile)]
    sha = hashlib.sha256(_entry(dockerfile, "Dockerfile", 0))
    for entry in _walk(context, "", patterns):
        sha.update(entry)
    return sha.hexdigest()


def _ignore_lines(context: str, dockerfile: str) -> list[str]:
    for file in (Path(f"{dockerfile}.dockerignore"), Path(context, ".dockerignore")):
        if file.exists():
            lines = file.read_text(encoding="utf-8-sig").splitlines()
            return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return []


def _walk(context: str, folder: str, patterns: Sequence[Any]) -> Iterator[bytes]:
    for name in sorted(os.listdir(os.path.join(context, folder)), key=os.fsencode):
        relative = os.path.join(folder, name)
        path = os.path.join(context, relative)
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode):
            yield from _walk(context, relative, patterns)
        elif not _is_ignored(relative, patterns):
            try:
                yield _entry(path, relative, mode)
            except FileNotFoundError:
                return


def _is_ignored(path: str, patterns: Sequence[Any]) -> bool:
    """Whether the last pattern that matches a path or one of its parent folders excludes it (moby/patternmatcher)."""
    folders = [path[:place] for place, letter in enumerate(path) if letter == "/"]
    ignored = False
    for pattern in patterns:
        if pattern.exclusion == ignored and any(map(pattern.match, [path, *folders])):
            ignored = not pattern.exclusion
    return ignored


def _entry(path: str, name: str, mode: int) -> bytes:
    """The input of the hash for one file. A mode of 0 is that of a regular file without permissions."""
    sha = hashlib.sha256()
    if stat.S_ISLNK(mode):
        sha.update(os.fsencode(_resolved(path)))
    elif mode == 0 or stat.S_ISREG(mode):
        sha.update(Path(path).read_bytes())
    return os.fsencode(name) + _shown(mode).encode() + sha.digest() + b"\0"


def _resolved(path: str) -> str:
    """The target of a path, as in Go's `filepath.EvalSymlinks`: relative unless a link in it is absolute."""
    done, rest, links = "/" * os.path.isabs(path), path.split("/"), 0
    while rest:
        part = rest.pop(0)
        if part in ("", "."):
            continue
        candidate = os.path.join(done, part)
        if part == "..":
            done = "" if os.path.normpath(candidate) == "." else os.path.normpath(candidate)
        elif stat.S_ISLNK(os.lstat(candidate).st_mode):
            links += 1
            if links > MOST_LINKS:
                raise Refused(f"could not evaluate symlink at {path}: EvalSymlinks: too many links")
            target = os.readlink(candidate)
            done = "/" if os.path.isabs(target) else done
            rest = target.split("/") + rest
        else:
            done = candidate
    return done or "."


def _shown(mode: int) -> str:
    """A mode as formatted by Go's `fs.FileMode.String`."""
    kinds = (
        ("L", stat.S_ISLNK(mode)),
        ("D", stat.S_ISBLK(mode) or stat.S_ISCHR(mode)),
        ("p", stat.S_ISFIFO(mode)),
        ("S", stat.S_ISSOCK(mode)),
        ("u", mode & stat.S_ISUID),
        ("g", mode & stat.S_ISGID),
        ("c", stat.S_ISCHR(mode)),
        ("t", mode & stat.S_ISVTX),
    )
    shown = "".join(letter for letter, there in kinds if there) or "-"
    bits = "".join(letter if mode & 0o400 >> place else "-" for place, letter in enumerate("rwxrwxrwx"))
    return shown + bits


def _reason(error: BaseException) -> str:
    """The text of the innermost exception in a chain: the system's message."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error)


def main() -> None:
    """Serve the provider to the engine that started this process."""
    serve_provider(DockerProvider())
