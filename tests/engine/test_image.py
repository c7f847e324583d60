"""The image that runs is the one that was hashed, on each machine, in any order, whoever pushes first."""

import base64
import json
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
import threading
import uuid
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import chdir, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import docker
import pytest

from components.image.build import ImageBuild
from components.image.staging import stage
from tests.engine.clone import Clone, tracebacks
from tests.waiting import until

FUNCTION = "cross-account-function"
ARGUMENTS = "args: {LAMBDA_BASE_IMAGE: null"
NOBODY = 65534
UP = "pulumi up --yes --skip-preview -s"
DESTROY = "pulumi destroy --yes --skip-preview -s second"


@pytest.fixture
def deployed(clone: Clone) -> Iterator[Clone]:
    """The clone with files as committed, before and after the test. The stacks are as the previous test left them."""
    yield clone
    clone.restore()


def hello(text: str) -> tuple[int, dict[str, str]]:
    return 200, {"message": text}


def tags(clone: Clone) -> set[str]:
    """The tags in the repository."""
    images = clone.client("registry", "ecr").describe_images(repositoryName=FUNCTION)["imageDetails"]
    return {tag for image in images for tag in image.get("imageTags", [])}


@pytest.fixture(scope="module")
def second(clone: Clone) -> Iterator[Clone]:
    """The clone with a stack `second`, a consumer that builds the same folder for another function."""
    file = clone.root / "Pulumi.second.yaml"
    stack = (clone.root / "Pulumi.consumer.yaml").read_text()
    file.write_text(stack.replace("function: {", "function: {name: second, "))
    made = clone.shell("pulumi stack init second")
    assert made.returncode == 0, made.stdout
    yield clone
    clone.shell(f"{DESTROY} && pulumi stack rm --yes second")
    file.unlink()


def raced(clone: Clone, *commands: str) -> list[tuple[int, str]]:
    """Run commands that push the same content twice. One push waits until the other has created the tag."""
    before = tags(clone)
    with clone.faults({"method": "PUT", "path": "/manifests/content-", "hold": True}):
        runs = [clone.begin(command) for command in commands]
        until(lambda: tags(clone) != before)
    outputs = [run.communicate()[0] for run in runs]
    assert len(tags(clone) - before) == 1
    return [(run.returncode, output) for run, output in zip(runs, outputs, strict=True)]


def test_the_same_commit_with_other_modes_and_line_endings_has_no_diff(deployed: Clone, tmp_path: Path) -> None:
    deployed.edit("app/app.py", "hello world!", "hello elsewhere!")
    # Lambda runs the function as a user without special permissions.
    (deployed.root / "app" / "app.py").chmod(0o600)
    (deployed.root / "app").chmod(0o700)
    deployed.up("consumer")
    assert deployed.output("consumer", "imageSource") == "built"
    assert deployed.get() == hello("hello elsewhere!")
    # Another user's checkout.
    place, before = deployed.root / "place", os.umask(0o077)
    try:
        clone_with_crlf(deployed, place, tmp_path)
        if os.geteuid() == 0:
            for path in (place, *place.rglob("*")):
                os.lchown(path, NOBODY, NOBODY)
        (place / "app" / "app.py").chmod(0o4664)
        deployed.edit("Pulumi.consumer.yaml", "context: app", "context: place/app")
        assert deployed.up("consumer") == {}
        assert deployed.output("consumer", "imageSource") == "built"
    finally:
        os.umask(before)
        shutil.rmtree(place)


