"""The stand-in of the aws provider does what the Terraform AWS provider does on the Pulumi bridge.

Where nothing else is named, the source is the schema: "Changing this creates a new resource", computed or not, at
https://github.com/hashicorp/terraform-provider-aws/tree/main/internal/service.
"""

import json
import socket
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY, MagicMock, call

import botocore.exceptions
import pytest
from botocore.config import Config

from offline.plugins import aws as stand_in
from offline.plugins.aws import Aws, AwsProvider
from offline.plugins.provider import Values
from tests.local.stand_in import FUNCTION, Failed, check, configure, create, delete, diff, update, urn

ROLE, REPOSITORY, ALIAS = "aws:iam/role:Role", "aws:ecr/repository:Repository", "aws:lambda/alias:Alias"
PERMISSION, FUNCTION_URL = "aws:lambda/permission:Permission", "aws:lambda/functionUrl:FunctionUrl"
GATEWAY = "aws:apigateway/"
API = f"{GATEWAY}restApi:RestApi"
RESOURCE, METHOD = f"{GATEWAY}resource:Resource", f"{GATEWAY}method:Method"
INTEGRATION, METHOD_RESPONSE = f"{GATEWAY}integration:Integration", f"{GATEWAY}methodResponse:MethodResponse"
INTEGRATION_RESPONSE = f"{GATEWAY}integrationResponse:IntegrationResponse"
SETTINGS, STAGE = f"{GATEWAY}methodSettings:MethodSettings", f"{GATEWAY}stage:Stage"
VALIDATOR, API_KEY = f"{GATEWAY}requestValidator:RequestValidator", f"{GATEWAY}apiKey:ApiKey"
USAGE_PLAN = f"{GATEWAY}usagePlan:UsagePlan"
MAPPING = "aws:lambda/eventSourceMapping:EventSourceMapping"
INVOKE_CONFIG = "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig"
SUBSCRIPTION, SCHEDULE = "aws:sns/topicSubscription:TopicSubscription", "aws:scheduler/schedule:Schedule"
EVENT_RULE, EVENT_TARGET = "aws:cloudwatch/eventRule:EventRule", "aws:cloudwatch/eventTarget:EventTarget"
ROUTE = {"restApi": "api", "resourceId": "res", "httpMethod": "GET"}


class Account:
    """An account whose clients answer with mocks."""

    def __init__(self, region: str = "us-east-1", partition: str = "aws", suffix: str = "amazonaws.com") -> None:
        self.region, self.partition, self.suffix, self.account = region, partition, suffix, "2" * 12
        self.clients: dict[str, Any] = defaultdict(MagicMock)
        # As botocore writes it, with each service's own exceptions.
        self.client("lambda").exceptions.ResourceConflictException = KeyError

    def client(self, service: str) -> Any:
        return self.clients[service]

    def of(self, values: Values) -> "Account":
        return self

    arn = Aws.arn


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def provider(account: Account) -> AwsProvider:
    provider = AwsProvider()
    provider._aws = account  # type: ignore[assignment]
    return provider


def refusal(operation: str) -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError({"Error": {"Code": "Refused", "Message": "not now"}}, operation)


# ---- an update that fails


def function(**changed: Any) -> Values:
    inputs = {"name": "f", "role": "r", "packageType": "Image", "imageUri": "a@sha256:1", "architectures": ["x86_64"]}
    return {**inputs, "memorySize": 128, "timeout": 3, **changed}


