"""The rules of the policy pack, each with what passes it and what does not, as the engine hands it over."""

import contextlib
import json
import re
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import pulumi_policy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime.proto import analyzer_pb2
from pulumi_aws import apigateway, cloudwatch, ecr, iam, lambda_, scheduler, sns
from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyCustomTimeouts,
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
)
from pulumi_policy.policy import _NotApplicableError
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from components.iam import compact
from components.repository import Consumer, repository_policy
from policy_pack.rules import (
    DOMAINS,
    FUNCTION,
    FUNCTION_URL,
    HTTP_STAGE,
    INVOKE_CONFIG,
    LIFECYCLE,
    LOG_GROUP,
    METHOD,
    METHOD_SETTINGS,
    PERMISSION,
    PULL_ACTIONS,
    REPOSITORY,
    REPOSITORY_POLICY,
    ROLE_TYPES,
    ROUTE,
    RULES,
    SCHEDULE,
    STAGE,
    SUBSCRIPTION,
    TARGET,
    unread,
)
from tests.unit.conftest import Deploy
from tests.unit.reach import reached, reaches

Resource = tuple[str, dict[str, Any]]

PAGE = Path("docs/policy-pack.md").read_text()
POLICY, ROLE, ATTACHMENTS, ROLE_POLICY, ATTACHMENT = ROLE_TYPES
BY_NAME = {rule.name: rule for rule in RULES}
DIGEST = f"registry/name@sha256:{'0' * 64}"
UNKNOWN = UNKNOWN_STRING_VALUE
FUNCTION_ARN, FAILED = "arn:aws:lambda:us-east-1:222222222222:function:app", "arn:aws:sqs:us-east-1:222222222222:failed"
NEWS, NIGHTLY = "arn:aws:sns:us-east-1:222222222222:news", "arn:aws:events:us-east-1:222222222222:rule/nightly"
CERTIFICATE = "arn:aws:acm:us-east-1:222222222222:certificate/1234abcd-12ab-34cd-56ef-1234567890ab"
CALLED_LATER: Resource = (
    "aws:scheduler/schedule:Schedule",
    {"target": {"arn": "arn:aws:lambda:us-east-1:2:function:app"}},
)


class Aborted(Exception):
    """What a call of the engine ends with."""


class Context:
    """A call of the engine."""

    def abort(self, code: grpc.StatusCode, text: str) -> None:
        raise Aborted(text)


def options(*, protect: bool = False) -> PolicyResourceOptions:
    return PolicyResourceOptions(protect, [], None, [], PolicyCustomTimeouts(0, 0, 0), [])


def defaults(rule: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A rule's parameters as the engine fills them in."""
    schema = BY_NAME[rule].config_schema
    return {**{name: each["default"] for name, each in (schema.properties if schema else {}).items()}, **given}


def found(
    rule: str, resource: Resource, *beside: Resource, protect: bool = False, parameters: Mapping[str, Any] | None = None
) -> list[str]:
    """What a rule says of a resource; of one for the whole stack, with what is beside it."""
    policy, said = BY_NAME[rule], []

    def report(message: str, urn: str | None = None) -> None:
        said.append(message)

    config = defaults(rule, parameters or {})
    if isinstance(policy, ResourceValidationPolicy):
        kind, props = resource
        args = ResourceValidationArgs(
            kind, unknown_checking_proxy(props), "urn", "name", options(protect=protect), None, config
        )
        with contextlib.suppress(_NotApplicableError):
            policy.validate(args, report)
    else:
        stack = [
            PolicyResource(kind, unknown_checking_proxy(props), f"urn-{number}", "name", options(), None, None, [], {})
            for number, (kind, props) in enumerate((resource, *beside))
        ]
        policy.validate(StackValidationArgs(stack, config), report)
    return said


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def account(*accounts: str, **more: Any) -> dict[str, Any]:
    principal = {"AWS": [f"arn:aws:iam::{each}:root" for each in accounts]}
    return {"Sid": "Accounts", "Effect": "Allow", "Action": list(PULL_ACTIONS), "Principal": principal, **more}


def by_lambda(*arns: str, key: str = "aws:sourceArn", operator: str = "StringLike") -> dict[str, Any]:
    condition = {"Condition": {operator: {key: list(arns)}}} if arns else {}
    principal = {"Service": "lambda.amazonaws.com"}
    return {"Sid": "Lambda", "Effect": "Allow", "Action": list(PULL_ACTIONS), "Principal": principal, **condition}


def functions_of(number: str) -> str:
    return f"arn:aws:lambda:us-east-1:{number}:function:*"


def may(actions: Any, resources: Any, **more: Any) -> dict[str, Any]:
    return {"Sid": "May", "Effect": "Allow", "Action": actions, "Resource": resources, **more}


def variables(**given: str) -> Resource:
    return FUNCTION, {"environment": {"variables": given}}


def permission(**props: Any) -> Resource:
    return PERMISSION, {"action": "lambda:InvokeFunction", **props}


def expiring(**selection: Any) -> Resource:
    rule = {"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}
    return LIFECYCLE, {"policy": json.dumps({"rules": [rule]})}


def throttled(**settings: float) -> Resource:
    return METHOD_SETTINGS, {"stageName": "Prod", "methodPath": "*/*", "settings": settings}


ORGANIZATION = {"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-abcdef1234"}}}
TRUST = {"Effect": "Allow", "Action": "sts:AssumeRole"}
TRUSTED = {"assumeRolePolicy": document({**TRUST, "Principal": {"Service": "lambda.amazonaws.com"}})}
IMAGE = {"packageType": "Image"}

