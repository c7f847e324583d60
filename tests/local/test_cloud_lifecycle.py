"""What ECR's lifecycle policies delete, and what they leave."""

import json
from typing import Any

import pytest

from local.cloud.lifecycle import SECONDS_A_DAY, expired

NOW = 100 * SECONDS_A_DAY


def image(name: str, *tags: str, days: float = 0, manifests: tuple[str, ...] = ()) -> dict[str, Any]:
    """An image that was pushed some days ago; with manifests, an index of these."""
    manifest = json.dumps({"manifests": [{"digest": digest} for digest in manifests]} if manifests else {})
    return {
        "imageDigest": name,
        "imageTags": list(tags),
        "imagePushedAt": NOW - days * SECONDS_A_DAY,
        "imageManifest": manifest,
    }


def rule(priority: int, status: str, number: int, kind: str = "imageCountMoreThan", **selection: Any) -> dict[str, Any]:
    chosen = {"tagStatus": status, "countType": kind, "countNumber": number, **selection}
    return {"rulePriority": priority, "selection": chosen, "action": {"type": "expire"}}


def names(rules: list[dict[str, Any]], *images: dict[str, Any]) -> list[str]:
    return [found.digest for found in expired({"rules": rules}, images, NOW)]


def test_the_oldest_go_when_there_are_too_many() -> None:
    images = [image(f"i{number}", f"v{number}") for number in range(4)]
    assert names([rule(1, "any", 3)], *images) == ["i0"]
    assert names([rule(1, "any", 4)], *images) == []


def test_what_is_older_than_so_many_days_goes() -> None:
    rules = [rule(1, "untagged", 14, "sinceImagePushed", countUnit="days")]
    assert names(rules, image("old", days=15), image("new", days=13), image("tagged", "v1", days=15)) == ["old"]


def test_prefixes_and_patterns_select_tags_and_all_must_match() -> None:
    both = image("both", "prod-1", "live-1")
    assert names([rule(1, "tagged", 0, tagPrefixList=["prod-"])], both, image("other", "dev-1")) == ["both"]
    assert names([rule(1, "tagged", 0, tagPrefixList=["prod-", "dev-"])], both) == []
    assert names([rule(1, "tagged", 0, tagPatternList=["prod*", "*-1"])], both) == ["both"]
    assert names([rule(1, "tagged", 0, tagPatternList=["prod?1"])], both) == []


def test_an_image_belongs_to_the_first_rule_that_selects_it() -> None:
    rules = [rule(2, "any", 0), rule(1, "tagged", 1, tagPrefixList=["keep-"])]
    found = expired({"rules": rules}, [image("a", "keep-1"), image("b", "keep-2"), image("c", "x")], NOW)
    assert [(one.digest, one.rule) for one in found] == [("a", 1), ("c", 2)]


def test_every_rule_counts_what_earlier_rules_have_taken() -> None:
    rules = [rule(1, "untagged", 0), rule(2, "any", 2)]
    assert names(rules, image("a", "1"), image("b"), image("c", "2")) == ["a", "b"]


def test_what_an_index_refers_to_stays_with_it() -> None:
    images = [image("part"), image("index", "v1", manifests=("part",))]
    assert names([rule(1, "untagged", 0)], *images) == []


def test_an_unknown_count_is_refused() -> None:
    with pytest.raises(ValueError, match="sinceImagePulled"):
        names([rule(1, "any", 1, "sinceImagePulled")], image("a"))
