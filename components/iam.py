"""Policy documents and ARNs, as pure functions of plain values: a function for each statement."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

Document = dict[str, Any]
Statement = dict[str, Any]
VERSION = "2012-10-17"

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

# What a preview reads of images, besides a pull: which there are.
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policy-examples.html
READ_ACTIONS = ("ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer", "ecr:ListImages")

NETWORK_ACTIONS = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)

POLL_ACTIONS = ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
# By the service of a destination.
RESULT_ACTIONS = {
    "events": "events:PutEvents",
    "lambda": "lambda:InvokeFunction",
    "sns": "sns:Publish",
    "sqs": "sqs:SendMessage",
}

# https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
POLICY_CHARACTERS = 10_240

# The beginnings of the Regions of each partition but `aws`, as the SDK's table has them; a test compares the two.
# Service principals are the same in all of them: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
# https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json
PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
    "eusc-": "aws-eusc",
}

# What says for whom a service acts, with the operators that compare it.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
SOURCE_KEYS = {"aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths"}
COMPARES = re.compile(r"(ForAnyValue:)?(String(Equals(IgnoreCase)?|Like)|Arn(Equals|Like))", re.IGNORECASE)


def partition(region: str) -> str:
    """The partition a Region belongs to, such as `aws`."""
    return next((name for start, name in PARTITIONS.items() if region.startswith(start)), "aws")


def account_arn(account: str, region: str) -> str:
    """The principal that stands for a whole account. ECR rewrites a bare account ID to this form."""
    return f"arn:{partition(region)}:iam::{account}:root"


def function_arn(account: str, region: str, name: str) -> str:
    """A Lambda function's ARN; `name` may be a pattern such as `*`."""
    return f"arn:{partition(region)}:lambda:{region}:{account}:function:{name}"


def compact(policy: Document) -> str:
    """A policy as JSON without a space: ECR counts characters."""
    return json.dumps(policy, separators=(",", ":"))


def document(*statements: Statement) -> Document:
    """A policy of statements."""
    return {"Version": VERSION, "Statement": list(statements)}


# ---- of a repository's policy


def callers_pull(principals: list[str] | str, organization: str | None) -> Statement:
    """Let principals of other accounts create and update functions with a repository's images.

    Args:
        principals: their ARNs, sorted, for ECR may reorder them; or `*`.
        organization: ID of the AWS organization that they must belong to besides.
    """
    condition = {"Condition": {"StringEquals": {"aws:PrincipalOrgID": organization}}} if organization else {}
    return {
        "Sid": "CrossAccountPermission",
        "Effect": "Allow",
        "Action": list(PULL_ACTIONS),
        "Principal": {"AWS": principals},
        **condition,
    }


def lambda_pulls(functions: list[str], organization: str | None) -> Statement:
    """Let the Lambda service pull an image again after a function was idle for weeks and became `INACTIVE`.

    Without it a function works at first and fails later. A service principal never matches `aws:PrincipalOrgID`.
    https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-xaccount-permissions
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html

    Args:
        functions: patterns of the functions' ARNs.
        organization: ID of the AWS organization that they must belong to besides.
    """
    condition: Document = {"StringLike": {"aws:sourceArn": functions}}
    if organization:
        condition["StringEquals"] = {"aws:SourceOrgID": organization}
    return {
        "Sid": "LambdaECRImageCrossAccountRetrievalPolicy",
        "Effect": "Allow",
        "Action": list(PULL_ACTIONS),
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Condition": condition,
    }


def own_lambda_pulls(account: str, region: str) -> Statement:
    """Let the Lambda service pull for the functions of the repository's own account.

    Lambda adds this statement by itself, if it is missing and the deployer may set the policy; a policy without it
    would drift. Who may deploy such functions, the policies of the account's own principals decide.
    https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-permissions
    """
    return {
        **lambda_pulls([function_arn(account, region, "*")], organization=None),
        "Sid": "LambdaECRImageRetrievalPolicy",
    }


def readers_read(principals: list[str]) -> Statement:
    """Let principals look at images and pull them."""
    return {"Sid": "Readers", "Effect": "Allow", "Action": list(READ_ACTIONS), "Principal": {"AWS": principals}}


def publishers_push(principals: list[str]) -> Statement:
    """Let principals push."""
    return {"Sid": "Publishers", "Effect": "Allow", "Action": list(PUSH_ACTIONS), "Principal": {"AWS": principals}}


def is_for_any_source(statement: Mapping[str, Any]) -> bool:
    """Whether a statement allows a service something, no matter for whose account, resource or organization it acts."""
    principal = statement.get("Principal")
    if statement.get("Effect") != "Allow" or not isinstance(principal, Mapping) or "Service" not in principal:
        return False
    condition = statement.get("Condition")
    compared = condition.items() if isinstance(condition, Mapping) else ()
    return not any(
        COMPARES.fullmatch(str(operator))
        and isinstance(keys, Mapping)
        and SOURCE_KEYS & {str(key).lower() for key in keys}
        for operator, keys in compared
    )


# ---- of a deployer's policy


def deployer_policy(repositories: Iterable[str], functions: Iterable[str]) -> Document:
    """What a principal needs that deploys functions with the images of repositories of another account.

    The repository's policy alone is not enough: across accounts the caller's own policy has to allow it as well. Which
    other rights it needs to manage functions, roles, logs and APIs is for its account to decide.
    https://repost.aws/knowledge-center/lambda-ecr-image

    Args:
        repositories: ARNs of the repositories.
        functions: patterns of the functions' ARNs.
    """
    return document(
        allow("UseImages", PULL_ACTIONS, sorted(repositories)),
        # A log-in to a registry knows no resource; with it the image is checked before Lambda gets it.
        allow("LogIn", ["ecr:GetAuthorizationToken"], "*"),
        allow(
            "DeployFunctions",
            ["lambda:CreateFunction", "lambda:GetFunction", "lambda:UpdateFunctionCode"],
            sorted(functions),
        ),
    )


