"""Decides which image a consumer stack runs: one that it builds, or one that exists in the repository."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Source = Literal["built", "reused", "existing"]


@dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """The image of one update.

    Attributes:
        source: `built` by this stack, `reused` if another stack or an interrupted update pushed it, or `existing` if
            the configuration names it.
        digest: the digest to run; empty before the push.
        tag: the content tag; empty for an existing image.
        inputs: hash of the build's inputs; empty for an existing image.
        push: number of this stack's push of the tag. It is increased if the image was deleted from the repository.
        is_gone: whether this stack pushed the image before and the repository no longer has it.
        previous_version: version of the function with the previous image; empty if there is none.
        previous_digest: digest of the previous image; empty if there is none.
    """

    source: Source
    digest: str = ""
    tag: str = ""
    inputs: str = ""
    push: int = 0
    is_gone: bool = False
    previous_version: str
    previous_digest: str

    @property
    def outputs(self) -> dict[str, str | int]:
        """The stack outputs that the next update reads."""
        outputs: dict[str, str | int] = {"imageSource": self.source}
        if self.tag:
            outputs |= {"imageTag": self.tag, "imageInputs": self.inputs, "imagePush": self.push}
        return {**outputs, "previousVersion": self.previous_version, "previousImageDigest": self.previous_digest}


def is_own_build(inputs: str, before: Mapping[str, Any]) -> bool:
    """Whether this stack built its image with these inputs in an earlier update. The image keeps its resource."""
    return before.get("imageSource") == "built" and before.get("imageInputs") == inputs


def plan_build(tag: str, inputs: str, tags: Mapping[str, str] | None, before: Mapping[str, Any]) -> ImagePlan:
    """Decide whether to build the image, or to run the image in the repository with this tag.

    ECR refuses a second push to a tag, even of the same image, so an image that another stack or an interrupted update
    pushed is reused. An image that this stack pushed keeps its resource; without it, the next preview would show a
    deletion.

    Args:
        tag: the content tag.
        inputs: hash of everything that the docker provider compares.
        tags: the repository's tags, each with its digest. None, in a preview that may not pull, means that the image of
            the last update is still there.
        before: the stack's outputs of the last update.
    """
    if tags is None:
        tags = {str(before.get("imageTag", "")): str(before.get("imageDigest", ""))}
    digest = tags.get(tag, "")
    is_own = is_own_build(inputs, before)
    is_built = is_own or not digest
    is_gone = is_own and not digest
    # An image that is not built yet has no digest.
    is_changed = tag != before.get("imageTag") if is_built else digest != before.get("imageDigest")
    version, previous_digest = _previous(before, is_changed=is_changed)
    return ImagePlan(
        source="built" if is_built else "reused",
        digest="" if is_built else digest,
        tag=tag,
        inputs=inputs,
        push=int(before.get("imagePush", 0)) + is_gone,
        is_gone=is_gone,
        previous_version=version,
        previous_digest=previous_digest,
    )


def plan_existing(digest: str, before: Mapping[str, Any]) -> ImagePlan:
    """Plan to run an existing image.

    Args:
        digest: `sha256:…`.
        before: the stack's outputs of the last update.
    """
    version, previous_digest = _previous(before, is_changed=digest != before.get("imageDigest"))
    return ImagePlan(source="existing", digest=digest, previous_version=version, previous_digest=previous_digest)


def _previous(before: Mapping[str, Any], *, is_changed: bool) -> tuple[str, str]:
    """Version and digest of the previous image. If the image changes, that is the one that runs now."""
    names = ("functionVersion", "imageDigest") if is_changed else ("previousVersion", "previousImageDigest")
    version, digest = (str(before.get(name) or "") for name in names)
    return version, digest
