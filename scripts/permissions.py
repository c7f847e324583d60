"""Write `docs/policies/`, the IAM policies for deploying the committed stacks: `make policies`.

The table below lists the actions of each principal and the step that needs them. `tests/engine/test_rights.py` removes
each line once, and checks that the step fails. The actions are from the source of the AWS provider:
https://github.com/hashicorp/terraform-provider-aws/tree/main/internal/service
"""

import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast

import yaml

from components.iam import PULL_ACTIONS, PUSH_ACTIONS, Document, allow, document, function_arn, partition
from components.rest_api import RestApi
from settings import ConsumerSettings, RegistrySettings, parse

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "policies"
PROJECT = "cross-account-ecr"

Step = Literal["create", "refresh", "preview", "update", "destroy"]
# Statement, its actions, and the resource or function of the Pulumi package `aws` or `docker` that needs them.
Line = tuple[str, str, str]

PRINCIPALS = {
    "registry-deployer": "deploys the registry stack: `profile` in `Pulumi.registry.yaml`",
    "registry-pusher": "finds and pushes images for the consumer stack: `registry.profile` in `Pulumi.consumer.yaml`",
    "registry-preview": "previews both stacks with read access only",
    "consumer-deployer": "deploys the consumer stack: `profile` in `Pulumi.consumer.yaml`",
    "consumer-preview": "previews the consumer stack with read access only",
}

# The login that assumes them: a role in the consumer's account, such as the role of an SSO permission set or a
# workflow.
LOGINS = {
    "deploy-login": ("registry-deployer", "registry-pusher", "consumer-deployer"),
    "preview-login": ("registry-preview", "consumer-preview"),
}
PRINCIPALS |= {name: f"assumes the roles {', '.join(f'`{role}`' for role in roles)}" for name, roles in LOGINS.items()}
# The OIDC subjects of the workflows that log in. https://docs.github.com/en/actions/reference/security/oidc
ISSUER = "token.actions.githubusercontent.com"
MAIN, PULL_REQUEST = "repo:OWNER/NAME:ref:refs/heads/main", "repo:OWNER/NAME:pull_request"
WORKFLOWS = {"deploy-login": [MAIN], "preview-login": [MAIN, PULL_REQUEST]}

STEPS: dict[Step, str] = {
    "create": "the first `pulumi up`",
    "refresh": "`pulumi refresh`",
    "preview": "`pulumi preview --refresh`",
    "update": "`pulumi up` after a change",
    "destroy": "`pulumi destroy`",
}

REGISTRY_READS: list[Line] = [
    ("Repository", "ecr:DescribeRepositories ecr:ListTagsForResource", "ecr.Repository"),
    ("Repository", "ecr:GetRepositoryPolicy", "ecr.RepositoryPolicy"),
    ("Repository", "ecr:GetLifecyclePolicy", "ecr.LifecyclePolicy"),
]
# The program checks an image before it passes it to Lambda. Lambda requires the same two permissions.
PULLS: list[Line] = [
    ("Token", "ecr:GetAuthorizationToken", "ecr.getAuthorizationToken"),
    ("Repository", " ".join(PULL_ACTIONS), "lambda.Function"),
]
LOOK_UPS: list[Line] = [
    ("Repository", "ecr:ListImages", "ecr.getImages"),
    ("Token", "ecr:GetAuthorizationToken", "ecr.getAuthorizationToken"),
]
CONSUMER_READS: list[Line] = [
    ("LogGroups", "logs:DescribeLogGroups", "cloudwatch.LogGroup"),
    ("LogGroupTags", "logs:ListTagsForResource", "cloudwatch.LogGroup"),
    ("Role", "iam:GetRole iam:ListRolePolicies iam:ListAttachedRolePolicies", "iam.Role"),
    ("Role", "iam:GetRolePolicy", "iam.RolePolicy"),
    ("Function", "lambda:GetFunction lambda:ListVersionsByFunction", "lambda.Function"),
    ("Function", "lambda:GetPolicy", "lambda.Permission"),
    ("Api", "apigateway:GET", "apigateway.RestApi"),
]


