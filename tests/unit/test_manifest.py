"""What a registry says of an image, before Lambda is asked."""

import asyncio
import base64
from typing import Any

import pytest

from components.errors import ImageUnusable, RegistryUnusable
from components.image import manifest
from components.image.manifest import require_runnable
from tests.unit.registry import BLOB, MANIFEST, STORAGE, TAGGED, Registry


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the user is told, without waiting in between."""
    lines: list[str] = []
    for level in ("info", "warn"):
        monkeypatch.setattr(manifest.pulumi.log, level, lines.append)
    monkeypatch.setattr(manifest, "WAIT_SECONDS", (0, 0))
    return lines


def check(registry: Registry, architecture: str = "x86_64", *, missing: bool = False) -> None:
    asyncio.run(require_runnable(registry.reader, "v1", architecture, missing=missing))


def test_an_image_that_lambda_takes_passes(registry: Registry, said: list[str]) -> None:
    check(registry)
    assert said == []


def test_the_login_is_not_sent_on_to_where_layers_are_stored(registry: Registry, said: list[str]) -> None:
    check(registry)
    sent = {path: headers.get("Authorization") for path, headers in registry.asked}
    assert base64.b64decode(sent[TAGGED].removeprefix("Basic ")) == b"AWS:the-token"
    assert sent[STORAGE] is None


def test_a_refused_pull_is_asked_again_for_policies_take_seconds(registry: Registry, said: list[str]) -> None:
    registry.refusals = [403]
    check(registry)
    assert len(said) == 1
    assert "Trying again in 0 s" in said[0]


def test_a_pull_refused_for_long_names_both_policies(registry: Registry, said: list[str]) -> None:
    registry.refusals = [403] * 9
    with pytest.raises(RegistryUnusable, match=r"ecr:BatchGetImage.*repository's.*deployerPolicies") as refused:
        check(registry)
    assert len(registry.asked) == 3
    assert "the-token" not in str(refused.value)


def test_a_missing_image_is_refused_unless_it_is_about_to_be_built(registry: Registry, said: list[str]) -> None:
    registry.answers[TAGGED] = (404, {}, {})
    check(registry, missing=True)
    with pytest.raises(ImageUnusable, match="There is no image v1"):
        check(registry)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_cannot_answer_is_only_a_warning(registry: Registry, said: list[str], status: int) -> None:
    registry.answers[TAGGED] = (status, {}, {})
    check(registry)
    assert "The update checks whether Lambda" in said[0]


@pytest.mark.parametrize(("error", "reason"), [(OSError("no route"), "(no route)"), (OSError(), "(OSError)")])
def test_a_registry_that_is_not_reached_is_a_warning_with_the_reason(
    registry: Registry, said: list[str], monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    def get(reader: manifest.RepositoryReader, path: str) -> None:
        raise error

    monkeypatch.setattr(manifest.RepositoryReader, "get", get)
    check(registry)
    assert reason in said[-1]


PAGE = b"<!DOCTYPE html><title>Sign in to the network</title>"
CUT = {"Content-Length": "9999"}


@pytest.mark.parametrize("path", [TAGGED, STORAGE])
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, PAGE),
        ({}, b""),
        ({}, b"\xff\xfe"),
        (CUT, b'{"schemaVersion": 2, "con'),
        ({}, []),
        ({}, {"error": "down"}),
        ({}, {"schemaVersion": 2, "config": {}, "layers": [{}]}),
        ({}, {"schemaVersion": 2, "config": None, "layers": 5}),
    ],
    ids=[
        "a proxy's page",
        "nothing",
        "no text",
        "cut off",
        "a list",
        "another object",
        "half a manifest",
        "other types",
    ],
)
def test_an_answer_that_is_not_the_registrys_is_a_warning(
    registry: Registry, said: list[str], path: str, headers: dict[str, str], body: Any
) -> None:
    registry.answers[path] = (200, headers, body)
    check(registry)
    assert len(said) == 1
    assert "The update checks whether Lambda" in said[0]


@pytest.mark.parametrize("status", [401, 403])
def test_a_preview_that_may_not_pull_says_so_once_and_goes_on(
    registry: Registry, said: list[str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest.pulumi.runtime, "is_dry_run", lambda: True)
    registry.answers[TAGGED] = (status, {}, {"errors": [{"message": "no ecr:BatchGetImage"}]})
    check(registry)
    assert len(registry.asked) == len(said) == 1
    assert "(no ecr:BatchGetImage)" in said[0]


def test_a_preview_that_may_read_the_manifest_alone_names_what_is_refused(
    registry: Registry, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest.pulumi.runtime, "is_dry_run", lambda: True)
    refusal = {"errors": [{"message": "no ecr:GetDownloadUrlForLayer"}]}
    registry.answers[BLOB] = (403, {}, refusal)
    check(registry)
    assert len(said) == 1
    assert "(no ecr:GetDownloadUrlForLayer)" in said[0]


def test_an_index_is_refused_with_the_way_to_push_one_image(registry: Registry) -> None:
    registry.image = {"schemaVersion": 2, "mediaType": MANIFEST.replace("manifest", "index"), "manifests": []}
    with pytest.raises(ImageUnusable, match=r"single image \(application/vnd.oci.image.index.*--provenance=false"):
        check(registry)


def test_an_image_over_ten_gigabytes_is_refused(registry: Registry) -> None:
    registry.image["layers"] = [{"size": 6 * 1024**3}, {"size": 6 * 1024**3}]
    with pytest.raises(ImageUnusable, match="12.0 GB packed"):
        check(registry)


@pytest.mark.parametrize(
    ("config", "architecture"),
    [
        ({"os": "linux", "architecture": "arm64"}, "x86_64"),
        ({"os": "linux", "architecture": "amd64"}, "arm64"),
        ({"os": "windows", "architecture": "amd64"}, "x86_64"),
    ],
)
def test_an_image_for_another_processor_or_system_is_refused(
    registry: Registry, config: dict[str, str], architecture: str
) -> None:
    registry.config = config
    with pytest.raises(ImageUnusable, match=f"built for {config['os']}/{config['architecture']}"):
        check(registry, architecture)
