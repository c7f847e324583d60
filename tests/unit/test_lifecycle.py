"""No rule deletes an image in use by surprise."""

from typing import Any

import pytest

from components.errors import InvalidArgument
from components.lifecycle import DEFAULT_LIFECYCLE, LifecycleRule, lifecycle_policy
from components.repository import Repository


def test_by_default_no_rule_deletes_an_image() -> None:
    # No rule can tell which images functions run: not by number, age, tags or last pull.
    assert lifecycle_policy(DEFAULT_LIFECYCLE) == {"rules": []}


def test_two_rules_for_the_same_images_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="two rules for the same images"):
        Repository(name="it", lifecycle=[LifecycleRule(keep=1, untagged=True), LifecycleRule(days=1, untagged=True)])
    rules = [LifecycleRule(keep=1, tag_prefixes=tags) for tags in (["a", "b"], ["b", "a"])]
    with pytest.raises(InvalidArgument, match="two rules for the same images"):
        Repository(name="it", lifecycle=rules)


@pytest.mark.parametrize(
    ("rule", "selection"),
    [
        ({"keep": 5}, {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5}),
        (
            {"days": 9, "tag_patterns": ["rc-*"]},
            {
                "tagStatus": "tagged",
                "tagPatternList": ["rc-*"],
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": 9,
            },
        ),
        (
            {"days": 1, "untagged": True},
            {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1},
        ),
    ],
)
def test_a_rule_is_written_as_ecr_reads_it(rule: dict[str, Any], selection: dict[str, Any]) -> None:
    (written,) = lifecycle_policy([LifecycleRule(**rule)])["rules"]
    assert written["selection"] == selection
    assert written["action"] == {"type": "expire"}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"keep": 1, "days": 1},
        {"keep": 0},
        {"days": -1},
        {"keep": 1, "untagged": True, "tag_prefixes": ["a"]},
        {"keep": 1, "tag_prefixes": [""]},
    ],
    ids=str,
)
def test_a_rule_that_ecr_refuses_is_refused_before(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="LifecycleRule"):
        LifecycleRule(**wrong)


def test_a_pattern_has_four_wildcards_at_most() -> None:
    assert LifecycleRule(keep=1, tag_patterns=["*a*b*c*"])
    with pytest.raises(InvalidArgument, match=r"up to 4 \*"):
        LifecycleRule(keep=1, tag_patterns=["*a*b*c*d*"])


def test_a_rule_for_all_images_is_the_last() -> None:
    with pytest.raises(InvalidArgument, match="must have a rule for all images as the last one"):
        Repository(name="it", lifecycle=[LifecycleRule(keep=1), LifecycleRule(keep=1, tag_prefixes=["a"])])
