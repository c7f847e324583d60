"""The stand-in of the docker provider does what the provider's source does, and what the provider was seen to do.

Source: https://github.com/pulumi/pulumi-docker/blob/master/provider/provider.go, `image.go` beside it.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from offline.plugins import docker as stand_in
from offline.plugins.docker import DockerProvider, context_digest
from offline.plugins.provider import SECRET, Refused
from tests.local.stand_in import IMAGE, Failed, check, configure, diff, struct

INPUTS: dict[str, Any] = {
    "imageName": "localhost:4566/function:tag",
    "build": {"context": "app", "platform": "linux/amd64"},
    "registry": {"server": "localhost:4566", "username": "AWS", "password": "token"},
}


@pytest.fixture
def provider() -> DockerProvider:
    return DockerProvider()


@pytest.fixture
def context(app: Path) -> Path:
    """The build context of which the real provider's `Check` gave the hashes below."""
    files = {"Dockerfile": "FROM scratch\n", "a.py": "a\n", "pkg/b.py": "b\n"}
    (app / "app.py").unlink()
    (app / "pkg").mkdir()
    for name, text in files.items():
        (app / name).write_text(text)
        (app / name).chmod(0o644)
    return app


def written(name: str, text: str) -> Callable[[Path], None]:
    def write(context: Path) -> None:
        (context / name).write_text(text)
        (context / name).chmod(0o644)

    return write


def linked(name: str, target: str) -> Callable[[Path], None]:
    return lambda context: (context / name).symlink_to(target)


def moded(mode: int) -> Callable[[Path], None]:
    return lambda context: (context / "a.py").chmod(mode)


PLAIN = "9b2fa13af079900e37ad563df4e1ab7342f6015947f8f5b7e873cd3078b851c2"


@pytest.mark.parametrize(
    ("change", "digest"),
    [
        (lambda context: None, PLAIN),
        (moded(0o600), "59b290f468e5c85f35716b86003f4de161b00a167dcd320929b7cf4a0b82cffd"),
        (moded(0o4644), "8c8fd14c5d9ec4fba3a62dc0ad355b19874c331a47a5443c9fbe32ec2d714d57"),
        (linked("l", "pkg/b.py"), "c602dac2fecb8fe1fb6d128343986ee1dfeed8d2fcd0a888e43652ba3ea1ff82"),
        # Of a link that leads out, the path it resolves to, not the content behind it.
        (linked("l", "/etc/hostname"), "649b1e12828a346f6edbfc03f819ca2ec051850c65cf64cec57f070a11cc57df"),
        # A dangling link ends the walk of its folder; this one is the first in the context.
        (linked(".l", "nowhere"), "28ae90bda2f6ea069332c326ad65581be0fd9501aa6f27af89f3d014367144ff"),
        (written(".dockerignore", "pkg\n"), "707c42faa71bac80f3a7da48b917601ee18f9428802710f18eac4bfec7f6369a"),
        # Folders count by what is in them.
        (lambda context: (context / "pkg").chmod(0o700), PLAIN),
        (lambda context: (context / "empty").mkdir(), PLAIN),
    ],
    ids=["plain", "0600", "setuid", "link", "link out", "dangling", "ignored", "mode of a folder", "empty folder"],
)  # fmt: skip
def test_the_hash_is_the_real_providers(context: Path, change: Callable[[Path], None], digest: str) -> None:
    change(context)
    assert context_digest("app", "app/Dockerfile") == digest


def test_the_ignore_file_of_the_dockerfile_wins(context: Path) -> None:
    written(".dockerignore", "pkg\n")(context)
    written("Dockerfile.dockerignore", "a.py\n")(context)
    assert context_digest("app", "app/Dockerfile") == "8042c6c478a28fe91cba8029f7471c50fdbcb31972243075bc995a5a3a1414f5"