def clone_with_crlf(clone: Clone, to: Path, scratch: Path) -> None:
    """A clone of a repository with our `.gitattributes`, by a user whose git converts line endings."""
    shutil.copytree(clone.root / "app", scratch / "app", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(clone.root / ".gitattributes", scratch)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], cwd=scratch, check=True)
    options = ["-q", "-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    subprocess.run(["git", "clone", *options, str(scratch), str(to)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child starts no thread
def test_another_user_with_another_umask_computes_the_tag_in_the_registry(deployed: Clone) -> None:
    base = deployed.shell("echo $LAMBDA_BASE_IMAGE").stdout.strip()
    args = {"LAMBDA_BASE_IMAGE": base} if base else {}
    # Modules that are imported later may be in folders that the other user cannot read.
    tag = staged_tag(deployed.root, args)
    assert tag in tags(deployed)
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("fork")) as process:
        checkout = Path(folder, "checkout")
        subprocess.run(["git", "clone", "-q", deployed.root, checkout], check=True)
        for path in (Path(folder), *Path(folder).rglob("*")):
            os.lchown(path, NOBODY, NOBODY)
        process.submit(become, NOBODY).result()
        assert process.submit(staged_tag, checkout, args).result() == tag
        assert (checkout / ".local").stat().st_uid == NOBODY


def become(user: int) -> None:
    """Continue as another user, whose files nobody else can read."""
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    os.umask(0o077)


def staged_tag(checkout: Path, args: dict[str, str]) -> str:
    """The tag of the content staged in a checkout."""
    with chdir(checkout):
        staged = stage(ImageBuild(context="app", args=args))
        return ImageBuild(context=staged.context, dockerfile=staged.dockerfile, args=args).tag


def test_a_change_behind_or_beside_a_link_is_another_image_and_never_a_taken_tag(deployed: Clone) -> None:
    app = deployed.root / "app"
    deployed.edit("app/.dockerignore", "!app.py", "!app.py\n!*.txt")
    deployed.edit("app/Dockerfile", "COPY app.py", "COPY .")
    deployed.edit("app/app.py", '"hello world!"', 'open("current.txt").read()')
    # The docker provider's hash of a context with a dangling link covers the Dockerfile and the files before the link.
    (app / "a.txt").symlink_to("/var/task/made-in-the-image")
    (app / "current.txt").symlink_to("one.txt")
    (app / "one.txt").write_text("one")
    (app / "two.txt").write_text("two")
    try:
        deployed.up("consumer")
        assert deployed.get() == hello("one")
        (app / "one.txt").write_text("changed")
        # Other content is another image resource: it is created, the function is updated, and the old one is deleted.
        assert deployed.up("consumer") == {"create": 1, "update": 1, "delete": 1}
        assert deployed.get() == hello("changed")
        (app / "current.txt").unlink()
        (app / "current.txt").symlink_to("two.txt")
        deployed.up("consumer")
        assert deployed.get() == hello("two")
        assert deployed.planned("consumer") == {}
    finally:
        for path in app.glob("*.txt"):
            path.unlink()


def test_what_the_dockerfiles_own_ignore_file_names_changes_nothing(deployed: Clone) -> None:
    docker = deployed.root / "docker"
    docker.mkdir()
    (deployed.root / "app" / "Dockerfile").rename(docker / "api.Dockerfile")
    (docker / "api.Dockerfile.dockerignore").write_text("notes.md\n")
    (deployed.root / "app" / "notes.md").write_text("1")
    # It no longer ignores everything except app.py and the Dockerfile.
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


@pytest.mark.usefixtures("second")
def test_two_consumers_that_build_the_same_folder_at_once_push_once(deployed: Clone) -> None:
    deployed.edit("app/app.py", "hello world!", "hello race!")
    runs = dict(zip(("consumer", "second"), raced(deployed, f"{UP} consumer", f"{UP} second"), strict=True))
    (failed,) = [name for name, (code, _) in runs.items() if code]
    assert "Run `pulumi up` again" in runs[failed][1]
    assert tracebacks(runs[failed][1]) == []
    deployed.up(failed)
    assert deployed.output(failed, "imageSource") == "reused"
    assert deployed.output("consumer", "imageUri") == deployed.output("second", "imageUri")

    deployed.edit("app/app.py", "hello race!", "hello deployment!")
    ((code, output),) = raced(
        deployed, "python -m deployment up --yes --no-registry --consumer consumer --consumer second"
    )
    assert code == 0, output
    assert output.count("Another run pushed the same image. Updating again.") == 1
    assert {deployed.output(name, "imageSource") for name in ("consumer", "second")} == {"built", "reused"}
    assert deployed.output("consumer", "imageUri") == deployed.output("second", "imageUri")
    assert deployed.get() == deployed.get(stack="second") == hello("hello deployment!")


