"""Policy documents and ARNs, as pure functions of plain values."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.errors import InvalidArgument

Document = dict[str, Any]
VERSION = "2012-10-17"

ACCOUNT_ID = re.compile(r"[0-9]{12}")
# A principal knows no wildcards but * alone, which is everybody.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
ROLE_ARN = re.compile(r"arn:aws(-cn|-us-gov)?:iam::[0-9]{12}:role/[a-zA-Z0-9_+=,.@/-]+")
PRINCIPAL_ARN = re.compile(r"arn:aws(-cn|-us-gov)?:(iam|sts)::[0-9]{12}:[a-zA-Z0-9_+=,.@/-]+")
FUNCTION_PATTERN = re.compile(r"[a-zA-Z0-9_*?-]{1,64}")

# All that Lambda needs to take an image; neither allows a push.
# https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-xaccount-permissions
PULL_ACTIONS = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")

# https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
PUSH_ACTIONS = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:CompleteLayerUpload",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
)

NETWORK_ACTIONS = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)

# https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
POLICY_CHARACTERS = 10_240


def partition(region: str) -> str:
    """The partition a Region belongs to: `aws`, `aws-cn` or `aws-us-gov`.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
    """
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def account_arn(account: str, region: str) -> str:
    """The principal that stands for a whole account. ECR rewrites a bare account ID to this form."""
    return f"arn:{partition(region)}:iam::{account}:root"


def function_arn(account: str, region: str, name: str) -> str:
    """A Lambda function's ARN; `name` may be a pattern such as `*`."""
    return f"arn:{partition(region)}:lambda:{region}:{account}:function:{name}"


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """An account whose Lambda functions may use a repository's images.

    Attributes:
        account: account ID, 12 digits.
        regions: Regions of its functions; default every Region that the repository is in.
        functions: name pattern of its functions, `*` (default) and `?` standing for any characters and any one.
        roles: ARNs of the only roles that may create and update such functions; default any principal of the account
            that the account's own policies allow. ECR refuses a policy that names a role which does not exist.

    Raises:
        InvalidArgument: one of them has not the form that AWS knows.
    """

    account: str
    regions: Sequence[str] = ()
    functions: str = "*"
    roles: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not ACCOUNT_ID.fullmatch(self.account):
            raise InvalidArgument(
                f"Consumer account: {self.account!r} given; allowed is an AWS account ID of 12 digits. "
                'Example: account="222222222222"'
            )
        if not FUNCTION_PATTERN.fullmatch(self.functions):
            raise InvalidArgument(
                f"Consumer functions: {self.functions!r} given; allowed are 1 to 64 letters, digits, - and _, with * "
                'and ? as wildcards. Example: functions="orders-*"'
            )
        for role in self.roles:
            if not ROLE_ARN.fullmatch(role) or f"::{self.account}:role/" not in role:
                raise InvalidArgument(
                    f"Consumer roles: {role!r} given; allowed are ARNs of roles of account {self.account} that exist. "
                    f'Example: roles=["arn:aws:iam::{self.account}:role/deployer"]'
                )

    def is_in(self, region: str) -> bool:
        """Whether it has functions in a Region."""
        return not self.regions or region in self.regions


def repository_policy(
    consumers: Iterable[Consumer],
    region: str,
    *,
    organization: str = "",
    publishers: Iterable[str] = (),
    extra_statements: Iterable[Mapping[str, Any]] = (),
) -> Document:
    """Let the Lambda functions of other accounts use a repository's images.

    Both statements are needed. With the first, a principal of the account can create and update a function. With the
    second, the Lambda service can pull the image again after the function was idle for weeks and became `INACTIVE`;
    without it a function works at first and fails later.
    https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-xaccount-permissions

    Args:
        consumers: in any order. ECR may reorder principals, so they are written sorted.
        region: the repository's Region, which is the functions' as well.
        organization: ID of an AWS organization (`o-…`) that callers and functions must belong to besides; without
            consumers, all of its accounts are granted. AWS advises to enumerate accounts instead. The caller statement
            has the key `aws:PrincipalOrgID`; a service principal never matches that one, its key is `aws:SourceOrgID`.
            https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
        publishers: ARNs of the principals that may push.
        extra_statements: further statements, each with a `Sid` of its own.

    Raises:
        InvalidArgument: a publisher is no principal, two statements have the same `Sid`, or the policy is longer than
            ECR allows.
    """
    listed = list(consumers)
    pushing = sorted(set(publishers))
    if wrong := [publisher for publisher in pushing if not PRINCIPAL_ARN.fullmatch(publisher)]:
        raise InvalidArgument(
            f"repository policy: publisher {wrong[0]!r} given; allowed are ARNs of principals that exist. "
            'Example: publishers=["arn:aws:iam::222222222222:role/publisher"]'
        )
    # An organization grants all of its accounts only where nobody is named at all, not where nobody is left.
    everyone = bool(organization) and not listed
    named = sorted((consumer for consumer in listed if consumer.is_in(region)), key=lambda consumer: consumer.account)
    callers = [
        arn for consumer in named for arn in sorted(set(consumer.roles)) or [account_arn(consumer.account, region)]
    ]
    functions = [function_arn(consumer.account, region, consumer.functions) for consumer in named]
    caller: Document = {
        "Sid": "CrossAccountPermission",
        "Effect": "Allow",
        "Action": list(PULL_ACTIONS),
        "Principal": {"AWS": "*" if everyone else callers},
    }
    service: Document = {
        "Sid": "LambdaECRImageCrossAccountRetrievalPolicy",
        "Effect": "Allow",
        "Action": list(PULL_ACTIONS),
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Condition": {"StringLike": {"aws:sourceArn": [function_arn("*", region, "*")] if everyone else functions}},
    }
    if organization:
        caller["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": organization}}
        service["Condition"]["StringEquals"] = {"aws:SourceOrgID": organization}
    statements = [caller, service] if named or everyone else []
    if pushing:
        statements.append(
            {"Sid": "Publishers", "Effect": "Allow", "Action": list(PUSH_ACTIONS), "Principal": {"AWS": pushing}}
        )
    statements += [dict(statement) for statement in extra_statements]
    _require_unique_sids(statements)
    policy = {"Version": VERSION, "Statement": statements}
    _require_size(policy, sum(len(f'"{arn}",') for arn in (*callers, *functions)), len(named))
    return policy


