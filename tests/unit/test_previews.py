"""What a consumer stack takes as done before the registry's update is, and which names it takes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.errors import NameTaken, RegistryUnusable
from components.image.manifest import RepositoryReader
from stacks import consumer, registry
from tests.unit.conftest import Run
from tests.unit.recorder import (
    DIGEST,
    OWN_STACK,
    REGISTRY_OUTPUTS,
    REGISTRY_STACK,
    Recorder,
    consumer_settings,
    registry_settings,
)
from tests.unit.registered import Deployed, deploy_consumer, run_program

URL = REGISTRY_OUTPUTS["repositoryUrl"]
IMAGE = "docker:index/image:Image"
FUNCTION = "aws:lambda/function:Function"


def test_replicas_of_a_repository_that_is_there_are_warned_of(
    run: Run, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", lambda text, *_: warned.append(text))
    replicated = registry_settings(repository={"name": "hello", "replicas": ["eu-west-1"]})
    recorder.stacks[OWN_STACK] = {}
    run(lambda: registry.deploy(replicated))
    recorder.stacks[OWN_STACK] = {"repositoryUrls": {"us-east-1": "url", "eu-west-1": "url"}}
    run(lambda: registry.deploy(replicated))
    assert warned == []
    recorder.stacks[OWN_STACK] = {"repositoryUrls": {"us-east-1": "url"}}
    run(lambda: registry.deploy(replicated))
    assert "gets a replica in eu-west-1. ECR copies only images that are pushed after this update" in warned[0]


# ---- names

GROUP = "/aws/lambda/cross-account-function"


def test_a_name_that_another_stack_has_is_refused_before_anything_is_created(
    run: Run, recorder: Recorder, app: Path
) -> None:
    recorder.log_groups = [GROUP]
    with pytest.raises(NameTaken, match="cross-account-ecr:function: {name: cross-account-function-consumer}"):
        deploy_consumer(run)
    assert not [kind for kind in recorder.kinds() if kind.startswith(("aws:", "docker:"))]
    recorder.log_groups = [f"{GROUP}-2"]
    deploy_consumer(run)


def test_a_name_is_this_stacks_by_its_outputs_or_by_its_state(run: Run, recorder: Recorder, app: Path) -> None:
    # An update that failed, and an import, leave a log group in the state and no outputs.
    recorder.log_groups = [GROUP]
    recorder.state = {"urn": {"type": "aws:cloudwatch/logGroup:LogGroup", "outputs": {"name": GROUP}}}
    recorder.stacks[OWN_STACK] = deploy_consumer(run)
    recorder.state = {}
    deploy_consumer(run)
    recorder.log_groups.append("/aws/lambda/other")
    with pytest.raises(NameTaken):
        deploy_consumer(run, function={"name": "other"})


# ---- previews ahead of the registry

GRANTED = {**REGISTRY_OUTPUTS, "consumerAccounts": ["222222222222", "333333333333"]}
GRANTED["consumerRegions"] = {"us-east-1": GRANTED["consumerAccounts"]}


@pytest.fixture
def planned() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Gives what `python -m deployment preview` knows of the registry's update to the previews of the test."""

    def plan(outputs: dict[str, Any]) -> None:
        given = {"stack": "registry", "outputs": outputs}
        pulumi.runtime.set_all_config({"deployment:registry": json.dumps(given)}, [])

    yield plan
    pulumi.runtime.set_all_config({}, [])


def preview(recorder: Recorder, **changed: Any) -> Deployed:
    return run_program(recorder, lambda: consumer.deploy(consumer_settings(**changed)), unknown={IMAGE})


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings of a program."""
    texts: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", lambda text, *_: texts.append(text))
    return texts


def test_a_first_preview_without_a_build_shows_all_but_the_image(recorder: Recorder, app: Path) -> None:
    pulumi.runtime.set_all_config({"deployment:build": "false"}, [])
    try:
        previewed = preview(recorder)
    finally:
        pulumi.runtime.set_all_config({}, [])
    assert previewed.of(IMAGE) == []
    assert len(previewed.of(FUNCTION)) == 1
    assert {"imageUri", "imageDigest"} <= previewed.unknown


@pytest.mark.parametrize("image", [{"context": "app"}, {"digest": DIGEST}, {"tag": "v1"}])
def test_a_preview_goes_on_without_a_registry_and_names_it(
    recorder: Recorder, app: Path, warned: list[str], image: dict[str, str]
) -> None:
    del recorder.stacks[REGISTRY_STACK]
    previewed = preview(recorder, image=image)
    assert {"imageUri", "imageDigest"} <= previewed.unknown
    assert len(previewed.of(FUNCTION)) == 1
    assert previewed.of("pulumi:pulumi:StackReference") == []
    (said,) = warned
    assert said.startswith("Update the registry first. The registry stack 'registry' cannot be read: unknown stack")
    assert "pulumi up -s registry" in said


def test_a_preview_ahead_of_a_grant_names_it_and_does_not_pull(
    recorder: Recorder, app: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RepositoryReader, "get", lambda self, path: pytest.fail("pulls"))
    previewed = preview(recorder, account="333333333333")
    assert previewed.one(IMAGE).inputs["imageName"].startswith(f"{URL}:content-")
    assert [said.startswith("Update the registry first. Account 333333333333 may not use") for said in warned] == [True]


def test_a_preview_takes_a_planned_grant_as_done(
    recorder: Recorder, app: Path, warned: list[str], planned: Callable[[dict[str, Any]], None]
) -> None:
    planned(GRANTED)
    preview(recorder, account="333333333333")
    assert warned == [
        "Update the registry first. The planned update of the stack registry allows account 333333333333 to use the "
        "repository cross-account-function in us-east-1."
    ]
    warned.clear()
    preview(recorder)
    assert warned == []


def test_a_preview_knows_no_url_of_a_planned_repository(
    recorder: Recorder, app: Path, warned: list[str], planned: Callable[[dict[str, Any]], None]
) -> None:
    known = {key: value for key, value in GRANTED.items() if "Url" not in key}
    planned({**known, "repositoryName": "another"})
    assert "imageUri" in preview(recorder).unknown
    assert len(warned) == 1
    # The URL of a repository that stays is known, although those of new replicas are not.
    planned({**known, "consumerRegions": {**known["consumerRegions"], "eu-west-1": ["222222222222"]}})
    warned.clear()
    assert preview(recorder, image={"digest": DIGEST}).outputs["imageUri"] == f"{URL}@{DIGEST}"
    assert warned == []
    assert "imageUri" in preview(recorder, image={"digest": DIGEST}, region="eu-west-1").unknown


def test_a_preview_fails_if_the_planned_registry_does_not_serve(
    recorder: Recorder, app: Path, planned: Callable[[dict[str, Any]], None]
) -> None:
    planned({**REGISTRY_OUTPUTS, "consumerAccounts": ["3" * 12], "consumerRegions": {"us-east-1": ["3" * 12]}})
    with pytest.raises(RegistryUnusable, match="Account 222222222222 may not use the repository"):
        preview(recorder)


def test_an_update_reads_no_plan(
    run: Run, recorder: Recorder, app: Path, planned: Callable[[dict[str, Any]], None]
) -> None:
    planned(GRANTED)
    with pytest.raises(RegistryUnusable, match="Account 333333333333 may not use the repository"):
        deploy_consumer(run, account="333333333333")