@pytest.mark.usefixtures("second")
def test_a_failed_build_makes_nothing_and_its_stack_is_destroyed(deployed: Clone) -> None:
    # The state names a hook of the image, but no program registers it during a destroy.
    deployed.edit("app/app.py", "hello world!", "hello destroy!")
    deployed.up("second")
    assert deployed.output("second", "imageSource") == "built"
    deployed.edit("app/Dockerfile", "CMD", "RUN echo this is step two && false\nCMD")
    assert deployed.shell(f"{UP} second").returncode != 0
    without_docker = deployed.shell(DESTROY, DOCKER_HOST="unix:///nowhere")
    assert without_docker.returncode != 0
    assert "failed to connect to any docker daemon" in without_docker.stdout
    assert "hook" not in without_docker.stdout
    destroyed = deployed.shell(DESTROY)
    assert destroyed.returncode == 0, destroyed.stdout
    assert "hook" not in destroyed.stdout
    owned = deployed.owned()
    assert "second" not in owned["functions"]
    # Now the first build fails.
    failed = deployed.shell(f"{UP} second")
    assert failed.returncode != 0
    assert "this is step two" in failed.stdout
    assert tracebacks(failed.stdout) == []
    assert deployed.owned() == owned
    destroyed = deployed.shell(DESTROY)
    assert destroyed.returncode == 0, destroyed.stdout


def test_a_layer_of_a_pushed_image_is_used_where_the_builder_has_none(deployed: Clone) -> None:
    # A unique name, to find the step in the builder's cache, which other runs share.
    made_once = f"made-{uuid.uuid4().hex}"
    step = f"RUN cat /proc/sys/kernel/random/uuid > {made_once}"
    deployed.edit("app/Dockerfile", "COPY app.py", f"{step}\nCOPY app.py")
    deployed.edit("app/app.py", '"hello world!"', f'open("{made_once}").read()')
    deployed.edit("Pulumi.consumer.yaml", ARGUMENTS, f'{ARGUMENTS}, BUILDKIT_INLINE_CACHE: "1"')
    deployed.up("consumer")
    made = deployed.get()
    url = deployed.output("registry", "repositoryUrl")
    image = f"{url}:{deployed.output('consumer', 'imageTag')}"

    forget(made_once, image)
    deployed.edit("app/app.py", '"""The', '"""the')
    deployed.edit("Pulumi.consumer.yaml", ARGUMENTS, f"cacheFrom: ['{url}:none', '{image}'], {ARGUMENTS}")
    deployed.up("consumer")
    assert deployed.output("consumer", "imageSource") == "built"
    assert deployed.get() == made
    assert deployed.planned("consumer") == {}


def forget(step: str, image: str) -> None:
    """Remove an image from this machine, and a build step with the steps after it."""
    client = docker.from_env()
    client.images.remove(image)
    entries = client.df()["BuildCache"]
    of_step = [entry["ID"] for entry in entries if step in entry["Description"]]
    # Version 23 and later of the engine list all parents.
    parents = {entry["ID"]: entry.get("Parents") or entry.get(" Parents") or [entry.get("Parent")] for entry in entries}
    for identity in (*(child for child, of in parents.items() if set(of) & set(of_step)), *of_step):
        client.api.prune_builds(filters={"id": identity}, all=True)
    assert of_step
    assert step not in str(client.df()["BuildCache"])


