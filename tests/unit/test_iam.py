"""The policy documents say what AWS's walk-through says, and nothing more."""

import itertools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from components.errors import InvalidArgument
from components.function import ImageFunctionArgs
from components.iam import (
    POLICY_CHARACTERS,
    PULL_ACTIONS,
    PUSH_ACTIONS,
    Document,
    compact,
)
from components.image.source import ExistingImage
from components.repository import Consumer, CrossAccountRepositoryArgs, Repository, deployer_policy_of
from components.repository import repository_policy as policy_of
from scripts.permissions import resources
from tests.unit.recorder import consumer_settings, registry_settings

GOLDEN = Path(__file__).with_name("repository_policy.json")
ACCOUNTS = ["222222222222", "333333333333", "444444444444"]


def repository_policy(accounts: Iterable[str], region: str, **options: Any) -> Document:
    return policy_of([Consumer(account=account) for account in accounts], region, **options)


def repository_for(accounts: Iterable[str]) -> CrossAccountRepositoryArgs:
    consumers = [Consumer(account=account) for account in accounts]
    return CrossAccountRepositoryArgs(name="it", region="us-east-1", consumers=consumers)


def test_repository_policy_is_that_of_the_walk_through() -> None:
    assert repository_policy(["222222222222"], "us-east-1") == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("accounts", list(itertools.permutations(ACCOUNTS)))
def test_order_of_accounts_changes_nothing(accounts: tuple[str, ...]) -> None:
    # ECR gives principals back in an order of its own; a policy that followed the input would differ for ever.
    assert repository_policy(accounts, "us-east-1") == repository_policy(ACCOUNTS, "us-east-1")


def test_both_statements_name_every_account() -> None:
    # With the first alone a function works at first and fails weeks later, when Lambda pulls the image again.
    callers, service = repository_policy(ACCOUNTS, "us-east-1")["Statement"]
    assert [arn.split(":")[4] for arn in callers["Principal"]["AWS"]] == ACCOUNTS
    assert [arn.split(":")[4] for arn in service["Condition"]["StringLike"]["aws:sourceArn"]] == ACCOUNTS


def test_no_statement_allows_more_than_a_pull() -> None:
    for statement in repository_policy(ACCOUNTS, "us-east-1")["Statement"]:
        assert statement["Action"] == list(PULL_ACTIONS)
        assert "*" not in json.dumps(statement["Principal"])


SESSION = botocore.session.get_session()
PARTITIONS = SESSION.get_component("data_loader").load_data("partitions")["partitions"]
REGIONS = {
    region: one["id"]
    for one in PARTITIONS
    for region in sorted({*one["regions"], *SESSION.get_available_regions("lambda", partition_name=one["id"])})
    if not region.endswith("-global")
}


def test_every_partition_of_the_sdk_has_a_region() -> None:
    assert {one["id"] for one in PARTITIONS} == set(REGIONS.values())


@pytest.mark.parametrize(("region", "partition"), REGIONS.items())
def test_arns_are_of_the_regions_partition(region: str, partition: str) -> None:
    # The SDK's table, of every Region that it knows.
    assert Repository(name="it", replicas=[region]).replicas == [region]
    callers, service = repository_policy(["222222222222"], region)["Statement"]
    assert callers["Principal"]["AWS"] == [f"arn:{partition}:iam::222222222222:root"]
    expected = [f"arn:{partition}:lambda:{region}:222222222222:function:*"]
    assert service["Condition"]["StringLike"]["aws:sourceArn"] == expected


def test_the_documented_policies_are_of_the_regions_partition() -> None:
    region = "eusc-de-east-1"
    arns = set(resources(registry_settings(region=region), consumer_settings(region=region)).values()) - {"*"}
    assert {arn.split(":")[1] for arn in arns} == {"aws-eusc"}


def test_a_function_may_write_to_its_own_log_group_only() -> None:
    args = ImageFunctionArgs(image=ExistingImage(uri="REPOSITORY@sha256:" + "0" * 64))
    (statement,) = args.role_policy("arn:aws:logs:us-east-1:222222222222:log-group:/aws/lambda/hello")["Statement"]
    assert statement["Resource"] == "arn:aws:logs:us-east-1:222222222222:log-group:/aws/lambda/hello:*"
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]


def test_named_roles_narrow_the_callers_and_not_the_service() -> None:
    role = "arn:aws:iam::222222222222:role/deployer"
    consumers = [Consumer(account="222222222222", roles=[role]), Consumer(account="333333333333")]
    callers, service = policy_of(consumers, "us-east-1")["Statement"]
    assert callers["Principal"]["AWS"] == [role, "arn:aws:iam::333333333333:root"]
    assert len(service["Condition"]["StringLike"]["aws:sourceArn"]) == 2


