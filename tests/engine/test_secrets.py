"""Secrets never appear in plaintext: not in the state, a log, an image, a preview or an error."""

import contextlib
import http.server
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from components.image.build import ImageBuild
from tests.engine.clone import Clone

FUNCTION = "cross-account-function"
CANARY = "canary-of-the-environment"
SECRET = "pulumi config set --secret -s consumer --path"


@pytest.fixture
def confidential(updatable: Clone) -> Clone:
    """The deployed clone. The consumer's stack file has a secret for the function that is not deployed yet."""
    assert updatable.shell(f"{SECRET} 'function.environment.TOKEN' {CANARY}").returncode == 0
    written = (updatable.root / ".local" / "project" / "Pulumi.consumer.yaml").read_text()
    assert "secure:" in written
    (updatable.root / "Pulumi.consumer.yaml").write_text(written)
    # Content that no other test pushed, so that this one does.
    updatable.edit("app/app.py", "hello world!", "hello secrets!")
    return updatable


def push_token(clone: Clone) -> str:
    """The password of the last push."""
    shown = json.loads(clone.shell("pulumi stack export --show-secrets -s consumer 2>/dev/null").stdout)
    (image,) = [part for part in shown["deployment"]["resources"] if part["type"] == "docker:index/image:Image"]
    return str(json.loads(image["inputs"]["registry"]["password"]["plaintext"]))


def kept_files(clone: Clone) -> dict[str, bytes]:
    """All files that a local run wrote: state, history, logs, configuration. Caches are links.

    Excludes the data of the local cloud, which contains the variable, as Lambda does.
    """
    local = clone.root / ".local"
    written = [path for path in local.rglob("*") if path.is_file() and not path.is_relative_to(local / "cloud")]
    found = {str(path): path.read_bytes() for path in written}
    assert any("/state/" in name for name in found)
    assert any("/logs/" in name for name in found)
    return found


@contextlib.contextmanager
def told(callback: Callable[[], object]) -> Iterator[int]:
    """A loopback port on which each request calls a function, so that a step of a build can call it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name of the protocol
            callback()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silence."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def failing(clone: Clone, command: str, expected: str) -> str:
    """The output of a command that must fail with this error."""
    ran = clone.shell(command)
    assert ran.returncode != 0, ran.stdout
    assert expected in ran.stdout
    return ran.stdout


def failed_push(clone: Clone) -> str:
    """The output of an update whose tag is created by somebody else during its build."""
    ecr = clone.client("registry", "ecr")
    clone.edit("Pulumi.consumer.yaml", "{context: app,", "{context: app, network: host,")
    base = clone.shell("echo $LAMBDA_BASE_IMAGE").stdout.strip()
    (image,) = ecr.batch_get_image(
        repositoryName=FUNCTION, imageIds=[{"imageTag": clone.output("consumer", "imageTag")}]
    )["images"]

    def take() -> None:
        with contextlib.chdir(clone.root):
            tag = ImageBuild(context="app", args={"LAMBDA_BASE_IMAGE": base}, network="host").tag
        ecr.put_image(repositoryName=FUNCTION, imageManifest=image["imageManifest"], imageTag=tag)

    with told(take) as port, (clone.root / "app" / "Dockerfile").open("a") as file:
        file.write(f"RUN python3 -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:{port}\")'\n")
        file.flush()
        return failing(clone, "pulumi up --yes --skip-preview -s consumer", "already exists")


def test_a_secret_of_the_environment_and_the_push_token_are_in_clear_nowhere(confidential: Clone) -> None:
    clone = confidential
    said = {}
    for name, command in {
        "preview as JSON": "pulumi preview --json -s consumer",
        "preview and update": "pulumi up --yes --diff -s consumer",
        "outputs": "pulumi stack output --json -s consumer",
        "state": "pulumi stack export -s consumer",
        "refresh": "pulumi up --yes --skip-preview --refresh --diff -s consumer",
    }.items():
        ran = clone.shell(command)
        assert ran.returncode == 0, ran.stdout
        said[name] = ran.stdout
    assert "[secret]" in said["preview and update"]
    configuration = clone.client("consumer", "lambda").get_function_configuration(FunctionName=FUNCTION)
    assert configuration["Environment"]["Variables"] == {"TOKEN": CANARY}
    assert clone.last_update("consumer") == {}

    url, tag, token = clone.output("registry", "repositoryUrl"), clone.output("consumer", "imageTag"), push_token(clone)
    clone.edit("Pulumi.consumer.yaml", "memory: 128", "memory: 1")
    said["refusal"] = failing(clone, "pulumi preview -s consumer", "function.memory: the value given is not allowed")
    clone.edit("Pulumi.consumer.yaml", "memory: 1,", "memory: 128,")
    said["push"] = failed_push(clone)
    with (clone.root / "app" / "Dockerfile").open("a") as file:
        file.write("RUN env && false\n")
    said["build"] = failing(clone, "pulumi up --yes --skip-preview -s consumer", "env && false")

    clone.log_in_to_registry()
    assert clone.docker("pull", f"{url}:{tag}").returncode == 0
    image = subprocess.run(["docker", "save", f"{url}:{tag}"], check=True, capture_output=True).stdout
    searched = {**{name: text.encode() for name, text in said.items()}, **kept_files(clone), "image": image}
    for secret in (CANARY, token):
        assert [name for name, content in searched.items() if secret.encode() in content] == []


def test_secrets_that_could_be_read_in_an_image_or_an_output_are_refused(updatable: Clone) -> None:
    paths = ("image.args.TOKEN", "api.corsOrigin", "registry.profile")
    given = " ".join(f"--secret '{path}={CANARY}'" for path in paths)
    assert updatable.shell(f"pulumi config set-all -s consumer --path {given}").returncode == 0
    try:
        said = failing(updatable, "pulumi preview -s consumer", "is set with --secret")
    finally:
        # Values that `pulumi config set` wrote last until the stack file changes.
        (updatable.root / ".local" / "project" / "Pulumi.consumer.yaml").write_text(
            (updatable.root / "Pulumi.consumer.yaml").read_text()
        )
    refused = re.findall(r"cross-account-ecr:(\w+): is set with --secret", said)
    assert sorted(refused) == ["api", "image", "registry"]
    assert CANARY not in said