@pytest.mark.parametrize(
    ("refused", "changed"),
    [("update_function_configuration", {"memorySize": 256}), ("update_function_code", {"imageUri": "a@sha256:2"})],
)
def test_of_a_failed_update_the_state_has_the_new_values_and_the_next_one_calls_nothing(
    provider: AwsProvider, account: Account, refused: str, changed: Values
) -> None:
    """https://github.com/pulumi/pulumi/issues/21458, https://github.com/pulumi/pulumi-aws/issues/6062 (ran)."""
    old, new = function(), function(**changed)
    client = account.client("lambda")
    getattr(client, refused).side_effect = refusal(refused)
    with pytest.raises(Failed, match="not now") as failed:
        update(provider, FUNCTION, {**old, "arn": "arn"}, old, new)
    assert failed.value.kept == ("it", {**new, "arn": "arn"})
    (reason,) = failed.value.reasons
    assert reason.startswith(f"updating {urn(FUNCTION)}: ")
    # The engine sends the resource once more, because of `initErrors`: there is no change to carry out.
    client.reset_mock()
    assert update(provider, FUNCTION, {**new, "arn": "arn"}, new, new) == {**new, "arn": "arn"}
    assert client.mock_calls == []


def test_a_role_whose_boundary_was_refused_is_left_without_one(provider: AwsProvider, account: Account) -> None:
    old = {"name": "r", "assumeRolePolicy": "{}"}
    new = {**old, "permissionsBoundary": "arn:aws:iam::222222222222:policy/none"}
    account.client("iam").put_role_permissions_boundary.side_effect = refusal("PutRolePermissionsBoundary")
    with pytest.raises(Failed) as failed:
        update(provider, ROLE, old, old, new)
    assert failed.value.kept == ("it", new)
    account.client("iam").reset_mock()
    update(provider, ROLE, new, new, new)
    assert account.client("iam").mock_calls == []


# ---- replace or update


@pytest.mark.parametrize(
    ("kind", "keys", "updated"),
    [
        (API_KEY, {}, {"name"}),
        (USAGE_PLAN, {}, {"name", "apiStages"}),
        (VALIDATOR, {"restApi": "api"}, {"name", "validateRequestParameters"}),
        (RESOURCE, {"restApi": "api"}, {"parentId", "pathPart"}),
        (METHOD_RESPONSE, ROUTE, {"statusCode"}),
        (INTEGRATION_RESPONSE, ROUTE, {"statusCode"}),
        (MAPPING, {"eventSourceArn": "a"}, {"functionName", "batchSize", "scalingConfig", "functionResponseTypes"}),
        (SUBSCRIPTION, {"topic": "t", "protocol": "lambda", "endpoint": "f"}, {"filterPolicy", "redrivePolicy"}),
        (EVENT_RULE, {"name": "r", "eventBusName": "b"}, {"eventPattern"}),
        (EVENT_TARGET, {"rule": "r", "eventBusName": "b", "targetId": "t"}, {"arn", "deadLetterConfig"}),
        (SCHEDULE, {"name": "s"}, {"scheduleExpression", "target"}),
        (INVOKE_CONFIG, {"functionName": "f", "qualifier": "live"}, {"maximumRetryAttempts", "destinationConfig"}),
    ],
)
def test_what_is_updated_in_place_and_what_is_replaced(
    provider: AwsProvider, kind: str, keys: Values, updated: set[str]
) -> None:
    old = {**keys, **dict.fromkeys(updated, "old")}
    assert diff(provider, kind, old, {**old, **dict.fromkeys(updated, "new")}) == (updated, set())
    for key in keys:
        assert diff(provider, kind, old, {**old, key: "new"}) == ({key}, {key})


def test_an_update_in_place_is_a_patch(provider: AwsProvider, account: Account) -> None:
    client = account.client("apigateway")
    old = {"name": "p", "apiStages": [{"apiId": "a", "stage": "Old"}]}
    provider.update(
        USAGE_PLAN, "urn", "plan", old, {"name": "q", "apiStages": [{"apiId": "a", "stage": "New"}]}, {"name"}
    )
    assert client.update_usage_plan.mock_calls == [
        call(
            usagePlanId="plan",
            patchOperations=[
                {"op": "replace", "path": "/name", "value": "q"},
                {"op": "remove", "path": "/apiStages", "value": "a:Old"},
                {"op": "add", "path": "/apiStages", "value": "a:New"},
            ],
        )
    ]