def test_a_role_named_twice_is_written_once() -> None:
    # ECR keeps one: the policy would differ for ever.
    role = "arn:aws:iam::222222222222:role/deployer"
    callers, _ = policy_of([Consumer(account="222222222222", roles=[role, role])], "us-east-1")["Statement"]
    assert callers["Principal"]["AWS"] == [role]


def test_a_function_pattern_narrows_the_service() -> None:
    _, service = policy_of([Consumer(account="222222222222", functions="orders-*")], "us-east-1")["Statement"]
    expected = ["arn:aws:lambda:us-east-1:222222222222:function:orders-*"]
    assert service["Condition"]["StringLike"]["aws:sourceArn"] == expected


@pytest.mark.parametrize("functions", [["orders-*", "payments-*"], ["payments-*", "orders-*", "orders-*"]])
def test_an_account_may_have_several_function_patterns(functions: list[str]) -> None:
    consumer = Consumer(account="222222222222", functions=functions)
    callers, service = policy_of([consumer], "us-east-1")["Statement"]
    arn = "arn:aws:lambda:us-east-1:222222222222:function:"
    assert service["Condition"]["StringLike"]["aws:sourceArn"] == [f"{arn}orders-*", f"{arn}payments-*"]
    assert callers["Principal"]["AWS"] == ["arn:aws:iam::222222222222:root"]
    _, _, deployed = deployer_policy_of(consumer, [], ["us-east-1"])["Statement"]
    assert {f"{arn}orders-*", f"{arn}payments-*"} == set(deployed["Resource"])


def test_readers_may_look_and_pull_and_are_no_deployers() -> None:
    deployer, reader = (f"arn:aws:iam::222222222222:role/{name}" for name in ("deployer", "reader"))
    consumer = Consumer(account="222222222222", roles=[deployer], readers=[reader, reader])
    callers, _, reading = policy_of([consumer], "us-east-1")["Statement"]
    assert callers["Principal"]["AWS"] == [deployer]
    assert reading["Principal"]["AWS"] == [reader]
    assert set(PULL_ACTIONS) < set(reading["Action"])
    assert not set(PUSH_ACTIONS) & set(reading["Action"])


def test_the_owners_functions_have_the_statement_that_lambda_would_add() -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-permissions
    own = {
        "Sid": "LambdaECRImageRetrievalPolicy",
        "Effect": "Allow",
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Condition": {"StringLike": {"aws:sourceArn": ["arn:aws:lambda:us-east-1:111111111111:function:*"]}},
    }
    owner = Consumer(account="111111111111")
    assert policy_of([owner], "us-east-1", owner="111111111111")["Statement"] == [own]
    others = policy_of([Consumer(account="222222222222")], "us-east-1")["Statement"]
    both = policy_of([Consumer(account="222222222222"), owner], "us-east-1", owner="111111111111")
    assert both["Statement"] == [*others, own]
    assert policy_of([owner], "us-east-1", owner="111111111111", organization="o-abcdef1234")["Statement"] == [own]


def test_an_account_is_granted_in_its_regions_only() -> None:
    consumers = [Consumer(account="222222222222", regions=["eu-west-1"]), Consumer(account="333333333333")]
    callers, _ = policy_of(consumers, "us-east-1")["Statement"]
    assert callers["Principal"]["AWS"] == ["arn:aws:iam::333333333333:root"]


def test_an_organization_has_a_key_for_callers_and_another_for_the_service() -> None:
    # aws:PrincipalOrgID never matches a service principal.
    callers, service = repository_policy(["222222222222"], "us-east-1", organization="o-abcdef1234")["Statement"]
    assert callers["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-abcdef1234"}}
    assert service["Condition"]["StringEquals"] == {"aws:SourceOrgID": "o-abcdef1234"}
    assert "aws:sourceArn" in service["Condition"]["StringLike"]


def test_an_organization_alone_never_grants_without_its_condition() -> None:
    for statement in repository_policy([], "us-east-1", organization="o-abcdef1234")["Statement"]:
        assert "o-abcdef1234" in json.dumps(statement["Condition"])


