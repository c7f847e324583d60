"""The function, its role, its log group, its versions and its alarms, as they are registered with the engine."""

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.errors import InvalidConfiguration
from components.function import ImageFunction, ImageFunctionArgs
from components.image.source import ExistingImage
from tests.unit.conftest import Deploy, Run
from tests.unit.recorder import DIGEST, OWN_STACK, REGISTRY_OUTPUTS, Recorder

FUNCTION = "aws:lambda/function:Function"
ALIAS = "aws:lambda/alias:Alias"
LOGS = "aws:cloudwatch/logGroup:LogGroup"
ROLE = "aws:iam/role:Role"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
INVOCATION = "aws:lambda/invocation:Invocation"
PROVISIONED = "aws:lambda/provisionedConcurrencyConfig:ProvisionedConcurrencyConfig"
EXISTING = {"digest": DIGEST}
NAME = "cross-account-function"
ARN = f"arn:aws:lambda:us-east-1:222222222222:function:{NAME}"
URI = f"{REGISTRY_OUTPUTS['repositoryUrl']}@{DIGEST}"


def test_only_lambda_may_assume_the_role(deploy: Deploy) -> None:
    trust = json.loads(deploy("consumer", image=EXISTING).one(ROLE).inputs["assumeRolePolicy"])
    assert trust == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
        ],
    }


PLAIN = {
    "name": NAME,
    "packageType": "Image",
    "imageUri": URI,
    "architectures": ["x86_64"],
    "memorySize": 128,
    "timeout": 3,
    # The provider keeps the old value of these three when they are left out.
    "ephemeralStorage": {"size": 512},
    "tracingConfig": {"mode": "PassThrough"},
    "loggingConfig": {"logFormat": "Text"},
    "role": "arn:aws:iam::222222222222:role/function-role",
}


def test_a_function_is_registered_with_these_inputs_and_no_others(deploy: Deploy) -> None:
    function = deploy("consumer", image=EXISTING, function=None).one(FUNCTION)
    assert function.name == "function"
    assert function.inputs == PLAIN


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("name", "orders", {"name": "orders"}),
        ("description", "Says hello", {"description": "Says hello"}),
        ("memory", 512, {"memorySize": 512}),
        ("timeout", 10, {"timeout": 10}),
        ("architecture", "arm64", {"architectures": ["arm64"]}),
        ("storage", 1024, {"ephemeralStorage": {"size": 1024}}),
        ("environment", {"STAGE": "test"}, {"environment": {"variables": {"STAGE": "test"}}}),
        ("entryPoint", ["/entry.sh"], {"imageConfig": {"entryPoints": ["/entry.sh"]}}),
        ("command", ["app.other"], {"imageConfig": {"commands": ["app.other"]}}),
        ("workingDirectory", "/srv", {"imageConfig": {"workingDirectory": "/srv"}}),
        ("reservedConcurrency", 0, {"reservedConcurrentExecutions": 0}),
        (
            "vpc",
            {"subnets": ["subnet-1"], "securityGroups": ["sg-1", "sg-2"]},
            {"vpcConfig": {"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1", "sg-2"]}},
        ),
        ("tracing", True, {"tracingConfig": {"mode": "Active"}}),
        ("jsonLogs", True, {"loggingConfig": {"logFormat": "JSON"}}),
        (
            "deadLetter",
            "arn:aws:sns:us-east-1:222222222222:failed",
            {"deadLetterConfig": {"targetArn": "arn:aws:sns:us-east-1:222222222222:failed"}},
        ),
        ("release", {"provisionedConcurrency": 1}, {"publish": True}),
    ],
)
def test_an_option_changes_its_inputs_and_no_others(
    deploy: Deploy, recorder: Recorder, option: str, value: Any, expected: dict[str, Any]
) -> None:
    recorder.config = {"os": "linux", "architecture": "arm64" if value == "arm64" else "amd64"}
    assert deploy("consumer", image=EXISTING, function={option: value}).one(FUNCTION).inputs == {**PLAIN, **expected}


