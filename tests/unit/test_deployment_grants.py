"""A change of the repository's policy, in words, for policies that this program writes and for others."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.iam import PULL_ACTIONS, PUSH_ACTIONS, compact
from components.repository import Consumer, repository_policy
from deployment.grants import changes, pulling, unread
from tests.unit.reach import examples

TWO = Consumer(account="222222222222")
THREE = Consumer(account="333333333333", functions="orders-*")
ROLE = "arn:aws:iam::222222222222:role/deployer"
PUBLISHER = "arn:aws:iam::444444444444:role/pipeline"


def written(*consumers: Consumer, **options: object) -> str:
    return compact(repository_policy(consumers, "us-east-1", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            "",
            written(TWO),
            ["account 222222222222 may now pull, by any principal that the account allows, for functions `*`"],
        ),
        (
            written(TWO),
            written(THREE),
            [
                "account 222222222222 may no longer pull",
                "account 333333333333 may now pull, by any principal that the account allows, for functions `orders-*`",
            ],
        ),
        (
            written(TWO),
            written(Consumer(account="222222222222", functions="a-*")),
            ["account 222222222222 may pull for functions `a-*`, no longer for `*`"],
        ),
        (
            written(TWO),
            written(Consumer(account="222222222222", roles=[ROLE])),
            [f"account 222222222222 may pull by `{ROLE}`, no longer by any principal that the account allows"],
        ),
        (
            written(TWO),
            written(TWO, organization="o-abcdef1234"),
            ["principals that pull must now belong to organization `o-abcdef1234`"],
        ),
        (
            written(TWO, organization="o-abcdef1234"),
            written(TWO),
            ["principals that pull no longer have to belong to organization `o-abcdef1234`"],
        ),
        (
            "",
            written(organization="o-abcdef1234"),
            [
                "every account of the organization may now pull, by any principal that the account allows, "
                "for functions `*`",
                "principals that pull must now belong to organization `o-abcdef1234`",
            ],
        ),
        (written(TWO), written(TWO, publishers=[PUBLISHER]), [f"`{PUBLISHER}` may now push"]),
        (written(TWO, publishers=[PUBLISHER]), written(TWO), [f"`{PUBLISHER}` may no longer push"]),
        (
            written(TWO),
            written(Consumer(account="222222222222", functions=["b-*", "a-*"], readers=[ROLE])),
            [
                "account 222222222222 may pull for functions `a-*`, `b-*`, no longer for `*`",
                f"`{ROLE}` may now list and pull images",
            ],
        ),
        (
            written(Consumer(account="222222222222", readers=[ROLE])),
            written(TWO),
            [f"`{ROLE}` may no longer list images"],
        ),
        (written(TWO), "[unknown]", ["the policy is known only when the update runs"]),
        (written(TWO), "no policy", ["the policy changes, but cannot be read"]),
    ],
)
def test_a_change_is_told_as_what_it_means_for_whom(before: str, after: str, expected: list[str]) -> None:
    assert changes(before, after) == expected


@pytest.mark.parametrize("organization", ["", "o-abcdef1234"])
def test_the_owners_functions_have_a_whole_grant_by_one_statement(organization: str) -> None:
    own = written(TWO, Consumer(account="111111111111"), owner="111111111111", organization=organization)
    told = ["account 111111111111 may now pull, by any principal that the account allows, for functions `*`"]
    assert changes(written(TWO, organization=organization), own, "111111111111") == told
    assert unread(written(TWO, organization=organization), own, "111111111111") == []
    # The same statement for another account is one half of a grant, if it is understood at all.
    other = changes(written(TWO), own, "999999999999")
    assert organization or "account 111111111111 is in only one of the two statements: functions will fail" in other
    assert not organization or unread(written(TWO), own, "999999999999")


def test_which_functions_may_pull_is_told_of_the_whole_policy() -> None:
    deployed_by = Consumer(account="222222222222", functions=["b-*", "a-*"], roles=[ROLE])
    policy = written(deployed_by, Consumer(account="111111111111"), owner="111111111111")
    assert pulling(policy, "111111111111") == [
        ["111111111111", "`*`", "any principal that the account allows"],
        ["222222222222", "`a-*`, `b-*`", f"`{ROLE}`"],
    ]
    assert pulling(written(organization="o-abcdef1234"))[0][0] == "every account of the organization"
    assert pulling("[unknown]") == pulling("no policy") == []


def test_order_and_form_of_lists_are_no_change() -> None:
    before = json.loads(written(TWO, THREE))
    after = json.loads(written(TWO, THREE))
    after["Statement"].reverse()
    after["Statement"][1]["Principal"]["AWS"].reverse()
    single = json.loads(written(TWO))
    single["Statement"][0]["Principal"]["AWS"] = single["Statement"][0]["Principal"]["AWS"][0]
    assert changes(json.dumps(before), json.dumps(after)) == []
    assert changes(written(TWO), json.dumps(single)) == []


def test_an_account_in_only_one_of_the_two_statements_is_reported() -> None:
    half = json.loads(written(TWO))
    half["Statement"].pop()
    assert "account 222222222222 is in only one of the two statements: functions will fail" in changes(
        "", json.dumps(half)
    )


def pull(**changed: object) -> dict[str, Any]:
    """The statement for account 222222222222, with changes; None drops a key."""
    statement = json.loads(written(TWO))["Statement"][0] | changed
    return {key: value for key, value in statement.items() if value is not None}


def service(**condition: object) -> dict[str, Any]:
    return json.loads(written(TWO))["Statement"][1] | {"Condition": condition}


def policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


FUNCTIONS = "arn:aws:lambda:us-east-1:222222222222:function:*"
MINE = {"aws:PrincipalOrgID": "o-abcdef1234"}
# What allows more, or something else, than the statement that it resembles.
ODD = {
    "everybody": pull(Principal="*"),
    "everybody as an account": pull(Principal={"AWS": "*"}),
    "everybody beside an account": pull(Principal={"AWS": ["222222222222", "*"]}),
    "everybody else": pull(Principal=None, NotPrincipal={"AWS": "222222222222"}),
    "nobody": pull(Principal=None),
    "a service besides": pull(Principal={"AWS": "222222222222", "Service": "lambda.amazonaws.com"}),
    "another service": pull(Principal={"Service": "ecs.amazonaws.com"}),
    "a federated user": pull(Principal={"Federated": "cognito-identity.amazonaws.com"}),
    "a role of any account": pull(Principal={"AWS": "arn:aws:iam::*:role/deployer"}),
    "an ID that is none": pull(Principal={"AWS": "AROAEXAMPLEID"}),
    "any action": pull(Action="ecr:*"),
    "one action more": pull(Action=["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:DeleteRepository"]),
    "one action less": pull(Action=["ecr:BatchGetImage"]),
    "pull and push": pull(Action=[*PULL_ACTIONS, *PUSH_ACTIONS]),
    "a part of a push": pull(Action=["ecr:PutImage"]),
    "a push by everybody": pull(Action=list(PUSH_ACTIONS), Principal="*"),
    "a push under a condition": pull(Action=list(PUSH_ACTIONS), Condition={"Bool": {"aws:SecureTransport": "true"}}),
    "all other actions": pull(Action=None, NotAction="ecr:DeleteRepository"),
    "a denial": pull(Effect="Deny"),
    "an effect in another case": pull(Effect="allow"),
    "a resource": pull(Resource="*"),
    "a condition": pull(Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}),
    "two organizations": pull(Condition={"StringEquals": {"aws:PrincipalOrgID": ["o-abcdef1234", "o-abcdef5678"]}}),
    "a pattern of organizations": pull(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-*"}}),
    "an organization by a pattern": pull(Condition={"StringLike": MINE}),
    "an organization if there is one": pull(Condition={"StringEqualsIfExists": MINE}),
    "any organization but one": pull(Condition={"StringNotEquals": MINE}),
    "an organization of accounts for a service": service(StringLike={"aws:sourceArn": FUNCTIONS}, StringEquals=MINE),
    "any function": service(StringLike={"aws:sourceArn": "*"}),
    "any account's functions": service(StringLike={"aws:sourceArn": "arn:aws:lambda:us-east-1:*:function:*"}),
    "any function beside one": service(StringLike={"aws:sourceArn": [FUNCTIONS, "*"]}),
    "functions of any Region": service(StringLike={"aws:sourceArn": "arn:aws:lambda:*:222222222222:function:*"}),
    "functions if there are any": service(StringLikeIfExists={"aws:sourceArn": FUNCTIONS}),
    "functions literally": service(StringEquals={"aws:sourceArn": FUNCTIONS}),
    "a service's account": service(StringEquals={"aws:SourceAccount": "222222222222"}),
    "a service without a condition": service(),
    "a condition that is none": pull(Condition="x"),
    "a condition without a value": pull(Condition={"StringEquals": {"aws:PrincipalOrgID": []}}),
    "a condition of numbers": pull(Condition={"StringEquals": {"aws:PrincipalOrgID": 1}}),
}


@pytest.mark.parametrize("statement", ODD.values(), ids=ODD)
def test_a_statement_with_an_unknown_key_is_shown_verbatim(statement: Mapping[str, Any]) -> None:
    assert unread("", policy(statement)) == [("new", json.dumps(statement))]
    assert unread(policy(statement), "") == [("gone", json.dumps(statement))]
    assert unread(policy(statement), policy(statement)) == []
    assert changes("", policy(statement)) == []


@pytest.mark.parametrize(
    "statement",
    [
        pull(Principal={"AWS": "222222222222"}),
        pull(Action=["ECR:batchgetimage", "ecr:GetDownloadUrlForLayer"]),
        pull(Condition={}),
        service(StringLike={"AWS:SOURCEARN": FUNCTIONS}),
        service(ArnLike={"aws:SourceArn": [FUNCTIONS]}),
        service(StringLike={"aws:sourceArn": FUNCTIONS}) | {"Principal": {"Service": ["lambda.amazonaws.com"]}},
    ],
)
def test_another_way_to_write_the_same_is_told_in_words(statement: Mapping[str, Any]) -> None:
    assert unread("", policy(statement)) == []
    assert any("account 222222222222 may now pull" in sentence for sentence in changes("", policy(statement)))


def test_a_statement_that_changes_is_shown_before_and_after() -> None:
    before, after = ODD["any action"], ODD["one action more"]
    assert unread(policy(before), policy(after)) == [("new", json.dumps(after)), ("gone", json.dumps(before))]
    assert unread(written(TWO), policy(after)) == [("new", json.dumps(after))]
    assert "account 222222222222 may no longer pull" in changes(written(TWO), policy(after))


def test_statements_of_different_organizations_are_told_by_none() -> None:
    free, bound = pull(), pull(Condition={"StringEquals": MINE})
    told = unread("", policy(free, bound))
    assert sorted(told) == sorted([("new", json.dumps(free)), ("new", json.dumps(bound))])
    assert changes("", policy(free, bound)) == []


@pytest.mark.parametrize(
    "text",
    [
        "no policy",
        "[]",
        "{",
        '{"Statement": "*"}',
        '{"Statement": [1]}',
        "[" * 100_000,
        "[secret]",
        # The second `Statement` would be all that Python sees.
        '{"Statement": [{"Effect": "Allow", "Principal": "*"}], "Statement": []}',
    ],
    ids=range(8),
)
def test_a_text_that_is_no_policy_is_shown_verbatim(text: str) -> None:
    assert changes(written(TWO), text) == ["the policy changes, but cannot be read"]
    assert unread(written(TWO), text) == [("new", text)]
    told = changes(text, written(TWO))
    assert told[0].startswith("the previous policy cannot be read")
    assert any("account 222222222222 may now pull" in sentence for sentence in told)


def test_a_policy_of_which_a_part_is_called_unknown_hides_nothing() -> None:
    statement = pull(Sid="[unknown]", Principal="*")
    assert unread("", policy(statement)) == [("new", json.dumps(statement))]
    assert unread(written(TWO), "[unknown]") == []


ACCOUNTS = st.sampled_from(["222222222222", "arn:aws:iam::222222222222:root", ROLE, PUBLISHER, "*", "AROAX"])
ONE_OR_MORE = {"min_size": 1, "max_size": 3, "unique": True}


def one_or(values: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return values | st.lists(values, **ONE_OR_MORE)


PRINCIPALS = st.one_of(
    st.just("*"),
    st.just({"Service": "lambda.amazonaws.com"}),
    st.fixed_dictionaries(
        {"AWS": one_or(ACCOUNTS)}, optional={"Service": st.sampled_from(["lambda.amazonaws.com", "*"])}
    ),
)
ACTIONS = st.one_of(
    st.just(list(PULL_ACTIONS)),
    st.just(list(PUSH_ACTIONS)),
    one_or(st.sampled_from([*PULL_ACTIONS, "ecr:PutImage", "ecr:*", "*", "ecr:batchgetimage"])),
)
VALUES = one_or(st.sampled_from([FUNCTIONS, "arn:aws:lambda:us-east-1:*:function:*", "*", "o-abcdef1234"]))
CONDITIONS = st.dictionaries(
    st.sampled_from(["StringLike", "StringEquals", "StringLikeIfExists", "ArnLike"]),
    st.dictionaries(
        st.sampled_from(["aws:sourceArn", "AWS:SourceArn", "aws:SourceOrgID", "aws:PrincipalOrgID"]), VALUES, max_size=2
    ),
    max_size=2,
)
STATEMENTS = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Allow", "Allow", "Deny"]), "Principal": PRINCIPALS, "Action": ACTIONS},
    optional={"Condition": CONDITIONS, "Sid": st.just("S"), "Resource": st.just("*")},
)


def test_nothing_that_grants_is_ever_absent() -> None:
    """The words are held against what a statement says by itself: each action, principal and source is in them."""
    seen: Counter[str] = Counter()

    @examples(8)
    @given(statement=STATEMENTS)
    @example(statement=pull())
    @example(statement=pull(Action=list(PUSH_ACTIONS), Principal={"AWS": PUBLISHER}))
    @example(statement=json.loads(written(organization="o-abcdef1234"))["Statement"][0])
    @example(statement=json.loads(written(organization="o-abcdef1234"))["Statement"][1])
    def check(statement: Mapping[str, Any]) -> None:
        text = "\n".join(changes("", policy(statement)))
        if shown := unread("", policy(statement)):
            assert [json.loads(each) for _, each in shown] == [statement]
            assert not text
            seen["shown"] += 1
            return
        actions = {each.lower() for each in listed(statement["Action"])}
        pushes = actions == {each.lower() for each in PUSH_ACTIONS}
        assert pushes or actions == {each.lower() for each in PULL_ACTIONS}
        assert (" may now push" if pushes else " may now pull") in text
        sources = [
            value
            for keys in statement.get("Condition", {}).values()
            for each in keys.values()
            for value in listed(each)
        ]
        named = listed(statement["Principal"].get("AWS", [])) if isinstance(statement["Principal"], dict) else ["*"]
        assert named or sources
        for value in [*named, *sources]:
            account = re.search(r"\d{12}", value)
            everyone = value == "*" or ":*:" in value
            if everyone:
                assert "every account of the organization may now pull" in text
                assert "`o-abcdef1234`" in text
            else:
                assert (account[0] if account else value) in text
        seen["push" if pushes else "organization" if "o-abcdef1234" in text else "account"] += 1

    check()
    assert set(seen) == {"shown", "push", "organization", "account"}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
