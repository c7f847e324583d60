"""What the stacks and their components refuse before anything is created."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from components.errors import ImageUnusable, InvalidArgument, RegistryUnusable
from components.function import ImageFunctionArgs
from components.image.build import ImageBuild
from components.image.source import BuiltImage, ExistingImage, RegistryLogin
from components.repository import Consumer, CrossAccountRepositoryArgs
from stacks import stack_outputs
from tests.unit.conftest import Run
from tests.unit.recorder import (
    DIGEST,
    OWN_STACK,
    REGISTRY_OUTPUTS,
    REGISTRY_STACK,
    Recorder,
)
from tests.unit.registered import deploy_consumer

URL = REGISTRY_OUTPUTS["repositoryUrl"]
IMAGE = "docker:index/image:Image"
FUNCTION = "aws:lambda/function:Function"


def test_push_token_is_a_secret_of_the_image_and_of_nothing_else(run: Run, recorder: Recorder, app: Path) -> None:
    deploy_consumer(run)
    seen = {resource.typ: json.dumps(resource.inputs, default=str) for resource in recorder.resources}
    assert [kind for kind, inputs in seen.items() if "the-token" in inputs] == [IMAGE]


@pytest.mark.parametrize("image", [{"digest": DIGEST}, {"tag": "v1"}, {"context": "app"}])
def test_an_image_that_lambda_cannot_run_is_refused_before_anything_is_made(
    run: Run, recorder: Recorder, app: Path, image: dict[str, str]
) -> None:
    recorder.tags = {"v1": DIGEST, ImageBuild(context="app").tag: DIGEST}
    recorder.config = {"os": "linux", "architecture": "arm64"}
    with pytest.raises(ImageUnusable, match="built for linux/arm64"):
        deploy_consumer(run, image=image)
    assert FUNCTION not in recorder.kinds()


@pytest.mark.parametrize(
    ("outputs", "changed", "expected"),
    [
        ({"repositoryUrls": None}, {}, "has no output repositoryUrls. Deploy it first: pulumi up -s registry"),
        (
            {"consumerRegions": {"eu-west-1": ["222222222222"]}},
            {},
            "region is us-east-1, but the repository is in eu-west-1",
        ),
        (
            {"region": "eu-west-1"},
            {},
            "Images are pushed to eu-west-1 and copied to us-east-1 by ECR",
        ),
        (
            {"consumerAccounts": ["333333333333"], "consumerRegions": {"us-east-1": ["333333333333"]}},
            {},
            "Account 222222222222 may not use the repository",
        ),
        (
            {"consumerRegions": {"us-east-1": []}},
            {},
            "may use the repository cross-account-function, but not in us-east-1",
        ),
    ],
)
def test_a_registry_that_does_not_serve_the_consumer_is_refused(
    run: Run, recorder: Recorder, app: Path, outputs: dict[str, Any], changed: dict[str, Any], expected: str
) -> None:
    recorder.stacks[REGISTRY_STACK].update(outputs)
    with pytest.raises(RegistryUnusable, match=expected):
        deploy_consumer(run, **changed)
    assert recorder.kinds() == ["pulumi:pulumi:StackReference"]


@pytest.mark.parametrize(("moved", "providers"), [({}, 1), ({"region": "eu-west-1"}, 0), ({"account": "3" * 12}, 0)])
def test_a_stack_that_the_registry_refuses_gets_no_new_provider(
    run: Run, recorder: Recorder, app: Path, moved: dict[str, Any], providers: int
) -> None:
    # The provider of a deployed function starts while the registry stack is read.
    recorder.stacks[OWN_STACK] = deploy_consumer(run)
    recorder.stacks[REGISTRY_STACK]["consumerRegions"] = {"us-east-1": []}
    recorder.resources.clear()
    with pytest.raises(RegistryUnusable):
        deploy_consumer(run, **moved)
    assert recorder.kinds().count("pulumi:providers:aws") == providers


def test_an_image_without_a_digest_never_reaches_lambda(run: Run, recorder: Recorder, app: Path, monkeypatch) -> None:  # noqa: ANN001
    # A build that is not pushed answers with a local image ID.
    monkeypatch.setattr("tests.unit.recorder.DIGEST", "none")
    with pytest.raises(ImageUnusable, match="does not name a pushed image by digest"):
        deploy_consumer(run)
    assert FUNCTION not in recorder.kinds()


def test_an_image_of_another_architecture_is_refused(app: Path) -> None:
    build = ImageBuild(context="app", platform="linux/amd64")
    login = RegistryLogin(server="registry", username="AWS", password="token")
    image = BuiltImage(build=build, repository_url="registry/hello", login=login)
    with pytest.raises(
        InvalidArgument,
        match="image.build.platform: is linux/amd64, but `architecture` is arm64",
    ):
        ImageFunctionArgs(name="hello", image=image, architecture="arm64")


CONSUMERS = [Consumer(account="222222222222")]
KEY = "arn:aws:kms:us-east-1:111111111111:key/1234abcd"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"consumers": []}, "consumers: must be a list of one account or more"),
        ({"consumers": CONSUMERS * 2}, "consumers: must name each account once.*more than once: 222222222222"),
        (
            {"account": "333333333333", "consumers": [Consumer(account="3" * 12, functions=["a"])]},
            r"consumers\[0\]: is the registry's own account",
        ),
        ({"organization": "acme"}, 'organization: "acme" is not allowed; it must be the ID of an AWS organization'),
        ({"mutable_tags": ["a"] * 6}, r"mutable_tags: \[.*\] is not allowed; it must be a list of up to 5"),
        ({"mutable_tags": ["dev *"]}, r"mutable_tags\[0\]: \"dev \*\" is not allowed"),
        ({"force_delete": True}, "force_delete: requires `protect` and `retain_on_delete` to be false"),
        ({"replicas": ["us-east-1"]}, "`replicas` must not contain us-east-1"),
        (
            {"replicas": ["eu-west-1"], "kms_key": KEY},
            "replicas: cannot be combined with `kms_key`",
        ),
        (
            {"consumers": [Consumer(account="2" * 12, regions=["eu-west-1"])]},
            r"consumers\[0\].regions: must contain a Region of the repository: us-east-1",
        ),
        (
            {
                "consumers": [Consumer(account="2" * 12, regions=["us-east-1"])],
                "replicas": ["eu-west-1"],
            },
            "consumers: must contain an account with functions in eu-west-1",
        ),
        ({"consumers": [Consumer(account=f"{n:012}") for n in range(200)]}, "ECR allows 10240"),
    ],
)
def test_a_repository_that_ecr_refuses_is_refused_before(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidArgument, match=expected):
        CrossAccountRepositoryArgs(**{"name": "hello", "region": "us-east-1", "consumers": CONSUMERS, **wrong})


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"environment": {"AWS_REGION": "x"}}, "environment.AWS_REGION: is set by Lambda itself"),
        ({"environment": {"1": "x"}}, "environment.1: is not a name"),
        ({"environment": {"AA": "x" * 4088}}, "environment: has 4097 bytes; Lambda allows 4096"),
        (
            {"environment": {"AA": "x"}, "secrets": {"AA": "arn:aws:ssm:r:222222222222:parameter/x"}},
            "secrets.AA: is a variable",
        ),
        ({"storage": 100}, "storage: 100 is not allowed; it must be a whole number of MB from 512"),
        (
            {"dead_letter": "queue"},
            'dead_letter: "queue" is not allowed; it must be the ARN of an SQS queue or an SNS topic',
        ),
        ({"dead_letter": "arn:aws:sqs:us-east-1:222222222222:*"}, 'dead_letter: "arn.* is not allowed'),
        (
            {"secrets": {"AA": "arn:aws:secretsmanager:us-east-1:222222222222:secret:*"}},
            "secrets.AA: the value given is not allowed; it must be the ARN of a Secrets Manager",
        ),
        ({"tags": {"aws:team": "orders"}}, "tags.aws:team: is not a name"),
        ({"tags": {"team": "a,b"}}, 'tags.team: "a,b" is not allowed'),
        ({"reserved_concurrency": -1}, "reserved_concurrency: -1 is not allowed"),
    ],
)
def test_a_function_that_lambda_refuses_is_refused_before(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidArgument, match=expected):
        ImageFunctionArgs(name="hello", image=ExistingImage(uri=f"{URL}@{DIGEST}"), **wrong)


def test_a_secret_given_by_value_is_refused_without_repeating_it() -> None:
    with pytest.raises(InvalidArgument, match="secrets.DATABASE: the value given is not allowed") as refused:
        ImageFunctionArgs(name="hello", image=ExistingImage(uri=f"{URL}@{DIGEST}"), secrets={"DATABASE": "hunter2"})
    assert "hunter2" not in str(refused.value)


def test_only_a_state_that_is_being_written_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    half = "invocation of pulumi:pulumi:readStackOutputs returned an error: failed to load checkpoint: EOF"
    answers: list[Any] = [Exception(half), Exception(half), {"outputs": {"a": 1}}, Exception("unknown stack")]

    async def invoke(token: str, arguments: dict[str, str]) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("stacks.WAIT_SECONDS", (0, 0))
    monkeypatch.setattr("pulumi.runtime.invoke_async", invoke)
    assert asyncio.run(stack_outputs("registry")) == {"a": 1}
    with pytest.raises(Exception, match="unknown stack"):
        asyncio.run(stack_outputs("registry"))
    answers.extend([Exception(half)] * 3)
    with pytest.raises(Exception, match="failed to load checkpoint"):
        asyncio.run(stack_outputs("registry"))