def compact(policy: Document) -> str:
    """A policy as JSON without a space: ECR counts characters."""
    return json.dumps(policy, separators=(",", ":"))


def _require_unique_sids(statements: list[Document]) -> None:
    sids = [statement.get("Sid") or "none" for statement in statements]
    if wrong := sorted({str(sid) for sid in sids if not isinstance(sid, str) or sid == "none" or sids.count(sid) > 1}):
        raise InvalidArgument(
            f"repository policy: Sid {', '.join(wrong)} given more than once or left out; every statement needs one of "
            'its own. Example: {"Sid": "AuditorsMayList", …}'
        )


def _require_size(policy: Document, listed: int, accounts: int) -> None:
    """Refuse a policy that is too long.

    Args:
        policy: all of it.
        listed: how many of its characters name accounts.
        accounts: how many accounts these are.
    """
    length = len(compact(policy))
    if length > POLICY_CHARACTERS:
        fit = max((POLICY_CHARACTERS - length + listed) * accounts // max(listed, 1), 0)
        raise InvalidArgument(
            f"repository policy: {length} characters for {accounts} accounts; ECR allows {POLICY_CHARACTERS}, which is "
            f"about {fit} accounts here. Serve the rest from a second repository, or name the organization "
            '(organization="o-…") instead of its accounts.'
        )


def deployer_policy(consumer: Consumer, repository_arns: Iterable[str], regions: Iterable[str]) -> Document:
    """What the use of the images asks of a principal that deploys functions in a consumer's account.

    Logging in to a registry knows no resource; it is how the image is looked at before Lambda gets it.

    The repository's policy alone does not do: across accounts the caller's own policy has to allow it as well. What
    else it needs to manage functions, roles, logs and APIs is the account's own affair.
    https://repost.aws/knowledge-center/lambda-ecr-image
    """
    served = [region for region in regions if consumer.is_in(region)]
    return {
        "Version": VERSION,
        "Statement": [
            {
                "Sid": "UseImages",
                "Effect": "Allow",
                "Action": list(PULL_ACTIONS),
                "Resource": sorted(arn for arn in repository_arns if arn.split(":")[3] in served),
            },
            {"Sid": "LogIn", "Effect": "Allow", "Action": ["ecr:GetAuthorizationToken"], "Resource": "*"},
            {
                "Sid": "DeployFunctions",
                "Effect": "Allow",
                "Action": ["lambda:CreateFunction", "lambda:GetFunction", "lambda:UpdateFunctionCode"],
                "Resource": [function_arn(consumer.account, region, consumer.functions) for region in sorted(served)],
            },
        ],
    }


def lambda_trust_policy() -> Document:
    """Let the Lambda service assume a role.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
    """
    return {
        "Version": VERSION,
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
        ],
    }


def execution_policy(
    log_group_arn: str,
    *,
    secrets: Iterable[str] = (),
    dead_letter: str = "",
    in_vpc: bool = False,
    tracing: bool = False,
    extra_statements: Iterable[Mapping[str, Any]] = (),
) -> Document:
    """What a function's role may do: write to its own log group, and use what else its arguments name.

    Args:
        log_group_arn: without the `:*` that stands for its streams. The group exists before the function does.
        secrets: ARNs of secrets and parameters that it reads. Secrets Manager puts six characters of its own behind a
            secret's name; an ARN without them is granted as well. A secret under a key of yours needs a statement that
            allows `kms:Decrypt` besides. https://docs.aws.amazon.com/secretsmanager/latest/userguide/getting-started.html
        dead_letter: ARN of the queue or topic that gets failed events.
        in_vpc: whether Lambda attaches it to a network. The actions know no resource before the interface exists.
            https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
        tracing: whether it sends traces, which knows no resource either.
            https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html
        extra_statements: further statements.
    """
    statements = [_allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], f"{log_group_arn}:*")]
    reading = {
        "Secrets": ("secretsmanager:GetSecretValue", ":secretsmanager:"),
        "Parameters": ("ssm:GetParameter", ":ssm:"),
    }
    known = sorted(set(secrets))
    for sid, (action, service) in reading.items():
        if arns := [arn for arn in known if service in arn]:
            suffixed = [f"{arn}-??????" for arn in arns if sid == "Secrets"]
            statements.append(_allow(sid, [action], arns + suffixed))
    if dead_letter:
        action = "sqs:SendMessage" if ":sqs:" in dead_letter else "sns:Publish"
        statements.append(_allow("DeadLetters", [action], dead_letter))
    if in_vpc:
        statements.append(_allow("Network", list(NETWORK_ACTIONS), "*"))
    if tracing:
        statements.append(_allow("Traces", ["xray:PutTelemetryRecords", "xray:PutTraceSegments"], "*"))
    return {"Version": VERSION, "Statement": [*statements, *map(dict, extra_statements)]}


def _allow(sid: str, actions: list[str], resource: str | list[str]) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
