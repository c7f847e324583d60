"""A change of the repository's policy, in words, for policies that this program writes and for others."""

import json

import pytest

from components.iam import Consumer, compact, repository_policy
from deployment.grants import changes

TWO = Consumer(account="222222222222")
THREE = Consumer(account="333333333333", functions="orders-*")
ROLE = "arn:aws:iam::222222222222:role/deployer"
PUBLISHER = "arn:aws:iam::444444444444:role/pipeline"
AUDIT = {"Sid": "Audit", "Effect": "Allow", "Action": ["ecr:ListImages"], "Principal": {"AWS": "*"}}


def written(*consumers: Consumer, **options: object) -> str:
    return compact(repository_policy(consumers, "us-east-1", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", written(TWO), ["account 222222222222 may now pull, by anyone whom the account allows, for functions `*`"]),
        (
            written(TWO),
            written(THREE),
            [
                "account 222222222222 no longer may pull",
                "account 333333333333 may now pull, by anyone whom the account allows, for functions `orders-*`",
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
            [f"account 222222222222 may pull by `{ROLE}`, no longer by anyone whom the account allows"],
        ),
        (
            written(TWO),
            written(TWO, organization="o-abcdef1234"),
            ["whoever pulls has to belong to organization `o-abcdef1234` now"],
        ),
        (
            written(TWO, organization="o-abcdef1234"),
            written(TWO),
            ["whoever pulls no longer has to belong to organization `o-abcdef1234`"],
        ),
        (
            "",
            written(organization="o-abcdef1234"),
            [
                "every account of the organization may now pull, by anyone whom the account allows, for functions `*`",
                "whoever pulls has to belong to organization `o-abcdef1234` now",
            ],
        ),
        (written(TWO), written(TWO, publishers=[PUBLISHER]), [f"`{PUBLISHER}` may now push"]),
        (written(TWO, publishers=[PUBLISHER]), written(TWO), [f"`{PUBLISHER}` no longer may push"]),
        (
            written(TWO),
            written(TWO, extra_statements=[AUDIT]),
            ["statement `Audit` is new: Allow of `ecr:ListImages`"],
        ),
        (written(TWO, extra_statements=[AUDIT]), written(TWO), ["statement `Audit` is gone"]),
        (written(TWO), "[unknown]", ["the policy is known only when the update runs"]),
        (written(TWO), "no policy", ["the policy changes; it cannot be read as one"]),
    ],
)
def test_a_change_is_told_as_what_it_means_for_whom(before: str, after: str, expected: list[str]) -> None:
    assert changes(before, after) == expected


def test_order_and_form_of_lists_are_no_change() -> None:
    before = json.loads(written(TWO, THREE))
    after = json.loads(written(TWO, THREE))
    after["Statement"].reverse()
    after["Statement"][1]["Principal"]["AWS"].reverse()
    single = json.loads(written(TWO))
    single["Statement"][0]["Principal"]["AWS"] = single["Statement"][0]["Principal"]["AWS"][0]
    assert changes(json.dumps(before), json.dumps(after)) == []
    assert changes(written(TWO), json.dumps(single)) == []


def test_a_grant_of_one_half_is_pointed_out() -> None:
    half = json.loads(written(TWO))
    half["Statement"].pop()
    assert "account 222222222222 has one half of the grant only: functions will fail" in changes("", json.dumps(half))


def test_a_condition_that_is_not_known_here_is_not_read_as_a_plain_grant() -> None:
    limited = json.loads(written(TWO))
    limited["Statement"][0]["Condition"] = {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}
    told = changes(written(TWO), json.dumps(limited))
    assert (
        "statement `CrossAccountPermission` is new: Allow of `ecr:BatchGetImage`, `ecr:GetDownloadUrlForLayer`" in told
    )
