"""What a consumer stack runs, from the content tag, the repository's tags and the last outputs."""

from dataclasses import replace
from typing import Any

import pulumi
import pytest

from components.image.plan import ImagePlan, plan_build, plan_existing
from components.image.source import _explain_taken_tag

TAG, OTHER_TAG, INPUTS = "content-1", "content-0", "inputs-1"
DIGEST, OTHER_DIGEST = "sha256:" + "1" * 64, "sha256:" + "0" * 64
# The outputs of an update that built OTHER_TAG.
BEFORE: dict[str, Any] = {
    "imageSource": "built",
    "imageTag": OTHER_TAG,
    "imageInputs": "inputs-0",
    "imagePush": 0,
    "imageDigest": OTHER_DIGEST,
    "functionVersion": "4",
    "previousVersion": "3",
    "previousImageDigest": "sha256:before",
}


def after(plan: ImagePlan, version: str, digest: str = DIGEST) -> dict[str, Any]:
    """The outputs of an update by a plan."""
    return {**plan.outputs, "imageDigest": digest, "functionVersion": version}


def test_content_that_the_repository_does_not_hold_is_built() -> None:
    plan = plan_build(TAG, INPUTS, {}, {})
    assert (plan.source, plan.digest, plan.push) == ("built", "", 0)


def test_content_that_another_stack_pushed_is_reused_by_its_digest() -> None:
    # ECR refuses a second push to an immutable tag, even of the same image.
    plan = plan_build(TAG, INPUTS, {TAG: DIGEST}, {})
    assert (plan.source, plan.digest) == ("reused", DIGEST)


def test_an_unchanged_build_keeps_its_resource_and_what_ran_before() -> None:
    first = plan_build(TAG, INPUTS, {OTHER_TAG: OTHER_DIGEST}, BEFORE)
    second = plan_build(TAG, INPUTS, {TAG: DIGEST}, after(first, "5"))
    assert second == first
    assert (first.previous_version, first.previous_digest) == ("4", OTHER_DIGEST)


def test_a_build_with_other_options_does_not_push_to_the_taken_tag() -> None:
    before = after(plan_build(TAG, "inputs-0", {}, {}), "1")
    plan = plan_build(TAG, INPUTS, {TAG: DIGEST}, before)
    assert plan.source == "reused"
    assert plan_build(TAG, INPUTS, {TAG: DIGEST}, after(plan, "1")) == plan


def test_an_image_that_is_gone_is_pushed_once_more() -> None:
    before = after(plan_build(TAG, INPUTS, {}, {}), "1")
    again = plan_build(TAG, INPUTS, {}, before)
    assert (again.source, again.is_gone, again.push) == ("built", True, 1)
    later = plan_build(TAG, INPUTS, {TAG: DIGEST}, after(again, "1"))
    assert later == replace(again, is_gone=False)


@pytest.mark.parametrize("tags", [{}, {TAG: DIGEST}], ids=["built", "reused"])
def test_a_preview_that_may_not_pull_plans_the_image_of_the_last_update_as_still_there(tags: dict[str, str]) -> None:
    before = after(plan_build(TAG, INPUTS, tags, {}), "1")
    assert plan_build(TAG, INPUTS, None, before) == plan_build(TAG, INPUTS, {TAG: DIGEST}, before)
    assert plan_build(OTHER_TAG, "inputs-0", None, before).source == "built"


def test_an_image_of_another_stack_that_is_gone_is_built_here() -> None:
    before = after(plan_build(TAG, INPUTS, {TAG: DIGEST}, {}), "1")
    plan = plan_build(TAG, INPUTS, {}, before)
    assert (plan.source, plan.is_gone) == ("built", False)


def test_an_existing_image_is_run_by_its_digest_and_leaves_no_build_outputs() -> None:
    plan = plan_existing(DIGEST, BEFORE)
    assert plan.outputs == {
        "imageSource": "existing",
        "previousVersion": "4",
        "previousImageDigest": OTHER_DIGEST,
    }


@pytest.mark.parametrize("version", ["4", None])
def test_an_image_that_already_runs_does_not_become_its_own_previous_one(version: str | None) -> None:
    # An alias cannot give the version that it points to a share of the calls.
    before = {**BEFORE, "functionVersion": version}
    assert plan_existing(OTHER_DIGEST, before).previous_version == "3"
    assert plan_build(TAG, INPUTS, {TAG: OTHER_DIGEST}, before).previous_version == "3"


def test_the_first_update_has_nothing_before_it() -> None:
    for plan in (plan_build(TAG, INPUTS, {}, {}), plan_existing(DIGEST, {})):
        assert (plan.previous_version, plan.previous_digest) == ("", "")


@pytest.mark.parametrize(
    ("error", "is_explained"),
    [
        (
            "The image tag 'content-1' already exists in the 'it' repository and cannot be overwritten because the tag "
            "is immutable.",
            True,
        ),
        ("no space left on device", False),
    ],
)
def test_a_push_to_a_tag_that_another_run_took_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, error: str, is_explained: bool
) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    failed = pulumi.ErrorHookArgs(urn="", id="", name="it", type="docker:index/image:Image", errors=[error])
    assert _explain_taken_tag(failed) is False, "a second push would be refused as well"
    assert ["Run `pulumi up` again" in text for text in said] == [True] * is_explained