def statement_of(role: str) -> str:
    """The Sid of the statement that allows assuming a role, such as `ConsumerDeployer`."""
    return role.title().replace("-", "")


# Each step's actions are in the order of the calls.
TABLE: dict[str, dict[Step, list[Line]]] = {
    "registry-deployer": {
        "create": [
            ("Repository", "ecr:CreateRepository", "ecr.Repository"),
            ("Repository", "ecr:SetRepositoryPolicy", "ecr.RepositoryPolicy"),
            ("Repository", "ecr:PutLifecyclePolicy", "ecr.LifecyclePolicy"),
        ],
        "refresh": REGISTRY_READS,
        "update": [
            ("Repository", "ecr:PutImageScanningConfiguration", "ecr.Repository"),
            ("Repository", "ecr:DeleteLifecyclePolicy", "ecr.LifecyclePolicy"),
        ],
        "destroy": [("Repository", "ecr:DeleteRepository", "ecr.Repository")],
    },
    "registry-pusher": {
        "create": [*LOOK_UPS, ("Repository", " ".join(PUSH_ACTIONS), "docker.Image")],
    },
    "registry-preview": {"preview": [*REGISTRY_READS, *LOOK_UPS]},
    "consumer-deployer": {
        "create": [
            ("LogGroup", "logs:CreateLogGroup", "cloudwatch.LogGroup"),
            ("Role", "iam:CreateRole", "iam.Role"),
            ("Apis", "apigateway:POST", "apigateway.RestApi"),
            ("ApiResources", "apigateway:POST", "apigateway.Resource"),
            ("ApiMethod", "apigateway:PUT", "apigateway.Method"),
            ("Role", "iam:PutRolePolicy", "iam.RolePolicy"),
            ("PassRole", "iam:PassRole", "lambda.Function"),
            ("Function", "lambda:CreateFunction", "lambda.Function"),
            ("ApiIntegration", "apigateway:PUT", "apigateway.Integration"),
            ("Function", "lambda:AddPermission", "lambda.Permission"),
            ("ApiDeployments", "apigateway:POST", "apigateway.Deployment"),
            ("ApiStages", "apigateway:POST", "apigateway.Stage"),
        ],
        "refresh": CONSUMER_READS,
        "preview": PULLS,
        "update": [
            ("LogGroup", "logs:PutRetentionPolicy", "cloudwatch.LogGroup"),
            ("ApiMethod", "apigateway:PATCH", "apigateway.Method"),
            ("Function", "lambda:UpdateFunctionConfiguration lambda:UpdateFunctionCode", "lambda.Function"),
            ("ApiStage", "apigateway:PATCH", "apigateway.Stage"),
        ],
        "destroy": [
            ("Api", "apigateway:DELETE", "apigateway.Stage"),
            ("Function", "lambda:RemovePermission", "lambda.Permission"),
            ("Function", "lambda:DeleteFunction", "lambda.Function"),
            ("Role", "iam:DeleteRolePolicy", "iam.RolePolicy"),
            ("LogGroup", "logs:DeleteLogGroup", "cloudwatch.LogGroup"),
            ("Role", "iam:ListInstanceProfilesForRole iam:DeleteRole", "iam.Role"),
        ],
    },
    "consumer-preview": {"preview": [*CONSUMER_READS, *PULLS]},
    **{
        login: {"preview": [(statement_of(role), "sts:AssumeRole", "aws.Provider") for role in roles]}
        for login, roles in LOGINS.items()
    },
}

