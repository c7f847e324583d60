"""Whose login a consumer pushes with and looks tags up: its own, where that may, or one of the registry's account."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from components.errors import ImageUnusable, RegistryUnusable
from components.image import manifest
from components.image.manifest import RepositoryReader
from stacks import consumer
from tests.unit.conftest import Run
from tests.unit.recorder import DIGEST, OWN_STACK, REGISTRY_STACK, Recorder, consumer_settings
from tests.unit.registered import Deployed, deploy_consumer, run_program

IMAGE = "docker:index/image:Image"
PUBLISHER = "arn:aws:iam::222222222222:role/ci/deployer"
OTHER = "arn:aws:iam::222222222222:role/other"
OWN = {"stack": "registry"}


def preview(recorder: Recorder, **changed: Any) -> Deployed:
    return run_program(recorder, lambda: consumer.deploy(consumer_settings(**changed)), unknown=set())


def accounts(recorder: Recorder) -> list[str]:
    return [resource.name for resource in recorder.resources if resource.typ == "pulumi:providers:aws"]


def test_a_publisher_pushes_with_its_own_login(run: Run, recorder: Recorder, app: Path) -> None:
    recorder.stacks[REGISTRY_STACK]["publishers"] = [PUBLISHER]
    outputs = deploy_consumer(run, registry=OWN)
    assert accounts(recorder) == ["consumer"]
    assert outputs["imageSource"] == "built"
    assert IMAGE in recorder.kinds()


def test_a_publisher_finds_what_is_pushed_by_its_right_to_pull(run: Run, recorder: Recorder, app: Path) -> None:
    recorder.stacks[REGISTRY_STACK]["publishers"] = [PUBLISHER]
    recorder.tags = {deploy_consumer(run, registry=OWN)["imageTag"]: DIGEST}
    recorder.resources.clear()
    outputs = deploy_consumer(run, registry=OWN)
    pulled = hashlib.sha256(json.dumps(recorder.manifest[1]).encode()).hexdigest()
    assert (outputs["imageSource"], outputs["imageDigest"]) == ("reused", f"sha256:{pulled}")
    assert IMAGE not in recorder.kinds()


@pytest.mark.parametrize(
    ("publishers", "registry"),
    [
        ([], {}),
        ([OTHER], {}),
        (["arn:aws:iam::333333333333:role/deployer"], {}),
        ([PUBLISHER], {"profile": "registry"}),
        ([PUBLISHER], {"assumeRoles": [{"roleArn": "arn:aws:iam::111111111111:role/pusher"}]}),
    ],
)
def test_the_registrys_account_pushes_for_who_is_no_publisher_or_names_its_credentials(
    run: Run, recorder: Recorder, app: Path, publishers: list[str], registry: dict[str, Any]
) -> None:
    recorder.stacks[REGISTRY_STACK]["publishers"] = publishers
    deploy_consumer(run, registry={**OWN, **registry})
    assert set(accounts(recorder)) == {"consumer", "registry"}


def test_a_tag_is_looked_up_by_the_right_to_pull(run: Run, recorder: Recorder) -> None:
    recorder.tags = {"v1": DIGEST}
    deploy_consumer(run, registry=OWN, image={"tag": "v1"})
    assert accounts(recorder) == ["consumer"]
    with pytest.raises(ImageUnusable, match="There is no image 'v2' in .*Name another one"):
        deploy_consumer(run, registry=OWN, image={"tag": "v2"})


def test_a_registry_that_cannot_be_asked_is_told(run: Run, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionRefusedError("Connection refused")

    monkeypatch.setattr(RepositoryReader, "get", refuse)
    with pytest.raises(RegistryUnusable, match="cannot be reached: Connection refused"):
        deploy_consumer(run, registry=OWN, image={"tag": "v1"})


# ---- previews, whose role may be another one than the publisher, and may not pull


def test_a_preview_by_a_role_that_is_no_publisher_needs_no_account_of_the_registrys(
    recorder: Recorder, app: Path
) -> None:
    recorder.stacks[REGISTRY_STACK]["publishers"] = [OTHER]
    previewed = preview(recorder, registry=OWN)
    assert accounts(recorder) == ["consumer"]
    assert previewed.outputs["imageSource"] == "built"


@pytest.mark.parametrize("publishers", [[], ["arn:aws:iam::333333333333:role/deployer"]])
def test_a_preview_in_an_account_without_a_publisher_uses_the_registrys(
    recorder: Recorder, app: Path, publishers: list[str]
) -> None:
    # As the update does: without the provider, the preview would show its deletion.
    recorder.stacks[REGISTRY_STACK]["publishers"] = publishers
    preview(recorder, registry=OWN)
    assert set(accounts(recorder)) == {"consumer", "registry"}


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings of a program."""
    texts: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", lambda text, *_: texts.append(text))
    return texts


