"""The components as a package, used by a program in another folder that imports nothing from this one."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.clone import Clone

PROJECT = """name: other
runtime: python
plugins:
  providers:
    - {{name: cross-account-ecr, path: {package}}}
"""
PROGRAM = """
import os
import pulumi
import pulumi_aws as aws

def component(kind, name, inputs, outputs, provider):
    props = {**inputs, **dict.fromkeys(outputs)}
    return pulumi.ComponentResource(
        f"cross-account-ecr:index:{kind}", name, props, pulumi.ResourceOptions(providers=[provider]), remote=True
    )

registry = aws.Provider("registry", profile="registry", region="us-east-1")
consumer = aws.Provider("consumer", profile="consumer", region="us-east-1")
consumers = [{"account": "222222222222", "functions": "other*"}]
repository = component(
    "CrossAccountRepository",
    "images",
    {
        "name": "other", "region": "us-east-1", "consumers": consumers, "protect": False,
        "retainOnDelete": False, "forceDelete": True,
        "lifecycle": [{"keep": 20, "tagPrefixes": ["content-"]}],
    },
    ["url", "deployerPolicies"],
    registry,
)
token = aws.ecr.get_authorization_token_output(opts=pulumi.InvokeOutputOptions(provider=registry))
function = component(
    "ImageFunction",
    "hello",
    {
        "name": "other",
        "memory": MEMORY,
        "image": {
            "build": {"context": "app", "args": {"LAMBDA_BASE_IMAGE": os.environ.get("LAMBDA_BASE_IMAGE", "")}},
            "repositoryUrl": repository.url,
            "login": {
                "server": repository.url.apply(lambda url: url.split("/")[0]),
                "username": token.user_name,
                "password": pulumi.Output.secret(token.password),
            },
        },
        "endpoint": {"path": "hello", "public": True, "stage": "Prod"},
        "release": {},
    },
    ["endpointUrl", "imageUri", "version"],
    consumer,
)
pulumi.export("endpointUrl", function.endpointUrl)
pulumi.export("imageUri", function.imageUri)
pulumi.export("version", function.version)
pulumi.export("deployerPolicies", repository.deployerPolicies)
"""


# The official language host downloads a plugin's dependencies, which the proxy of a local run does not allow.
OUTSIDE = "unset HTTPS_PROXY https_proxy"


@pytest.fixture(scope="module")
def other(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with another program and the example's image, whose stack is deployed. It is removed afterwards."""
    folder = tmp_path_factory.mktemp("other")
    shutil.copytree(clone.root / "app", folder / "app")
    (folder / "Pulumi.yaml").write_text(PROJECT.format(package=clone.root / "plugin"))
    (folder / "__main__.py").write_text(PROGRAM.replace("MEMORY", "256"))
    installed = clone.shell(f"{OUTSIDE} && cd plugin && pulumi install")
    assert installed.returncode == 0, installed.stdout
    try:
        made = clone.shell(f"cd {folder} && pulumi stack init other && pulumi up --yes --skip-preview -s other")
        assert made.returncode == 0, made.stdout
        yield folder
    finally:
        clone.shell(f"cd {folder} && pulumi destroy --yes --skip-preview -s other && pulumi stack rm --yes other")


def test_a_program_elsewhere_deploys_both_components(clone: Clone, other: Path) -> None:
    outputs = json.loads(clone.shell(f"cd {other} && pulumi stack output --json -s other").stdout)
    assert clone.get_url(outputs["endpointUrl"]) == (200, {"message": "hello world!"})
    assert "@sha256:" in outputs["imageUri"]
    assert outputs["version"] == "1"
    assert "function:other*" in outputs["deployerPolicies"]["222222222222"]
    lifecycle = clone.client("registry", "ecr").get_lifecycle_policy(repositoryName="other")["lifecyclePolicyText"]
    assert json.loads(lifecycle)["rules"][0]["selection"]["countNumber"] == 20
    function = clone.client("consumer", "lambda").get_function_configuration(FunctionName="other")
    assert function["MemorySize"] == 256
    again = clone.shell(f"cd {other} && pulumi preview --expect-no-changes -s other")
    assert again.returncode == 0, again.stdout


def test_a_wrong_argument_is_refused_by_name(clone: Clone, other: Path) -> None:
    (other / "__main__.py").write_text(PROGRAM.replace("MEMORY", "64"))
    shown = clone.shell(f"cd {other} && pulumi preview -s other")
    assert shown.returncode != 0
    assert "ImageFunction.memory: 64 is not allowed; it must be a whole number of MB from 128 to 10240" in shown.stdout
    # The SDK of the calling program may add its location, but the package shows none of its lines.
    assert "plugin/" not in shown.stdout