def test_a_file_system_is_mounted_and_needs_a_network(deploy: Deploy) -> None:
    access_point = "arn:aws:elasticfilesystem:us-east-1:222222222222:access-point/fsap-1"
    system = {"accessPoint": access_point, "path": "/mnt/models"}
    vpc = {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}
    inputs = deploy("consumer", image=EXISTING, function={"vpc": vpc, "fileSystem": system}).one(FUNCTION).inputs
    assert inputs["fileSystemConfig"] == {"arn": access_point, "localMountPath": "/mnt/models"}
    with pytest.raises(InvalidConfiguration, match="function.fileSystem: requires `vpc`"):
        deploy("consumer", image=EXISTING, function={"fileSystem": system})
    with pytest.raises(InvalidConfiguration, match="fileSystem.path: .* it must be a path right below /mnt/"):
        deploy("consumer", image=EXISTING, function={"vpc": vpc, "fileSystem": {**system, "path": "/models"}})


def test_the_log_group_is_the_one_that_lambda_writes_to(deploy: Deploy) -> None:
    function = {"name": "orders", "logKmsKey": "arn:aws:kms:us-east-1:222222222222:key/1", "logRetention": 90}
    logs = deploy("consumer", image=EXISTING, function=function).one(LOGS)
    assert logs.inputs == {
        "name": "/aws/lambda/orders",
        "retentionInDays": 90,
        "kmsKeyId": "arn:aws:kms:us-east-1:222222222222:key/1",
    }


def test_lines_of_the_log_are_deleted_after_30_days_by_default(deploy: Deploy) -> None:
    assert deploy("consumer", image=EXISTING).one(LOGS).inputs == {"name": f"/aws/lambda/{NAME}", "retentionInDays": 30}


def test_tags_are_those_of_function_role_and_log_group(deploy: Deploy) -> None:
    done = deploy("consumer", image=EXISTING, function={"tags": {"team": "orders"}})
    assert {one.type for one in done.resources if one.inputs.get("tags") == {"team": "orders"}} == {
        FUNCTION,
        ROLE,
        LOGS,
    }


def test_a_boundary_bounds_the_role(deploy: Deploy) -> None:
    boundary = "arn:aws:iam::222222222222:policy/boundary"
    done = deploy("consumer", image=EXISTING, function={"permissionsBoundary": boundary})
    assert done.one(ROLE).inputs["permissionsBoundary"] == boundary
    assert "permissionsBoundary" not in deploy("consumer", image=EXISTING).one(ROLE).inputs


def test_the_function_waits_for_its_log_group_and_its_rights(deploy: Deploy) -> None:
    # Without the group Lambda creates one that keeps every line; without the rights the first lines are lost.
    done = deploy("consumer", image=EXISTING)
    assert {"function-logs", "function-role-policy", "function-role"} <= done.one(FUNCTION).depends_on
    assert done.one("aws:iam/rolePolicy:RolePolicy").inputs["role"] == "function-role"


def test_nothing_is_created_before_the_image_is_pushed(deploy: Deploy, app: Path) -> None:
    done = deploy("consumer")
    (image,) = done.of("docker:index/image:Image")
    for kind in (LOGS, ROLE, "aws:iam/rolePolicy:RolePolicy", "cross-account-ecr:index:FunctionApi"):
        assert image.name in done.one(kind).depends_on


