"""What ECR's lifecycle policies delete, as a pure function.

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
        digest: of the image.
        tags: those that go with it.
        rule: the rule's priority.
    """

    digest: str
    tags: tuple[str, ...]
    rule: int


def expired(policy: Mapping[str, Any], images: Sequence[Record], now: float) -> list[Expired]:
    """The images that a lifecycle policy deletes.

    An image belongs to the first rule that selects it, whether that one deletes it or not; every rule counts all
    images that it selects. What an index refers to stays while the index does.

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
    """Whether a rule is about an image. Of several prefixes or patterns, each must match one of its tags."""
    tags, status = image.get("imageTags", []), selection["tagStatus"]
    if status != "tagged":
        return status == "any" or not tags
    patterns = [*(f"{prefix}*" for prefix in selection.get("tagPrefixList", [])), *selection.get("tagPatternList", [])]
    return bool(tags) and all(any(_matches(tag, pattern) for tag in tags) for pattern in patterns)


def _matches(tag: str, pattern: str) -> bool:
    """Whether a tag is of a pattern, in which `*` stands for any characters."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), tag) is not None


def _over(selection: Mapping[str, Any], images: Sequence[Record], now: float) -> Sequence[Record]:
    """What of the selected images is too many or too old."""
    number = selection["countNumber"]
    if selection["countType"] == "imageCountMoreThan":
        return images[: max(len(images) - number, 0)]
    if selection["countType"] == "sinceImagePushed":
        return [image for image in images if now - image["imagePushedAt"] > number * SECONDS_A_DAY]
    raise ValueError(f"countType {selection['countType']!r} is not known here; known are imageCountMoreThan and "
                     "sinceImagePushed")  # fmt: skip


def _children(image: Record) -> list[str]:
    """Digests of the images that an index refers to; none for an image."""
    return [entry["digest"] for entry in json.loads(image["imageManifest"] or "{}").get("manifests", [])]