def test_of_a_mapping_only_what_changes_is_sent_and_a_limit_that_is_left_out_is_taken_away(
    provider: AwsProvider, account: Account
) -> None:
    old = {"eventSourceArn": "a", "functionName": "f", "batchSize": 10, "scalingConfig": {"maximumConcurrency": 2}}
    new = {"eventSourceArn": "a", "functionName": "f:live", "batchSize": 10}
    provider.update(MAPPING, "urn", "id", old, new, {"functionName", "scalingConfig"})
    client = account.client("lambda")
    assert client.update_event_source_mapping.mock_calls == [call(UUID="id", FunctionName="f:live", ScalingConfig={})]


def test_a_filter_that_is_left_out_lets_all_messages_through(provider: AwsProvider, account: Account) -> None:
    filtered = {"filterPolicy": '{"kind": ["order"]}', "filterPolicyScope": "MessageBody"}
    old = {"topic": "t", "protocol": "lambda", "endpoint": "f", **filtered}
    new = {name: value for name, value in old.items() if not name.startswith("filter")}
    provider.update(SUBSCRIPTION, "urn", "arn", old, new, {"filterPolicy", "filterPolicyScope"})
    sent = [one.kwargs for one in account.client("sns").set_subscription_attributes.mock_calls]
    assert [(one["AttributeName"], one["AttributeValue"]) for one in sent] == [
        ("FilterPolicyScope", "MessageAttributes"),
        ("FilterPolicy", "{}"),
    ]


def test_what_is_left_out_of_an_api_is_kept_and_minus_one_is_no_compression(
    provider: AwsProvider, account: Account
) -> None:
    account.client("apigateway").get_resources.return_value = {"items": [{"path": "/", "id": "root"}]}
    old = {"name": "a", "binaryMediaTypes": ["image/png"]}
    assert diff(provider, API, old, {"name": "a", "minimumCompressionSize": "-1"}) == (set(), set())

    new = {"name": "a", "binaryMediaTypes": ["a/b"], "minimumCompressionSize": "1024"}
    provider.update(API, "urn", "it", old, new, {"binaryMediaTypes"})
    assert account.client("apigateway").update_rest_api.mock_calls == [
        call(
            restApiId="it",
            patchOperations=[
                {"op": "replace", "path": "/minimumCompressionSize", "value": "1024"},
                {"op": "remove", "path": "/binaryMediaTypes/image~1png"},
                {"op": "add", "path": "/binaryMediaTypes/a~1b"},
            ],
        )
    ]


def test_an_integration_is_changed_by_patch(provider: AwsProvider, account: Account) -> None:
    old = {**ROUTE, "type": "MOCK", "timeoutMilliseconds": 29_000, "requestTemplates": {"application/json": "{}"}}
    new = {**old, "timeoutMilliseconds": 5_000, "requestTemplates": {"application/json": "[]"}}
    client = account.client("apigateway")
    client.get_integration.return_value = {"type": "MOCK"}
    provider.update(INTEGRATION, "urn", "it", old, new, {"timeoutMilliseconds", "requestTemplates"})
    assert client.put_integration.mock_calls == []
    assert client.update_integration.call_args.kwargs["patchOperations"] == [
        {"op": "replace", "path": "/timeoutInMillis", "value": "5000"},
        {"op": "replace", "path": "/requestTemplates/application~1json", "value": "[]"},
    ]


# ---- computed and suppressed


def settings(**values: Any) -> Values:
    return {"restApi": "api", "stageName": "Prod", "methodPath": "*/*", "settings": values}


def test_a_logging_level_that_is_left_out_stays(provider: AwsProvider, account: Account) -> None:
    """`logging_level` is optional and computed (ran)."""
    limits = {"throttlingRateLimit": 5, "throttlingBurstLimit": 10}
    old, new = settings(loggingLevel="INFO", **limits), settings(**limits)
    assert diff(provider, SETTINGS, old, new) == (set(), set())
    off = settings(loggingLevel="OFF", **limits)
    assert diff(provider, SETTINGS, old, off) == ({"settings"}, set())
    provider.update(SETTINGS, "urn", "it", old, off, {"settings"})
    assert account.client("apigateway").update_stage.call_args.kwargs["patchOperations"] == [
        {"op": "replace", "path": "/*/*/logging/loglevel", "value": "OFF"}
    ]