# Additional permissions for triggers and settings of asynchronous calls, for any names.
TRIGGER_READS: list[Line] = [
    ("ScheduleRoles", "iam:GetRole iam:ListRolePolicies iam:ListAttachedRolePolicies", "iam.Role"),
    ("ScheduleRoles", "iam:GetRolePolicy", "iam.RolePolicy"),
    ("Schedules", "scheduler:GetSchedule", "scheduler.Schedule"),
    ("Function", "lambda:GetFunctionEventInvokeConfig", "lambda.FunctionEventInvokeConfig"),
    ("Mappings", "lambda:GetEventSourceMapping lambda:ListTags", "lambda.EventSourceMapping"),
    ("Subscriptions", "sns:GetSubscriptionAttributes", "sns.TopicSubscription"),
    ("Rules", "events:DescribeRule events:ListTagsForResource", "cloudwatch.EventRule"),
    ("Rules", "events:ListTargetsByRule", "cloudwatch.EventTarget"),
]
TRIGGERS: dict[str, dict[Step, list[Line]]] = {
    "triggers-deployer": {
        "create": [
            ("ScheduleRoles", "iam:CreateRole", "iam.Role"),
            ("ScheduleRoles", "iam:PutRolePolicy", "iam.RolePolicy"),
            ("Schedules", "scheduler:CreateSchedule", "scheduler.Schedule"),
            ("Function", "lambda:PutFunctionEventInvokeConfig", "lambda.FunctionEventInvokeConfig"),
            ("NewMappings", "lambda:CreateEventSourceMapping", "lambda.EventSourceMapping"),
            ("Topics", "sns:Subscribe", "sns.TopicSubscription"),
            ("Rules", "events:PutRule", "cloudwatch.EventRule"),
            ("Rules", "events:PutTargets", "cloudwatch.EventTarget"),
        ],
        "refresh": TRIGGER_READS,
        "update": [
            ("Schedules", "scheduler:UpdateSchedule", "scheduler.Schedule"),
            ("Mappings", "lambda:UpdateEventSourceMapping", "lambda.EventSourceMapping"),
            ("Subscriptions", "sns:SetSubscriptionAttributes", "sns.TopicSubscription"),
        ],
        "destroy": [
            ("Rules", "events:RemoveTargets", "cloudwatch.EventTarget"),
            ("Rules", "events:DeleteRule", "cloudwatch.EventRule"),
            ("Subscriptions", "sns:Unsubscribe", "sns.TopicSubscription"),
            ("Mappings", "lambda:DeleteEventSourceMapping", "lambda.EventSourceMapping"),
            ("Function", "lambda:DeleteFunctionEventInvokeConfig", "lambda.FunctionEventInvokeConfig"),
            ("Schedules", "scheduler:DeleteSchedule", "scheduler.Schedule"),
            ("ScheduleRoles", "iam:DeleteRolePolicy", "iam.RolePolicy"),
            ("ScheduleRoles", "iam:ListInstanceProfilesForRole iam:DeleteRole", "iam.Role"),
        ],
    },
    "triggers-preview": {"preview": TRIGGER_READS},
}
# Additional permissions for options of an API. `tests/local/test_option_rights.py` takes out each line of `OPTIONS`.
ACCESS_LOG_READS: list[Line] = [("AccessLogTags", "logs:ListTagsForResource", "cloudwatch.LogGroup")]
REST_READS: list[Line] = [
    ("ApiKeys", "apigateway:GET", "apigateway.ApiKey"),
    ("UsagePlans", "apigateway:GET", "apigateway.UsagePlan"),
    ("AuthorizerFunctions", "lambda:GetPolicy", "lambda.Permission"),
    ("Domains", "apigateway:GET", "apigateway.DomainName"),
    *ACCESS_LOG_READS,
    ("LoggingRole", "iam:GetRole iam:ListRolePolicies iam:ListAttachedRolePolicies", "iam.Role"),
    ("LoggingAccount", "apigateway:GET", "apigateway.Account"),
]
HTTP_READS: list[Line] = [
    ("HttpApi", "apigateway:GET", "apigatewayv2.Api"),
    ("Domains", "apigateway:GET", "apigatewayv2.DomainName"),
    *ACCESS_LOG_READS,
]
APIS: dict[str, dict[Step, list[Line]]] = {
    "rest-api-deployer": {
        "create": [
            ("ApiMethods", "apigateway:PUT", "apigateway.Method"),
            ("ApiAuthorizers", "apigateway:POST", "apigateway.Authorizer"),
            ("AuthorizerFunctions", "lambda:AddPermission", "lambda.Permission"),
            ("ApiValidators", "apigateway:POST", "apigateway.RequestValidator"),
            ("ApiErrors", "apigateway:PUT", "apigateway.Response"),
            ("NewApiKeys", "apigateway:POST", "apigateway.ApiKey"),
            ("NewUsagePlans", "apigateway:POST", "apigateway.UsagePlan"),
            ("UsagePlanKeys", "apigateway:POST", "apigateway.UsagePlanKey"),
            ("NewDomains", "apigateway:POST", "apigateway.DomainName"),
            ("PathMappings", "apigateway:POST", "apigateway.BasePathMapping"),
            ("AccessLog", "logs:CreateLogGroup", "cloudwatch.LogGroup"),
            ("LoggingRole", "iam:CreateRole", "iam.Role"),
            ("LoggingRole", "iam:AttachRolePolicy", "iam.RolePolicyAttachment"),
            ("LoggingAccount", "apigateway:PATCH", "apigateway.Account"),
        ],
        "refresh": REST_READS,
        "update": [
            ("Api", "apigateway:PATCH", "apigateway.RestApi"),
            ("AccessLog", "logs:PutRetentionPolicy", "cloudwatch.LogGroup"),
        ],
        "destroy": [
            ("Domains", "apigateway:DELETE", "apigateway.DomainName"),
            ("UsagePlans", "apigateway:PATCH apigateway:DELETE", "apigateway.UsagePlan"),
            ("ApiKeys", "apigateway:DELETE", "apigateway.ApiKey"),
            ("AuthorizerFunctions", "lambda:RemovePermission", "lambda.Permission"),
            ("AccessLog", "logs:DeleteLogGroup", "cloudwatch.LogGroup"),
        ],
    },
    "rest-api-preview": {"preview": REST_READS},
    "http-api-deployer": {
        "create": [
            ("HttpApis", "apigateway:POST", "apigatewayv2.Api"),
            ("HttpIntegrations", "apigateway:POST", "apigatewayv2.Integration"),
            ("HttpAuthorizers", "apigateway:POST", "apigatewayv2.Authorizer"),
            ("HttpRoutes", "apigateway:POST", "apigatewayv2.Route"),
            ("HttpStages", "apigateway:POST", "apigatewayv2.Stage"),
            ("NewDomains", "apigateway:POST", "apigatewayv2.DomainName"),
            ("ApiMappings", "apigateway:POST", "apigatewayv2.ApiMapping"),
            ("AccessLog", "logs:CreateLogGroup", "cloudwatch.LogGroup"),
        ],
        "refresh": HTTP_READS,
        "update": [
            ("HttpApi", "apigateway:PATCH", "apigatewayv2.Api"),
            ("Domains", "apigateway:PATCH", "apigatewayv2.DomainName"),
            ("AccessLog", "logs:PutRetentionPolicy", "cloudwatch.LogGroup"),
        ],
        "destroy": [
            ("Domains", "apigateway:DELETE", "apigatewayv2.DomainName"),
            ("HttpApi", "apigateway:DELETE", "apigatewayv2.Api"),
            ("AccessLog", "logs:DeleteLogGroup", "cloudwatch.LogGroup"),
        ],
    },
    "http-api-preview": {"preview": HTTP_READS},
}
OPTIONS = TRIGGERS | APIS
OPTION_PRINCIPALS = {
    "triggers-deployer": "deploys a consumer stack with `function.triggers` or `function.asynchronous`: in addition to "
    "`consumer-deployer`",
    "triggers-preview": "previews it: in addition to `consumer-preview`",
    "rest-api-deployer": "deploys a consumer stack whose `api` has more options than the committed one: in addition to "
    "`consumer-deployer`",
    "rest-api-preview": "previews it: in addition to `consumer-preview`",
    "http-api-deployer": "deploys a consumer stack with `api.type: http`: in addition to `consumer-deployer`",
    "http-api-preview": "previews it: in addition to `consumer-preview`",
}

