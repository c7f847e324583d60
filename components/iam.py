"""Policy documents and ARNs: pure functions, one for each statement."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

Document = dict[str, Any]
Statement = dict[str, Any]
VERSION = "2012-10-17"

# The permissions to pull an image. Neither allows a push.
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

# The permissions of a preview: pull, and list images.
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

# Prefixes of the Regions in each partition except `aws`. A test compares them with the SDK's table.
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

# Condition keys that say for whom a service acts, and the operators that compare them.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
SOURCE_KEYS = {"aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths"}
COMPARES = re.compile(r"(ForAnyValue:)?(String(Equals(IgnoreCase)?|Like)|Arn(Equals|Like))", re.IGNORECASE)


def partition(region: str) -> str:
    """The partition a Region belongs to, such as `aws`."""
    return next((name for start, name in PARTITIONS.items() if region.startswith(start)), "aws")


def account_arn(account: str, region: str) -> str:
    """The principal of a whole account. ECR changes a bare account ID to this form."""
    return f"arn:{partition(region)}:iam::{account}:root"


def function_arn(account: str, region: str, name: str) -> str:
    """A Lambda function's ARN; `name` may be a pattern such as `*`."""
    return f"arn:{partition(region)}:lambda:{region}:{account}:function:{name}"


def compact(policy: Document) -> str:
    """A policy as JSON without spaces, because ECR limits its length."""
    return json.dumps(policy, separators=(",", ":"))


def document(*statements: Statement) -> Document:
    """A policy of statements."""
    return {"Version": VERSION, "Statement": list(statements)}


# ---- repository policy


def callers_pull(principals: list[str] | str, organization: str | None) -> Statement:
    """Allow principals of other accounts to create and update functions with a repository's images.

    Args:
        principals: their ARNs, sorted because ECR may reorder them; or `*`.
        organization: ID of the AWS organization that they must also belong to.
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
    """Allow the Lambda service to pull an image again after a function was idle for weeks and became `INACTIVE`.

    Without it a function works at first and fails later. A service principal never matches `aws:PrincipalOrgID`.
    https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-xaccount-permissions
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html

    Args:
        functions: patterns of the functions' ARNs.
        organization: ID of the AWS organization that they must also belong to.
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
    """Allow the Lambda service to pull images for functions in the repository's own account.

    If this statement is missing and the deployer may set the policy, Lambda adds it, and the policy drifts. The
    policies of the account's own principals decide who may deploy such functions.
    https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-permissions
    """
    return {
        **lambda_pulls([function_arn(account, region, "*")], organization=None),
        "Sid": "LambdaECRImageRetrievalPolicy",
    }


def readers_read(principals: list[str]) -> Statement:
    """Allow principals to list and pull images."""
    return {"Sid": "Readers", "Effect": "Allow", "Action": list(READ_ACTIONS), "Principal": {"AWS": principals}}


def publishers_push(principals: list[str]) -> Statement:
    """Allow principals to push images."""
    return {"Sid": "Publishers", "Effect": "Allow", "Action": list(PUSH_ACTIONS), "Principal": {"AWS": principals}}


def is_for_any_source(statement: Mapping[str, Any]) -> bool:
    """Whether a statement allows a service to act for any account, resource or organization."""
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


# ---- deployer policy


def deployer_policy(repositories: Iterable[str], functions: Iterable[str]) -> Document:
    """The policy of a principal that deploys functions with images of another account's repositories.

    Across accounts, the repository policy and the caller's own policy must both allow the pull. This policy contains no
    permissions to manage functions, roles, logs and APIs.
    https://repost.aws/knowledge-center/lambda-ecr-image

    Args:
        repositories: ARNs of the repositories.
        functions: patterns of the functions' ARNs.
    """
    return document(
        allow("UseImages", PULL_ACTIONS, sorted(repositories)),
        # This action does not support resources. With the token, the program checks the image before Lambda pulls it.
        allow("LogIn", ["ecr:GetAuthorizationToken"], "*"),
        allow(
            "DeployFunctions",
            ["lambda:CreateFunction", "lambda:GetFunction", "lambda:UpdateFunctionCode"],
            sorted(functions),
        ),
    )


# ---- execution role


def trust_policy(service: str, **condition: Any) -> Document:
    """Allow a service, such as `lambda`, to assume a role.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
    """
    principal = {"Service": f"{service}.amazonaws.com"}
    return document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, **condition})


def writes_logs(log_group_arn: str) -> Statement:
    """Allow writing to an existing log group; `log_group_arn` does not end in `:*`."""
    return allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], f"{log_group_arn}:*")


def reads_secrets(secrets: list[str]) -> Statement:
    """Allow reading secrets in Secrets Manager, which adds a suffix of six characters to a secret's name.

    The statement allows ARNs with and without the suffix. A secret with a customer managed key also needs
    `kms:Decrypt`.
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/getting-started.html
    """
    return allow("Secrets", ["secretsmanager:GetSecretValue"], [*secrets, *(f"{arn}-??????" for arn in secrets)])


def reads_parameters(parameters: list[str]) -> Statement:
    """Allow reading SSM parameters."""
    return allow("Parameters", ["ssm:GetParameter"], parameters)


def joins_network() -> Statement:
    """Allow attaching a function to a network. The network interface does not exist yet, so the resource is `*`.

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
    """Send the results of asynchronous calls, or the events that failed, to a destination.

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
    """Allow sending traces. The actions do not support resources. https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html."""
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
    return trust_policy("scheduler", Condition={"StringEquals": {"aws:SourceAccount": account, "aws:SourceArn": group}})


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
    """A statement of an identity policy."""
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}