def test_a_private_package_leaves_no_secret_in_image_state_or_log(deployed: Clone) -> None:
    app, password = deployed.root / "app", "password-of-the-index"
    text = (deployed.root / "docs" / "configuration.md").read_text()
    (download,) = re.findall(r"^pip download .*", text, re.MULTILINE)
    (dockerfile,) = re.findall(r"```dockerfile\n(.*?)```", text, re.DOTALL)
    (ignored,) = re.findall(r"```\n(!.*?)```", text, re.DOTALL)
    # AWS's image has pip, the stand-in does not.
    shutil.copytree(Path(sysconfig.get_path("purelib"), "pip"), app / "wheels" / "pip")
    dockerfile = re.sub("FROM [^ \n]+", "FROM ${LAMBDA_BASE_IMAGE}", dockerfile)
    dockerfile = dockerfile.replace("RUN pip", "RUN PYTHONPATH=/wheels python3 -m pip")
    (app / "Dockerfile").write_text(f"ARG LAMBDA_BASE_IMAGE\n{dockerfile}")
    with (app / ".dockerignore").open("a") as file:
        file.write(ignored)
    (app / "requirements.txt").write_text("private-package==1.0\n")
    deployed.edit("app/app.py", '"hello world!"', "__import__('private_package').TEXT")
    try:
        with private_index(password) as address:
            fetched = deployed.shell(download, PIP_INDEX_URL=f"http://user:{password}@{address}/simple")
        assert fetched.returncode == 0, fetched.stdout
        updated = deployed.shell(f"{UP} consumer")
        assert updated.returncode == 0, updated.stdout
        assert deployed.get() == hello("hello private!")
        state = deployed.shell("pulumi stack export --show-secrets -s consumer").stdout
        name = f"{deployed.output('registry', 'repositoryUrl')}:{deployed.output('consumer', 'imageTag')}"
        image = subprocess.run(["docker", "save", name], check=True, capture_output=True).stdout
        assert b"hello private!" in image
        for kept in (updated.stdout.encode(), state.encode(), image):
            assert password.encode() not in kept
            assert base64.b64encode(f"user:{password}".encode()) not in kept
    finally:
        shutil.rmtree(app / "wheels")
        (app / "requirements.txt").unlink()


@contextmanager
def private_index(password: str) -> Iterator[str]:
    """A package index on loopback with one package, protected by a password."""
    login = f"Basic {base64.b64encode(f'user:{password}'.encode()).decode()}"
    wheel = "private_package-1.0-py3-none-any.whl"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name of the protocol
            known = self.headers.get("Authorization") == login
            self.send_response(200 if known else 401)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/zip")
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            if known:
                page = f'<a href="/{wheel}">{wheel}</a>'.encode()
                self.wfile.write(page if self.path.endswith("/") else packed_wheel())

        def log_message(self, *_: object) -> None:
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def packed_wheel() -> bytes:
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            about = "private_package-1.0.dist-info"
            archive.writestr("private_package.py", 'TEXT = "hello private!"\n')
            archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: private-package\nVersion: 1.0\n")
            archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{about}/RECORD", "")
        file.seek(0)
        return file.read()


def test_two_hundred_pushes_of_others_delete_no_image_that_runs(deployed: Clone) -> None:
    ecr = deployed.client("registry", "ecr")
    running, answer = deployed.output("consumer", "imageDigest"), deployed.get()
    assert answer[0] == 200
    (found,) = ecr.batch_get_image(repositoryName=FUNCTION, imageIds=[{"imageDigest": running}])["images"]
    manifest: dict[str, Any] = json.loads(found["imageManifest"])
    for number in range(200):
        # Other white space creates another manifest of the same layers. Docker indents by 3.
        text = json.dumps(manifest, indent=number + 9)
        tag = f"content-{number:032x}"
        ecr.put_image(
            repositoryName=FUNCTION, imageManifest=text, imageManifestMediaType=manifest["mediaType"], imageTag=tag
        )
    policy = f"repositories/111111111111/us-east-1/{FUNCTION}/lifecycle?days=3650"
    # No lifecycle policy exists that could delete it.
    assert deployed.call_cloud("POST", policy)[0] == 404
    assert deployed.call_cloud("POST", f"functions/222222222222/{FUNCTION}/age")[0] == 200
    assert deployed.get() == answer
    ids = [{"imageTag": f"content-{number:032x}"} for number in range(200)]
    for first in (0, 100):
        ecr.batch_delete_image(repositoryName=FUNCTION, imageIds=ids[first : first + 100])
