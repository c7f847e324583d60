"""Measurements of the image: size and cold start, compared with the base image with an empty handler."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import CommandFailed, Measure, tell
from local import base_image
from local.docker_engine import docker
from local.workspace import ROOT
from tests.engine.clone import free_port

EMPTY_HANDLER = "def handler(event, context):\n    return {}\n"
# The emulator's address: https://docs.aws.amazon.com/lambda/latest/dg/images-test.html
INVOKE = "http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
ANSWER_SECONDS = 60
POLL_SECONDS = 0.005


def image(rounds: int) -> list[Measure]:
    """Size and cold start of the image of `app/`."""
    names = {"app": f"bench-app:{free_port()}", "empty": f"bench-empty:{free_port()}"}
    with TemporaryDirectory(prefix="bench-image-") as folder:
        for file in ("Dockerfile", ".dockerignore"):
            Path(folder, file).write_bytes((ROOT / "app" / file).read_bytes())
        Path(folder, "app.py").write_text(EMPTY_HANDLER)
        try:
            for name, context in (("app", ROOT / "app"), ("empty", Path(folder))):
                _build(names[name], context)
            sizes = {name: _size(tag) for name, tag in names.items()}
            starts: dict[str, list[float]] = {name: [] for name in names}
            for number in range(rounds):
                tell(f"cold start, round {number + 1} of {rounds}")
                for name, tag in names.items():
                    starts[name].append(_cold_start(tag))
        finally:
            docker("image", "rm", "--force", *names.values())
    against = "the base image with an empty handler"
    size = Measure(
        name="image size", against=against, goal=1.05, values=[sizes["app"]], anchors=[sizes["empty"]], unit="B"
    )
    return [
        size,
        Measure(
            name="cold start",
            against=against,
            goal=1.05,
            values=starts["app"],
            anchors=starts["empty"],
            note="from `docker run` to the answer of the runtime interface emulator",
        ),
    ]


def _build(tag: str, context: Path) -> None:
    base = base_image.name() or base_image.public_name()
    built = docker("build", "--tag", tag, "--build-arg", f"LAMBDA_BASE_IMAGE={base}", str(context))
    if built.returncode != 0:
        raise CommandFailed(f"{context} did not build:\n{built.stderr}")


def _size(tag: str) -> float:
    return float(json.loads(docker("image", "inspect", tag).stdout)[0]["Size"])


def _cold_start(tag: str) -> float:
    """Seconds from `docker run` to the first response."""
    port = free_port()
    began = time.monotonic()
    started = docker("run", "--detach", "--rm", "--publish", f"127.0.0.1:{port}:8080", tag)
    if started.returncode != 0:
        raise CommandFailed(f"a container of {tag} does not start: {started.stderr}")
    try:
        while True:
            try:
                request = urllib.request.Request(INVOKE.format(port=port), data=b"{}")  # noqa: S310
                with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
                    answer.read()
                return time.monotonic() - began
            except (urllib.error.URLError, OSError) as error:
                if time.monotonic() - began > ANSWER_SECONDS:
                    raise CommandFailed(f"a container of {tag} does not answer: {error}") from error
                time.sleep(POLL_SECONDS)
    finally:
        docker("rm", "--force", started.stdout.strip())
