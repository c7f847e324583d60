"""Policy documents and ARNs, as pure functions of plain values."""

from collections.abc import Iterable
from typing import Any

Document = dict[str, Any]
VERSION = "2012-10-17"

# All that Lambda needs to take an image; neither allows a push.
# https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-xaccount-permissions
PULL_ACTIONS = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


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


def repository_policy(accounts: Iterable[str], region: str) -> Document:
    """Let the Lambda functions of other accounts use a repository's images.

    Both statements are needed. With the first, a principal of the account can create and update a function. With the
    second, the Lambda service can pull the image again after the function was idle for weeks and became `INACTIVE`;
    without it a function works at first and fails later.
    https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-xaccount-permissions

    Args:
        accounts: account IDs, in any order. ECR may reorder principals, so they are written sorted and once.
        region: the repository's Region, which is the functions' as well.
    """
    named = sorted(set(accounts))
    return {
        "Version": VERSION,
        "Statement": [
            {
                "Sid": "CrossAccountPermission",
                "Effect": "Allow",
                "Action": list(PULL_ACTIONS),
                "Principal": {"AWS": [account_arn(account, region) for account in named]},
            },
            {
                "Sid": "LambdaECRImageCrossAccountRetrievalPolicy",
                "Effect": "Allow",
                "Action": list(PULL_ACTIONS),
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Condition": {
                    "StringLike": {"aws:sourceArn": [function_arn(account, region, "*") for account in named]}
                },
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


def logging_policy(log_group_arn: str) -> Document:
    """Let a function write to its own log group and no other. The group exists before the function does.

    Args:
        log_group_arn: without the `:*` that stands for its streams.
    """
    return {
        "Version": VERSION,
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": f"{log_group_arn}:*",
            }
        ],
    }