def test_behind_a_dangling_link_no_change_is_seen(context: Path) -> None:
    linked("aa", "nowhere")(context)
    before = context_digest("app", "app/Dockerfile")
    (context / "pkg" / "b.py").write_text("changed")
    assert context_digest("app", "app/Dockerfile") == before
    (context / "a.py").write_text("in front of it")
    assert context_digest("app", "app/Dockerfile") != before


def test_check_fills_in_the_defaults(provider: DockerProvider, context: Path) -> None:
    checked = check(provider, IMAGE, **INPUTS)
    assert checked["buildOnPreview"] is False
    assert checked["build"] == {**INPUTS["build"], "dockerfile": "app/Dockerfile", "contextDigest": PLAIN}


def test_a_dockerfile_is_looked_for_from_the_working_directory(provider: DockerProvider, context: Path) -> None:
    with pytest.raises(
        Failed, match='could not open dockerfile at relative path "Dockerfile". Try setting .* "app/Dock'
    ):
        check(provider, IMAGE, **{**INPUTS, "build": {"context": "app", "dockerfile": "Dockerfile"}})
    with pytest.raises(Failed, match='relative path "app/None": stat app/None: no such file or directory'):
        check(provider, IMAGE, **{**INPUTS, "build": {"context": "app", "dockerfile": "app/None"}})


def test_the_diff_ignores_credentials_and_does_not_ignore_what_it_is_told_to(
    provider: DockerProvider, context: Path
) -> None:
    old = check(provider, IMAGE, **INPUTS)
    state = {"__inputs": old}
    renewed = {**old, "registry": {**old["registry"], "password": "another"}}
    assert diff(provider, IMAGE, old, renewed, state=state) == (set(), set())
    (context / "a.py").write_text("changed")
    new = check(provider, IMAGE, **INPUTS)
    assert diff(provider, IMAGE, old, new, state=state, ignore=("build",)) == ({"build"}, set())