# Actions that no local step needs: principal, statement and action, with the reason why they are included.
RECORD = (
    "the record of `api.domain`, which the local cloud does not have "
    "([provider](https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/route53/record.go))"
)
SERVICE_ROLE = (
    "the first domain name of an account, for which the local cloud creates no role "
    "([AWS](https://docs.aws.amazon.com/apigateway/latest/developerguide/using-service-linked-roles.html))"
)
DELIVERY = (
    "the access log, for which the local cloud does not ask "
    "([AWS](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging.html))"
)
DELIVERIES = ("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries")
POLICIES = ("PutResourcePolicy", "DescribeResourcePolicies")
RECORDS = ("GetHostedZone", "ListResourceRecordSets", "ChangeResourceRecordSets")
READ_RECORDS = RECORDS[:2]
NOT_SEEN = {
    ("registry-pusher", "Repository", "ecr:BatchGetImage"): (
        "a Docker engine with the containerd image store, which the tests do not require, reads the manifest before it "
        "pushes one "
        "([AWS](https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html))"
    ),
    ("triggers-deployer", "PassScheduleRoles", "iam:PassRole"): (
        "Scheduler requires it; the local cloud does not check it "
        "([AWS](https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html))"
    ),
    ("rest-api-deployer", "PassLoggingRole", "iam:PassRole"): (
        "API Gateway requires it; the local cloud does not check it "
        "([AWS](https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html))"
    ),
    ("rest-api-deployer", "Domains", "apigateway:PATCH"): (
        "the update of a domain name, which the local cloud does not support"
    ),
    **{
        (f"{kind}-api-deployer", "ServiceRole", "iam:CreateServiceLinkedRole"): SERVICE_ROLE
        for kind in ("rest", "http")
    },
    **{
        (f"{kind}-api-{user}", "HostedZones", f"route53:{action}"): RECORD
        for kind in ("rest", "http")
        for user, actions in (("deployer", RECORDS), ("preview", READ_RECORDS))
        for action in actions
    },
    **{(f"{kind}-api-deployer", "RecordChanges", "route53:GetChange"): RECORD for kind in ("rest", "http")},
    **{("http-api-deployer", "LogDeliveries", f"logs:{action}"): DELIVERY for action in (*DELIVERIES, *POLICIES)},
}

