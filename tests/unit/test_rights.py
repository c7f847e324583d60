"""The policies in `docs/policies/` are those of the table, and grant no more than they have to."""

import json
from functools import cache
from typing import Any

import botocore.session
import pytest

from components.repository import Consumer, deployer_policy_of
from scripts.permissions import (
    FOLDER,
    ISSUER,
    LOGINS,
    OPTION_PRINCIPALS,
    PRINCIPALS,
    committed,
    files,
    resources,
)

# A managed policy's characters without white space: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MANAGED_POLICY_CHARACTERS = 6_144

# Actions that know no resource, by the service authorization reference.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsns.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html
WITHOUT_RESOURCE = {
    "ecr:GetAuthorizationToken",
    "lambda:CreateEventSourceMapping",
    "sns:GetSubscriptionAttributes",
    "sns:SetSubscriptionAttributes",
    "sns:Unsubscribe",
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
}
# Actions without a call of the SDK: permissions that AWS checks itself.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html
WITHOUT_CALL = {
    "PassRole",
    "CreateLogDelivery",
    "GetLogDelivery",
    "UpdateLogDelivery",
    "DeleteLogDelivery",
    "ListLogDeliveries",
}

# Statements whose ARN has a `*`, and what AWS or Pulumi makes up in its place.
WILDCARDS = {
    "Role": "the end of the role's name",
    "PassRole": "the end of the role's name",
    "LogGroup": "the log streams, which belong to the ARN of a group in policies",
    "LogGroups": "the name: groups are listed by a prefix and judged on none",
    "Api": "the API's ID and what is in it",
    "ApiResources": "the IDs of the API and of a resource",
    "ApiMethod": "the IDs of the API and of a resource",
    "ApiIntegration": "the IDs of the API and of a resource",
    "ApiDeployments": "the API's ID",
    "ApiStages": "the API's ID",
    "ApiStage": "the API's ID",
    "ScheduleRoles": "the trigger's name and the end of the role's",
    "PassScheduleRoles": "the trigger's name and the end of the role's",
    "Schedules": "the trigger's name and the end of the schedule's",
    "Mappings": "the mapping's ID",
    "Topics": "the topics, of which the committed file has none",
    "Rules": "the trigger's name and the end of the rule's",
    "ApiMethods": "the IDs of the API and of a resource, and the methods, of which the committed file has one",
    "ApiAuthorizers": "the API's ID",
    "ApiValidators": "the API's ID",
    "ApiErrors": "the API's ID and the kind of error",
    "ApiKeys": "the key's ID",
    "UsagePlans": "the plan's ID",
    "UsagePlanKeys": "the plan's ID",
    "Domains": "the domain name, of which the committed file has none",
    "PathMappings": "the domain name, of which the committed file has none",
    "ApiMappings": "the domain name, of which the committed file has none",
    "HostedZones": "the hosted zone, of which the committed file has none",
    "RecordChanges": "the ID of the change",
    "AccessLog": "the stage, and the log streams",
    "AccessLogTags": "the stage",
    "LoggingRole": "the end of the role's name",
    "PassLoggingRole": "the end of the role's name",
    "AuthorizerFunctions": "the authorizer, of which the committed file has none",
    "HttpApi": "the API's ID and what is in it",
    "HttpIntegrations": "the API's ID",
    "HttpAuthorizers": "the API's ID",
    "HttpRoutes": "the API's ID",
    "HttpStages": "the API's ID",
}

POLICIES = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in PRINCIPALS | OPTION_PRINCIPALS}
STATEMENTS = [
    pytest.param(statement, id=f"{name}-{statement['Sid']}")
    for name, document in POLICIES.items()
    for statement in document["Statement"]
]


def test_policies_are_those_of_the_table() -> None:
    assert {path: path.read_text() for path in FOLDER.iterdir()} == files(), "run `make policies`"


@pytest.mark.parametrize("statement", STATEMENTS)
def test_no_wildcard_stands_where_a_resource_is_known(statement: dict[str, Any]) -> None:
    assert not [action for action in statement["Action"] if "*" in action]
    if statement["Resource"] == "*":
        assert set(statement["Action"]) <= WITHOUT_RESOURCE
    elif "*" in statement["Resource"]:
        assert statement["Sid"] in WILDCARDS
        # Never in the account, the Region or the kind of resource.
        assert "*" not in statement["Resource"].removesuffix(":*").rpartition(":")[0]


@cache
def operations(service: str) -> set[str]:
    """The names of a service's calls."""
    return set(botocore.session.get_session().get_service_model(service).operation_names)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_action_exists(statement: dict[str, Any]) -> None:
    for action in statement["Action"]:
        service, name = action.split(":")
        # API Gateway's actions are the methods of HTTP.
        known = {"GET", "POST", "PUT", "PATCH", "DELETE"} if service == "apigateway" else set(WITHOUT_CALL)
        if service != "apigateway":
            known |= operations(service)
        assert name in known


@pytest.mark.parametrize("name", [name for name in POLICIES if name.endswith("-preview")])
def test_who_previews_may_only_read(name: str) -> None:
    verbs = {action.split(":")[1] for statement in POLICIES[name]["Statement"] for action in statement["Action"]}
    assert {verb for verb in verbs if not verb.startswith(("Get", "BatchGet", "List", "Describe", "GET"))} == set()


@pytest.mark.parametrize(("login", "roles"), LOGINS.items())
def test_a_login_may_do_nothing_but_assume_its_roles_and_each_of_them_trusts_it_alone(
    login: str, roles: tuple[str, ...]
) -> None:
    granted = {(action, line["Resource"]) for line in POLICIES[login]["Statement"] for action in line["Action"]}
    assert {action for action, _ in granted} == {"sts:AssumeRole"}
    assert {arn.rpartition("/")[2] for _, arn in granted} == set(roles)
    (trusting,) = json.loads((FOLDER / f"{login}-trust.json").read_text())["Statement"]
    assert trusting["Principal"] == {"AWS": f"arn:aws:iam::222222222222:role/{login}"}


def test_pull_requests_reach_no_role_that_deploys() -> None:
    (statement,) = json.loads((FOLDER / "deploy-login-github.json").read_text())["Statement"]
    assert statement["Condition"]["StringEquals"][f"{ISSUER}:sub"] == ["repo:OWNER/NAME:ref:refs/heads/main"]
    assert not set(LOGINS["preview-login"]) & set(LOGINS["deploy-login"])


def test_a_role_is_passed_to_its_service_only() -> None:
    for document in POLICIES.values():
        for statement in document["Statement"]:
            if "iam:PassRole" in statement["Action"]:
                assert statement["Action"] == ["iam:PassRole"]
                services = {"PassScheduleRoles": "scheduler", "PassLoggingRole": "apigateway"}
                service = services.get(statement["Sid"], "lambda")
                assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}}


def test_the_consumer_deployer_may_do_what_the_registry_says_it_needs() -> None:
    repository = resources(*committed())["Repository"]
    needed = deployer_policy_of(Consumer(account="222222222222"), [repository], ["us-east-1"])
    granted = {
        (action, statement["Resource"])
        for statement in POLICIES["consumer-deployer"]["Statement"]
        for action in statement["Action"]
    }
    for statement in needed["Statement"]:
        asked = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        # One function's, where the registry's output leaves the name open.
        named = [resource.replace(":function:*", ":function:cross-account-function") for resource in asked]
        assert {(action, resource) for action in statement["Action"] for resource in named} <= granted


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_fits_into_a_managed_policy(name: str) -> None:
    assert len(json.dumps(POLICIES[name], separators=(",", ":"))) <= MANAGED_POLICY_CHARACTERS
