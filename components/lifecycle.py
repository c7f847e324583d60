"""ECR lifecycle rules, which delete images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.errors import InvalidArgument

# ECR's bounds: https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
WILDCARDS_PER_PATTERN = 4


@dataclass(frozen=True, kw_only=True)
class LifecycleRule:
    """A rule that deletes images: those beyond a number, or those older than some days, whether they run or not.

    It looks at images that have tags for all of the prefixes or all of the patterns, or at untagged ones, or, with
    none of the three, at all images.

    Attributes:
        description: what it is for.
        keep: how many of the newest images stay. Exactly one of `keep` and `days` is given.
        days: the age in days at which an image goes.
        tag_prefixes: beginnings of tags.
        tag_patterns: tags with up to four `*`.
        untagged: images without a tag. A function may run one: rather leave it out.

    Raises:
        InvalidArgument: both or none of `keep` and `days`, a number below 1, more than one way to select images, or one
            that is empty.
    """

    description: str = ""
    keep: int | None = None
    days: int | None = None
    tag_prefixes: Sequence[str] = ()
    tag_patterns: Sequence[str] = ()
    untagged: bool = False

    def __post_init__(self) -> None:
        numbers = [number for number in (self.keep, self.days) if number is not None]
        if len(numbers) != 1 or numbers[0] < 1:
            raise InvalidArgument(
                f"LifecycleRule: keep={self.keep}, days={self.days} given; allowed is exactly one of them, 1 or more. "
                "Example: keep=50"
            )
        if sum(map(bool, (self.tag_prefixes, self.tag_patterns, self.untagged))) > 1:
            raise InvalidArgument(
                "LifecycleRule: more than one of tag_prefixes, tag_patterns and untagged given; allowed is one, "
                'or none for all images. Example: tag_prefixes=["content-"]'
            )
        if not all((*self.tag_prefixes, *self.tag_patterns)):
            raise InvalidArgument(
                "LifecycleRule: an empty tag prefix or pattern given; allowed are some characters each, or no list for "
                'all images. Example: tag_prefixes=["content-"]'
            )
        if wrong := [pattern for pattern in self.tag_patterns if pattern.count("*") > WILDCARDS_PER_PATTERN]:
            raise InvalidArgument(
                f"LifecycleRule tag_patterns: {wrong} given; allowed are up to {WILDCARDS_PER_PATTERN} wildcards each. "
                'Example: tag_patterns=["release-*"]'
            )

    @property
    def is_for_all(self) -> bool:
        """Whether it looks at all images."""
        return not (self.tag_prefixes or self.tag_patterns or self.untagged)


# No rule can tell which images functions run: neither their age nor their number nor their last pull says it, since
# Lambda keeps a copy. It fails a function whose image is gone, at the latest when it pulls it again. So by default
# nothing is deleted. https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-images.html
DEFAULT_LIFECYCLE: tuple[LifecycleRule, ...] = ()


def lifecycle_policy(rules: Sequence[LifecycleRule]) -> dict[str, Any]:
    """The policy document of rules in their order of priority.

    An image that a rule looks at is not deleted by later ones, but counted by them.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html#lp_evaluation_rules

    Raises:
        InvalidArgument: a rule for all images is not the last one, or two rules look at the same images.
    """
    selections = [(rule.untagged, frozenset(rule.tag_prefixes), frozenset(rule.tag_patterns)) for rule in rules]
    if len(set(selections)) != len(selections):
        raise InvalidArgument("lifecycle: two rules for the same images given; allowed is one for each selection.")
    if any(rule.is_for_all for rule in rules[:-1]):
        raise InvalidArgument("lifecycle: a rule for all images stands before another; allowed is one, as the last.")
    return {"rules": [_rule(rule, priority) for priority, rule in enumerate(rules, start=1)]}


def _rule(rule: LifecycleRule, priority: int) -> dict[str, Any]:
    selection: dict[str, Any] = {"tagStatus": "any"}
    if rule.untagged:
        selection = {"tagStatus": "untagged"}
    elif rule.tag_prefixes:
        selection = {"tagStatus": "tagged", "tagPrefixList": list(rule.tag_prefixes)}
    elif rule.tag_patterns:
        selection = {"tagStatus": "tagged", "tagPatternList": list(rule.tag_patterns)}
    if rule.keep is not None:
        selection |= {"countType": "imageCountMoreThan", "countNumber": rule.keep}
    else:
        selection |= {"countType": "sinceImagePushed", "countUnit": "days", "countNumber": rule.days}
    described = {"description": rule.description} if rule.description else {}
    return {"rulePriority": priority, **described, "selection": selection, "action": {"type": "expire"}}