# ---- of an execution role


def lambda_trust_policy() -> Document:
    """Let the Lambda service assume a role.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
    """
    return document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}})


def writes_logs(log_group_arn: str) -> Statement:
    """Write to a log group, which exists before the function does; `log_group_arn` is without `:*`."""
    return allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], f"{log_group_arn}:*")


def reads_secrets(secrets: list[str]) -> Statement:
    """Read secrets of Secrets Manager, which puts six characters of its own behind a secret's name.

    An ARN without them is granted as well. A secret under a key of yours needs `kms:Decrypt` besides.
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/getting-started.html
    """
    return allow("Secrets", ["secretsmanager:GetSecretValue"], [*secrets, *(f"{arn}-??????" for arn in secrets)])


def reads_parameters(parameters: list[str]) -> Statement:
    """Read parameters of SSM."""
    return allow("Parameters", ["ssm:GetParameter"], parameters)


def sends_dead_letters(target: str) -> Statement:
    """Send events of failed asynchronous calls to a queue or a topic."""
    return allow("DeadLetters", ["sqs:SendMessage" if ":sqs:" in target else "sns:Publish"], target)


def joins_network() -> Statement:
    """Attach a function to a network. The actions know no resource before the interface exists.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
    """
    return allow("Network", NETWORK_ACTIONS, "*")


def polls_queues(queues: list[str]) -> Statement:
    """Read queues, as Lambda does for a function.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions
    """
    return allow("TriggerQueues", POLL_ACTIONS, queues)


def decrypts_queues(keys: list[str]) -> Statement:
    """Decrypt the messages of queues that have keys of their owner."""
    return allow("TriggerKeys", ["kms:Decrypt"], keys)


def sends_results(sid: str, destination: str) -> list[Statement]:
    """Send the results of asynchronous calls to a destination.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html#invocation-async-destinations
    """
    service = destination.split(":")[2]
    if service == "s3":
        return [
            allow(sid, ["s3:PutObject"], f"{destination}/*"),
            allow(f"{sid}Bucket", ["s3:ListBucket"], destination),
        ]
    return [allow(sid, [RESULT_ACTIONS[service]], destination)]


def mounts_file_system(access_point: str, *, read_only: bool) -> Statement:
    """Mount a file system by one access point. The actions are judged on the file system, whose ID nobody gives here.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticfilesystem.html
    """
    mount = "elasticfilesystem:ClientMount"
    return {
        **allow(
            "FileSystem",
            [mount] if read_only else [mount, "elasticfilesystem:ClientWrite"],
            f"{access_point.rpartition(':')[0]}:file-system/*",
        ),
        "Condition": {"StringEquals": {"elasticfilesystem:AccessPointArn": access_point}},
    }


def sends_traces() -> Statement:
    """Send traces, which know no resource either. https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html."""
    return allow("Traces", ["xray:PutTelemetryRecords", "xray:PutTraceSegments"], "*")


# ---- of a schedule's role


def scheduler_trust_policy(function: str) -> Document:
    """Let EventBridge Scheduler assume a role for the schedules of a function's account and Region, and no others.

    The condition takes a group of schedules, and none of them alone.
    https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html

    Args:
        function: ARN of the function.
    """
    region, account = function.split(":")[3:5]
    group = f"arn:{partition(region)}:scheduler:{region}:{account}:schedule-group/default"
    return document(
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": "scheduler.amazonaws.com"},
            "Condition": {"StringEquals": {"aws:SourceAccount": account, "aws:SourceArn": group}},
        }
    )


def scheduler_policy(function: str, dead_letter: str | None) -> Document:
    """Call a function, or its alias, and send what it did not take to a queue."""
    calls = allow("Call", ["lambda:InvokeFunction"], function)
    return document(calls, *([allow("DeadLetters", ["sqs:SendMessage"], dead_letter)] if dead_letter else []))


# ---- of a queue's or a topic's policy: what others add to it, so that no two may have one Sid


def role_polls(role: str, queue: str) -> Statement:
    """Let the role of a function of another account read a queue.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs-cross-account-example.html
    """
    return {"Effect": "Allow", "Action": list(POLL_ACTIONS), "Resource": queue, "Principal": {"AWS": role}}


def account_subscribes(account: str, function: str, topic: str) -> Statement:
    """Let another account subscribe a function of its own, and nothing else, to a topic.

    https://docs.aws.amazon.com/sns/latest/dg/sns-send-message-to-lambda-cross-account.html
    """
    return {
        "Effect": "Allow",
        "Action": "sns:Subscribe",
        "Resource": topic,
        "Principal": {"AWS": account},
        "Condition": {"StringEquals": {"sns:Protocol": "lambda", "sns:Endpoint": function}},
    }


def service_sends(service: str, source: str, queue: str) -> Statement:
    """Let a service send to a queue what a resource, a topic or a rule, could not hand over.

    https://docs.aws.amazon.com/sns/latest/dg/sns-configure-dead-letter-queue.html
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    """
    return {
        "Effect": "Allow",
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Principal": {"Service": service},
        "Condition": {"ArnEquals": {"aws:SourceArn": source}},
    }


def allow(sid: str, actions: Iterable[str], resource: str | list[str]) -> Statement:
    """A statement of an identity's policy."""
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}