SIGNED = ("AWS_IAM", "JWT", "CUSTOM")

PASSING: list[tuple[str, Sequence[Resource], dict[str, Any]]] = [
    ("repository-immutable-tags", [(REPOSITORY, {"imageTagMutability": "IMMUTABLE"})], {}),
    (
        "repository-immutable-tags",
        [(REPOSITORY, {"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"})],
        {"allowExclusions": True},
    ),
    ("repository-scan-on-push", [(REPOSITORY, {"imageScanningConfiguration": {"scanOnPush": True}})], {}),
    (
        "repository-kms-key",
        [(REPOSITORY, {"encryptionConfigurations": [{"encryptionType": "KMS", "kmsKey": "arn"}]})],
        {},
    ),
    ("repository-named-principals", [(REPOSITORY_POLICY, {"policy": document(account("222222222222"))})], {}),
    (
        "repository-named-principals",
        [(REPOSITORY_POLICY, {"policy": document({**account(), "Principal": "*", **ORGANIZATION})})],
        {"organizations": ["o-abcdef1234"]},
    ),
    (
        "repository-service-source",
        [(REPOSITORY_POLICY, {"policy": document(by_lambda(functions_of("222222222222")), account("222222222222"))})],
        {},
    ),
    (
        "repository-service-source",
        [(REPOSITORY_POLICY, {"policy": document(by_lambda("222222222222", key="AWS:SourceAccount"))})],
        {},
    ),
    *(
        (
            "repository-service-source",
            [(REPOSITORY_POLICY, {"policy": document(by_lambda(functions_of("222222222222"), operator=operator))})],
            {},
        )
        for operator in ("ArnEquals", "ArnLike", "StringEquals", "StringEqualsIgnoreCase", "StringLike")
    ),
    (
        "repository-service-source",
        [(REPOSITORY_POLICY, {"policy": document(by_lambda("o-abcdef1234", key="aws:SourceOrgID"))})],
        {},
    ),
    (
        "repository-both-statements",
        [
            (
                REPOSITORY_POLICY,
                {"policy": compact(repository_policy([Consumer(account="1" * 12)], "us-east-1", owner="1" * 12))},
            )
        ],
        {},
    ),
    # Everyone may create functions; that alone is for another rule.
    (
        "repository-both-statements",
        [
            (
                REPOSITORY_POLICY,
                {"policy": document({**account(), "Principal": "*"}, by_lambda(functions_of("333333333333"), "*"))},
            )
        ],
        {},
    ),
    (
        "repository-both-statements",
        [
            (
                REPOSITORY_POLICY,
                {
                    "policy": document(
                        account("222222222222", "333333333333"),
                        by_lambda(functions_of("333333333333"), functions_of("222222222222")),
                        account("444444444444", Action=["ecr:PutImage"]),
                    )
                },
            )
        ],
        {},
    ),
    ("repository-lifecycle", [expiring(tagStatus="tagged", tagPrefixList=["pr-", "content-x", "contents"])], {}),
    ("repository-lifecycle", [expiring(tagStatus="tagged", tagPatternList=["pr-*", "*-content-*", "content-"])], {}),
    ("repository-lifecycle", [(LIFECYCLE, {"policy": '{"rules": []}'})], {}),
    ("function-image-by-digest", [(FUNCTION, {**IMAGE, "imageUri": DIGEST})], {}),
    ("function-image-by-digest", [(FUNCTION, {"packageType": "Zip"})], {}),
    ("function-timeout", [(FUNCTION, {"timeout": 29.0})], {}),
    ("function-timeout", [(FUNCTION, {"timeout": 60.0})], {"maximum": 60}),
    ("function-memory", [(FUNCTION, {})], {}),
    ("function-reserved-concurrency", [(FUNCTION, {"reservedConcurrentExecutions": 0.0})], {}),
    (
        "function-environment-secrets",
        [
            variables(
                STAGE="test",
                DB_PASSWORD="arn:aws:secretsmanager:…",
                GH_TOKEN="/github/token",
                TOKEN_URL="https://example.com/",
                MAX_TOKENS="100",
                KEYS="x",
                DSN="postgres://me@host/db",
                API_KEY="",
            )
        ],
        {},
    ),
    ("function-environment-secrets", [variables(CSRF_TOKEN="name of a cookie")], {"ignored": ["CSRF_TOKEN"]}),
    ("function-log-group", [(FUNCTION, {"name": "app"}), (LOG_GROUP, {"name": "/aws/lambda/app"})], {}),
    (
        "function-log-group",
        [(FUNCTION, {"name": "app", "loggingConfig": {"logGroup": "own"}}), (LOG_GROUP, {"name": "own"})],
        {},
    ),
    ("log-retention", [(LOG_GROUP, {"retentionInDays": 30.0})], {}),
    ("trigger-source", [permission(principal="sns.amazonaws.com", sourceArn=NEWS)], {}),
    ("trigger-source", [permission(principal="events.amazonaws.com", sourceArn=NIGHTLY)], {}),
    ("trigger-source", [permission(principal="apigateway.amazonaws.com", sourceArn="arn:aws:execute-api:::api/*")], {}),
    ("trigger-dead-letter", [(SUBSCRIPTION, {"endpoint": FUNCTION_ARN, "redrivePolicy": "{}"})], {}),
    ("trigger-dead-letter", [(SUBSCRIPTION, {"endpoint": "arn:aws:sqs:us-east-1:222222222222:other"})], {}),
    ("trigger-dead-letter", [(TARGET, {"arn": FUNCTION_ARN, "deadLetterConfig": {"arn": FAILED}})], {}),
    (
        "trigger-dead-letter",
        [(SCHEDULE, {"target": {"arn": FUNCTION_ARN, "deadLetterConfig": {"arn": FAILED}}})],
        {},
    ),
    ("function-failure-path", [(FUNCTION, {"name": "app"})], {}),
    (
        "function-failure-path",
        [(FUNCTION, {"name": "app", "deadLetterConfig": {"targetArn": FAILED}}), CALLED_LATER],
        {},
    ),
    (
        "function-failure-path",
        [
            (FUNCTION, {"name": "app"}),
            CALLED_LATER,
            (INVOKE_CONFIG, {"functionName": "app", "destinationConfig": {"onFailure": {"destination": FAILED}}}),
        ],
        {},
    ),
    *(
        ("function-permission-source", [permission(**props)], {})
        for props in (
            {
                "principal": "apigateway.amazonaws.com",
                "sourceArn": "arn:aws:execute-api:us-east-1:222222222222:api/*/GET/x",
            },
            {"principal": "s3.amazonaws.com", "sourceArn": "arn:aws:s3:::bucket"},
            {"principal": "apigateway.amazonaws.com", "sourceAccount": "222222222222"},
            {"principal": "*", "action": "lambda:InvokeFunctionUrl", "functionUrlAuthType": "NONE"},
            {"principal": "*", "invokedViaFunctionUrl": True},
            {"principal": "*", "principalOrgId": "o-abcdef1234"},
            {"principal": "333333333333"},
            {"principal": "arn:aws:iam::333333333333:role/caller"},
        )
    ),
    (
        "role-least-privilege",
        [
            (
                ROLE_POLICY,
                {
                    "policy": document(
                        may(["logs:PutLogEvents"], "arn:aws:logs:us-east-1:222222222222:log-group:/aws/lambda/app:*"),
                        may(["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*"),
                        may("ec2:Describe*", "arn:aws:ec2:us-east-1:222222222222:subnet/*"),
                        may("s3:GetObject", "arn:aws:s3:::bucket/*"),
                        may("EC2:createnetworkinterface", "*"),
                        may("*", "*", Effect="Deny"),
                    )
                },
            )
        ],
        {},
    ),
    (
        "role-least-privilege",
        [(ROLE, {"assumeRolePolicy": document({**TRUST, "Principal": {"Service": "lambda.amazonaws.com"}})})],
        {},
    ),
    (
        "role-least-privilege",
        [(ATTACHMENT, {"policyArn": "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"})],
        {},
    ),
    ("api-access-log", [(STAGE, {"accessLogSettings": {"destinationArn": "arn", "format": "$context.requestId"}})], {}),
    (
        "api-throttling",
        [(STAGE, {"stageName": "Prod"}), throttled(throttlingRateLimit=100.0, throttlingBurstLimit=50.0)],
        {},
    ),
    ("endpoint-authorization", [(METHOD, {"httpMethod": "GET", "authorization": "AWS_IAM"})], {}),
    ("endpoint-authorization", [(METHOD, {"httpMethod": "OPTIONS", "authorization": "NONE"})], {}),
    (
        "endpoint-authorization",
        [(METHOD, {"httpMethod": "GET", "authorization": "NONE", "apiKeyRequired": True})],
        {},
    ),
    ("endpoint-authorization", [(METHOD, {"httpMethod": "GET", "authorization": "NONE"})], {"publicMethods": ["GET"]}),
    ("endpoint-authorization", [(FUNCTION_URL, {"authorizationType": "AWS_IAM"})], {}),
    *(("endpoint-authorization", [(ROUTE, {"routeKey": "GET /a", "authorizationType": kind})], {}) for kind in SIGNED),
    ("api-access-log", [(HTTP_STAGE, {"accessLogSettings": {"destinationArn": "arn", "format": "$context.path"}})], {}),
    (
        "api-throttling",
        [(HTTP_STAGE, {"defaultRouteSettings": {"throttlingRateLimit": 100.0, "throttlingBurstLimit": 50.0}})],
        {},
    ),
    ("api-domain-tls", [(DOMAINS[0], {"securityPolicy": "TLS_1_2"})], {}),
    ("api-domain-tls", [(DOMAINS[1], {"domainNameConfiguration": {"securityPolicy": "TLS_1_2"}})], {}),
]

FAILING: list[tuple[str, Sequence[Resource], dict[str, Any], str]] = [
    ("repository-immutable-tags", [(REPOSITORY, {})], {}, "imageTagMutability is MUTABLE."),
    (
        "repository-immutable-tags",
        [(REPOSITORY, {"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"})],
        {},
        "is IMMUTABLE_WITH_EXCLUSION.",
    ),
    ("repository-scan-on-push", [(REPOSITORY, {})], {}, "scanOnPush is off."),
    (
        "repository-kms-key",
        [(REPOSITORY, {"encryptionConfigurations": [{"encryptionType": "AES256"}]})],
        {},
        "names no KMS key.",
    ),
    ("repository-deletion-protection", [(REPOSITORY, {})], {}, "protect is off."),
    (
        "repository-named-principals",
        [(REPOSITORY_POLICY, {"policy": document({**account(), "Principal": "*"})})],
        {},
        "Statement Accounts: the principal is a wildcard.",
    ),
    (
        "repository-named-principals",
        [(REPOSITORY_POLICY, {"policy": document({**account(), "Principal": {"AWS": ["*"]}, **ORGANIZATION})})],
        {"organizations": ["o-another000"]},
        "the principal is a wildcard.",
    ),
    *(
        (
            "repository-named-principals",
            [(REPOSITORY_POLICY, {"policy": document({**account(), "Principal": {kind: "*"}})})],
            {},
            "Statement Accounts: the principal is a wildcard.",
        )
        for kind in ("Service", "Federated", "CanonicalUser")
    ),
    *(
        (
            "repository-named-principals",
            [(REPOSITORY_POLICY, {"policy": document({**account(), "Principal": "*", "Condition": condition})})],
            {"organizations": ["o-abcdef1234"]},
            "Statement Accounts: the principal is a wildcard.",
        )
        for condition in (
            {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-abcdef1234"}},
            {"StringNotEquals": {"aws:PrincipalOrgID": "o-abcdef1234"}},
            {"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-abcdef1234"}},
            {"StringEquals": {"aws:SourceOrgID": "o-abcdef1234"}},
            {"StringLike": {"aws:PrincipalOrgID": ["o-abcdef1234", "o-*"]}},
        )
    ),
    (
        "repository-named-principals",
        [(REPOSITORY_POLICY, {"policy": {"Statement": {"Effect": "Allow", "NotPrincipal": {"AWS": "1"}}}})],
        {},
        "Statement without a Sid: NotPrincipal grants everyone else.",
    ),
    (
        "repository-service-source",
        [(REPOSITORY_POLICY, {"policy": document(by_lambda())})],
        {},
        "Statement Lambda: no condition",
    ),
    (
        "repository-service-source",
        [(REPOSITORY_POLICY, {"policy": document(by_lambda(functions_of("*")))})],
        {},
        "Statement Lambda: no condition",
    ),
    *(
        (
            "repository-service-source",
            [(REPOSITORY_POLICY, {"policy": document(by_lambda(value, key=key, operator=operator))})],
            {},
            "Statement Lambda: no condition",
        )
        for value, key, operator in (
            (functions_of("222222222222"), "aws:SourceArn", "StringLikeIfExists"),
            (functions_of("222222222222"), "aws:SourceArn", "ArnNotLike"),
            (functions_of("222222222222"), "aws:PrincipalArn", "ArnLike"),
            ("*", "aws:SourceArn", "ArnLike"),
            ("22222222222?", "aws:SourceAccount", "StringLike"),
            ("222222222222", "aws:SourceAccount", "StringNotEquals"),
            ("o-*", "aws:SourceOrgID", "StringLike"),
        )
    ),
    (
        "repository-both-statements",
        [(REPOSITORY_POLICY, {"policy": document(account("222222222222"))})],
        {},
        "Account 222222222222 may create functions, but Lambda may not pull their images again.",
    ),
    (
        "repository-both-statements",
        [(REPOSITORY_POLICY, {"policy": document(by_lambda(functions_of("333333333333")))})],
        {},
        "Lambda may pull for functions of account 333333333333, which may not create any.",
    ),
    *(
        ("repository-lifecycle", [expiring(**selection)], {}, expected)
        for selection, expected in (
            ({"tagStatus": "any"}, "Rule 1 selects images whatever their tags are."),
            ({"tagStatus": "untagged"}, "Rule 1 selects images whatever their tags are."),
            ({"tagStatus": "tagged"}, "Rule 1 selects images whatever their tags are."),
            ({"tagStatus": "tagged", "tagPrefixList": ["pr-", "content-"]}, "Rule 1 selects images by content-*."),
            ({"tagStatus": "tagged", "tagPrefixList": ["con"]}, "Rule 1 selects images by con*."),
            ({"tagStatus": "tagged", "tagPrefixList": ["content-0a"]}, "Rule 1 selects images by content-0a*."),
            ({"tagStatus": "tagged", "tagPatternList": ["*"]}, "Rule 1 selects images by *."),
            ({"tagStatus": "tagged", "tagPatternList": ["*-*0*f", "pr-*"]}, "Rule 1 selects images by *-*0*f."),
            (
                {"tagStatus": "tagged", "tagPatternList": [f"content-{'0' * 32}"]},
                "Rule 1 selects images by content-000",
            ),
        )
    ),
    (
        "function-image-by-digest",
        [(FUNCTION, {**IMAGE, "imageUri": "registry/name:latest"})],
        {},
        "imageUri is registry/name:latest.",
    ),
    ("function-timeout", [(FUNCTION, {"timeout": 30.0})], {}, "timeout is 30; allowed are 1 to 29 seconds."),
    ("function-memory", [(FUNCTION, {"memorySize": 10240.0})], {}, "memorySize is 10240; allowed are 128 to 3008 MB."),
    ("function-memory", [(FUNCTION, {})], {"minimum": 256}, "memorySize is 128; allowed are 256 to 3008 MB."),
    ("function-reserved-concurrency", [(FUNCTION, {})], {}, "reservedConcurrentExecutions is not set."),
    ("function-environment-secrets", [variables(DB_PASSWORD="hunter2")], {}, "The variable DB_PASSWORD looks like"),
    *(
        (
            "function-environment-secrets",
            [variables(**{name: "hunter2"})],
            {},
            f"The variable {name} looks like a secret.",
        )
        for name in (
            "PASSWORD",
            "dbPassword",
            "PGPASSWD",
            "GPG_PASSPHRASE",
            "MYSQL_PWD",
            "CLIENT_SECRET",
            "token",
            "GH_TOKEN",
            "CREDENTIAL",
            "GOOGLE_CREDENTIALS",
            "API_KEY",
            "APIKEY",
            "AWS_ACCESS_KEY",
            "PRIVATE_KEY",
            "SECRET_KEY",
            "SIGNING_KEY",
            "ENCRYPTION_KEY",
        )
    ),
    *(
        ("function-environment-secrets", [variables(X=value)], {}, "The variable X looks like a secret.")
        for value in (
            "AKIA" + "0" * 16,
            "ASIA" + "A" * 16,
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----",
            "ghp_" + "a" * 36,
            "gho_" + "a" * 36,
            "github_pat_" + "a" * 22,
            "glpat-" + "a" * 20,
            "xoxb-" + "1" * 10,
            "https://hooks.slack.com/services/T/B/X",
            "sk_live_" + "a" * 16,
            "rk_live_" + "a" * 16,
            f"eyJ{'a' * 10}.eyJ{'b' * 10}.c",
            "postgres://me:hunter2@host/db",
            "redis://:hunter2@host",
        )
    ),
    ("function-environment-secrets", [variables(TOKEN="/+base64+==")], {}, "The variable TOKEN looks like a secret."),
    (
        "function-log-group",
        [(FUNCTION, {"name": "app"}), (LOG_GROUP, {"name": "/aws/lambda/other"})],
        {},
        "The log group /aws/lambda/app is not in the stack.",
    ),
    ("log-retention", [(LOG_GROUP, {})], {}, "retentionInDays is not set"),
    (
        "trigger-source",
        [permission(principal="sns.amazonaws.com", sourceArn=f"{NEWS}*")],
        {},
        f"sns.amazonaws.com may invoke it for {NEWS}*.",
    ),
    (
        "trigger-source",
        [permission(principal="events.amazonaws.com", sourceAccount="222222222222")],
        {},
        "events.amazonaws.com may invoke it for every source of the account.",
    ),
    ("trigger-dead-letter", [(SUBSCRIPTION, {"endpoint": FUNCTION_ARN})], {}, "redrivePolicy is not set."),
    ("trigger-dead-letter", [(TARGET, {"arn": FUNCTION_ARN})], {}, "deadLetterConfig is not set."),
    ("trigger-dead-letter", [(SCHEDULE, {"target": {"arn": FUNCTION_ARN}})], {}, "deadLetterConfig is not set."),
    ("function-failure-path", [(FUNCTION, {"name": "app"}), CALLED_LATER], {}, "Events on which app fails are lost"),
    (
        "function-failure-path",
        [
            (FUNCTION, {"name": "app"}),
            CALLED_LATER,
            (INVOKE_CONFIG, {"functionName": "app", "destinationConfig": {"onSuccess": {"destination": FAILED}}}),
        ],
        {},
        "Events on which app fails are lost",
    ),
    ("log-retention", [(LOG_GROUP, {"retentionInDays": 7.0})], {}, "retentionInDays is 7; allowed are 30 and more."),
    *(
        ("function-permission-source", [permission(**props)], {}, expected)
        for props, expected in (
            ({"principal": "*"}, "The principal is a wildcard for lambda:InvokeFunction."),
            ({"principal": "arn:aws:iam::*:root"}, "The principal is a wildcard for lambda:InvokeFunction."),
            (
                {"principal": "*", "action": "lambda:InvokeFunctionUrl"},
                "The principal is a wildcard for lambda:InvokeFunctionUrl.",
            ),
            (
                {"principal": "*", "action": "lambda:InvokeFunctionUrl", "functionUrlAuthType": "AWS_IAM"},
                "The principal is a wildcard for lambda:InvokeFunctionUrl.",
            ),
            (
                {"principal": "*", "functionUrlAuthType": "NONE"},
                "The principal is a wildcard for lambda:InvokeFunction.",
            ),
            (
                {"principal": "*", "action": "lambda:*", "invokedViaFunctionUrl": True},
                "The principal is a wildcard for lambda:*.",
            ),
            (
                {"principal": "*", "invokedViaFunctionUrl": False},
                "The principal is a wildcard for lambda:InvokeFunction.",
            ),
            *(
                (
                    {"principal": "apigateway.amazonaws.com", **source},
                    "apigateway.amazonaws.com may invoke it for any account",
                )
                for source in (
                    {},
                    {"sourceArn": "arn:aws:execute-api:us-east-1:*:api/*/GET/x"},
                    {"sourceArn": "*"},
                    {"sourceArn": "arn:aws:s3:::*"},
                    {"sourceArn": "arn:aws:s3:::bucket-?"},
                    {"sourceAccount": "*"},
                )
            ),
        )
    ),
    ("role-least-privilege", [(POLICY, {"policy": document(may("s3:*", "arn:x"))})], {}, "May: Action is s3:*."),
    (
        "role-least-privilege",
        [(ROLE_POLICY, {"policy": document(may(["s3:GetObject", "xray:PutTraceSegments"], "*"))})],
        {},
        "Statement May: Resource is * for s3:GetObject.",
    ),
    (
        "role-least-privilege",
        [(ROLE, {**TRUSTED, "inlinePolicies": [{"policy": document(may(["x:Y"], "arn:x", NotAction="s3:*"))}]})],
        {},
        "Statement May: NotAction allows everything else.",
    ),
    *(
        ("role-least-privilege", [(ROLE, {"assumeRolePolicy": document({**TRUST, **principal})})], {}, expected)
        for principal, expected in (
            ({"Principal": "*"}, "anyone may assume the role: the principal is a wildcard."),
            ({"Principal": {"AWS": ["222222222222", "*"]}}, "anyone may assume the role: the principal is a wildcard."),
            ({"Principal": {"Service": "*"}}, "anyone may assume the role: the principal is a wildcard."),
            ({"Principal": {"Federated": "*"}}, "anyone may assume the role: the principal is a wildcard."),
            ({"NotPrincipal": {"AWS": "1"}}, "anyone may assume the role: NotPrincipal grants everyone else."),
            ({"Principal": {}}, "assumeRolePolicy names no principal."),
            ({}, "assumeRolePolicy names no principal."),
            ({"Effect": "Deny", "Principal": {"AWS": "1"}}, "assumeRolePolicy names no principal."),
        )
    ),
    ("role-least-privilege", [(ROLE, {"assumeRolePolicy": ""})], {}, "assumeRolePolicy names no principal."),
    *(
        (
            "role-least-privilege",
            [(ROLE_POLICY, {"policy": document(may(action, "arn:x"))})],
            {},
            f"Action is {action}.",
        )
        for action in ("*", "*:*", "s3*", "*:GetObject", "s3:**", "s3:?*")
    ),
    *(
        (
            "role-least-privilege",
            [(ROLE_POLICY, {"policy": document(may("s3:GetObject", arn))})],
            {},
            "Resource is * for s3:G",
        )
        for arn in ("**", "arn:*", "arn:aws:*", "arn:aws:*:*:*:*", ["arn:aws:s3:::bucket", "*"])
    ),
    (
        "role-least-privilege",
        [(ROLE_POLICY, {"policy": document(may("s3:GetObject", "arn:x", NotResource="arn:y"))})],
        {},
        "Statement May: NotResource allows everything else.",
    ),
    *(
        ("role-least-privilege", [(kind, {**TRUSTED, key: value})], {}, f"The managed policy {name} is attached.")
        for name in (
            "AdministratorAccess",
            "PowerUserAccess",
            "AmazonS3FullAccess",
            "AWSLambda_FullAccess",
            "AdministratorAccess-Amplify",
            "AmazonEMRFullAccessPolicy_v2",
            "job-function/IAMFullAccess",
        )
        for kind, key, value in (
            (ATTACHMENT, "policyArn", f"arn:aws:iam::aws:policy/{name}"),
            (ATTACHMENTS, "policyArn", f"arn:aws-cn:iam::aws:policy/{name}"),
            (ROLE, "managedPolicyArns", [f"arn:aws:iam::aws:policy/{name}"]),
        )
        for name in [name.rpartition("/")[2]]
    ),
    ("api-access-log", [(STAGE, {})], {}, "accessLogSettings is not set."),
    (
        "api-throttling",
        [(STAGE, {"stageName": "Prod"}), throttled(throttlingBurstLimit=50.0)],
        {},
        "No method settings for */* limit burst and rate",
    ),
    (
        "api-throttling",
        [(STAGE, {"stageName": "Prod"}), throttled(throttlingRateLimit=500.0, throttlingBurstLimit=50.0)],
        {"maximumRate": 100},
        "the rate to 100 calls a second at most.",
    ),
    ("api-access-log", [(HTTP_STAGE, {})], {}, "accessLogSettings is not set."),
    (
        "api-throttling",
        [(HTTP_STAGE, {"defaultRouteSettings": {"throttlingBurstLimit": 50.0}})],
        {},
        "defaultRouteSettings do not limit burst and rate, the rate to 10000 calls a second at most.",
    ),
    ("api-domain-tls", [(DOMAINS[0], {"securityPolicy": "TLS_1_0"})], {}, "securityPolicy is TLS_1_0."),
    ("api-domain-tls", [(DOMAINS[1], {"domainNameConfiguration": {}})], {}, "securityPolicy is not set."),
    *(
        (
            "endpoint-authorization",
            [(ROUTE, {"routeKey": key, "authorizationType": "NONE"})],
            {},
            f"Authorization is NONE: anyone may call {method}.",
        )
        for key, method in (("POST /a", "POST"), ("ANY /{proxy+}", "ANY"), ("$default", "ANY"))
    ),
    (
        "endpoint-authorization",
        [(METHOD, {"httpMethod": "POST", "authorization": "NONE"})],
        {},
        "Authorization is NONE: anyone may call POST.",
    ),
    (
        "endpoint-authorization",
        [(FUNCTION_URL, {"authorizationType": "NONE"})],
        {"publicMethods": ["GET"]},
        "Authorization is NONE: anyone may call ANY. The provider adds statements that outlast the URL.",
    ),
]


@pytest.mark.parametrize(("rule", "resources", "parameters"), PASSING)
def test_what_is_right_passes(rule: str, resources: Sequence[Resource], parameters: dict[str, Any]) -> None:
    assert found(rule, *resources, parameters=parameters) == []


@pytest.mark.parametrize(("rule", "resources", "parameters", "expected"), FAILING)
def test_what_is_wrong_is_said_with_its_fix(
    rule: str, resources: Sequence[Resource], parameters: dict[str, Any], expected: str
) -> None:
    said = found(rule, *resources, parameters=parameters)
    assert len(said) == 1
    assert expected in said[0]
    assert BY_NAME[rule].remediation_steps in said[0]
    assert BY_NAME[rule].url in said[0]


@pytest.mark.parametrize(
    "api",
    [
        {
            "type": "rest", "path": "users/{id}", "accessLogRetention": 30, "executionLogs": True, "loggingRole": True,
            "corsOrigin": "https://example.com", "authorizer": {"function": f"{FUNCTION_ARN}-authorizer"},
            "throttle": {"rate": 100, "burst": 50}, "domain": {"name": "api.example.com", "certificate": CERTIFICATE},
        },
        {
            "type": "http", "path": "$default", "accessLogRetention": 30, "corsOrigin": "https://example.com",
            "authorizer": {"issuer": "https://example.com", "audience": ["orders"]},
            "domain": {"name": "api.example.com", "certificate": CERTIFICATE, "hostedZone": "Z0123456789ABCDEFGHIJ"},
        },
    ],
)  # fmt: skip
def test_what_the_options_of_an_api_and_triggers_create_breaks_no_mandatory_rule(
    deploy: Deploy, api: dict[str, Any]
) -> None:
    triggers = [
        {"type": "queue", "name": "orders", "queue": FAILED},
        {"type": "topic", "name": "news", "topic": NEWS},
        {"type": "schedule", "name": "nightly", "expression": "rate(1 day)"},
        {"type": "events", "name": "created", "pattern": {"source": ["orders"]}},
    ]
    function = {"triggers": triggers, "asynchronous": {"onFailure": FAILED}}
    done = deploy("consumer", image={"digest": "sha256:" + "ab" * 32}, api=api, function=function)
    created = [(one.type, one.inputs) for one in done.resources if one.type.startswith("aws:")]
    said = {
        rule.name: found(rule.name, *resources)
        for rule in RULES
        if rule.enforcement_level == EnforcementLevel.MANDATORY
        for resources in ([[one] for one in created] if isinstance(rule, ResourceValidationPolicy) else [created])
        if found(rule.name, *resources)
    }
    assert said == {}


def test_a_protected_repository_passes_unless_it_may_be_deleted_with_its_images() -> None:
    assert found("repository-deletion-protection", (REPOSITORY, {"forceDelete": False}), protect=True) == []
    said = found("repository-deletion-protection", (REPOSITORY, {"forceDelete": True}), protect=True)
    assert [message.partition(" Leave")[0] for message in said] == ["forceDelete is on."]


def test_every_rule_has_what_passes_it_and_what_does_not() -> None:
    protection = {"repository-deletion-protection"}  # tested on its own, for protection is no property
    assert {rule for rule, _, _ in PASSING} | protection == set(BY_NAME)
    assert {rule for rule, _, _, _ in FAILING} == set(BY_NAME)


@pytest.mark.parametrize(
    ("rule", "resources"), [(rule, resources) for rule, resources, _, _ in FAILING if resources[0][1]]
)
def test_what_is_unknown_in_a_preview_accuses_nobody(rule: str, resources: Sequence[Resource]) -> None:
    unknown = [(kind, dict.fromkeys(props, UNKNOWN)) for kind, props in resources]
    assert found(rule, *unknown, protect=True) == []


def test_an_unknown_variable_hides_no_secret_beside_it() -> None:
    said = found("function-environment-secrets", variables(A=UNKNOWN, DB_PASSWORD="hunter2", Z_TOKEN=UNKNOWN))
    assert len(said) == 1
    assert "DB_PASSWORD" in said[0]


def test_a_resource_that_is_unknown_hides_none_beside_it() -> None:
    functions = [(FUNCTION, {"name": UNKNOWN}), (FUNCTION, {"name": "app"})]
    assert len(found("function-log-group", *functions, (LOG_GROUP, {"name": "other"}))) == 1


def test_a_secret_is_never_repeated() -> None:
    assert "hunter2" not in "".join(found("function-environment-secrets", variables(TOKEN="hunter2")))


def test_a_rule_looks_at_its_own_kinds_only() -> None:
    assert [rule for rule in BY_NAME if found(rule, ("aws:s3/bucket:Bucket", {}))] == []


@pytest.mark.parametrize(("rule", "kind"), sorted({(rule, resources[0][0]) for rule, resources, _ in PASSING}))
def test_a_resource_that_the_provider_has_refused_breaks_no_rule(rule: str, kind: str) -> None:
    assert len(found(rule, (kind, {}))) <= 1


KEYS = st.sampled_from(
    ["Statement", "Effect", "Principal", "Service", "AWS", "Action", "Resource", "Condition", "StringLike", "Sid"]
)
VALUES = st.sampled_from(["Allow", "*", "lambda.amazonaws.com", "arn:aws:iam::1:root", "aws:SourceArn", None, 1, True])
DOCUMENTS = st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20)