CONDITIONS = {
    "PassRole": {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
    "PassScheduleRoles": {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}},
    "PassLoggingRole": {"StringEquals": {"iam:PassedToService": "apigateway.amazonaws.com"}},
    "ServiceRole": {"StringEquals": {"iam:AWSServiceName": "ops.apigateway.amazonaws.com"}},
}


@dataclass(frozen=True, kw_only=True)
class Permission:
    """A line of the table.

    Attributes:
        principal: a key of `PRINCIPALS`.
        step: the step that fails without the permission. Other steps may need it as well.
        statement: the Sid of its statement.
        action: the IAM action, such as `iam:PassRole`.
        used_by: the resource or function that needs it.
    """

    principal: str
    step: Step
    statement: str
    action: str
    used_by: str

    def __str__(self) -> str:
        return f"{self.principal}-{self.step}-{self.action}-{self.statement}"


def permissions(table: dict[str, dict[Step, list[Line]]] = TABLE) -> list[Permission]:
    """A table, line by line."""
    return [
        Permission(principal=principal, step=step, statement=statement, action=action, used_by=used_by)
        for principal, steps in table.items()
        for step, lines in steps.items()
        for statement, actions, used_by in lines
        for action in actions.split()
    ]


def resources(registry: RegistrySettings, consumer: ConsumerSettings) -> dict[str, str]:
    """The resource of each statement. A `*` matches generated parts, such as the ID of an API."""
    aws, region, account = partition(consumer.region), consumer.region, consumer.account
    name, api = consumer.function.name, cast("RestApi", consumer.api)
    log_group = f"arn:{aws}:logs:{region}:{account}:log-group"
    role = f"arn:{aws}:iam::{account}:role/function-role-*"
    gateway = f"arn:{aws}:apigateway:{region}::"
    apis, http_apis = f"{gateway}/restapis", f"{gateway}/apis"
    accounts = {"registry": registry.account, "consumer": account}
    roles = {
        name: f"arn:{aws}:iam::{accounts[name.partition('-')[0]]}:role/{name}"
        for assumed in LOGINS.values()
        for name in assumed
    }
    return {
        **{statement_of(name): arn for name, arn in roles.items()},
        # The action does not support resources.
        "Token": "*",
        "Repository": f"arn:{aws}:ecr:{region}:{registry.account}:repository/{registry.repository.name}",
        # In policies, the ARN of a log group ends in `:*`, except for tags:
        # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html
        "LogGroups": f"{log_group}:*",
        "LogGroup": f"{log_group}:/aws/lambda/{name}:*",
        "LogGroupTags": f"{log_group}:/aws/lambda/{name}",
        "Role": role,
        "PassRole": role,
        "Function": function_arn(account, region, name),
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/arn-format-reference.html
        "Apis": apis,
        "Api": f"{apis}/*",
        "ApiResources": f"{apis}/*/resources/*",
        "ApiMethod": f"{apis}/*/resources/*/methods/{api.method}",
        "ApiIntegration": f"{apis}/*/resources/*/methods/{api.method}/integration",
        "ApiDeployments": f"{apis}/*/deployments",
        "ApiStages": f"{apis}/*/stages",
        "ApiStage": f"{apis}/*/stages/{api.stage}",
        "ApiMethods": f"{apis}/*/resources/*/methods/*",
        "ApiAuthorizers": f"{apis}/*/authorizers",
        "ApiValidators": f"{apis}/*/requestvalidators",
        "ApiErrors": f"{apis}/*/gatewayresponses/*",
        "NewApiKeys": f"{gateway}/apikeys",
        "ApiKeys": f"{gateway}/apikeys/*",
        "NewUsagePlans": f"{gateway}/usageplans",
        "UsagePlans": f"{gateway}/usageplans/*",
        "UsagePlanKeys": f"{gateway}/usageplans/*/keys",
        "NewDomains": f"{gateway}/domainnames",
        "Domains": f"{gateway}/domainnames/*",
        "PathMappings": f"{gateway}/domainnames/*/basepathmappings",
        "ApiMappings": f"{gateway}/domainnames/*/apimappings",
        "ServiceRole": f"arn:{aws}:iam::{account}:role/aws-service-role/ops.apigateway.amazonaws.com/"
        "AWSServiceRoleForAPIGateway",
        "HostedZones": f"arn:{aws}:route53:::hostedzone/*",
        "RecordChanges": f"arn:{aws}:route53:::change/*",
        "AccessLog": f"{log_group}:/aws/apigateway/{name}/*:*",
        "AccessLogTags": f"{log_group}:/aws/apigateway/{name}/*",
        "LogDeliveries": "*",
        "LoggingAccount": f"{gateway}/account",
        "LoggingRole": (logging_role := f"arn:{aws}:iam::{account}:role/function-api-logging-role-*"),
        "PassLoggingRole": logging_role,
        "AuthorizerFunctions": function_arn(account, region, "*"),
        "HttpApis": http_apis,
        "HttpApi": f"{http_apis}/*",
        "HttpIntegrations": f"{http_apis}/*/integrations",
        "HttpAuthorizers": f"{http_apis}/*/authorizers",
        "HttpRoutes": f"{http_apis}/*/routes",
        "HttpStages": f"{http_apis}/*/stages",
        "ScheduleRoles": (schedule_role := f"arn:{aws}:iam::{account}:role/function-schedule-*"),
        "PassScheduleRoles": schedule_role,
        "Schedules": f"arn:{aws}:scheduler:{region}:{account}:schedule/default/function-schedule-*",
        "Mappings": f"arn:{aws}:lambda:{region}:{account}:event-source-mapping:*",
        # Neither has an ARN before it is there, and of a subscription only the topic has one.
        "NewMappings": "*",
        "Subscriptions": "*",
        "Topics": f"arn:{aws}:sns:{region}:{account}:*",
        "Rules": f"arn:{aws}:events:{region}:{account}:rule/function-events-*",
    }


