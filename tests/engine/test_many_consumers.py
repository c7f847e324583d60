"""`examples/many-consumers`: two accounts in one Region and one in another run the image that one of them builds."""

import json
import shutil
from collections.abc import Iterator

import pytest

from tests.engine.clone import ROOT, Clone
from tests.pages import block, documented

EXAMPLE = ROOT / "examples" / "many-consumers"
STACKS = ("registry", "development", "production", "europe")
NAME = "orders-api"
# A person confirms each update; a test cannot.
CONFIRM = "export PULUMI_SKIP_CONFIRMATIONS=true PULUMI_OPTION_SKIP_PREVIEW=true"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone with the example's stack files and the three accounts' profiles, in which two consumers are deployed.

    The second Region is added after the first image was pushed.
    """
    clone = Clone.make_in(tmp_path_factory.mktemp("many"))
    for file in EXAMPLE.glob("Pulumi.*.yaml"):
        shutil.copy(file, clone.root)
    try:
        ran = clone.make("setup")
        assert ran.returncode == 0, ran.stdout
        clone.add_profile("development", "222222222222", "us-east-1")
        clone.add_profile("production", "333333333333", "us-east-1")
        clone.add_profile("europe", "444444444444", "eu-west-1")
        serving = (clone.root / "Pulumi.registry.yaml").read_text()
        one_region = "".join(line for line in serving.splitlines(keepends=True) if "444444444444" not in line)
        (clone.root / "Pulumi.registry.yaml").write_text(one_region.replace(", replicas: [eu-west-1]", ""))
        *first, _ = block("examples/many-consumers/README.md", "pulumi stack init registry && pulumi up -s registry")
        ran = clone.shell(" && ".join([CONFIRM, *first]))
        assert ran.returncode == 0, ran.stdout
        (clone.root / "Pulumi.registry.yaml").write_text(serving)
        late = clone.shell(f"{CONFIRM} && pulumi up -s registry && pulumi stack init europe")
        assert late.returncode == 0, late.stdout
        assert "a replica in eu-west-1. ECR copies only images that are pushed after this update" in late.stdout
        yield clone
    finally:
        clone.end()


def copying(clone: Clone, image: str) -> str:
    """The command in docs/configuration.md that copies an image to a replica, after a login."""
    clone.log_in_to_registry()
    urls = json.loads(clone.shell("pulumi stack output repositoryUrls -s registry").stdout)
    command = documented("docker buildx imagetools create --prefer-index=false --tag REPLICA_URL:TAG URL@sha256:DIGEST")
    for name, value in {"REPLICA_URL": urls["eu-west-1"], "TAG": "kept", "URL@sha256:DIGEST": image}.items():
        command = command.replace(name, value)
    return command


def test_a_region_that_is_added_later_has_no_earlier_image(clone: Clone) -> None:
    refused = clone.shell("pulumi preview -s europe")
    assert refused.returncode != 0
    assert f"There is no image {clone.output('production', 'imageDigest')} in " in refused.stdout


def test_the_pages_command_copies_the_image_that_runs(clone: Clone) -> None:
    if clone.shell("docker buildx version").returncode:
        pytest.skip("needs a plugin that older Docker packages lack")
    copied = clone.shell(copying(clone, clone.output("production", "imageUri")))
    assert copied.returncode == 0, copied.stdout
    clone.up("europe")
    assert clone.output("europe", "imageDigest") == clone.output("production", "imageDigest")
    assert clone.get(stack="europe") == (200, {"message": "hello world!"})


def test_three_accounts_in_two_regions_run_what_one_has_built(clone: Clone) -> None:
    # The other consumers get a new image one update at a time.
    clone.edit("app/app.py", "hello world!", "hello orders!")
    clone.up("development")
    assert clone.get(stack="development") == (200, {"message": "hello orders!"})
    assert clone.get(stack="production") == (200, {"message": "hello world!"})
    clone.up("production")
    clone.up("europe")
    assert clone.get(stack="production") == clone.get(stack="europe") == (200, {"message": "hello orders!"})

    consumers = STACKS[1:]
    digests = {clone.output(stack, "imageDigest") for stack in consumers}
    assert len(digests) == 1
    assert clone.output("development", "imageUri") == clone.output("production", "imageUri")
    regions = [clone.output(stack, "imageUri").split(".")[3] for stack in consumers]
    assert regions == ["us-east-1", "us-east-1", "eu-west-1"]
    arns = [clone.output(stack, "functionArn").split(":") for stack in consumers]
    assert [arn[4] for arn in arns] == ["222222222222", "333333333333", "444444444444"]
    # The registry with a replica, and the consumer that runs its image.
    assert clone.planned("registry") == clone.planned("europe") == {}
