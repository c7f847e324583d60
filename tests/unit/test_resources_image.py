"""The image: what is built and pushed, under which tag, with which secrets, and what the registry is asked before."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.errors import ImageUnusable, RegistryUnusable
from components.image.build import ImageBuild
from tests.unit import registered
from tests.unit.conftest import Deploy
from tests.unit.recorder import DIGEST, REGISTRY_OUTPUTS, REGISTRY_STACK, Recorder
from tests.unit.registered import Deployed, Resource
from tests.unit.registry import MANIFEST, Registry

IMAGE = "docker:index/image:Image"
FUNCTION = "aws:lambda/function:Function"
URL = REGISTRY_OUTPUTS["repositoryUrl"]


def image_of(deploy: Deploy, **image: Any) -> Resource:
    return deploy("consumer", image={"context": "app", **image}).one(IMAGE)


def tag_of(deploy: Deploy, **image: Any) -> str:
    return str(deploy("consumer", image={"context": "app", **image}).outputs["imageTag"])


# ---- build and push


def test_an_image_is_pushed_to_the_repository_with_a_token_that_stays_secret(deploy: Deploy, app: Path) -> None:
    done = deploy("consumer")
    image = done.one(IMAGE)
    assert image.inputs["imageName"] == f"{URL}:{done.outputs['imageTag']}"
    assert image.inputs["registry"] == {
        "server": "111111111111.dkr.ecr.us-east-1.amazonaws.com",
        "username": "AWS",
        "password": "the-token",
    }
    assert image.secret == {"registry.password"}
    others = json.dumps([one.inputs for one in done.resources if one is not image] + [done.outputs])
    assert "the-token" not in others
    assert done.outputs["imageUri"] == f"{URL}@{DIGEST}"
    assert done.one(FUNCTION).inputs["imageUri"] == f"{URL}@{DIGEST}"


@pytest.mark.parametrize(
    ("option", "key", "expected"),
    [
        ({"args": {"VERSION": "1"}}, "args", {"VERSION": "1"}),
        ({"target": "release"}, "target", "release"),
        ({"network": "host"}, "network", "host"),
        ({"cacheFrom": ["registry/app:cache"]}, "cacheFrom", {"images": ["registry/app:cache"]}),
    ],
)
def test_an_option_of_the_build_reaches_the_builder(
    deploy: Deploy, app: Path, option: dict[str, Any], key: str, expected: Any
) -> None:
    assert image_of(deploy, **option).inputs["build"][key] == expected
    plain = image_of(deploy).inputs["build"]
    assert key == "args" or key not in plain


def test_the_dockerfile_that_is_named_is_the_one_that_is_built(deploy: Deploy, app: Path) -> None:
    Path("other.Dockerfile").write_text("FROM scratch\nCOPY other.py /\n")
    staged = Path(image_of(deploy, dockerfile="other.Dockerfile").inputs["build"]["dockerfile"])
    assert staged.read_text() == "FROM scratch\nCOPY other.py /\n"


@pytest.mark.parametrize(("architecture", "platform"), [("x86_64", "linux/amd64"), ("arm64", "linux/arm64")])
def test_the_platform_is_that_of_the_function_on_every_machine(
    deploy: Deploy, app: Path, architecture: str, platform: str
) -> None:
    done = deploy("consumer", image={"context": "app"}, function={"architecture": architecture})
    assert done.one(IMAGE).inputs["build"]["platform"] == platform


@pytest.mark.parametrize("environment", [{}, {"LAMBDA_BASE_IMAGE": "public.ecr.aws/lambda/python@sha256:1"}], ids=str)
def test_build_arguments_without_a_value_are_those_of_the_environment(
    deploy: Deploy, app: Path, environment: dict[str, str]
) -> None:
    done = deploy("consumer", environment=environment)
    assert done.one(IMAGE).inputs["build"].get("args", {}) == environment


def test_a_base_image_by_digest_is_another_image(deploy: Deploy, app: Path) -> None:
    bases = [f"public.ecr.aws/lambda/python@sha256:{digit * 64}" for digit in "12"]
    tags = [tag_of(deploy, args={"LAMBDA_BASE_IMAGE": base}) for base in bases]
    assert len({*tags, tag_of(deploy)}) == 3
    built = image_of(deploy, args={"LAMBDA_BASE_IMAGE": bases[0]})
    assert built.inputs["build"]["args"] == {"LAMBDA_BASE_IMAGE": bases[0]}


# ---- the tag


def written(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\n")
    for name, text in files.items():
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "1", "b": "2"}, {"a": "1b-2"}),
        ({"a": "1", "b": "2"}, {"a": "1b-1:2"}),
        ({"a": "11:b1:-1:2"}, {"a": "1", "b": "2"}),
        # A content without its length in front reads on in the next name, a name in the next content.
        ({"a": "11:b1:-2"}, {"a": "1", "b": "2"}),
        ({"a-1:1b": "2"}, {"a": "1", "b": "2"}),
        ({"a": "1", "ab": ""}, {"a": "1ab"}),
        ({"a": "", "b": ""}, {"a-b": ""}),
    ],
    ids=str,
)
def test_two_contexts_that_read_alike_in_a_row_have_two_tags(
    app: Path, one: dict[str, str], other: dict[str, str]
) -> None:
    written(app.parent / "one", one)
    written(app.parent / "other", other)
    assert ImageBuild(context="one").tag != ImageBuild(context="other").tag


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"args": {"A": "1B=2"}}, {"args": {"A": "1", "B": "2"}}),
        ({"args": {"A": "1"}}, {"target": "A=1"}),
        ({"args": {"A": "B=1"}}, {"args": {"A": "", "B": "1"}}),
        ({"target": "a"}, {"target": "b"}),
        ({"args": {"A": "1"}}, {"args": {"A": "2"}}),
    ],
    ids=str,
)
def test_other_options_have_another_tag(app: Path, one: dict[str, Any], other: dict[str, Any]) -> None:
    assert len({ImageBuild(context="app", **options).tag for options in (one, other, {})}) == 3


def test_the_tag_is_of_the_platform(deploy: Deploy, app: Path) -> None:
    tags = [
        deploy("consumer", image={"context": "app"}, function={"architecture": architecture}).outputs["imageTag"]
        for architecture in ("x86_64", "arm64")
    ]
    assert tags[0] != tags[1]
    assert all(tag.startswith("content-") for tag in tags)


def _another_folder(app: Path) -> dict[str, Any]:
    written(app.parent / "copy", {"app.py": (app / "app.py").read_text()})
    (app.parent / "copy" / "Dockerfile").write_text((app / "Dockerfile").read_text())
    return {"context": "copy"}


def _another_dockerfile(app: Path) -> dict[str, Any]:
    (app.parent / "other").write_text((app / "Dockerfile").read_text())
    return {"dockerfile": "other"}


@pytest.mark.parametrize("change", [_another_folder, _another_dockerfile], ids=["folder", "dockerfile"])
def test_the_same_content_from_elsewhere_is_the_same_resource(
    deploy: Deploy, recorder: Recorder, app: Path, change: Callable[[Path], dict[str, Any]]
) -> None:
    # Any difference would be an update of the resource, which pushes to a tag that is taken.
    before = deploy("consumer", image={"context": "app"})
    recorder.stacks["organization/cross-account-ecr/consumer"] = before.outputs
    recorder.tags = {before.outputs["imageTag"]: DIGEST}
    after = deploy("consumer", image={"context": "app", **change(app)})
    assert (after.one(IMAGE).name, after.one(IMAGE).inputs) == (before.one(IMAGE).name, before.one(IMAGE).inputs)


@pytest.mark.parametrize(
    "option", [{"network": "host"}, {"cacheFrom": ["registry/app:cache"]}], ids=["network", "cache"]
)
def test_the_same_content_built_in_another_way_keeps_its_tag_and_is_reused(
    deploy: Deploy, recorder: Recorder, app: Path, option: dict[str, Any]
) -> None:
    # The docker provider compares more than the content: it would build again and push to a tag that is taken.
    before = deploy("consumer", image={"context": "app"})
    recorder.stacks["organization/cross-account-ecr/consumer"] = before.outputs
    recorder.tags = {before.outputs["imageTag"]: DIGEST}
    assert deploy("consumer", image={"context": "app"}).outputs["imageSource"] == "built"
    after = deploy("consumer", image={"context": "app", **option})
    assert after.outputs["imageTag"] == before.outputs["imageTag"]
    assert after.outputs["imageSource"] == "reused"
    assert not after.of(IMAGE)
    # The next update would delete it.
    assert not after.of("pulumi:providers:docker")
    assert after.outputs["imageUri"] == before.outputs["imageUri"]


def test_other_content_is_another_resource(deploy: Deploy, app: Path) -> None:
    # An update in place would push to a taken tag when a failed update is taken back.
    before = image_of(deploy)
    (app / "app.py").write_text("print('changed')\n")
    assert image_of(deploy).name != before.name


def test_an_image_that_is_gone_is_pushed_by_another_resource(
    deploy: Deploy, recorder: Recorder, app: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = deploy("consumer")
    recorder.stacks["organization/cross-account-ecr/consumer"] = before.outputs
    after = deploy("consumer")
    assert after.outputs["imageTag"] == before.outputs["imageTag"]
    assert after.one(IMAGE).name != before.one(IMAGE).name
    assert (before.outputs["imagePush"], after.outputs["imagePush"]) == (0, 1)
    assert "It is built and pushed again" in caplog.text


# ---- what is there


def test_an_existing_image_is_run_by_its_digest_without_docker(deploy: Deploy, recorder: Recorder) -> None:
    recorder.tags = {"v1": DIGEST, "v2": f"sha256:{'cd' * 32}"}
    done = deploy("consumer", image={"tag": "v1"})
    assert done.one(FUNCTION).inputs["imageUri"] == f"{URL}@{DIGEST}"
    assert not [one for one in done.resources if "docker" in one.type]
    assert done.outputs["imageSource"] == "existing"
    assert not {"imageTag", "imageInputs", "imagePush"} & done.outputs.keys()


@pytest.mark.parametrize(("tags", "listed"), [({}, "none"), ({"v3": DIGEST, "v1": DIGEST}, "v1, v3")])
def test_a_tag_that_is_not_there_is_refused_with_those_that_are(
    deploy: Deploy, recorder: Recorder, tags: dict[str, str], listed: str
) -> None:
    recorder.tags = tags
    with pytest.raises(ImageUnusable, match=f"There is no image 'v2' in .*Its tags: {listed}\\."):
        deploy("consumer", image={"tag": "v2"})


def test_a_digest_is_taken_without_an_account_of_the_registrys(deploy: Deploy) -> None:
    done = deploy("consumer", image={"digest": DIGEST})
    assert [one.name for one in done.of("pulumi:providers:aws")] == ["consumer"]


def test_the_image_of_another_stack_is_run_unbuilt(deploy: Deploy, recorder: Recorder) -> None:
    recorder.stacks["organization/cross-account-ecr/test"] = {"imageDigest": DIGEST}
    done = deploy("consumer", image={"promote": "test"})
    assert done.one(FUNCTION).inputs["imageUri"] == f"{URL}@{DIGEST}"
    assert not done.of(IMAGE)
    recorder.stacks["acme/other/test"] = {"imageDigest": f"sha256:{'cd' * 32}"}
    other = deploy("consumer", image={"promote": "acme/other/test"})
    assert other.outputs["imageDigest"] == f"sha256:{'cd' * 32}"


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({}, "The stack 'test' runs no image yet. Deploy it first: pulumi up -s test"),
        (None, "The stack 'test' cannot be read: unknown stack"),
    ],
)
def test_a_stack_without_an_image_has_nothing_to_run(
    deploy: Deploy, recorder: Recorder, outputs: dict[str, Any] | None, expected: str
) -> None:
    if outputs is not None:
        recorder.stacks["organization/cross-account-ecr/test"] = outputs
    with pytest.raises(ImageUnusable, match=expected):
        deploy("consumer", image={"promote": "test"})


# ---- what the registry is asked before Lambda is

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited for, without waiting."""
    waited: list[float] = []
    really = asyncio.sleep

    async def sleep(seconds: float, *rest: Any) -> None:
        waited.extend([seconds] if seconds else [])  # the SDK lets others run in this way
        await really(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waited


def run_from(registry: Registry) -> Deployed:
    """Deploy the image of a registry that is really registry."""
    recorder = Recorder()
    recorder.stacks[REGISTRY_STACK]["repositoryUrls"] = {"us-east-1": registry.url}
    return registered.deploy(recorder, "consumer", image={"digest": DIGEST})


@pytest.mark.parametrize("kind", [MANIFEST, DOCKER_MANIFEST])
def test_either_kind_of_image_is_asked_for_by_its_media_type(registry: Registry, kind: str) -> None:
    registry.kind = kind
    assert run_from(registry).one(FUNCTION).inputs["imageUri"] == f"{registry.url}@{DIGEST}"


@pytest.mark.parametrize("kind", sorted(INDEXES))
def test_an_index_is_refused_by_its_media_type(registry: Registry, kind: str) -> None:
    registry.kind, registry.image = kind, {"schemaVersion": 2, "mediaType": kind, "manifests": []}
    with pytest.raises(ImageUnusable, match="is not a single image") as refused:
        run_from(registry)
    assert kind in str(refused.value)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_pull_is_tried_again_while_the_policy_spreads(
    registry: Registry, waits: list[float], status: int
) -> None:
    registry.refusals = [status, status]
    assert run_from(registry).of(FUNCTION)
    # Longer each time.
    assert len(waits) == 2
    assert 0 < waits[0] < waits[1]


@pytest.mark.parametrize("status", [401, 403])
def test_a_pull_that_stays_refused_ends_in_seconds_and_names_both_policies(
    registry: Registry, waits: list[float], status: int
) -> None:
    registry.refusals = [status] * 100
    with pytest.raises(RegistryUnusable, match=r"ecr:BatchGetImage.*deployerPolicies") as refused:
        run_from(registry)
    assert 5 <= sum(waits) <= 60
    assert "the-token" not in str(refused.value)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"os": "linux", "architecture": "arm64"}, "built for linux/arm64"),
        ({"os": "windows", "architecture": "amd64"}, "built for windows/amd64"),
    ],
)
def test_an_image_for_another_processor_or_system_is_refused(
    registry: Registry, config: dict[str, str], expected: str
) -> None:
    registry.config = config
    with pytest.raises(ImageUnusable, match=expected):
        run_from(registry)