def test_publishers_may_push_and_nobody_else() -> None:
    publisher = "arn:aws:iam::555555555555:role/publisher"
    statements = repository_policy(ACCOUNTS, "us-east-1", publishers=[publisher])["Statement"]
    (pushing,) = [statement for statement in statements if "ecr:PutImage" in statement["Action"]]
    assert pushing["Principal"] == {"AWS": [publisher]}
    assert tuple(pushing["Action"]) == PUSH_ACTIONS


def test_statements_are_appended() -> None:
    extra = {"Sid": "Auditors", "Effect": "Allow", "Action": "ecr:ListImages", "Principal": {"AWS": "*"}}
    assert repository_policy(ACCOUNTS, "us-east-1", statements=[extra])["Statement"][-1] == extra


@pytest.mark.parametrize("publisher", ["*", "222222222222", "arn:aws:iam::222222222222:role/*", "publisher"])
def test_a_publisher_that_is_not_one_principal_is_refused(publisher: str) -> None:
    with pytest.raises(InvalidArgument, match=r"publishers\[0\]: .* is not allowed; it must be the ARN of a principal"):
        Repository(name="it", publishers=[publisher])


@pytest.mark.parametrize("sid", ["CrossAccountPermission", "", 5, ["Auditors"]])
def test_a_sid_that_is_not_unique_is_refused(sid: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"statements\[0\]: must have a Sid that no other statement has"):
        Repository(name="it", statements=[{"Sid": sid, "Effect": "Deny"}])


FOR_LAMBDA = {"Sid": "More", "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "ecr:*"}


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-exampleorgid"}}},
        {"Condition": {"Null": {"aws:SourceAccount": "true"}}},
        {"Condition": {"StringNotEquals": {"aws:SourceAccount": "222222222222"}}},
    ],
)
def test_a_statement_for_a_service_without_its_source_is_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"statements\[0\]: lets a service act for anyone"):
        Repository(name="it", statements=[{**FOR_LAMBDA, **condition}])


@pytest.mark.parametrize("key", ["aws:SourceAccount", "aws:SourceArn", "AWS:SOURCEORGID"])
def test_a_statement_for_a_service_with_a_source_is_accepted(key: str) -> None:
    Repository(name="it", statements=[{**FOR_LAMBDA, "Condition": {"StringLike": {key: "*"}}}])


def test_a_policy_that_is_too_long_is_refused_with_the_number_that_fits() -> None:
    accounts = [f"{number:012}" for number in range(1000)]
    with pytest.raises(InvalidArgument, match=r"ECR allows 10240, which is about \d+ accounts here") as refused:
        repository_for(accounts)
    fit = int(re.findall(r"about (\d+) accounts", str(refused.value))[0])
    assert len(compact(repository_policy(accounts[:fit], "us-east-1"))) <= POLICY_CHARACTERS
    with pytest.raises(InvalidArgument):
        repository_for(accounts[: fit + 1])


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"account": "*"}, "Consumer.account: .* 12 digits"),
        ({"account": "\u0662" * 12}, "Consumer.account: .* 12 digits"),
        ({"account": "2" * 12, "roles": ["arn:aws:iam::222222222222:role/*"]}, "it must be the ARN of a role"),
        ({"account": "2" * 12, "functions": ["a", "a b"]}, r'Consumer.functions\[1\]: "a b" is not allowed'),
        ({"account": "2" * 12, "functions": []}, r"Consumer.functions: \[\] is not allowed"),
        (
            {"account": "2" * 12, "roles": ["arn:aws:iam::333333333333:role/x"]},
            "role of account 222222222222",
        ),
    ],
)
def test_a_consumer_that_aws_does_not_know_is_refused(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidArgument, match=expected):
        Consumer(**wrong)


def test_a_deployer_may_use_the_images_of_its_regions_and_deploy_its_functions() -> None:
    consumer = Consumer(account="222222222222", regions=["eu-west-1"], functions="orders-*")
    arns = [f"arn:aws:ecr:{region}:111111111111:repository/hello" for region in ("us-east-1", "eu-west-1")]
    images, _, functions = deployer_policy_of(consumer, arns, ["us-east-1", "eu-west-1"])["Statement"]
    assert images["Resource"] == ["arn:aws:ecr:eu-west-1:111111111111:repository/hello"]
    assert images["Action"] == list(PULL_ACTIONS)
    assert functions["Resource"] == ["arn:aws:lambda:eu-west-1:222222222222:function:orders-*"]


def test_an_organization_does_not_stand_in_for_consumers_of_other_regions() -> None:
    consumers = [Consumer(account="222222222222", regions=["eu-west-1"])]
    assert policy_of(consumers, "us-east-1", organization="o-abcdef1234")["Statement"] == []
