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


@pytest.fixture(scope="module", autouse=True)
def installed(demo: tuple[Clone, str]) -> None:
    """The plugin's virtual environment."""
    clone, _ = demo
    shown = clone.shell(f"{OUTSIDE} && cd plugin && pulumi install")
    assert shown.returncode == 0, shown.stdout


@pytest.fixture
def other(deployed: Clone, tmp_path: Path) -> Iterator[Path]:
    """A folder with another program and the example's image. Its stack is removed afterwards."""
    shutil.copytree(deployed.root / "app", tmp_path / "app")
    (tmp_path / "Pulumi.yaml").write_text(PROJECT.format(package=deployed.root / "plugin"))
    (tmp_path / "__main__.py").write_text(PROGRAM.replace("MEMORY", "256"))
    yield tmp_path
    deployed.shell(f"cd {tmp_path} && pulumi destroy --yes --skip-preview -s other && pulumi stack rm --yes other")


def test_the_engine_gets_the_schema_of_both_components(deployed: Clone) -> None:
    shown = deployed.shell(f"{OUTSIDE} && pulumi package get-schema {deployed.root}/plugin 2>/dev/null")
    assert shown.returncode == 0, shown.stdout
    schema = json.loads(shown.stdout)
    assert {token.rpartition(":")[2] for token in schema["resources"]} == {"CrossAccountRepository", "ImageFunction"}
    function = schema["resources"]["cross-account-ecr:index:ImageFunction"]
    assert set(function["requiredInputs"]) == {"image"}
    assert "128 to 10240" in function["inputProperties"]["memory"]["description"]


def test_a_program_elsewhere_deploys_both_components(deployed: Clone, other: Path) -> None:
    made = deployed.shell(f"cd {other} && pulumi stack init other && pulumi up --yes --skip-preview -s other")
    assert made.returncode == 0, made.stdout
    outputs = json.loads(deployed.shell(f"cd {other} && pulumi stack output --json -s other").stdout)
    assert deployed.get_url(outputs["endpointUrl"]) == (200, {"message": "hello world!"})
    assert "@sha256:" in outputs["imageUri"]
    assert outputs["version"] == "1"
    assert "function:other*" in outputs["deployerPolicies"]["222222222222"]
    lifecycle = deployed.client("registry", "ecr").get_lifecycle_policy(repositoryName="other")["lifecyclePolicyText"]
    assert json.loads(lifecycle)["rules"][0]["selection"]["countNumber"] == 20
    function = deployed.client("consumer", "lambda").get_function_configuration(FunctionName="other")
    assert function["MemorySize"] == 256
    again = deployed.shell(f"cd {other} && pulumi preview --expect-no-changes -s other")
    assert again.returncode == 0, again.stdout


def test_a_wrong_argument_is_refused_by_name(deployed: Clone, other: Path) -> None:
    (other / "__main__.py").write_text(PROGRAM.replace("MEMORY", "64"))
    shown = deployed.shell(f"cd {other} && pulumi stack init other && pulumi preview -s other")
    assert shown.returncode != 0
    assert "ImageFunction.memory: 64 is not allowed; it must be a whole number of MB from 128 to 10240" in shown.stdout
    # The SDK of the calling program may add its location, but the package shows none of its lines.
    assert "plugin/" not in shown.stdout