def policy(principal: str, *, without: Permission | None = None) -> Document:
    """The policy of a principal, optionally without one action of one statement."""
    lines = [
        (line.statement, line.action)
        for line in permissions(TABLE | OPTIONS)
        if line.principal == principal and line != without
    ]
    lines += [(statement, action) for name, statement, action in NOT_SEEN if name == principal]
    known = resources(*committed())
    return document(
        *(
            {
                **allow(statement, sorted({action for name, action in lines if name == statement}), known[statement]),
                **({"Condition": CONDITIONS[statement]} if statement in CONDITIONS else {}),
            }
            for statement in dict.fromkeys(name for name, _ in lines)
        )
    )


def trust(login: str) -> Document:
    """The trust policy of the roles that a login assumes."""
    _, consumer = committed()
    arn = f"arn:{partition(consumer.region)}:iam::{consumer.account}:role/{login}"
    return document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": arn}})


def github_trust(login: str) -> Document:
    """The trust policy of the role of a login, for GitHub workflows."""
    _, consumer = committed()
    provider = f"arn:{partition(consumer.region)}:iam::{consumer.account}:oidc-provider/{ISSUER}"
    subjects = {f"{ISSUER}:aud": "sts.amazonaws.com", f"{ISSUER}:sub": WORKFLOWS[login]}
    return document(
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Principal": {"Federated": provider},
            "Condition": {"StringEquals": subjects},
        }
    )


