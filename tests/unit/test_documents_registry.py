"""The documents of the registry stack, asked of evaluators: who may pull and push, deployers, and what expires."""

import json
from typing import Any

import pytest

from components.errors import DeploymentError
from local.cloud.lifecycle import SECONDS_A_DAY, expired
from tests.unit.conftest import Deploy
from tests.unit.recorder import REGISTRY_OUTPUTS
from tests.unit.registered import lets, may

PULL = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
PUSH = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:CompleteLayerUpload",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
)
OTHER = (
    "ecr:DescribeImages",
    "ecr:ListImages",
    "ecr:BatchDeleteImage",
    "ecr:DeleteRepository",
    "ecr:SetRepositoryPolicy",
    "ecr:PutLifecyclePolicy",
)
ARN = REGISTRY_OUTPUTS["repositoryArn"]
LAMBDA = "lambda.amazonaws.com"


def policy(deploy: Deploy, *consumers: dict[str, Any], **repository: Any) -> Any:
    done = deploy(
        "registry",
        consumers=list(consumers) or None,
        repository={"name": "cross-account-function", **repository},
    )
    return json.loads(done.one("aws:ecr/repositoryPolicy:RepositoryPolicy").inputs["policy"])


def allowed(document: Any, caller: str, keys: dict[str, str] | None = None) -> set[str]:
    """The actions that a principal may take."""
    return {action for action in (*PULL, *PUSH, *OTHER) if lets(document, action, ARN, caller=caller, keys=keys)}


def pulls(document: Any, function: str, service: str = LAMBDA, **keys: str) -> bool:
    """Whether a service may pull for a function, and whether it may do that alone."""
    context = {"aws:SourceArn": function, "aws:SourceAccount": function.split(":")[4], **keys}
    actions = {one for one in (*PULL, *PUSH, *OTHER) if lets(document, one, ARN, service=service, keys=context)}
    assert actions in (set(), set(PULL))
    return bool(actions)


def role(account: str, name: str = "deployer") -> str:
    return f"arn:aws:iam::{account}:role/{name}"


def function(account: str, name: str = "orders", region: str = "us-east-1") -> str:
    return f"arn:aws:lambda:{region}:{account}:function:{name}"


TWO, THREE = {"account": "222222222222"}, {"account": "333333333333"}


# ---- who may pull


def test_consumers_may_pull_and_nothing_else(deploy: Deploy) -> None:
    document = policy(deploy, TWO, THREE)
    for account in ("222222222222", "333333333333"):
        assert allowed(document, role(account)) == set(PULL)
        assert pulls(document, function(account))
    assert not allowed(document, role("444444444444"))
    assert not pulls(document, function("444444444444"))
    assert not pulls(document, function("222222222222", region="eu-west-1"))
    assert not pulls(document, function("222222222222"), service="ecs.amazonaws.com")


def test_a_consumer_may_be_narrowed_to_roles_and_functions(deploy: Deploy) -> None:
    document = policy(deploy, {**TWO, "roles": [role("222222222222")], "functions": "orders-*"}, THREE)
    assert allowed(document, role("222222222222")) == set(PULL)
    assert not allowed(document, role("222222222222", "other"))
    assert allowed(document, role("333333333333", "other")) == set(PULL)
    assert pulls(document, function("222222222222", "orders-new"))
    assert not pulls(document, function("222222222222", "bills"))
    assert pulls(document, function("333333333333", "bills"))


def test_a_consumer_may_have_several_function_patterns(deploy: Deploy) -> None:
    document = policy(deploy, {**TWO, "functions": ["orders-*", "payments"]})
    assert [pulls(document, function("222222222222", name)) for name in ("orders-new", "payments")] == [True, True]
    assert not pulls(document, function("222222222222", "payments-new"))


def test_a_reader_may_list_and_pull_where_only_other_roles_deploy(deploy: Deploy) -> None:
    reader = role("222222222222", "preview")
    document = policy(deploy, {**TWO, "roles": [role("222222222222")], "readers": [reader]})
    assert allowed(document, reader) == {*PULL, "ecr:DescribeImages", "ecr:ListImages"}
    assert allowed(document, role("222222222222")) == set(PULL)
    assert not allowed(document, role("222222222222", "other"))


def test_lambda_pulls_for_functions_of_the_registrys_own_account(deploy: Deploy) -> None:
    document = policy(deploy, {"account": "111111111111"}, TWO)
    assert pulls(document, function("111111111111"))
    assert not pulls(document, function("111111111111", region="eu-west-1"))
    # What its principals may do is for their own policies to decide.
    assert not allowed(document, role("111111111111"))