def test_every_part_belongs_to_its_component(deploy: Deploy, app: Path) -> None:
    function = {"release": {"testEvent": {}, "provisionedConcurrency": 1}, "alarms": {}}
    api = {
        "corsOrigin": "*",
        "apiKey": True,
        "accessLogRetention": 7,
        "executionLogs": True,
        "requestParameters": ["header.A"],
    }
    done = deploy("consumer", function=function, api=api)
    parents = {one.name: one.parent for one in done.resources if not one.type.startswith("pulumi:")}
    assert parents.pop("function-api")
    tops = [one for one in done.resources if not one.parent and not one.type.startswith("pulumi:")]
    assert [one.type for one in tops] == ["cross-account-ecr:index:ImageFunction"]
    for name, parent in parents.items():
        expected = "function-api" if name.startswith("function-api-") else "function"
        assert parent == expected or name == "function", name


@pytest.mark.parametrize("changed", [{}, {"api": {"type": "url", "public": True}}])
def test_all_of_aws_is_created_with_the_consumers_provider(deploy: Deploy, app: Path, changed: dict[str, Any]) -> None:
    release = {"release": {"testEvent": {}, "provisionedConcurrency": 1}, "alarms": {}}
    done = deploy("consumer", function=release, **changed)
    used = {one.type: one.provider for one in done.resources if one.type.startswith("aws:")}
    assert set(used.values()) == {"consumer"}
    assert done.one("docker:index/image:Image").provider == "docker"


def test_providers_are_those_of_the_stack_file(deploy: Deploy, app: Path) -> None:
    done = deploy("consumer", profile="mine", registry={"stack": "registry", "profile": "theirs"})
    providers = {one.name: one.inputs for one in done.of("pulumi:providers:aws")}
    assert set(providers) == {"consumer", "registry"}
    for name, account, profile in (("consumer", "222222222222", "mine"), ("registry", "111111111111", "theirs")):
        assert providers[name]["region"] == "us-east-1"
        assert providers[name]["profile"] == profile
        assert json.loads(providers[name]["allowedAccountIds"]) == [account]


def test_roles_are_handed_to_the_provider_of_their_account(deploy: Deploy, app: Path) -> None:
    role, other = "arn:aws:iam::222222222222:role/deployer", "arn:aws:iam::111111111111:role/pusher"
    web = {"roleArn": role, "webIdentityTokenFile": "token"}
    roles = [{"roleArn": other, "externalId": "x1", "sessionName": "run", "duration": "1h"}]
    done = deploy(
        "consumer", profile=None, assumeRoleWithWebIdentity=web,
        registry={"stack": "registry", "profile": "theirs", "assumeRoles": roles},
    )  # fmt: skip
    providers = {one.name: one.inputs for one in done.of("pulumi:providers:aws")}
    assert json.loads(providers["consumer"]["assumeRoleWithWebIdentity"]) == web
    assert json.loads(providers["registry"]["assumeRoles"]) == roles
    assert providers["registry"]["profile"] == "theirs"
    assert "assumeRoles" not in providers["consumer"]


def test_without_a_profile_the_default_credentials_are_used(deploy: Deploy) -> None:
    assert "profile" not in deploy("registry", profile="").one("pulumi:providers:aws").inputs


# ---- secrets


def test_values_of_the_environment_that_are_set_as_secrets_stay_secrets(deploy: Deploy) -> None:
    reference = "arn:aws:ssm:us-east-1:222222222222:parameter/url"
    function = {"environment": {"TOKEN": "hunter2", "STAGE": "test"}, "secrets": {"URL": reference}}
    hidden = deploy("consumer", image=EXISTING, function=function, secret={"function"}).one(FUNCTION)
    assert {path.rpartition(".")[2] for path in hidden.secret} == {"TOKEN", "STAGE"}
    plain = deploy("consumer", image=EXISTING, function=function).one(FUNCTION)
    assert not plain.secret
    assert hidden.inputs == plain.inputs
    assert plain.inputs["environment"] == {"variables": {"TOKEN": "hunter2", "STAGE": "test", "URL": reference}}


# ---- versions


def test_without_a_release_there_is_no_alias(deploy: Deploy) -> None:
    done = deploy("consumer", image=EXISTING)
    assert not done.of(ALIAS)
    assert "publish" not in done.one(FUNCTION).inputs