@cache
def committed() -> tuple[RegistrySettings, ConsumerSettings]:
    """The configuration in the committed stack files."""
    registry, consumer = (
        parse(
            {
                key.removeprefix(f"{PROJECT}:"): value if isinstance(value, str) else json.dumps(value)
                for key, value in yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"].items()
            },
            PROJECT,
        )
        for stack in ("registry", "consumer")
    )
    assert isinstance(registry, RegistrySettings)  # noqa: S101  # for the type
    assert isinstance(consumer, ConsumerSettings)  # noqa: S101  # for the type
    return registry, consumer


HEAD = """# Policies

IAM policies with the least permissions to deploy and preview the committed stacks. `make policies` writes them from the
table in `scripts/permissions.py`, for the accounts, the Region and the names in `Pulumi.registry.yaml` and
`Pulumi.consumer.yaml`. Run it again after you change a stack file.
"""

PROOF = """`tests/engine/test_rights.py` runs every step as users with these policies. It removes each line of the
tables once, and checks that a call of the step in its last column is denied. Other steps may need the same action. The
test also removes the login from each trust policy. A preview that may not pull the image shows a warning with the
denied action and continues. Of the tables for triggers and APIs, `tests/local/test_option_rights.py` removes each line,
and checks that its call is denied.
"""