def test_an_organization_alone_grants_its_members(deploy: Deploy) -> None:
    document = policy(deploy, organization="o-abcdef1234")
    member, stranger = {"aws:PrincipalOrgID": "o-abcdef1234"}, {"aws:PrincipalOrgID": "o-zzzzzzzzzz"}
    assert allowed(document, role("444444444444"), member) == set(PULL)
    assert not allowed(document, role("444444444444"), stranger)
    assert not allowed(document, role("444444444444"))
    # A service has no organization of its own: the function has.
    assert pulls(document, function("444444444444"), **{"aws:SourceOrgID": "o-abcdef1234"})
    assert not pulls(document, function("444444444444"), **{"aws:SourceOrgID": "o-zzzzzzzzzz"})
    assert not pulls(document, function("444444444444"))


def test_with_consumers_the_organization_narrows_them(deploy: Deploy) -> None:
    document = policy(deploy, TWO, organization="o-abcdef1234")
    member = {"aws:PrincipalOrgID": "o-abcdef1234"}
    assert allowed(document, role("222222222222"), member) == set(PULL)
    assert not allowed(document, role("222222222222"))
    assert not allowed(document, role("333333333333"), member)
    assert not pulls(document, function("333333333333"), **{"aws:SourceOrgID": "o-abcdef1234"})


# ---- who may push


def test_publishers_may_push_and_not_pull(deploy: Deploy) -> None:
    document = policy(deploy, TWO, publishers=[role("555555555555", "publisher")])
    assert allowed(document, role("555555555555", "publisher")) == set(PUSH)
    assert not allowed(document, role("555555555555", "other"))
    assert allowed(document, role("222222222222")) == set(PULL)


def test_principals_are_written_sorted_and_once(deploy: Deploy) -> None:
    # ECR may give them back in another order: any order but one would be a change in every preview.
    publishers = [role("555555555555", f"p{number}") for number in range(9)]
    roles = [role("222222222222", f"r{number}") for number in range(9)]
    mixed = [*publishers[4:], *publishers[:4], publishers[0]]
    document = policy(deploy, THREE, {**TWO, "roles": [*roles[5:], *roles[:5], roles[2]]}, publishers=mixed)
    callers, service, pushing = document["Statement"]
    assert callers["Principal"]["AWS"] == [*roles, "arn:aws:iam::333333333333:root"]
    assert pushing["Principal"]["AWS"] == publishers
    arns = service["Condition"]["StringLike"]["aws:sourceArn"]
    assert arns == [function("222222222222", "*"), function("333333333333", "*")]


def test_further_statements_are_added_as_they_are(deploy: Deploy) -> None:
    auditor = role("666666666666", "auditor")
    more = {"Sid": "Auditors", "Effect": "Allow", "Action": "ecr:ListImages", "Principal": {"AWS": auditor}}
    document = policy(deploy, TWO, statements=[more])
    assert document["Statement"][-1] == more
    assert lets(document, "ecr:ListImages", ARN, caller=auditor)
    assert allowed(document, role("222222222222")) == set(PULL)


def test_the_policy_has_no_resource_element_and_no_space(deploy: Deploy) -> None:
    # ECR refuses the one and counts the other.
    done = deploy("registry", consumers=[TWO, THREE], repository={"name": "it", "publishers": [role("5" * 12)]})
    text = done.one("aws:ecr/repositoryPolicy:RepositoryPolicy").inputs["policy"]
    document = json.loads(text)
    assert document["Version"] == "2012-10-17"
    assert not [statement for statement in document["Statement"] if "Resource" in statement]
    assert " " not in text


# ---- what deployers need


def deployer(deploy: Deploy, **consumer: Any) -> Any:
    done = deploy("registry", consumers=[{**TWO, **consumer}, THREE])
    return json.loads(done.outputs["deployerPolicies"]["222222222222"])


def test_a_deployer_may_use_the_images_and_deploy_its_functions(deploy: Deploy) -> None:
    document = deployer(deploy, functions="orders-*")
    granted = [
        *((action, ARN) for action in PULL),
        ("ecr:GetAuthorizationToken", "*"),
        ("lambda:CreateFunction", function("222222222222", "orders-new")),
        ("lambda:UpdateFunctionCode", function("222222222222", "orders-new")),
        ("lambda:GetFunction", function("222222222222", "orders-new")),
    ]
    assert [pair for pair in granted if not may(document, *pair)] == []
    refused = [
        *((action, f"{ARN}2") for action in PULL),
        *((action, ARN) for action in (*PUSH, *OTHER)),
        ("lambda:CreateFunction", function("222222222222", "bills")),
        ("lambda:UpdateFunctionCode", function("333333333333", "orders-new")),
        ("lambda:CreateFunction", function("222222222222", "orders-new", "eu-west-1")),
        ("lambda:InvokeFunction", function("222222222222", "orders-new")),
        ("iam:PassRole", "*"),
    ]
    assert [pair for pair in refused if may(document, *pair)] == []