@reaches("statement", "part", "list", "text", "document")
@given(policy=DOCUMENTS, text=st.booleans())
def test_any_policy_is_judged_alike_as_a_text_and_as_a_value(policy: Any, text: bool) -> None:
    is_statement = isinstance(policy, dict) and bool(policy)
    reached(statement=is_statement, part=not policy or not isinstance(policy, dict | list), text=text)
    reached(list=isinstance(policy, list), document=not text)
    allowing = {"Statement": [{"Effect": "Allow", **(policy if isinstance(policy, dict) else {"Action": policy})}]}
    rules = ["repository-named-principals", "repository-service-source", "repository-both-statements"]
    for kind, rule in [*((REPOSITORY_POLICY, rule) for rule in rules), (ROLE_POLICY, "role-least-privilege")]:
        as_text, as_value = ((kind, {"policy": form}) for form in (json.dumps(allowing), allowing))
        # Not the words: they may show a Sid that is no text.
        assert len(found(rule, as_text)) == len(found(rule, as_value))
        if not is_statement:
            given_policy = json.dumps(policy) if text else policy
            assert found(rule, (kind, {"policy": given_policy})) == found(rule, (kind, {"policy": {}}))
    assert found("repository-named-principals", (REPOSITORY_POLICY, {"policy": "no JSON"})) == []