def test_a_throttle_that_is_left_out_is_turned_off(provider: AwsProvider, account: Account) -> None:
    old, new = settings(loggingLevel="INFO", throttlingRateLimit=5), settings(loggingLevel="INFO")
    assert diff(provider, SETTINGS, old, new) == ({"settings"}, set())
    provider.update(SETTINGS, "urn", "it", old, new, {"settings"})
    assert account.client("apigateway").update_stage.call_args.kwargs["patchOperations"] == [
        {"op": "replace", "path": "/*/*/throttling/rateLimit", "value": "-1"}
    ]


def test_the_encryption_of_an_adopted_repository_need_not_be_said(provider: AwsProvider) -> None:
    """`SuppressMissingOptionalConfigurationBlock`."""
    old = {"name": "r", "encryptionConfigurations": [{"encryptionType": "AES256"}]}
    assert diff(provider, REPOSITORY, old, {"name": "r"}) == (set(), set())
    other = {"name": "r", "encryptionConfigurations": [{"encryptionType": "KMS"}]}
    assert diff(provider, REPOSITORY, old, other) == ({"encryptionConfigurations"}, {"encryptionConfigurations"})


# ---- names and addresses


@pytest.mark.parametrize(
    ("kind", "longest", "inputs"),
    [
        (ROLE, 64, {"assumeRolePolicy": "{}"}),
        (PERMISSION, 100, {"action": "lambda:InvokeFunction", "function": "f", "principal": "p"}),
    ],
)
def test_generated_names_are_capped(provider: AwsProvider, kind: str, longest: int, inputs: Values) -> None:
    """`NewUniqueName` of pulumi/pulumi, sdk/go/common/resource."""
    named = stand_in.KINDS[kind].named or ""
    assert len(check(provider, kind, "n" * (longest - 8), **inputs)[named]) == longest
    with pytest.raises(Failed, match=f"random chars is longer than maximum length {longest}"):
        check(provider, kind, "n" * (longest - 7), **inputs)


@pytest.mark.parametrize(
    ("region", "suffix"),
    [("us-east-1", "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn"), ("eusc-de-east-1", "amazonaws.eu")],
)
def test_the_url_of_a_stage_is_awss_own(provider: AwsProvider, region: str, suffix: str) -> None:
    """`APIGatewayInvokeURL` of the provider's conns package."""
    provider._aws = account = Account(region, suffix=suffix)  # type: ignore[assignment]
    account.client("apigateway").get_stage.return_value = {"deploymentId": "d"}
    _, state = create(provider, STAGE, restApi="api", stageName="Prod", deployment="d")
    assert state["invokeUrl"] == f"https://api.execute-api.{region}.{suffix}/Prod"


def test_the_partition_is_that_of_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    session = stand_in.Session()
    monkeypatch.setattr(session, "create_client", lambda *_, **__: MagicMock())
    found = {region: Aws(session, region) for region in ("us-east-1", "cn-north-1", "us-iso-east-1", "eusc-de-east-1")}
    assert {aws.partition: aws.suffix for aws in found.values()} == {
        "aws": "amazonaws.com",
        "aws-cn": "amazonaws.com.cn",
        "aws-iso": "c2s.ic.gov",
        "aws-eusc": "amazonaws.eu",
    }


def test_the_id_of_an_alias_is_its_arn(provider: AwsProvider, account: Account) -> None:
    found = {"AliasArn": "arn:alias", "FunctionVersion": "1"}
    account.client("lambda").create_alias.return_value = account.client("lambda").get_alias.return_value = found
    identity, _ = create(provider, ALIAS, functionName="f", name="live", functionVersion="1")
    assert identity == "arn:alias"
    delete(provider, ALIAS, functionName="f", name="live")
    account.client("lambda").delete_alias.assert_called_once_with(FunctionName="f", Name="live")