# ---- what expires


def rules(deploy: Deploy, *lifecycle: dict[str, Any]) -> Any:
    repository = {"name": "it", "lifecycle": list(lifecycle)}
    return json.loads(
        deploy("registry", repository=repository).one("aws:ecr/lifecyclePolicy:LifecyclePolicy").inputs["policy"]
    )


def images(*groups: tuple[str, int]) -> list[dict[str, Any]]:
    """So many images of each tag prefix, an empty one for none, each a day older than the one after it."""
    tags = [f"{prefix}{number}" if prefix else "" for prefix, count in groups for number in range(count)]
    return [
        {
            "imageDigest": f"{tag or 'untagged'}-{index}",
            "imageTags": [tag] if tag else [],
            "imagePushedAt": (index - len(tags)) * SECONDS_A_DAY,
            "imageManifest": "{}",
        }
        for index, tag in enumerate(tags)
    ]


def gone(policy: Any, held: list[dict[str, Any]]) -> list[str]:
    return [one.digest for one in expired(policy, held, 0)]


def test_by_default_nothing_expires(deploy: Deploy) -> None:
    # No rule can tell which images functions run.
    assert not deploy("registry").of("aws:ecr/lifecyclePolicy:LifecyclePolicy")


def test_two_rules_each_expire_what_they_select(deploy: Deploy) -> None:
    policy = rules(
        deploy,
        {"description": "releases", "keep": 2, "tagPrefixes": ["v"]},
        {"description": "candidates", "days": 3, "tagPatterns": ["rc-*"]},
        {"keep": 6},
    )
    assert [rule["rulePriority"] for rule in policy["rules"]] == [1, 2, 3]
    assert [rule.get("description") for rule in policy["rules"]] == ["releases", "candidates", None]
    assert all(rule["action"] == {"type": "expire"} for rule in policy["rules"])
    assert gone(policy, images(("v", 3))) == ["v0-0"]
    assert gone(policy, images(("rc-", 5))) == ["rc-0-0", "rc-1-1"]
    assert gone(policy, images(("it", 7))) == ["it0-0"]


@pytest.mark.parametrize(
    "lifecycle",
    [
        [{"keep": 1, "tagPrefixes": ["a"]}, {"keep": 2, "tagPrefixes": ["b"]}],
        [{"keep": 1, "untagged": True}, {"days": 2, "tagPatterns": ["a*"]}],
        [{"days": 1, "tagPrefixes": ["a"]}, {"keep": 1, "tagPatterns": ["a"]}],
        [{"days": 1, "tagPrefixes": ["a"]}, {"keep": 1}],
    ],
    ids=str,
)
def test_rules_for_other_images_go_together(deploy: Deploy, lifecycle: list[dict[str, Any]]) -> None:
    assert len(rules(deploy, *lifecycle)["rules"]) == len(lifecycle)


@pytest.mark.parametrize(
    ("lifecycle", "expected"),
    [
        ([{"keep": 1}, {"keep": 1, "tagPrefixes": ["a"]}], "a rule for all images"),
        ([{"keep": 1, "tagPrefixes": ["a", "b"]}, {"days": 1, "tagPrefixes": ["b", "a"]}], "two rules"),
        ([{"keep": 1, "untagged": True}, {"days": 1, "untagged": True}], "two rules"),
        ([{"keep": 1, "days": 1}], "keep"),
        ([{"tagPrefixes": ["a"]}], "keep"),
        ([{"keep": 1, "tagPrefixes": ["a"], "untagged": True}], "at most one"),
        ([{"keep": 1, "tagPrefixes": ["a"], "tagPatterns": ["b"]}], "at most one"),
        ([{"keep": 1, "tagPatterns": ["*a*b*c*d*"]}], "up to 4"),
        ([{"keep": 1, "tagPrefixes": [""]}], "tagPrefixes"),
        ([{"keep": 0}], "1 or more"),
    ],
    ids=str,
)
def test_rules_that_ecr_refuses_are_refused_before(
    deploy: Deploy, lifecycle: list[dict[str, Any]], expected: str
) -> None:
    with pytest.raises(DeploymentError, match=expected):
        rules(deploy, *lifecycle)
