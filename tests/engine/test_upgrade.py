"""An upgrade from the first version's state keeps resources with data or identity, and the endpoint responds.

`upgrade/` contains the state of both committed stacks as that version wrote it, without secrets, times and addresses of
the machine. It replaces the state of an existing deployment, with the IDs of that deployment.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.clone import Clone
from tests.engine.program import Program

RECORDED = Path(__file__).with_name("upgrade")
# Resources with data or identity.
KEPT = {
    "aws:ecr/repository:Repository",
    "aws:ecr/repositoryPolicy:RepositoryPolicy",
    "aws:cloudwatch/logGroup:LogGroup",
    "aws:iam/role:Role",
    "aws:lambda/function:Function",
    "aws:apigateway/restApi:RestApi",
    "aws:apigateway/stage:Stage",
}
IMAGE = "docker:index/image:Image"
TAG = "content-14876544409c6c3d192b4c328d269a46"


@pytest.fixture
def upgraded(deployed: Clone) -> Clone:
    """A deployment with the recorded states."""
    for stack in ("consumer", "registry"):
        live = json.loads(deployed.shell(f"pulumi stack export -s {stack} 2>/dev/null").stdout)
        resources = live["deployment"]["resources"]
        if stack == "consumer":
            tag(deployed, outputs(resources))
        live["deployment"]["resources"] = recorded(deployed, stack, resources)
        file = deployed.root / ".local" / f"recorded-{stack}.json"
        file.write_text(json.dumps(live))
        done = deployed.shell(f"pulumi stack import -s {stack} --file {file}")
        assert done.returncode == 0, done.stdout
    return deployed


def test_nothing_that_holds_data_is_replaced_and_the_endpoint_answers_all_the_time(upgraded: Clone) -> None:
    with (
        upgraded.asking(upgraded.output("consumer", "endpointUrl")) as answers,
        Program(upgraded).deployment(registry="registry") as deployment,
    ):
        results = deployment.up()
    kept = [step for result in results.values() for step in result.steps if step.type in KEPT]
    assert {step.type for step in kept} == KEPT
    assert {step.operation for step in kept} <= {"same", "update"}, kept
    assert len(answers) > 10
    assert set(answers) == {200}
    assert upgraded.up("consumer") == {}


def recorded(clone: Clone, stack: str, live: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The recorded resources, with the IDs and the digest of the deployment."""
    text = (RECORDED / f"{stack}.json").read_text().replace("{port}", str(clone.port))
    before = {resource["urn"]: resource for resource in json.loads(text)}
    now = {resource["urn"]: resource for resource in live}
    known = {before[urn]["id"]: now[urn]["id"] for urn in before.keys() & now.keys() if before[urn].get("id")}
    # IDs that contain other IDs come first.
    for old in sorted(known, key=len, reverse=True):
        text = text.replace(old, known[old])
    if stack == "consumer":
        text = text.replace(outputs(before.values())["imageDigest"], outputs(live)["imageDigest"])
    return list(json.loads(text))


def outputs(resources: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The outputs of the stack resource."""
    return next(dict(resource["outputs"]) for resource in resources if resource["type"] == "pulumi:pulumi:Stack")


def tag(clone: Clone, stack: dict[str, Any]) -> None:
    """Replace the tag of the image that runs with the tag of the earlier version."""
    ecr, name = clone.client("registry", "ecr"), "cross-account-function"
    if stack["imageTag"] == TAG:
        return
    [image] = ecr.batch_get_image(repositoryName=name, imageIds=[{"imageDigest": stack["imageDigest"]}])["images"]
    ecr.put_image(repositoryName=name, imageManifest=image["imageManifest"], imageTag=TAG)
    ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": stack["imageTag"]}])