# ---- what happens outside of the state


def test_a_public_function_url_is_opened_by_the_provider_which_never_closes_it(
    provider: AwsProvider, account: Account
) -> None:
    """https://github.com/hashicorp/terraform-provider-aws/pull/44858 (ran)."""
    client = account.client("lambda")
    client.get_function_url_config.return_value = {"AuthType": "NONE", "FunctionUrl": "u", "FunctionArn": "a"}
    public = {"functionName": "f", "qualifier": "live", "authorizationType": "NONE"}
    create(provider, FUNCTION_URL, **public)
    opened = [given.kwargs for given in client.add_permission.mock_calls]
    assert [(one["StatementId"], one["Action"], one["Principal"], one["Qualifier"]) for one in opened] == [
        ("FunctionURLAllowPublicAccess", "lambda:InvokeFunctionUrl", "*", "live"),
        ("FunctionURLAllowInvokeAction", "lambda:InvokeFunction", "*", "live"),
    ]
    provider.update(
        FUNCTION_URL, "urn", "f/live", public, {**public, "authorizationType": "AWS_IAM"}, {"authorizationType"}
    )
    delete(provider, FUNCTION_URL, **public)
    client.remove_permission.assert_not_called()


def test_a_private_function_url_is_not_opened(provider: AwsProvider, account: Account) -> None:
    found = {"AuthType": "AWS_IAM", "FunctionUrl": "u", "FunctionArn": "a"}
    account.client("lambda").get_function_url_config.return_value = found
    create(provider, FUNCTION_URL, functionName="f", authorizationType="AWS_IAM")
    account.client("lambda").add_permission.assert_not_called()


# ---- credentials


def test_an_unknown_profile_is_named_with_the_providers_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with pytest.raises(Failed, match="failed to get shared config profile, nobody"):
        configure(AwsProvider(), profile="nobody", region="us-east-1")


@pytest.mark.parametrize(
    "expired",
    [
        botocore.exceptions.LoginRefreshRequired(),
        botocore.exceptions.UnauthorizedSSOTokenError(),
        botocore.exceptions.SSOTokenLoadError(error_msg="Token has expired"),
    ],
)
def test_an_expired_login_is_told_with_the_providers_words(monkeypatch: pytest.MonkeyPatch, expired: Exception) -> None:
    def refuse(*_: Any) -> None:
        raise expired

    monkeypatch.setattr(stand_in, "Aws", refuse)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr(stand_in, "Session", lambda profile: None)
    with pytest.raises(Failed, match="The AWS login session for consumer has expired"):
        configure(AwsProvider(), profile="consumer")


def test_a_local_cloud_that_is_gone_is_named_with_the_command_that_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(stand_in, "CONFIG", stand_in.CONFIG.merge(Config(retries={"total_max_attempts": 1})))
    with socket.socket() as bound:
        # It does not listen.
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(Failed, match="The local cloud is not running; start it with `make demo`") as gone:
            configure(AwsProvider(), region="us-east-1")
    assert address in str(gone.value)


ROLE_ARN = "arn:aws:iam::222222222222:role/deployer"
DENIED = {
    "Error": {"Code": "AccessDenied", "Message": "User: me is not authorized to perform: sts:AssumeRole"},
    "ResponseMetadata": {"HTTPStatusCode": 403, "RequestId": "id"},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Values]:
    """What STS is asked; it gives a role's credentials, named after the role, and to nobody else."""
    calls: list[Values] = []

    def create_client(session: Any, service: str, **given: Any) -> Any:
        def assume_role(**call: Any) -> Values:
            calls.append({"key": given.get("aws_access_key_id"), **call})
            if call["RoleArn"].endswith("/denied"):
                raise botocore.exceptions.ClientError(DENIED, "AssumeRole")  # type: ignore[arg-type]  # a part of it
            key = call["RoleArn"].rpartition("/")[2]
            keys = {"AccessKeyId": key, "SecretAccessKey": "secret", "SessionToken": "token"}
            return {"Credentials": {**keys, "Expiration": datetime.now(UTC) + timedelta(hours=1)}}

        client = MagicMock(assume_role=assume_role, assume_role_with_web_identity=assume_role)
        client.get_caller_identity.return_value = {"Account": "222222222222"}
        return client

    monkeypatch.setattr(stand_in.Session, "create_client", create_client)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return calls


