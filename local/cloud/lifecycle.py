"""Evaluates ECR's lifecycle policies, as a pure function.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html#lp_evaluation_rules
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SECONDS_A_DAY = 24 * 3600

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Expired:
    """An image that a rule deletes.

    Attributes:
        digest: digest of the image.
        tags: its tags, which are deleted with it.
        rule: priority of the rule.
    """

    digest: str
    tags: tuple[str, ...]
    rule: int


def expired(policy: Mapping[str, Any], images: Sequence[Record], now: float) -> list[Expired]:
    """The images that a lifecycle policy deletes.

    The first rule that selects an image decides, whether it deletes the image or not. Every rule counts all images that
    it selects. The images of an index are kept with the index.

    Args:
        policy: the lifecycle policy.
        images: MiniStack's records, in the order in which they were pushed.
        now: seconds since the epoch.
    """
    indexed = {digest for image in images for digest in _children(image)}
    marked: dict[str, Expired] = {}
    decided: set[str] = set()
    for rule in sorted(policy["rules"], key=lambda rule: rule["rulePriority"]):
        selected = [image for image in images if _selects(rule["selection"], image)]
        for image in _over(rule["selection"], selected, now):
            digest = image["imageDigest"]
            if digest not in decided and digest not in indexed:
                marked[digest] = Expired(digest, tuple(image.get("imageTags", [])), rule["rulePriority"])
        decided |= {image["imageDigest"] for image in selected}
    return [marked[image["imageDigest"]] for image in images if image["imageDigest"] in marked]


def _selects(selection: Mapping[str, Any], image: Record) -> bool:
    """Whether a rule selects an image. Each of several prefixes or patterns must match one of its tags."""
    tags, status = image.get("imageTags", []), selection["tagStatus"]
    if status != "tagged":
        return status == "any" or not tags
    patterns = [*(f"{prefix}*" for prefix in selection.get("tagPrefixList", [])), *selection.get("tagPatternList", [])]
    return bool(tags) and all(any(_matches(tag, pattern) for tag in tags) for pattern in patterns)


def _matches(tag: str, pattern: str) -> bool:
    """Whether a tag matches a pattern, in which `*` matches any characters."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), tag) is not None


def _over(selection: Mapping[str, Any], images: Sequence[Record], now: float) -> Sequence[Record]:
    """The selected images that exceed the number or the age."""
    number = selection["countNumber"]
    if selection["countType"] == "imageCountMoreThan":
        return images[: max(len(images) - number, 0)]
    if selection["countType"] == "sinceImagePushed":
        return [image for image in images if now - image["imagePushedAt"] > number * SECONDS_A_DAY]
    raise ValueError(f"countType {selection['countType']!r} is not supported; use imageCountMoreThan or "
                     "sinceImagePushed")  # fmt: skip


def _children(image: Record) -> list[str]:
    """Digests of the images that an index refers to; none for an image."""
    return [entry["digest"] for entry in json.loads(image["imageManifest"] or "{}").get("manifests", [])]