@pytest.fixture
def refused(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that lets nobody pull."""
    monkeypatch.setattr(recorder, "registry", lambda path: (403, b""))
    monkeypatch.setattr(manifest, "WAIT_SECONDS", ())


@pytest.mark.usefixtures("refused")
def test_a_preview_that_may_not_look_a_tag_up_warns_and_goes_on(recorder: Recorder, warned: list[str]) -> None:
    previewed = preview(recorder, registry=OWN, image={"tag": "v1"})
    assert {"imageUri", "imageDigest"} <= previewed.unknown
    (said,) = warned
    assert "(403). The update checks whether Lambda can run v1." in said


@pytest.mark.parametrize("account", ["222222222222", "111111111111"], ids=["publisher", "owner"])
def test_a_preview_that_may_not_pull_shows_an_unchanged_image_as_unchanged(
    recorder: Recorder, app: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    outputs = recorder.stacks[REGISTRY_STACK]
    outputs |= {"publishers": [PUBLISHER], "consumerRegions": {"us-east-1": [account]}}
    before = run_program(recorder, lambda: consumer.deploy(consumer_settings(registry=OWN, account=account)))
    recorder.stacks[OWN_STACK] = before.outputs
    monkeypatch.setattr(recorder, "registry", lambda path: (403, b""))
    previewed = preview(recorder, registry=OWN, account=account)
    assert previewed.one(IMAGE) == before.one(IMAGE)
    assert previewed.outputs["imagePush"] == 0
    (said,) = warned
    assert "may not pull from" in said


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("image", [{"tag": "v1"}, {"context": "app"}])
def test_an_update_that_may_not_pull_is_refused(run: Run, recorder: Recorder, app: Path, image: dict[str, str]) -> None:
    recorder.stacks[REGISTRY_STACK]["publishers"] = [PUBLISHER]
    with pytest.raises(RegistryUnusable, match="may not pull from"):
        deploy_consumer(run, registry=OWN, image=image)
    assert IMAGE not in recorder.kinds()


def test_a_registry_that_was_deployed_before_publishers_were_told_is_read(
    run: Run, recorder: Recorder, app: Path
) -> None:
    del recorder.stacks[REGISTRY_STACK]["publishers"]
    assert deploy_consumer(run)["imageSource"] == "built"


@pytest.mark.parametrize(
    ("caller", "principal", "same"),
    [
        ("sts::2:assumed-role/deployer/me", "iam::2:role/ci/deployer", True),
        ("sts::2:assumed-role/deployer/me", "iam::2:root", True),
        ("sts::2:assumed-role/deployer/me", "sts::2:assumed-role/deployer/me", True),
        ("iam::2:user/team/me", "iam::2:user/team/me", True),
        ("iam::2:user/deployer", "iam::2:role/deployer", False),
        ("sts::2:assumed-role/deployer/me", "iam::2:user/deployer", False),
        ("sts::2:assumed-role/deployer/me", "iam::3:role/deployer", False),
        ("sts::2:assumed-role/me/deployer", "iam::2:role/deployer", False),
    ],
)
def test_a_principal_is_identified_by_the_arn_of_its_session(caller: str, principal: str, same: bool) -> None:
    assert consumer.is_principal(f"arn:aws:{caller}", f"arn:aws:{principal}") is same
