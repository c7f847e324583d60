"""Whose login a consumer pushes with and looks tags up: its own, where that may, or one of the registry's account."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from components.errors import ImageUnusable, RegistryUnusable
from components.image.manifest import RepositoryReader
from stacks import consumer
from tests.unit.conftest import Run
from tests.unit.recorder import DIGEST, REGISTRY_STACK, Recorder, consumer_settings

IMAGE = "docker:index/image:Image"
PUBLISHER = "arn:aws:iam::222222222222:role/ci/deployer"


def deploy(run: Run, **changed: Any) -> dict[str, Any]:
    return run(lambda: consumer.deploy(consumer_settings(**changed)))


def accounts(recorder: Recorder) -> list[str]:
    return [resource.name for resource in recorder.resources if resource.typ == "pulumi:providers:aws"]


def test_a_publisher_pushes_with_its_own_login(run: Run, recorder: Recorder, app: Path) -> None:
    recorder.stacks[REGISTRY_STACK]["publishers"] = [PUBLISHER]
    outputs = deploy(run, registry={"stack": "registry"})
    assert accounts(recorder) == ["consumer"]
    assert outputs["imageSource"] == "built"
    assert IMAGE in recorder.kinds()


def test_a_publisher_finds_what_is_pushed_by_its_right_to_pull(run: Run, recorder: Recorder, app: Path) -> None:
    recorder.stacks[REGISTRY_STACK]["publishers"] = [PUBLISHER]
    recorder.tags = {deploy(run, registry={"stack": "registry"})["imageTag"]: DIGEST}
    recorder.resources.clear()
    outputs = deploy(run, registry={"stack": "registry"})
    pulled = hashlib.sha256(json.dumps(recorder.manifest[1]).encode()).hexdigest()
    assert (outputs["imageSource"], outputs["imageDigest"]) == ("reused", f"sha256:{pulled}")
    assert IMAGE not in recorder.kinds()


@pytest.mark.parametrize(
    ("publishers", "registry"),
    [
        ([], {}),
        (["arn:aws:iam::222222222222:role/other"], {}),
        (["arn:aws:iam::333333333333:role/deployer"], {}),
        ([PUBLISHER], {"profile": "registry"}),
        ([PUBLISHER], {"assumeRoles": [{"roleArn": "arn:aws:iam::111111111111:role/pusher"}]}),
    ],
)
def test_the_registrys_account_pushes_for_who_is_no_publisher_or_names_its_credentials(
    run: Run, recorder: Recorder, app: Path, publishers: list[str], registry: dict[str, Any]
) -> None:
    recorder.stacks[REGISTRY_STACK]["publishers"] = publishers
    deploy(run, registry={"stack": "registry", **registry})
    assert set(accounts(recorder)) == {"consumer", "registry"}


def test_a_tag_is_looked_up_by_the_right_to_pull(run: Run, recorder: Recorder) -> None:
    recorder.tags = {"v1": DIGEST}
    deploy(run, registry={"stack": "registry"}, image={"tag": "v1"})
    assert accounts(recorder) == ["consumer"]
    with pytest.raises(ImageUnusable, match="There is no image 'v2' in .*Name another one"):
        deploy(run, registry={"stack": "registry"}, image={"tag": "v2"})


def test_a_registry_that_cannot_be_asked_is_told(run: Run, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionRefusedError("Connection refused")

    monkeypatch.setattr(RepositoryReader, "get", refuse)
    with pytest.raises(RegistryUnusable, match="cannot be asked: Connection refused"):
        deploy(run, registry={"stack": "registry"}, image={"tag": "v1"})


def test_a_registry_that_was_deployed_before_publishers_were_told_is_read(
    run: Run, recorder: Recorder, app: Path
) -> None:
    del recorder.stacks[REGISTRY_STACK]["publishers"]
    assert deploy(run)["imageSource"] == "built"


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
def test_who_a_principal_is(caller: str, principal: str, same: bool) -> None:
    assert consumer.is_principal(f"arn:aws:{caller}", f"arn:aws:{principal}") is same