@pytest.mark.parametrize(("size", "refused"), [(10 * 1024**3, False), (10 * 1024**3 + 1, True)])
def test_an_image_that_is_too_large_even_packed_is_refused(registry: Registry, size: int, refused: bool) -> None:
    registry.image = {"schemaVersion": 2, "config": {"digest": DIGEST}, "layers": [{"size": size - 1}, {"size": 1}]}
    if refused:
        with pytest.raises(ImageUnusable, match="Lambda allows 10 GB"):
            run_from(registry)
    else:
        assert run_from(registry).of(FUNCTION)


def test_an_unreachable_registry_is_left_to_lambda(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    registry.shutdown()
    registry.server_close()
    assert run_from(registry).of(FUNCTION)
    assert "Lambda will tell" in caplog.text or "cannot be" in caplog.text


def test_an_image_that_is_not_there_is_refused_by_its_digest(registry: Registry) -> None:
    recorder = Recorder()
    recorder.stacks[REGISTRY_STACK]["repositoryUrls"] = {"us-east-1": registry.url}
    missing = f"sha256:{'cd' * 32}"
    with pytest.raises(ImageUnusable, match=f"no image {missing}"):
        registered.deploy(recorder, "consumer", image={"digest": missing})


# ---- the registry stack


def test_a_registry_that_is_not_deployed_is_named_with_the_commands_that_deploy_it(
    deploy: Deploy, recorder: Recorder
) -> None:
    del recorder.stacks[REGISTRY_STACK]
    with pytest.raises(
        RegistryUnusable, match="The registry stack 'registry' cannot be read: unknown stack"
    ) as refused:
        deploy("consumer")
    assert "pulumi stack init registry && pulumi up -s registry" in str(refused.value)


def test_a_registry_of_another_project_is_named_as_a_whole(deploy: Deploy, recorder: Recorder) -> None:
    recorder.stacks["acme/other/registry"] = recorder.stacks.pop(REGISTRY_STACK)
    registry = {"stack": "acme/other/registry"}
    assert deploy("consumer", registry=registry, image={"digest": DIGEST}).outputs["imageDigest"] == DIGEST


def test_the_address_of_the_docker_engine_is_not_in_the_state(
    deploy: Deploy, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The SDK copies it into the provider's inputs: refresh and destroy would fail on a machine with another engine.
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    assert "host" not in deploy("consumer").one("pulumi:providers:docker").inputs