@pytest.mark.parametrize(
    ("token", "resource"),
    [
        *((FUNCTION, lambda_.Function), (FUNCTION_URL, lambda_.FunctionUrl), (PERMISSION, lambda_.Permission)),
        *((INVOKE_CONFIG, lambda_.FunctionEventInvokeConfig), (LOG_GROUP, cloudwatch.LogGroup)),
        *((METHOD, apigateway.Method), (METHOD_SETTINGS, apigateway.MethodSettings), (STAGE, apigateway.Stage)),
        *((REPOSITORY, ecr.Repository), (REPOSITORY_POLICY, ecr.RepositoryPolicy), (LIFECYCLE, ecr.LifecyclePolicy)),
        *((POLICY, iam.Policy), (ROLE, iam.Role), (ATTACHMENTS, iam.PolicyAttachment)),
        *((ROLE_POLICY, iam.RolePolicy), (ATTACHMENT, iam.RolePolicyAttachment)),
        *((SCHEDULE, scheduler.Schedule), (SUBSCRIPTION, sns.TopicSubscription), (TARGET, cloudwatch.EventTarget)),
    ],
    ids=lambda value: "" if isinstance(value, str) else value.__name__,
)
def test_rules_look_at_the_providers_types(token: str, resource: Any) -> None:
    assert resource.pulumi_type == token