def test_the_alias_live_is_of_the_published_version(deploy: Deploy) -> None:
    done = deploy("consumer", image=EXISTING, function={"release": {"previousShare": 0.5}})
    assert done.one(ALIAS).inputs == {"name": "live", "functionName": NAME, "functionVersion": "7"}
    assert done.outputs["functionVersion"] == "7"
    assert done.outputs["aliasArn"] == "arn:live"
    assert not done.of(INVOCATION)
    assert not done.of(PROVISIONED)


@pytest.mark.parametrize("event", [{"httpMethod": "GET"}, {}])
def test_the_alias_waits_until_the_new_version_has_answered(deploy: Deploy, event: dict[str, Any]) -> None:
    done = deploy("consumer", image=EXISTING, function={"release": {"testEvent": event}})
    test = done.one(INVOCATION)
    assert (test.inputs["functionName"], test.inputs["qualifier"]) == (NAME, "7")
    assert json.loads(test.inputs["input"]) == event
    assert test.name in done.one(ALIAS).depends_on


def test_instances_of_the_alias_are_kept_warm(deploy: Deploy) -> None:
    done = deploy("consumer", image=EXISTING, function={"release": {"provisionedConcurrency": 1}})
    inputs = {"functionName": NAME, "qualifier": "live", "provisionedConcurrentExecutions": 1}
    assert done.one(PROVISIONED).inputs.items() >= inputs.items()
    assert "function-live" in done.one(PROVISIONED).depends_on


@pytest.mark.parametrize(("share", "weights"), [(0.25, {"6": 0.25}), (0, None)])
def test_the_version_of_the_previous_image_keeps_its_share(
    deploy: Deploy, recorder: Recorder, share: float, weights: dict[str, float] | None
) -> None:
    recorder.stacks[OWN_STACK] = {"functionVersion": "6", "imageDigest": f"sha256:{'cd' * 32}"}
    done = deploy("consumer", image=EXISTING, function={"release": {"previousShare": share}})
    routing = done.one(ALIAS).inputs.get("routingConfig")
    assert routing == (weights and {"additionalVersionWeights": weights})
    assert done.outputs["previousVersion"] == "6"
    assert done.outputs["previousImageDigest"] == f"sha256:{'cd' * 32}"


def test_an_unpublished_version_keeps_no_share(deploy: Deploy, recorder: Recorder) -> None:
    recorder.stacks[OWN_STACK] = {"functionVersion": "$LATEST", "imageDigest": f"sha256:{'cd' * 32}"}
    done = deploy("consumer", image=EXISTING, function={"release": {"previousShare": 0.5}})
    assert "routingConfig" not in done.one(ALIAS).inputs


def test_the_previous_version_stays_while_the_image_does(deploy: Deploy, recorder: Recorder) -> None:
    before = {"functionVersion": "7", "imageDigest": DIGEST, "previousVersion": "6", "previousImageDigest": "sha256:x"}
    recorder.stacks[OWN_STACK] = before
    outputs = deploy("consumer", image=EXISTING).outputs
    assert (outputs["previousVersion"], outputs["previousImageDigest"]) == ("6", "sha256:x")


# ---- alarms


def test_alarms_watch_errors_throttles_and_duration(deploy: Deploy) -> None:
    alarms = {"errors": 5, "throttles": 2, "duration": 0.5}
    done = deploy("consumer", image=EXISTING, function={"timeout": 10, "alarms": alarms})
    common = {
        "namespace": "AWS/Lambda",
        "dimensions": {"FunctionName": NAME},
        "period": 60,
        "evaluationPeriods": 1,
        "comparisonOperator": "GreaterThanOrEqualToThreshold",
        # A function that nobody calls is fine.
        "treatMissingData": "notBreaching",
        "alarmActions": ["arn:topic"],
    }
    watched = {"Errors": ("Sum", 5), "Throttles": ("Sum", 2), "Duration": ("Maximum", 5000)}
    assert len(done.of(ALARM)) == len(watched)
    for metric, (statistic, threshold) in watched.items():
        alarm = done.one(ALARM, metricName=metric).inputs
        assert alarm.items() >= {**common, "statistic": statistic, "threshold": threshold}.items()
        assert metric in alarm["alarmDescription"]
    assert done.outputs["alarmTopicArn"] == "arn:topic"