def test_roles_are_assumed_one_with_the_other(asked: list[Values]) -> None:
    first = {"roleArn": "arn:aws:iam::111111111111:role/first", "sessionName": "run"}
    second = {"roleArn": ROLE_ARN, "externalId": "x1", "duration": "1h30m"}
    provider = AwsProvider()
    configure(provider, assumeRoles=json.dumps([first, second]), region="us-east-1")
    assert asked == [
        {"key": "mine", "RoleArn": first["roleArn"], "RoleSessionName": "run", "DurationSeconds": 900},
        {"key": "first", "RoleArn": ROLE_ARN, "RoleSessionName": ANY, "ExternalId": "x1", "DurationSeconds": 5400},
    ]
    assert provider._aws._session.get_credentials().access_key == "deployer"


def test_a_token_of_a_file_opens_a_role_with_which_others_are_assumed(asked: list[Values], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("told")
    web = {"roleArn": "arn:aws:iam::111111111111:role/web", "webIdentityTokenFile": str(tmp_path / "token")}
    roles = json.dumps([{"roleArn": ROLE_ARN}])
    configure(AwsProvider(), assumeRoleWithWebIdentity=json.dumps(web), assumeRoles=roles, region="us-east-1")
    assert [(call.get("WebIdentityToken"), call["key"]) for call in asked] == [("told", None), (None, "web")]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"assumeRoles": [{"roleArn": f"{ROLE_ARN}/denied"}]}, "is not authorized to perform: sts:AssumeRole"),
        (
            {"assumeRoleWithWebIdentity": {"roleArn": ROLE_ARN, "webIdentityTokenFile": "/nowhere"}},
            "No such file or directory: '/nowhere'",
        ),
    ],
)
def test_a_role_that_is_not_assumed_is_told_with_the_providers_words(
    asked: list[Values], inputs: Values, said: str
) -> None:
    """https://github.com/hashicorp/aws-sdk-go-base/blob/main/errors.go."""
    with pytest.raises(Failed, match=f"IAM Role .{ROLE_ARN}.* cannot be assumed") as refused:
        configure(AwsProvider(), **{name: json.dumps(value) for name, value in inputs.items()}, region="us-east-1")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "inputs",
    [
        {"assumeRoles": [{"roleArn": ROLE_ARN, "policy": "{}"}]},
        {"assumeRoles": [{"roleArn": ROLE_ARN, "webIdentityTokenFile": "f"}]},
        {"assumeRoleWithWebIdentity": {"roleArn": ROLE_ARN, "webIdentityTokenFile": "f", "externalId": "x1"}},
        {"assumeRoleWithWebIdentity": {"roleArn": ROLE_ARN}},
    ],
)
def test_what_is_not_carried_out_of_a_role_is_refused(asked: list[Values], inputs: Values) -> None:
    with pytest.raises(Failed, match="does not carry out|needs webIdentityTokenFile"):
        configure(AwsProvider(), **{name: json.dumps(value) for name, value in inputs.items()}, region="us-east-1")


def test_without_credentials_no_source_is_named(asked: list[Values], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(stand_in.Session, "get_credentials", lambda session: None)
    with pytest.raises(Failed, match="No valid credential sources found"):
        configure(AwsProvider(), assumeRoles=json.dumps([{"roleArn": ROLE_ARN}]), region="us-east-1")
