"""The schema of the local providers: what the SDK declares, read once."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from offline.plugins import schema

REPOSITORY, GET_IMAGES = "pulumi_aws.ecr.RepositoryArgs", "pulumi_aws.ecr.get_images"


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> schema.Schema:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "prefix", str(tmp_path_factory.mktemp("venv")))
        return schema.load("pulumi_aws", [REPOSITORY, GET_IMAGES])


def test_a_schema_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "pulumi_docker.ImageArgs"
    first = schema.load("pulumi_docker", [name])

    monkeypatch.setattr(subprocess, "run", lambda *given, **options: pytest.fail("the SDK was read again"))

    assert schema.load("pulumi_docker", [name]) == first
    assert first[name]["imageName"] == [None, True]


def test_a_name_that_is_not_kept_yet_is_read() -> None:
    schema.load("pulumi_docker", ["pulumi_docker.ImageArgs"])

    assert "pulumi_docker.VolumeArgs" in schema.load("pulumi_docker", ["pulumi_docker.VolumeArgs"])


def test_a_name_that_the_sdk_does_not_have_is_an_error_and_nothing_is_kept(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        schema.load("pulumi_docker", ["pulumi_docker.Imaginary"])

    assert not list(tmp_path.iterdir())


def test_the_arguments_of_a_function_are_named_as_the_engine_names_them(read: schema.Schema) -> None:
    assert set(read[GET_IMAGES]) == {"region", "registryId", "repositoryName"}


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"nmae": "a"}, "nmae"),
        ({"imageScanningConfiguration": {"scanOnPush": True, "scan": True}}, "imageScanningConfiguration.scan"),
        ({"imageScanningConfiguration": {}}, "imageScanningConfiguration.scanOnPush"),
        ({"encryptionConfigurations": [{}, {"key": "a"}]}, "encryptionConfigurations[1].key"),
    ],
    ids=["of the resource", "of a part", "missing in a part", "in a list"],
)
def test_what_the_sdk_does_not_declare_or_requires_is_named(
    read: schema.Schema, values: dict[str, Any], path: str
) -> None:
    assert [found for found, _ in schema.undeclared(read, REPOSITORY, values)] == [path]


def test_what_the_sdk_declares_is_taken(read: schema.Schema) -> None:
    values = {"name": "a", "imageScanningConfiguration": {"scanOnPush": True}, "encryptionConfigurations": [{}]}

    assert schema.undeclared(read, REPOSITORY, values) == []
