"""ECR lifecycle rules, which delete images."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from components.limits import Switch
from components.model import Model, Whole, allowed, rule


class LifecycleRule(Model):
    """A rule that deletes images by number or by age, whether functions run them or not.

    It applies to images with tags that match all of the prefixes or all of the patterns, or to untagged images, or,
    without any of these options, to all images.
    """

    description: Annotated[str, allowed("what the rule is for", "release candidates")] = ""
    """What the rule is for."""
    keep: Annotated[Whole | None, allowed("a whole number of images, 1 or more", 50, ge=1)] = None
    """How many of the newest images are kept. A rule has either `keep` or `days`."""
    days: Annotated[Whole | None, allowed("a whole number of days, 1 or more", 90, ge=1)] = None
    """Age in days at which an image is deleted."""
    tag_prefixes: Annotated[
        Sequence[Annotated[str, Field(min_length=1)]], allowed("a list of beginnings of tags", ["content-"])
    ] = ()
    """Only images with a tag that starts with one of these prefixes."""
    tag_patterns: Annotated[
        Sequence[Annotated[str, Field(min_length=1, pattern=r"^[^*]*(\*[^*]*){0,4}$")]],
        allowed("a list of tags with up to 4 *", ["rc-*"]),
    ] = ()
    """Only images with such a tag."""
    untagged: Switch = False
    """Only images without a tag. A function may run one."""

    @model_validator(mode="after")
    def _one_number_and_selection(self) -> "LifecycleRule":
        if (self.keep is None) == (self.days is None):
            raise rule("must have exactly one of `keep` and `days`")
        if sum(map(bool, (self.tag_prefixes, self.tag_patterns, self.untagged))) > 1:
            raise rule("must have at most one of `tag_prefixes`, `tag_patterns` and `untagged`; none is for all images")
        return self

    @property
    def is_for_all(self) -> bool:
        """Whether it applies to all images."""
        return not (self.tag_prefixes or self.tag_patterns or self.untagged)


# No rule can tell which images functions run. Lambda keeps a copy, so neither the age nor the number nor the last pull
# shows it. A function whose image was deleted fails when Lambda pulls it again. So the default deletes no image.
# https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-images.html
DEFAULT_LIFECYCLE: tuple[LifecycleRule, ...] = ()


def require_order(rules: Sequence[LifecycleRule]) -> Sequence[LifecycleRule]:
    """Check that at most one rule decides for each image. https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html."""
    selections = [(one.untagged, frozenset(one.tag_prefixes), frozenset(one.tag_patterns)) for one in rules]
    if len(set(selections)) != len(selections):
        raise rule("must not have two rules for the same images")
    if any(one.is_for_all for one in rules[:-1]):
        raise rule("must have a rule for all images as the last one")
    return rules


def lifecycle_policy(rules: Sequence[LifecycleRule]) -> dict[str, Any]:
    """The policy document of rules, in the order of their priority.

    An image that matches a rule is not deleted by later rules, but they count it.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html#lp_evaluation_rules
    """
    return {"rules": [_rule(one, priority) for priority, one in enumerate(rules, start=1)]}


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