def test_parameters_that_are_lists_are_lists_of_texts() -> None:
    for rule in RULES:
        for parameter in (rule.config_schema.properties if rule.config_schema else {}).values():
            if parameter["type"] == "array":
                assert parameter["items"] == {"type": "string"}
                assert isinstance(parameter["default"], list)


def test_configuration_that_no_rule_reads_is_named() -> None:
    wrong = unread(
        {
            "all": {},
            "function-timeout": {"maximum": 10, "maximun": 5},
            "function-timout": {},
            "api-access-log": {"x": 1},
        }
    )
    assert [line.partition(";")[0] for line in wrong] == [
        "function-timeout.maximun: 5 given, but there is no such parameter",
        "function-timout: there is no such rule",
        "api-access-log.x: 1 given, but there is no such parameter",
    ]
    assert wrong[0].endswith("there are enforcementLevel, minimum, maximum.")
    assert unread({rule: defaults(rule, {}) for rule in BY_NAME}) == []


def test_every_rule_says_what_it_is() -> None:
    for rule in RULES:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)+", rule.name)
        assert rule.description.endswith(".")
        assert rule.severity
        assert rule.enforcement_level
        assert rule.remediation_steps.endswith(".")
        assert rule.url.startswith("https://")
        # IDs of Security Hub have a full stop, those of AWS Config and checkov do not.
        assert (rule.framework is not None) == any("." in each for each in rule.tags)
        if rule.framework:
            facts = (rule.framework.name, rule.framework.version)
            assert facts == ("AWS Foundational Security Best Practices", "1.0.0")
            assert rule.framework.reference in rule.tags
        # A rule that does not stop an update says why.
        level = rule.enforcement_level.value.capitalize()
        assert (f"{level} by default: " in rule.description) == (level != "Mandatory"), rule.name


