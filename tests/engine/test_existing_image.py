"""An image that somebody else pushed is checked before Lambda is called, and refused with a fix."""

import asyncio
import re
from collections.abc import Callable

import pytest

from components.errors import ImageUnusable
from components.image.manifest import RepositoryReader, require_runnable
from tests.engine.clone import Clone
from tests.engine.cloud import password

BUILD = "{context: app, args: {LAMBDA_BASE_IMAGE: null}}"
EMPTY = "FROM scratch\nCOPY Dockerfile /\n"


def push_for_arm(clone: Clone, tag: str) -> None:
    """Build an image for ARM and push it. No step of the build runs a command, so no ARM processor is needed."""
    url = clone.output("registry", "repositoryUrl")
    context = clone.root / ".local" / "arm"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(EMPTY)
    clone.log_in_to_registry()
    pushed = clone.shell(f"docker build --platform linux/arm64 -t {url}:{tag} {context} && docker push {url}:{tag}")
    assert pushed.returncode == 0, pushed.stdout


def push_an_index(clone: Clone, tag: str) -> None:
    """Push an index of one image, as a build with attestations does."""
    clone.log_in_to_registry()
    url, running = clone.output("registry", "repositoryUrl"), clone.output("consumer", "imageUri")
    index = "docker manifest {} --insecure"
    pushed = clone.shell(f"{index.format('create')} {url}:{tag} {running} && {index.format('push')} {url}:{tag}")
    assert pushed.returncode == 0, pushed.stdout


@pytest.mark.parametrize(
    ("push", "tag", "expected"),
    [
        (push_for_arm, "arm", "is built for linux/arm64; the function's architecture x86_64 needs linux/amd64"),
        (push_an_index, "index", "is not a single image (application/vnd.docker.distribution.manifest.list.v2+json)"),
    ],
    ids=["other processor", "index"],
)
def test_an_image_that_lambda_cannot_run_is_refused(
    updatable: Clone, push: Callable[[Clone, str], None], tag: str, expected: str
) -> None:
    push(updatable, tag)
    login = password(updatable.client("consumer", "ecr"))
    repository = RepositoryReader(url=updatable.output("registry", "repositoryUrl"), username="AWS", password=login)
    with pytest.raises(ImageUnusable, match=re.escape(expected)):
        asyncio.run(require_runnable(repository, tag, "x86_64", missing=False))


def test_an_image_with_another_tag_is_run_by_its_digest(deployed: Clone) -> None:
    url = deployed.output("registry", "repositoryUrl")
    running = deployed.output("consumer", "imageUri")
    deployed.log_in_to_registry()
    tagged = deployed.shell(f"docker pull -q {running} && docker tag {running} {url}:v1 && docker push -q {url}:v1")
    assert tagged.returncode == 0, tagged.stdout
    deployed.edit("Pulumi.consumer.yaml", BUILD, "{tag: v1}")
    assert deployed.up("consumer").get("create") is None
    assert deployed.output("consumer", "imageUri") == running
    assert deployed.output("consumer", "imageSource") == "existing"
    assert deployed.get() == (200, {"message": "hello world!"})
