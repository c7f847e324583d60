"""What each stack asks the engine for."""

import json
from pathlib import Path
from typing import Any

import pytest

from components import ImageBuild
from components.errors import ImageUnusable, InvalidArgument, RegistryUnusable
from settings import ConsumerSettings, RegistrySettings
from stacks import consumer, registry
from tests.unit.conftest import Run
from tests.unit.recorder import DIGEST, OWN_STACK, REGISTRY_OUTPUTS, REGISTRY_STACK, Recorder

URL = REGISTRY_OUTPUTS["repositoryUrl"]
IMAGE = "docker:index/image:Image"
FUNCTION = "aws:lambda/function:Function"
REGISTRY = RegistrySettings.model_validate(
    {
        "role": "registry",
        "account": "111111111111",
        "region": "us-east-1",
        "repository": {"name": "cross-account-function"},
        "consumers": [{"account": "333333333333"}, {"account": "222222222222"}],
    }
)


def consumer_settings(**changed: Any) -> ConsumerSettings:
    values = {
        "role": "consumer",
        "account": "222222222222",
        "region": "us-east-1",
        "registry": {"stack": "registry", "profile": "registry"},
        "image": {"context": "app"},
        "api": {"path": "hello", "stage": "Prod", "public": True},
    }
    return ConsumerSettings.model_validate({**values, **changed})


def deploy(run: Run, **changed: Any) -> dict[str, Any]:
    return run(lambda: consumer.deploy(consumer_settings(**changed)))


# ---- registry


def test_registry_makes_an_immutable_scanned_repository(run: Run, recorder: Recorder) -> None:
    run(lambda: registry.deploy(REGISTRY))
    repository = recorder.inputs("aws:ecr/repository:Repository")
    # Scanners compare with exactly this word.
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    assert repository["forceDelete"] is False