def row(rule: Policy) -> str:
    """A rule's row in the table of docs/policy-pack.md."""
    shown = {name: json.dumps(value) for name, value in defaults(rule.name, {}).items()}
    cells = (
        f"[`{rule.name}`]({rule.url})",
        rule.enforcement_level.value,
        rule.severity.value,
        rule.description,
        ", ".join(rule.tags),
        ", ".join(f"`{name}: {value}`" if len(value) < 30 else f"`{name}`" for name, value in shown.items()),
    )
    return f"| {' | '.join(cells)} |"


def test_the_page_lists_the_rules() -> None:
    assert [line for line in PAGE.splitlines() if line.startswith("| [`")] == [row(rule) for rule in RULES]


def test_the_pages_example_of_a_configuration_is_read() -> None:
    example = json.loads(PAGE.partition("```json\n")[2].partition("```")[0])
    given = {rule: value for rule, value in example.items() if isinstance(value, dict)}
    for values in given.values():
        values.pop("enforcementLevel", None)
    assert set(given) < set(example) <= set(BY_NAME)
    assert unread(given) == []


def test_the_pack_gets_the_package_that_the_tests_use_by_its_hash() -> None:
    pinned = re.findall(
        r"^pulumi-policy==.*\n(?: .*--hash.*\n)+", Path("requirements-dev.txt").read_text(), re.MULTILINE
    )
    assert [Path("policy_pack/requirements.txt").read_text()] == pinned
    assert "--hash=sha256:" in pinned[0]


def test_the_pack_refuses_configuration_that_no_rule_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's private servicer is extended for it: a version that calls it otherwise is noticed here."""
    packs: list[Any] = []
    monkeypatch.setattr(pulumi_policy, "PolicyPack", lambda *given, **facts: packs.append(given))
    monkeypatch.setattr(pulumi_policy.policy, "_PolicyAnalyzerServicer", pulumi_policy.policy._PolicyAnalyzerServicer)
    monkeypatch.syspath_prepend("policy_pack")
    runpy.run_path("policy_pack/__main__.py")
    [(_, rules)] = packs
    servicer = pulumi_policy.policy._PolicyAnalyzerServicer("pack", "1.0.0", rules, EnforcementLevel.ADVISORY)

    def configured(**values: float) -> None:
        request = analyzer_pb2.ConfigureAnalyzerRequest()
        request.policyConfig["function-timeout"].properties.update(values)
        servicer.Configure(request, Context())

    configured(maximum=10)
    with pytest.raises(Aborted, match="function-timeout.maximun: 10.0 given, but there is no such parameter"):
        configured(maximun=10)
