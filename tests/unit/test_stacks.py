"""What each stack asks the engine for."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.errors import ImageUnusable, InvalidArgument, RegistryUnusable
from components.function import ImageFunction, ImageFunctionArgs, Release
from components.image.build import ImageBuild
from components.image.source import BuiltImage, ExistingImage, RegistryLogin
from components.repository import Consumer, CrossAccountRepository, CrossAccountRepositoryArgs
from stacks import consumer, registry
from tests.unit.conftest import Run
from tests.unit.recorder import (
    DIGEST,
    OWN_STACK,
    REGISTRY_OUTPUTS,
    REGISTRY_STACK,
    Recorder,
    consumer_settings,
    registry_settings,
)

URL = REGISTRY_OUTPUTS["repositoryUrl"]
IMAGE = "docker:index/image:Image"
FUNCTION = "aws:lambda/function:Function"
REGISTRY = registry_settings()


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
    expected = ImageBuild(context="app", platform="linux/arm64").tag
    assert image["imageName"] == f"{URL}:{expected}"


def test_consumer_builds_with_relative_paths_only(run: Run, recorder: Recorder, app: Path) -> None:
    # An absolute path would make another checkout look like a change.
    deploy(run)
    staged = f".local/context/{ImageBuild(context='app').tag}"
    assert recorder.inputs(IMAGE)["build"]["context"] == staged
    assert recorder.inputs(IMAGE)["build"]["dockerfile"] == f"{staged}/Dockerfile"


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


def test_an_image_is_promoted_from_the_stack_that_runs_it(run: Run, recorder: Recorder) -> None:
    recorder.stacks["organization/cross-account-ecr/consumer-test"] = {"imageDigest": DIGEST}
    assert deploy(run, image={"promote": "consumer-test"})["imageUri"] == f"{URL}@{DIGEST}"
    assert IMAGE not in recorder.kinds()


def test_a_stack_that_runs_nothing_has_nothing_to_promote(run: Run, recorder: Recorder) -> None:
    recorder.stacks["organization/cross-account-ecr/consumer-test"] = {}
    with pytest.raises(ImageUnusable, match="runs no image yet. Deploy it first: pulumi up -s consumer-test"):
        deploy(run, image={"promote": "consumer-test"})


def test_a_digest_needs_no_credentials_of_the_registrys_account(run: Run, recorder: Recorder) -> None:
    deploy(run, image={"digest": DIGEST})
    providers = [resource.name for resource in recorder.resources if resource.typ == "pulumi:providers:aws"]
    assert providers == ["consumer"]


def test_a_missing_tag_is_refused_with_those_there_are(run: Run, recorder: Recorder) -> None:
    recorder.tags = {"v1": DIGEST}
    with pytest.raises(ImageUnusable, match="There is no image 'v2'.*There are: v1"):
        deploy(run, image={"tag": "v2"})


@pytest.mark.parametrize("image", [{"digest": DIGEST}, {"tag": "v1"}, {"context": "app"}])
def test_an_image_that_lambda_cannot_run_is_refused_before_anything_is_made(
    run: Run, recorder: Recorder, app: Path, image: dict[str, str]
) -> None:
    recorder.tags = {"v1": DIGEST, ImageBuild(context="app").tag: DIGEST}
    recorder.config = {"os": "linux", "architecture": "arm64"}
    with pytest.raises(ImageUnusable, match="built for linux/arm64"):
        deploy(run, image=image)
    assert FUNCTION not in recorder.kinds()


def test_content_that_another_pushed_is_reused(run: Run, recorder: Recorder, app: Path) -> None:
    # ECR refuses an existing tag of an immutable repository, even with the same digest.
    recorder.tags = {ImageBuild(context="app").tag: DIGEST}
    outputs = deploy(run)
    assert outputs["imageUri"] == f"{URL}@{DIGEST}"
    assert outputs["imageSource"] == "reused"
    assert IMAGE not in recorder.kinds()


def test_content_that_this_stack_pushed_keeps_its_image_resource(run: Run, recorder: Recorder, app: Path) -> None:
    # Without it the next preview would show the image as deleted.
    recorder.stacks[OWN_STACK] = deploy(run)
    recorder.tags = {ImageBuild(context="app").tag: DIGEST}
    outputs = deploy(run)
    assert outputs["imageSource"] == "built"
    assert outputs["imagePush"] == 0
    assert IMAGE in recorder.kinds()


@pytest.mark.parametrize("change", [lambda app: (app / "app.py").chmod(0o664), lambda app: app.rename("other")])
def test_the_same_content_elsewhere_keeps_the_image_resource_as_it_is(
    run: Run, recorder: Recorder, app: Path, change: Callable[[Path], object]
) -> None:
    # The docker provider compares folder and modes; any difference would be a push to a tag that is taken.
    recorder.stacks[OWN_STACK] = deploy(run)
    recorder.tags = {ImageBuild(context="app").tag: DIGEST}
    change(app)
    deploy(run, image={"context": "app" if app.exists() else "other"})
    first, second = [(item.name, item.inputs["build"]) for item in recorder.resources if item.typ == IMAGE]
    assert first == second


def test_an_image_that_is_gone_is_pushed_again(run: Run, recorder: Recorder, app: Path) -> None:
    recorder.stacks[OWN_STACK] = deploy(run)
    outputs = deploy(run)
    assert (outputs["imageSource"], outputs["imagePush"]) == ("built", 1)


# ---- what is refused before anything is made


@pytest.mark.parametrize(
    ("outputs", "changed", "expected"),
    [
        ({"repositoryUrls": None}, {}, "has no output repositoryUrls. Deploy it first: pulumi up -s registry"),
        ({"repositoryUrls": {"eu-west-1": "url"}}, {}, "region is us-east-1, the repository is in eu-west-1"),
        (
            {"region": "eu-west-1", "repositoryUrls": {"eu-west-1": "url", "us-east-1": "url"}},
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
        deploy(run, **changed)
    assert recorder.kinds() == ["pulumi:pulumi:StackReference"]


def test_an_image_without_a_digest_never_reaches_lambda(run: Run, recorder: Recorder, app: Path, monkeypatch) -> None:  # noqa: ANN001
    # A build that is not pushed answers with a local image ID.
    monkeypatch.setattr("tests.unit.recorder.DIGEST", "none")
    with pytest.raises(ImageUnusable, match="does not name a pushed image by digest"):
        deploy(run)
    assert FUNCTION not in recorder.kinds()


def test_components_check_their_own_arguments() -> None:
    with pytest.raises(
        InvalidArgument, match="memory: 64 is not allowed; it must be a whole number of MB from 128 to 10240"
    ):
        ImageFunctionArgs(name="hello", image=ExistingImage(uri=f"{URL}@{DIGEST}"), memory=64)


def test_an_image_of_another_architecture_is_refused(app: Path) -> None:
    build = ImageBuild(context="app", platform="linux/amd64")
    login = RegistryLogin(server="registry", username="AWS", password="token")
    image = BuiltImage(build=build, repository_url="registry/hello", login=login)
    with pytest.raises(
        InvalidArgument,
        match="image.build.platform: is linux/amd64, but `architecture` is arm64",
    ):
        ImageFunctionArgs(name="hello", image=image, architecture="arm64")


# ---- options of the repository

CONSUMERS = [Consumer(account="222222222222")]
KEY = "arn:aws:kms:us-east-1:111111111111:key/1234abcd"


def repository(run: Run, **changed: Any) -> dict[str, Any]:
    args = CrossAccountRepositoryArgs(**{"name": "hello", "region": "us-east-1", "consumers": CONSUMERS, **changed})

    async def program() -> dict[str, Any]:
        made = CrossAccountRepository("repository", args)
        return {"urls": made.urls, "deployer_policies": made.deployer_policies}

    return run(program)


def test_mutable_tags_are_exceptions_of_an_immutable_repository(run: Run, recorder: Recorder) -> None:
    repository(run, mutable_tags=["dev-*"])
    made = recorder.inputs("aws:ecr/repository:Repository")
    assert made["imageTagMutability"] == "IMMUTABLE_WITH_EXCLUSION"
    assert made["imageTagMutabilityExclusionFilters"] == [{"filter": "dev-*", "filterType": "WILDCARD"}]


def test_a_kms_key_encrypts(run: Run, recorder: Recorder) -> None:
    repository(run, kms_key=KEY)
    made = recorder.inputs("aws:ecr/repository:Repository")
    assert made["encryptionConfigurations"] == [{"encryptionType": "KMS", "kmsKey": KEY}]


def test_without_a_key_nothing_is_said_of_encryption(run: Run, recorder: Recorder) -> None:
    # AES-256 is ECR's default; to write it down would replace a repository that was made without.
    repository(run)
    assert "encryptionConfigurations" not in recorder.inputs("aws:ecr/repository:Repository")


def test_no_lifecycle_rules_means_no_policy(run: Run, recorder: Recorder) -> None:
    repository(run, lifecycle=[])
    assert "aws:ecr/lifecyclePolicy:LifecyclePolicy" not in recorder.kinds()


def test_each_replica_has_the_repository_with_its_policies(run: Run, recorder: Recorder) -> None:
    outputs = repository(run, replicas=["eu-west-1"])
    regions = [item.inputs.get("region") for item in recorder.resources if item.typ == "aws:ecr/repository:Repository"]
    assert set(regions) == {None, "eu-west-1"}
    policies = {
        item.inputs.get("region"): item.inputs["policy"]
        for item in recorder.resources
        if item.typ == "aws:ecr/repositoryPolicy:RepositoryPolicy"
    }
    assert "lambda:eu-west-1:222222222222" in policies["eu-west-1"]
    (rule,) = recorder.inputs("aws:ecr/replicationConfiguration:ReplicationConfiguration")["replicationConfiguration"][
        "rules"
    ]
    assert rule["destinations"] == [{"region": "eu-west-1", "registryId": "111111111111"}]
    assert rule["repositoryFilters"] == [{"filter": "hello", "filterType": "PREFIX_MATCH"}]
    assert set(outputs["urls"]) == {"us-east-1", "eu-west-1"}


def test_every_consumer_gets_the_policy_that_its_deployer_needs(run: Run) -> None:
    policies = repository(run)["deployer_policies"]
    assert list(policies) == ["222222222222"]
    assert REGISTRY_OUTPUTS["repositoryArn"] in policies["222222222222"]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"consumers": []}, "consumers: must be a list of one account or more"),
        ({"consumers": CONSUMERS * 2}, "consumers: must name each account once.*more than once: 222222222222"),
        ({"account": "222222222222"}, "consumers: must not name the registry's own account 222222222222"),
        ({"organization": "acme"}, 'organization: "acme" is not allowed; it must be the ID of an AWS organization'),
        ({"mutable_tags": ["a"] * 6}, r"mutable_tags: \[.*\] is not allowed; it must be a list of up to 5"),
        ({"mutable_tags": ["dev *"]}, r"mutable_tags\[0\]: \"dev \*\" is not allowed"),
        ({"force_delete": True}, "force_delete: needs `protect` and `retain_on_delete` to be false"),
        ({"replicas": ["us-east-1"]}, "`replicas` must name other Regions than us-east-1"),
        (
            {"replicas": ["eu-west-1"], "kms_key": KEY},
            "replicas: must not be set together with `kms_key`",
        ),
        (
            {"consumers": [Consumer(account="2" * 12, regions=["eu-west-1"])]},
            r"consumers\[0\].regions: must name a Region that the repository is in: us-east-1",
        ),
        (
            {
                "consumers": [Consumer(account="2" * 12, regions=["us-east-1"])],
                "replicas": ["eu-west-1"],
            },
            "consumers: must name an account with functions in eu-west-1",
        ),
        ({"consumers": [Consumer(account=f"{n:012}") for n in range(200)]}, "ECR allows 10240"),
    ],
)
def test_a_repository_that_ecr_refuses_is_refused_before(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidArgument, match=expected):
        CrossAccountRepositoryArgs(**{"name": "hello", "region": "us-east-1", "consumers": CONSUMERS, **wrong})


# ---- options of the function


def test_every_option_reaches_the_function(run: Run, recorder: Recorder, app: Path) -> None:
    secret = "arn:aws:secretsmanager:us-east-1:222222222222:secret:database"
    queue = "arn:aws:sqs:us-east-1:222222222222:failed"
    deploy(
        run,
        function={
            "description": "Says hello",
            "storage": 1024,
            "environment": {"STAGE": "test"},
            "secrets": {"DATABASE": secret},
            "entryPoint": ["/entry.sh"],
            "command": ["app.other"],
            "workingDirectory": "/srv",
            "reservedConcurrency": 5,
            "vpc": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]},
            "tracing": True,
            "jsonLogs": True,
            "deadLetter": queue,
            "tags": {"team": "orders"},
        },
    )
    function = recorder.inputs(FUNCTION)
    expected = {
        "description": "Says hello",
        "ephemeralStorage": {"size": 1024},
        "environment": {"variables": {"STAGE": "test", "DATABASE": secret}},
        "imageConfig": {"entryPoints": ["/entry.sh"], "commands": ["app.other"], "workingDirectory": "/srv"},
        "reservedConcurrentExecutions": 5,
        "vpcConfig": {"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]},
        "tracingConfig": {"mode": "Active"},
        "loggingConfig": {"logFormat": "JSON"},
        "deadLetterConfig": {"targetArn": queue},
        "tags": {"team": "orders"},
    }
    assert {key: function[key] for key in expected} == expected
    policy = json.loads(recorder.inputs("aws:iam/rolePolicy:RolePolicy")["policy"])
    allowed = {statement["Sid"]: statement["Resource"] for statement in policy["Statement"]}
    # Secrets Manager puts six characters of its own behind a secret's name.
    assert allowed["Secrets"] == [secret, f"{secret}-??????"]
    assert allowed["DeadLetters"] == queue
    assert set(allowed) == {"Logs", "Secrets", "DeadLetters", "Network", "Traces"}


def test_role_and_log_have_the_bounds_and_keys_asked_for(run: Run, recorder: Recorder, app: Path) -> None:
    boundary, key = "arn:aws:iam::222222222222:policy/boundary", "arn:aws:kms:us-east-1:222222222222:key/1"
    statement = {"Sid": "Orders", "Effect": "Allow", "Action": ["dynamodb:GetItem"], "Resource": "arn:table"}
    deploy(run, function={"permissionsBoundary": boundary, "logKmsKey": key, "statements": [statement]})
    assert recorder.inputs("aws:iam/role:Role")["permissionsBoundary"] == boundary
    assert recorder.inputs("aws:cloudwatch/logGroup:LogGroup")["kmsKeyId"] == key
    policy = json.loads(recorder.inputs("aws:iam/rolePolicy:RolePolicy")["policy"])
    assert policy["Statement"][1:] == [statement]


def test_cache_and_network_reach_the_build_and_do_not_change_the_tag(run: Run, recorder: Recorder, app: Path) -> None:
    deploy(run, image={"context": "app", "cacheFrom": ["registry/hello:cache"], "network": "host"})
    image = recorder.inputs(IMAGE)
    assert image["build"]["cacheFrom"] == {"images": ["registry/hello:cache"]}
    assert image["build"]["network"] == "host"
    assert image["imageName"] == f"{URL}:{ImageBuild(context='app').tag}"


def test_what_is_not_asked_for_is_left_to_lambda(run: Run, recorder: Recorder, app: Path) -> None:
    deploy(run)
    said = set(recorder.inputs(FUNCTION))
    assert not said & {"environment", "vpcConfig", "imageConfig", "publish", "deadLetterConfig", "tags"}


def test_what_the_provider_would_not_turn_back_is_always_said(run: Run, recorder: Recorder, app: Path) -> None:
    # Left out, these are no change to the provider: an option that was on would stay on.
    deploy(run)
    function = recorder.inputs(FUNCTION)
    assert function["ephemeralStorage"] == {"size": 512}
    assert function["tracingConfig"] == {"mode": "PassThrough"}
    assert function["loggingConfig"] == {"logFormat": "Text"}


def test_a_release_publishes_and_calls_the_alias(run: Run, recorder: Recorder, app: Path) -> None:
    outputs = deploy(run, function={"release": {"provisionedConcurrency": 2}})
    assert recorder.inputs(FUNCTION)["publish"] is True
    alias = recorder.inputs("aws:lambda/alias:Alias")
    assert (alias["name"], alias["functionVersion"]) == ("live", "7")
    assert recorder.inputs("aws:apigateway/integration:Integration")["uri"] == "arn:live/invocations"
    assert recorder.inputs("aws:lambda/permission:Permission")["qualifier"] == "live"
    provisioned = recorder.inputs("aws:lambda/provisionedConcurrencyConfig:ProvisionedConcurrencyConfig")
    assert (provisioned["qualifier"], provisioned["provisionedConcurrentExecutions"]) == ("live", 2)
    assert outputs["aliasArn"] == "arn:live"


def test_a_new_version_is_tested_before_the_alias_moves(run: Run, recorder: Recorder, app: Path) -> None:
    deploy(run, function={"release": {"testEvent": {"httpMethod": "GET"}}})
    test = recorder.inputs("aws:lambda/invocation:Invocation")
    assert (test["qualifier"], json.loads(test["input"])) == ("7", {"httpMethod": "GET"})
    kinds = recorder.kinds()
    assert kinds.index("aws:lambda/invocation:Invocation") < kinds.index("aws:lambda/alias:Alias")


def test_a_canary_leaves_the_previous_version_its_share(run: Run, recorder: Recorder) -> None:
    release = Release(previous_share=0.9)
    image = ExistingImage(uri=f"{URL}@{DIGEST}")
    args = ImageFunctionArgs(name="hello", image=image, release=release, previous_version="6")

    async def program() -> dict[str, Any]:
        ImageFunction("function", args)
        return {}

    run(program)
    alias = recorder.inputs("aws:lambda/alias:Alias")
    assert alias["routingConfig"] == {"additionalVersionWeights": {"6": 0.9}}


def test_a_changed_image_leaves_its_version_a_share_until_it_is_taken_back(
    run: Run, recorder: Recorder, app: Path
) -> None:
    canary = {"release": {"previousShare": 0.9}}
    recorder.stacks[OWN_STACK] = {**deploy(run, function=canary), "functionVersion": "6"}
    assert "routingConfig" not in recorder.inputs("aws:lambda/alias:Alias")
    (app / "app.py").write_text("print('changed')\n")
    for _ in range(2):  # the second update changes nothing and must not move the share
        recorder.resources.clear()
        recorder.stacks[OWN_STACK] = deploy(run, function=canary)
        weights = recorder.inputs("aws:lambda/alias:Alias")["routingConfig"]
        assert weights == {"additionalVersionWeights": {"6": 0.9}}


def test_required_parameters_are_checked_before_the_function(run: Run, recorder: Recorder, app: Path) -> None:
    deploy(run, api={"requestParameters": ["querystring.name", "header.X-Tenant"]})
    method = recorder.inputs("aws:apigateway/method:Method")
    assert method["requestParameters"] == {
        "method.request.querystring.name": True,
        "method.request.header.X-Tenant": True,
    }
    assert method["requestValidatorId"]
    assert recorder.inputs("aws:apigateway/requestValidator:RequestValidator")["validateRequestParameters"] is True


def test_a_preflight_is_answered_for_every_path(run: Run, recorder: Recorder, app: Path) -> None:
    deploy(run, api={"corsOrigin": "https://example.com", "routes": [{"path": "hello", "method": "POST"}]})
    answer = recorder.inputs("aws:apigateway/integrationResponse:IntegrationResponse")["responseParameters"]
    assert answer["method.response.header.Access-Control-Allow-Origin"] == "'https://example.com'"
    assert answer["method.response.header.Access-Control-Allow-Methods"] == "'GET,OPTIONS,POST'"


def test_execution_logs_are_of_errors_of_all_methods(run: Run, recorder: Recorder, app: Path) -> None:
    deploy(run, api={"public": True, "executionLogs": True})
    settings = recorder.inputs("aws:apigateway/methodSettings:MethodSettings")
    assert (settings["methodPath"], settings["settings"]) == ("*/*", {"loggingLevel": "ERROR"})


def test_several_routes_share_their_paths_and_have_a_permission_each(run: Run, recorder: Recorder, app: Path) -> None:
    routes = [{"path": "v1/orders", "method": "POST"}, {"path": "v1/orders"}, {"path": "v1/bye", "public": True}]
    deploy(run, api={"path": "v1", "routes": routes})
    parts = [item.inputs["pathPart"] for item in recorder.resources if item.typ == "aws:apigateway/resource:Resource"]
    assert sorted(parts) == ["bye", "orders", "v1"]
    sources = {
        item.inputs["sourceArn"].partition(":api/")[2]
        for item in recorder.resources
        if item.typ == "aws:lambda/permission:Permission"
    }
    assert sources == {"Prod/GET/v1", "Prod/POST/v1/orders", "Prod/GET/v1/orders", "Prod/GET/v1/bye"}


def test_throttle_access_log_tracing_and_key_of_the_api(run: Run, recorder: Recorder, app: Path) -> None:
    api = {"apiKey": True, "throttle": {"rate": 100, "burst": 50}, "accessLogRetention": 7, "tracing": True}
    outputs = deploy(run, api=api)
    settings = recorder.inputs("aws:apigateway/methodSettings:MethodSettings")
    assert settings["methodPath"] == "*/*"
    assert settings["settings"] == {
        "loggingLevel": "OFF",
        "throttlingRateLimit": 100,
        "throttlingBurstLimit": 50,
    }
    stage = recorder.inputs("aws:apigateway/stage:Stage")
    assert stage["xrayTracingEnabled"] is True
    assert json.loads(stage["accessLogSettings"]["format"])["status"] == "$context.status"
    assert recorder.inputs("aws:apigateway/method:Method")["apiKeyRequired"] is True
    assert outputs["apiKey"] == "the-key"


@pytest.mark.parametrize(("public", "authorization"), [(True, "NONE"), (False, "AWS_IAM")])
def test_a_function_url_instead_of_an_api(
    run: Run, recorder: Recorder, app: Path, public: bool, authorization: str
) -> None:
    outputs = deploy(run, api={"type": "url", "public": public, "corsOrigin": "https://example.com"})
    url = recorder.inputs("aws:lambda/functionUrl:FunctionUrl")
    assert url["authorizationType"] == authorization
    assert url["cors"] == {"allowOrigins": ["https://example.com"]}
    grants = {
        item.inputs["action"]: item.inputs
        for item in recorder.resources
        if item.typ == "aws:lambda/permission:Permission"
    }
    # A public URL without both answers 403.
    assert set(grants) == ({"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"} if public else set())
    assert outputs["endpointUrl"] == "https://url.lambda-url.us-east-1.on.aws/"
    assert not [kind for kind in recorder.kinds() if "apigateway" in kind]


def test_no_endpoint_at_all(run: Run, recorder: Recorder, app: Path) -> None:
    assert deploy(run, api={"type": "none"})["endpointUrl"] is None


def test_alarms_tell_a_topic_of_their_own_or_the_one_given(run: Run, recorder: Recorder, app: Path) -> None:
    deploy(run, function={"alarms": {"duration": 0.5}, "timeout": 10})
    alarms = {
        item.inputs["metricName"]: item.inputs
        for item in recorder.resources
        if item.typ == "aws:cloudwatch/metricAlarm:MetricAlarm"
    }
    assert set(alarms) == {"Errors", "Throttles", "Duration"}
    assert alarms["Duration"]["threshold"] == 5000
    assert alarms["Errors"]["alarmActions"] == ["arn:topic"]
    recorder.resources.clear()
    deploy(run, function={"alarms": {"topic": "arn:aws:sns:us-east-1:222222222222:mine"}})
    assert "aws:sns/topic:Topic" not in recorder.kinds()


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


def test_routes_that_look_alike_have_names_of_their_own(run: Run, recorder: Recorder, app: Path) -> None:
    paths = ["a/b", "a-b", "v1.0/hello", "x" * 60]
    deploy(run, api={"path": "hello", "routes": [{"path": path} for path in paths]})
    names = [item.name for item in recorder.resources if item.typ == "aws:lambda/permission:Permission"]
    assert len(set(names)) == len(paths) + 1
    # They become statement IDs.
    assert all(re.fullmatch(r"[a-zA-Z0-9-]{1,92}", name) for name in names)


def test_other_content_is_another_image_resource(run: Run, recorder: Recorder, app: Path) -> None:
    # An update in place would push to a taken tag when a failed update is taken back.
    deploy(run)
    (app / "app.py").write_text("print('changed')\n")
    deploy(run)
    first, second = [item.name for item in recorder.resources if item.typ == IMAGE]
    assert first != second
