"""The policy documents say what AWS's walk-through says, and nothing more."""

import itertools
import json
from pathlib import Path

import pytest

from components.policies import PULL_ACTIONS, logging_policy, repository_policy

GOLDEN = Path(__file__).with_name("repository_policy.json")
ACCOUNTS = ["222222222222", "333333333333", "444444444444"]


def test_repository_policy_is_that_of_the_walk_through() -> None:
    assert repository_policy(["222222222222"], "us-east-1") == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("accounts", list(itertools.permutations(ACCOUNTS)))
def test_order_of_accounts_changes_nothing(accounts: tuple[str, ...]) -> None:
    # ECR gives principals back in an order of its own; a policy that followed the input would differ for ever.
    assert repository_policy(accounts, "us-east-1") == repository_policy(ACCOUNTS, "us-east-1")


def test_an_account_named_twice_stands_there_once() -> None:
    assert repository_policy(ACCOUNTS + ACCOUNTS, "us-east-1") == repository_policy(ACCOUNTS, "us-east-1")


def test_both_statements_name_every_account() -> None:
    # With the first alone a function works at first and fails weeks later, when Lambda pulls the image again.
    callers, service = repository_policy(ACCOUNTS, "us-east-1")["Statement"]
    assert [arn.split(":")[4] for arn in callers["Principal"]["AWS"]] == ACCOUNTS
    assert [arn.split(":")[4] for arn in service["Condition"]["StringLike"]["aws:sourceArn"]] == ACCOUNTS


def test_no_statement_allows_more_than_a_pull() -> None:
    for statement in repository_policy(ACCOUNTS, "us-east-1")["Statement"]:
        assert statement["Action"] == list(PULL_ACTIONS)
        assert "*" not in json.dumps(statement["Principal"])


@pytest.mark.parametrize(
    ("region", "partition"), [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_arns_are_of_the_regions_partition(region: str, partition: str) -> None:
    callers, service = repository_policy(["222222222222"], region)["Statement"]
    assert callers["Principal"]["AWS"] == [f"arn:{partition}:iam::222222222222:root"]
    expected = [f"arn:{partition}:lambda:{region}:222222222222:function:*"]
    assert service["Condition"]["StringLike"]["aws:sourceArn"] == expected


def test_a_function_may_write_to_its_own_log_group_only() -> None:
    (statement,) = logging_policy("arn:aws:logs:us-east-1:222222222222:log-group:/aws/lambda/hello")["Statement"]
    assert statement["Resource"] == "arn:aws:logs:us-east-1:222222222222:log-group:/aws/lambda/hello:*"
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