ROLES = """## Trust policies

A login assumes a role in each account. In the files, the login is a role in the consumer's account. For an SSO login,
write the ARN of the permission set's role, or use the account's root with a condition on `aws:PrincipalArn`.

| trust policy | attached to |
| --- | --- |
"""
OF_ROLES = "the roles that `{}` assumes. To require an external ID, add a condition on `sts:ExternalId`"
OF_LOGIN = (
    "the role `{}`, for GitHub. `OWNER/NAME` is the repository; repositories created in 2026 or later have IDs in "
    "their [subject](../pull-requests.md#github-actions)"
)

LIMITS = """## Limits

* A publisher, which pushes with the consumer's own credentials, needs the actions of `registry-pusher` except
  `ecr:ListImages`, in addition to those of `consumer-deployer`.

* Options of the function that create more than the committed file does (`release`, `alarms`, `tags`, `vpc`, …) require
  more actions. AWS's error names the action. `fileSystem` needs `elasticfilesystem:DescribeMountTargets`.
* Remove the statements of options that you do not use, such as those of the logging role.
* Replace the `*` by names that you know: the topics in `triggers-deployer`, the domain, its hosted zone and the
  authorizer's function in `rest-api-deployer`. Topics of another account are named with that account. To limit the
  mappings to the function, add the condition `lambda:FunctionArn`.
* A principal that can create a role and pass it to a function can give the function any permission. To limit that, set
  `function.permissionsBoundary`, and allow the deployer to create roles with this boundary only
  ([iam:PermissionsBoundary](https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html)).
* The committed files use one profile, `registry`, to deploy the registry and to push. To separate the two, set another
  `registry.profile` in `Pulumi.consumer.yaml`. One role can also have both policies.
* Only `pulumi destroy -s registry` needs `ecr:DeleteRepository`. Without it, the repository cannot be deleted,
  whatever the stack file says.
* Pulumi's state and the key of its secrets are read and written with the credentials of the backend, not with these.
* The tests run in the local cloud, which follows AWS's [service authorization
reference](https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html). These policies have not
been tested on AWS.
"""


def page() -> str:
    """`docs/policies/README.md`."""
    known = resources(*committed())
    principals = PRINCIPALS | OPTION_PRINCIPALS
    whom = "\n".join(f"| [{name}.json]({name}.json) | {text} |" for name, text in principals.items())
    parts = [HEAD, f"| policy | principal |\n| --- | --- |\n{whom}\n", PROOF]
    for principal in principals:
        rows = [
            f"| `{line.action}` | `{known[line.statement]}` | {line.used_by} | {STEPS[line.step]} |"
            for line in permissions(TABLE | OPTIONS)
            if line.principal == principal
        ]
        rows += [
            f"| `{action}` | `{known[statement]}` | {reason} | none here: not tested |"
            for (name, statement, action), reason in NOT_SEEN.items()
            if name == principal
        ]
        head = f"## {principal}\n\n| action | resource | used by | fails without it |\n| --- | --- | --- | --- |\n"
        parts.append(head + "\n".join(rows) + "\n")
    trusts = [f"| [{login}-trust.json]({login}-trust.json) | {OF_ROLES.format(login)} |" for login in LOGINS]
    trusts += [f"| [{login}-github.json]({login}-github.json) | {OF_LOGIN.format(login)} |" for login in LOGINS]
    return "\n".join([*parts, ROLES + "\n".join(trusts) + "\n", LIMITS])


def files() -> dict[Path, str]:
    """Everything in `docs/policies/`."""
    policies = {
        FOLDER / f"{name}.json": json.dumps(policy(name), indent=2) + "\n" for name in PRINCIPALS | OPTION_PRINCIPALS
    }
    trusts = {f"{login}-trust": trust(login) for login in LOGINS}
    trusts |= {f"{login}-github": github_trust(login) for login in LOGINS}
    documents = {FOLDER / f"{name}.json": json.dumps(text, indent=2) + "\n" for name, text in trusts.items()}
    return {FOLDER / "README.md": page(), **policies, **documents}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in files().items():
        path.write_text(text)
    print(f"{FOLDER.name}/ written", file=sys.stderr)