def test_by_default_one_failed_or_refused_call_raises_an_alarm_and_nine_tenths_of_the_timeout(deploy: Deploy) -> None:
    done = deploy("consumer", image=EXISTING, function={"timeout": 10, "alarms": {}})
    thresholds = {one.inputs["metricName"]: one.inputs["threshold"] for one in done.of(ALARM)}
    assert thresholds == {"Errors": 1, "Throttles": 1, "Duration": 9000}


def test_alarms_tell_the_topic_that_is_named(deploy: Deploy) -> None:
    topic = "arn:aws:sns:us-east-1:222222222222:mine"
    done = deploy("consumer", image=EXISTING, function={"alarms": {"topic": topic}})
    assert not done.of("aws:sns/topic:Topic")
    assert [one.inputs["alarmActions"] for one in done.of(ALARM)] == [[topic]] * 3
    assert done.outputs["alarmTopicArn"] == topic


# ---- outputs


def test_each_output_has_its_value(deploy: Deploy) -> None:
    done = deploy("consumer", image=EXISTING, function={"release": {"previousShare": 0}, "alarms": {}})
    assert done.outputs == {
        "imageUri": URI,
        "imageDigest": DIGEST,
        "imageSource": "existing",
        "previousVersion": "",
        "previousImageDigest": "",
        "functionName": NAME,
        "functionArn": ARN,
        "functionVersion": "7",
        "aliasArn": "arn:live",
        "endpointUrl": "https://api.execute-api.us-east-1.amazonaws.com/Prod/hello",
        "apiKey": None,
        "domainTarget": None,
        "logGroupName": f"/aws/lambda/{NAME}",
        "alarmTopicArn": "arn:topic",
        "triggerPolicies": None,
    }
    assert not done.secret


def test_outputs_of_unused_features_are_empty(deploy: Deploy) -> None:
    done = deploy("consumer", image=EXISTING, api={"type": "none"})
    empty = {name for name, value in done.outputs.items() if value is None}
    assert empty == {"endpointUrl", "apiKey", "domainTarget", "aliasArn", "alarmTopicArn", "triggerPolicies"}
    assert done.outputs["functionVersion"] == "$LATEST"
    assert not [one for one in done.resources if "apigateway" in one.type or "permission" in one.type]


def test_a_program_may_use_the_attributes_of_unused_features(run: Run) -> None:
    async def program() -> pulumi.Inputs:
        function = ImageFunction("function", ImageFunctionArgs(image=ExistingImage(uri=URI)))
        given = (function.alias_arn, function.endpoint_url, function.api_key, function.alarm_topic_arn)
        return {"names": pulumi.Output.concat(*(each.apply(str) for each in given))}

    assert run(program) == {"names": "None" * 4}


def test_a_component_has_the_outputs_of_its_attributes(deploy: Deploy) -> None:
    done = deploy("consumer", image=EXISTING, function={"release": {"previousShare": 0}, "alarms": {}})
    assert done.component_outputs["function"] == {
        "image_uri": URI,
        "image_digest": DIGEST,
        "function_name": NAME,
        "function_arn": ARN,
        "version": "7",
        "alias_arn": "arn:live",
        "endpoint_url": "https://api.execute-api.us-east-1.amazonaws.com/Prod/hello",
        "alarm_topic_arn": "arn:topic",
        "log_group_name": f"/aws/lambda/{NAME}",
    }
