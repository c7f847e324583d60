"""The image that runs is what was hashed: on every machine, in every order, whoever pushes first."""

import json
import os
import shutil
from typing import Any

from tests.engine.clone import Clone

FUNCTION = "cross-account-function"
BUILD = "image: {context: app, args: {LAMBDA_BASE_IMAGE: null}}"
IMAGE = "docker:index/image:Image"
SECONDS = 8


def hello(text: str) -> tuple[int, dict[str, str]]:
    return 200, {"message": text}


def test_modes_change_neither_tag_nor_resource_nor_what_runs(deployed: Clone) -> None:
    deployed.edit("app/app.py", "hello world!", "hello modes!")
    # Lambda runs the function as a user without rights of its own.
    (deployed.root / "app" / "app.py").chmod(0o600)
    (deployed.root / "app").chmod(0o700)
    deployed.up("consumer")
    assert deployed.output("consumer", "imageSource") == "built"
    assert deployed.get() == hello("hello modes!")
    for mode in (0o644, 0o664, 0o4644):
        (deployed.root / "app" / "app.py").chmod(mode)
        assert deployed.planned("consumer") == {}
    assert deployed.up("consumer") == {}
    assert deployed.output("consumer", "imageSource") == "built"


def test_the_same_content_in_another_folder_of_another_user_has_no_diff(deployed: Clone) -> None:
    deployed.edit("app/app.py", "hello world!", "hello elsewhere!")
    deployed.up("consumer")
    stack = (deployed.root / "Pulumi.consumer.yaml").read_text()
    for umask in (0o002, 0o077):
        other = deployed.root / f"umask-{umask:o}"
        before = os.umask(umask)
        try:
            shutil.copytree(deployed.root / "app", other, copy_function=shutil.copyfile)
        finally:
            os.umask(before)
        for path in (other, *other.iterdir()):
            os.chown(path, 65534, 65534)
        text = stack.replace("context: app", f"context: {other.name}")
        (deployed.root / "Pulumi.consumer.yaml").write_text(text)
        try:
            assert deployed.planned("consumer") == {}
        finally:
            shutil.rmtree(other)


def test_a_dangling_link_hides_no_change_of_another_file(deployed: Clone) -> None:
    # The docker provider's own hash of such a context is one of the Dockerfile and what comes before the link.
    (deployed.root / "app" / "a-link").symlink_to("/var/task/made-in-the-image")
    deployed.edit("app/.dockerignore", "!app.py", "!app.py\n!a-link")
    deployed.edit("app/Dockerfile", "COPY app.py", "COPY .")
    deployed.up("consumer")
    assert deployed.planned("consumer") == {}
    deployed.edit("app/app.py", "hello world!", "hello link!")
    assert set(deployed.planned("consumer")) == {IMAGE, "aws:lambda/function:Function"}
    deployed.up("consumer")
    assert deployed.get() == hello("hello link!")
    (deployed.root / "app" / "a-link").unlink()


def test_what_the_dockerfiles_own_ignore_file_names_changes_nothing(deployed: Clone) -> None:
    docker = deployed.root / "docker"
    docker.mkdir()
    (deployed.root / "app" / "Dockerfile").rename(docker / "api.Dockerfile")
    (docker / "api.Dockerfile.dockerignore").write_text("notes.md\n")
    (deployed.root / "app" / "notes.md").write_text("1")
    # It does not count any more: everything but app.py and the Dockerfile.
    assert (deployed.root / "app" / ".dockerignore").exists()
    deployed.edit("Pulumi.consumer.yaml", "{context: app,", "{context: app, dockerfile: docker/api.Dockerfile,")
    try:
        deployed.up("consumer")
        assert deployed.output("consumer", "imageSource") == "built"
        (deployed.root / "app" / "notes.md").write_text("2")
        assert deployed.up("consumer") == {}
        assert deployed.get() == hello("hello world!")
    finally:
        shutil.rmtree(docker)
        (deployed.root / "app" / "notes.md").unlink()


def test_a_build_for_another_processor_is_refused_before_anything_is_built(deployed: Clone) -> None:
    deployed.edit("app/Dockerfile", "FROM ${LAMBDA", "FROM --platform=linux/arm64 ${LAMBDA")
    shown = deployed.shell("pulumi preview -s consumer")
    assert shown.returncode != 0
    assert "app/Dockerfile: FROM --platform=linux/arm64" in shown.stdout
    assert "Traceback" not in shown.stdout


def test_two_consumers_that_build_the_same_folder_at_once_push_once(deployed: Clone) -> None:
    # Both find no such tag, and push to it one after the other.
    deployed.edit("app/app.py", "hello world!", "hello race!")
    deployed.edit("app/Dockerfile", "COPY app.py", f"RUN sleep {SECONDS}\nCOPY app.py")
    stack = (deployed.root / "Pulumi.consumer.yaml").read_text()
    (deployed.root / "Pulumi.second.yaml").write_text(stack.replace("function: {", "function: {name: second, "))
    try:
        made = deployed.shell("pulumi stack init second")
        assert made.returncode == 0, made.stdout
        runs = {name: deployed.begin(f"pulumi up --yes --skip-preview -s {name}") for name in ("consumer", "second")}
        outputs = {name: run.communicate()[0] for name, run in runs.items()}
        failed = [name for name, run in runs.items() if run.returncode != 0]
        for name in failed:
            assert "Run `pulumi up` again" in outputs[name]
            assert "Traceback" not in outputs[name]
            deployed.up(name)
        assert len(failed) == 1, outputs
        assert deployed.output(failed[0], "imageSource") == "reused"
        assert deployed.output("consumer", "imageUri") == deployed.output("second", "imageUri")
        assert deployed.get() == deployed.get(stack="second") == hello("hello race!")
        assert deployed.planned("consumer") == deployed.planned("second") == {}
    finally:
        deployed.shell("pulumi destroy --yes --skip-preview -s second && pulumi stack rm --yes second")
        (deployed.root / "Pulumi.second.yaml").unlink()


def test_two_hundred_pushes_of_others_delete_no_image_that_runs(deployed: Clone) -> None:
    ecr = deployed.client("registry", "ecr")
    running = deployed.output("consumer", "imageDigest")
    (found,) = ecr.batch_get_image(repositoryName=FUNCTION, imageIds=[{"imageDigest": running}])["images"]
    manifest: dict[str, Any] = json.loads(found["imageManifest"])
    for number in range(200):
        # Other white space is another manifest of the same layers. Docker itself indents by 3.
        text = json.dumps(manifest, indent=number + 9)
        tag = f"content-{number:032x}"
        ecr.put_image(
            repositoryName=FUNCTION, imageManifest=text, imageManifestMediaType=manifest["mediaType"], imageTag=tag
        )
    policy = f"repositories/111111111111/us-east-1/{FUNCTION}/lifecycle?days=3650"
    # There is no policy that could delete it.
    assert deployed.call_cloud("POST", policy)[0] == 404
    assert deployed.call_cloud("POST", f"functions/222222222222/{FUNCTION}/age")[0] == 200
    assert deployed.get() == hello("hello world!")
    ids = [{"imageTag": f"content-{number:032x}"} for number in range(200)]
    for first in (0, 100):
        ecr.batch_delete_image(repositoryName=FUNCTION, imageIds=ids[first : first + 100])