def test_registry_grants_its_consumers_sorted(run: Run, recorder: Recorder) -> None:
    outputs = run(lambda: registry.deploy(REGISTRY))
    policy = json.loads(recorder.inputs("aws:ecr/repositoryPolicy:RepositoryPolicy")["policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == [
        "CrossAccountPermission",
        "LambdaECRImageCrossAccountRetrievalPolicy",
    ]
    assert outputs["consumerAccounts"] == ["222222222222", "333333333333"]


def test_registry_provider_refuses_other_accounts(run: Run, recorder: Recorder) -> None:
    run(lambda: registry.deploy(REGISTRY))
    assert json.loads(recorder.inputs("pulumi:providers:aws")["allowedAccountIds"]) == ["111111111111"]


def test_registry_outputs_are_what_consumers_read(run: Run) -> None:
    assert set(run(lambda: registry.deploy(REGISTRY))) == set(REGISTRY_OUTPUTS)


# ---- consumer


def test_consumer_runs_the_pushed_image_by_digest(run: Run, recorder: Recorder, app: Path) -> None:
    outputs = deploy(run)
    assert recorder.inputs(FUNCTION)["imageUri"] == outputs["imageUri"] == f"{URL}@{DIGEST}"
    function = recorder.inputs(FUNCTION)
    assert (function["memorySize"], function["timeout"], function["architectures"]) == (128, 3, ["x86_64"])
    assert function["packageType"] == "Image"
    assert "handler" not in function


def test_consumer_pushes_the_content_tag_for_the_functions_platform(run: Run, recorder: Recorder, app: Path) -> None:
    deploy(run, function={"architecture": "arm64"})
    image = recorder.inputs(IMAGE)
    assert image["build"]["platform"] == "linux/arm64"
    expected = ImageBuild(context="app", platform="linux/arm64").tag()
    assert image["imageName"] == f"{URL}:{expected}"


def test_consumer_builds_with_relative_paths_only(run: Run, recorder: Recorder, app: Path) -> None:
    # An absolute path would make another checkout look like a change.
    deploy(run)
    assert recorder.inputs(IMAGE)["build"]["context"] == "app"
    assert recorder.inputs(IMAGE)["build"]["dockerfile"] == "app/Dockerfile"


def test_push_token_is_a_secret_of_the_image_and_of_nothing_else(run: Run, recorder: Recorder, app: Path) -> None:
    deploy(run)
    seen = {resource.typ: json.dumps(resource.inputs, default=str) for resource in recorder.resources}
    assert [kind for kind, inputs in seen.items() if "the-token" in inputs] == [IMAGE]


def test_role_may_write_to_the_functions_log_group_only(run: Run, recorder: Recorder, app: Path) -> None:
    deploy(run)
    (statement,) = json.loads(recorder.inputs("aws:iam/rolePolicy:RolePolicy")["policy"])["Statement"]
    group = "arn:aws:logs:us-east-1:222222222222:log-group:/aws/lambda/cross-account-function"
    assert statement["Resource"] == f"{group}:*"


def test_api_is_regional_and_may_call_exactly_its_method(run: Run, recorder: Recorder, app: Path) -> None:
    outputs = deploy(run)
    assert recorder.inputs("aws:apigateway/restApi:RestApi")["endpointConfiguration"] == {"types": "REGIONAL"}
    permission = recorder.inputs("aws:lambda/permission:Permission")
    assert permission["sourceArn"] == "arn:aws:execute-api:us-east-1:222222222222:api/Prod/GET/hello"
    assert permission["principal"] == "apigateway.amazonaws.com"
    assert outputs["endpointUrl"].endswith("/Prod/hello")


@pytest.mark.parametrize(("public", "authorization"), [(True, "NONE"), (False, "AWS_IAM")])
def test_callers_sign_unless_the_endpoint_is_public(
    run: Run, recorder: Recorder, app: Path, public: bool, authorization: str
) -> None:
    deploy(run, api={"public": public})
    assert recorder.inputs("aws:apigateway/method:Method")["authorization"] == authorization


def test_a_changed_route_is_deployed_anew(run: Run, recorder: Recorder, app: Path) -> None:
    deploy(run)
    before = recorder.inputs("aws:apigateway/deployment:Deployment")["triggers"]
    recorder.resources.clear()
    deploy(run, api={"path": "bye", "public": True})
    assert recorder.inputs("aws:apigateway/deployment:Deployment")["triggers"] != before


def test_each_provider_refuses_other_accounts(run: Run, recorder: Recorder, app: Path) -> None:
    deploy(run)
    providers = [resource for resource in recorder.resources if resource.typ == "pulumi:providers:aws"]
    allowed = {provider.name: json.loads(provider.inputs["allowedAccountIds"]) for provider in providers}
    assert allowed == {"consumer": ["222222222222"], "registry": ["111111111111"]}


def test_everything_belongs_to_the_consumers_account(run: Run, recorder: Recorder, app: Path) -> None:
    deploy(run)
    resources = [resource for resource in recorder.resources if resource.typ.startswith("aws:")]
    assert resources
    assert all("::consumer::" in (resource.provider or "") for resource in resources)


# ---- where the image comes from


@pytest.mark.parametrize("image", [{"digest": DIGEST}, {"tag": "v1"}])
def test_an_existing_image_needs_no_docker(run: Run, recorder: Recorder, image: dict[str, str]) -> None:
    recorder.tags = {"v1": DIGEST}
    assert deploy(run, image=image)["imageUri"] == f"{URL}@{DIGEST}"
    assert not [kind for kind in recorder.kinds() if "docker" in kind]


def test_a_missing_tag_is_refused_with_those_there_are(run: Run, recorder: Recorder) -> None:
    recorder.tags = {"v1": DIGEST}
    with pytest.raises(ImageUnusable, match="There is no image 'v2'.*There are: v1"):
        deploy(run, image={"tag": "v2"})


def test_content_that_another_pushed_is_reused(run: Run, recorder: Recorder, app: Path) -> None:
    # ECR refuses an existing tag of an immutable repository, even with the same digest.
    recorder.tags = {ImageBuild(context="app").tag(): DIGEST}
    outputs = deploy(run)
    assert outputs["imageUri"] == f"{URL}@{DIGEST}"
    assert outputs["imageSource"] == "reused"
    assert IMAGE not in recorder.kinds()


def test_content_that_this_stack_pushed_keeps_its_image_resource(run: Run, recorder: Recorder, app: Path) -> None:
    # Without it the next preview would show the image as deleted.
    tag = ImageBuild(context="app").tag()
    recorder.tags = {tag: DIGEST}
    recorder.stacks[OWN_STACK] = {"imageSource": "built", "imageTag": tag}
    assert deploy(run)["imageSource"] == "built"
    assert IMAGE in recorder.kinds()


# ---- what is refused before anything is made


@pytest.mark.parametrize(
    ("outputs", "changed", "expected"),
    [
        ({"repositoryUrl": None}, {}, "has no output repositoryUrl. Deploy it first: pulumi up -s registry"),
        ({"region": "eu-west-1"}, {}, "region is us-east-1, the repository's is eu-west-1"),
        ({"consumerAccounts": ["333333333333"]}, {}, "Account 222222222222 may not use the repository"),
    ],
)
def test_a_registry_that_does_not_serve_the_consumer_is_refused(
    run: Run, recorder: Recorder, app: Path, outputs: dict[str, Any], changed: dict[str, Any], expected: str
) -> None:
    recorder.stacks[REGISTRY_STACK].update(outputs)
    with pytest.raises(RegistryUnusable, match=expected):
        deploy(run, **changed)
    assert recorder.kinds() == ["pulumi:pulumi:StackReference"]


def test_an_image_without_a_digest_never_reaches_lambda(run: Run, recorder: Recorder, app: Path, monkeypatch) -> None:  # noqa: ANN001
    # A build that is not pushed answers with a local image ID.
    monkeypatch.setattr("tests.unit.recorder.DIGEST", "none")
    with pytest.raises(ImageUnusable, match="does not name a pushed image by digest"):
        deploy(run)
    assert FUNCTION not in recorder.kinds()


def test_components_check_their_own_arguments() -> None:
    from components import ApiRoute, CrossAccountRepositoryArgs, ExistingImage, ImageFunctionArgs

    with pytest.raises(InvalidArgument, match=r"consumers: \['12'\] given; allowed are AWS account IDs of 12 digits"):
        CrossAccountRepositoryArgs(name="hello", consumers=["12"], region="us-east-1")
    with pytest.raises(InvalidArgument, match="memory: 64 given; allowed are 128 to 10240 MB"):
        ImageFunctionArgs(name="hello", image=ExistingImage(uri="x"), route=ApiRoute(path="hello"), memory=64)