def test_the_engine_is_pinged_when_it_is_configured_and_neither_host_nor_reason_is_told(
    provider: DockerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(Failed) as failed:
        configure(provider)
    assert str(failed.value) == "failed to connect to any docker daemon"


def test_the_host_of_another_machine_is_kept_and_is_a_change(provider: DockerProvider) -> None:
    """The SDK copies DOCKER_HOST into the input `host` (ran)."""
    here, elsewhere = ({"host": f"unix:///{name}.sock"} for name in ("here", "elsewhere"))
    checked = provider.CheckConfig(provider_pb2.CheckRequest(news=struct(here)), None)
    assert checked.inputs == struct(here)
    request = provider_pb2.DiffRequest(old_inputs=struct(elsewhere), news=struct(here))
    assert list(provider.DiffConfig(request, None).diffs) == ["host"]


def test_the_providers_host_comes_before_docker_host(provider: DockerProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Client:
        def ping(self) -> None:
            asked.append(os.environ["DOCKER_HOST"])

    def from_env(*, timeout: int, environment: dict[str, str] | None = None) -> Client:
        if environment is not None:
            asked.append(environment["DOCKER_HOST"])
        return Client()

    monkeypatch.setenv("DOCKER_HOST", "unix:///of/this/machine.sock")
    monkeypatch.setattr(stand_in.docker, "from_env", from_env)
    configure(provider, host="unix:///of/another.sock")
    assert asked[0] == "unix:///of/another.sock"
    # What it starts goes there as well.
    assert os.environ["DOCKER_HOST"] == "unix:///of/another.sock"


class Engine:
    """Stands for the engine, `docker build` and the Docker engine's push."""

    def __init__(self, provider: DockerProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.lines: list[str] = []
        monkeypatch.setattr(provider, "log", lambda urn, message, **_: self.lines.append(message))
        monkeypatch.setattr(provider, "_docker", self, raising=False)
        self.api = self
        self.events: list[dict[str, Any]] = []
        self._buildx = tmp_path / "bin" / "docker"
        self._buildx.parent.mkdir()
        monkeypatch.setenv("PATH", f"{self._buildx.parent}:{os.environ['PATH']}")
        self.builds("exit 0")

    def builds(self, script: str) -> None:
        self._buildx.write_text(f"#!/bin/sh\n{script}\n")
        self._buildx.chmod(0o755)

    def push(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return self.events

    def pull(self, image: str, *, platform: str, auth_config: dict[str, str], **_: Any) -> list[dict[str, Any]]:
        assert (platform, auth_config) == ("linux/amd64", {"username": "AWS", "password": "token"})
        return [{"error": "not found"}] if image.endswith(":none") else []


@pytest.fixture
def engine(provider: DockerProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    return Engine(provider, monkeypatch, tmp_path)


FAILING = r"""
echo '#0 building with "default" instance using docker driver'
echo '#5 [2/2] RUN make'
echo '#5 0.326 cc not found'
echo '#5 ERROR: process "/bin/sh -c make" did not complete successfully: exit code: 2'
echo '------'
echo ' > [2/2] RUN make:'
echo '0.326 cc not found'
echo '------'
echo 'ERROR: failed to build: failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 2'
exit 1
"""
REASON = 'process "/bin/sh -c make" did not complete successfully: exit code: 2'


def test_output_of_a_failing_build_is_logged_and_is_not_in_the_error(
    provider: DockerProvider, engine: Engine, context: Path
) -> None:
    inputs = check(provider, IMAGE, **INPUTS)
    engine.builds(FAILING)
    with pytest.raises(Refused) as failed:
        provider.create(IMAGE, "urn", inputs)
    assert str(failed.value) == f"error reading build output: {REASON}"
    starting, step, output, ended = engine.lines
    assert starting == "Starting Docker build"
    assert re.fullmatch(r"digest: sha256:[0-9a-f]{64}\n\[2/2\] RUN make", step)
    assert output == "cc not found"
    assert ended == f"{step}\nerror: {REASON}"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"error": "denied: no"}, "error reading push output: denied: no"),
        ({"error": "EOF"}, "most likely due to incorrect or mismatched registry credentials"),
        ({"error": "x", "errorDetail": {"code": 401}}, "error reading push output: authentication is required"),
    ],
)
def test_a_push_fails_with_the_real_providers_words(
    provider: DockerProvider, engine: Engine, context: Path, event: dict[str, Any], said: str
) -> None:
    engine.events = [event]
    with pytest.raises(Refused, match=said):
        provider.create(IMAGE, "urn", check(provider, IMAGE, **INPUTS))


def test_the_inputs_are_kept_in_the_state_as_a_secret(provider: DockerProvider, engine: Engine, context: Path) -> None:
    engine.events = [{"aux": {"Digest": "sha256:2"}}]
    inputs = check(provider, IMAGE, **INPUTS)
    _, state = provider.create(IMAGE, "urn", inputs)
    assert state["repoDigest"] == "localhost:4566/function@sha256:2"
    assert state["__inputs"] == {**SECRET, "value": inputs}


def test_images_for_the_cache_are_pulled_with_the_login_of_the_push_and_may_be_missing(
    provider: DockerProvider, engine: Engine, context: Path
) -> None:
    engine.events = [{"aux": {"Digest": "sha256:2"}}]
    images = ["localhost:4566/function:none", "localhost:4566/function:one"]
    build = {**INPUTS["build"], "cacheFrom": {"images": images}}
    provider.create(IMAGE, "urn", check(provider, IMAGE, **{**INPUTS, "build": build}))
    assert engine.lines[:3] == [
        f"Pulling cached image {images[0]}",
        f"cacheFrom image {images[0]} not available: error pulling cached image {images[0]}: not found",
        f"Pulling cached image {images[1]}",
    ]


def test_cancel_does_not_end_a_build(provider: DockerProvider) -> None:
    class Build:
        def send_signal(self, number: int) -> None:
            raise AssertionError("a build was ended")

    provider._builds.add(Build())  # type: ignore[arg-type]
    provider.Cancel(None, None)
