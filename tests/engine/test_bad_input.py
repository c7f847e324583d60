"""Wrong input is reported before anything is created: what, where, what is allowed, and how to fix it."""

import re
import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.engine.clone import Clone, free_port, interrupt_at


def refused(clone: Clone, command: str, **changed: str) -> str:
    """Run a command that must fail. Returns its output."""
    ran = clone.shell(command, **changed)
    assert ran.returncode != 0, ran.stdout
    assert "Traceback" not in ran.stdout
    return ran.stdout


# ---- a deployed pair of stacks, previews as in a pull request


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "Pulumi.consumer.yaml",
            '"222222222222"',
            '"2222"',
            'account: "2222" is not allowed; it must be an AWS account',
        ),
        (
            "Pulumi.consumer.yaml",
            "{context: app,",
            "{context: application,",
            "image context 'application' is not a folder",
        ),
        ("Pulumi.registry.yaml", "name: cross-account-function", "name: Cross_Account", "repository.name: "),
        ("Pulumi.registry.yaml", "111111111111", "999999999999", "AWS account ID not allowed: 111111111111"),
    ],
    ids=["account ID", "context", "repository name", "other account's credentials"],
)
def test_wrong_configuration_is_refused_in_the_preview(
    deployed: Clone, file: str, old: str, new: str, expected: str
) -> None:
    deployed.edit(file, old, new)
    stack = file.split(".")[1]
    assert expected in refused(deployed, f"pulumi preview -s {stack}")


def test_a_second_stack_with_the_names_of_the_first_is_refused(deployed: Clone) -> None:
    shutil.copy(deployed.root / "Pulumi.consumer.yaml", deployed.root / "Pulumi.second.yaml")
    try:
        said = refused(deployed, "pulumi stack init second && pulumi preview -s second")
        assert "The log group /aws/lambda/cross-account-function exists in account 222222222222" in said
        assert "cross-account-ecr:function: {name: cross-account-function-second}" in said
    finally:
        deployed.shell("pulumi stack rm --yes second")
        (deployed.root / "Pulumi.second.yaml").unlink(missing_ok=True)


def test_missing_dockerfile_is_named(deployed: Clone) -> None:
    (deployed.root / "app" / "Dockerfile").unlink()
    assert "there is no Dockerfile app/Dockerfile" in refused(deployed, "pulumi preview -s consumer")


def test_docker_engine_gone(deployed: Clone) -> None:
    # Content that is not pushed yet, so that Docker is required.
    deployed.edit("app/app.py", "hello world!", "hello docker!")
    gone = "DOCKER_HOST=unix:///nowhere/docker.sock"
    said = refused(deployed, f"{gone} pulumi preview -s consumer")
    assert "failed to connect to any docker daemon" in said


def test_existing_image_is_previewed_without_docker(deployed: Clone) -> None:
    digest = deployed.output("consumer", "imageUri").partition("@")[2]
    deployed.edit("Pulumi.consumer.yaml", "{context: app, args: {LAMBDA_BASE_IMAGE: null}}", f'{{digest: "{digest}"}}')
    deployed.up("consumer")
    shown = deployed.shell("DOCKER_HOST=unix:///nowhere/docker.sock pulumi preview -s consumer")
    assert shown.returncode == 0, shown.stdout


# ---- an empty local cloud


def test_what_an_earlier_version_left_is_dropped(stale: tuple[Clone, str]) -> None:
    _, printed = stale
    assert "removed the state of another version" in printed


def test_an_update_needs_the_registry_and_a_preview_names_it(empty: Clone) -> None:
    """Without the registry's stack, and with one that was never deployed. Then both stacks have their first preview."""
    for prepare in ("pulumi stack select --create consumer", "pulumi stack init registry"):
        previewed = empty.shell(f"{prepare} && pulumi preview -s consumer")
        assert previewed.returncode == 0, previewed.stdout
        assert "warning: Update the registry first. The registry stack 'registry'" in previewed.stdout
        assert "pulumi up -s registry" in previewed.stdout
        assert "Deploy it first: " in refused(empty, "pulumi up --yes --skip-preview -s consumer")
    both = empty.shell("python -m deployment preview --comment comment.md")
    assert both.returncode == 0, both.stdout
    comment = (empty.root / "comment.md").read_text()
    (empty.root / "comment.md").unlink()
    assert re.search(r"`registry` \|  \|  \|  \| [2-9] ", comment)
    assert re.search(r"`consumer`, after the registry \|  \|  \|  \| 1[0-9] ", comment)
    assert "which is built by the update" in comment
    assert empty.owned() == {}


def test_failing_build_shows_its_step_and_makes_nothing(empty: Clone) -> None:
    empty.up("registry")
    with (empty.root / "app" / "Dockerfile").open("a") as file:
        file.write("RUN echo this is step two && false\n")
    said = refused(empty, "pulumi up --yes --skip-preview -s consumer")
    assert "this is step two" in said
    assert empty.owned() == {"repositories": ["cross-account-function"]}


def test_ctrl_c_during_the_update_is_recovered_from(empty: Clone) -> None:
    printed = interrupt_at(empty.start("demo"), "docker:index:Image function-image-")
    assert "Traceback" not in printed
    ran = empty.make("demo")
    assert '200 {"message": "hello world!"}' in ran.stdout, ran.stdout


def test_a_killed_update_is_recovered_from(empty: Clone) -> None:
    # SIGKILL leaves a lock and an operation whose outcome is unknown.
    empty.edit("app/app.py", "hello world!", "hello survivor!")
    interrupt_at(empty.start("demo"), "aws:lambda:Function function updating", signal.SIGKILL)
    ran = empty.make("demo")
    assert "Interrupted update" in ran.stdout
    assert '200 {"message": "hello survivor!"}' in ran.stdout, ran.stdout


def test_destroy_leaves_nothing(empty: Clone) -> None:
    assert '200 {"message"' in empty.make("demo").stdout
    assert set(empty.owned()) == {"functions", "roles", "log groups", "apis", "repositories"}
    assert empty.shell("pulumi destroy --yes --skip-preview -s consumer").returncode == 0
    assert set(empty.owned()) == {"repositories"}
    # The repository is protected, and ECR does not delete one with images. Each error names the next step.
    destroy = "pulumi destroy --yes --skip-preview -s registry"
    assert "because it is protected" in refused(empty, destroy)
    name = "{name: cross-account-function"
    empty.edit("Pulumi.registry.yaml", name, f"{name}, protect: false, retainOnDelete: false")
    empty.up("registry")
    assert "not empty, consider using force_delete" in refused(empty, destroy)
    empty.edit("Pulumi.registry.yaml", "retainOnDelete: false", "retainOnDelete: false, forceDelete: true")
    empty.up("registry")
    assert empty.shell(destroy).returncode == 0
    assert empty.owned() == {}


def test_down_destroys_the_stacks_and_leaves_no_process_and_nothing_but_caches_and_keys(empty: Clone) -> None:
    empty.up("registry")
    assert empty.processes()
    ran = empty.make("down")
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"Destroy registry +done", ran.stdout), ran.stdout
    assert empty.processes() == []
    left = {path.name for path in (empty.root / ".local").iterdir()}
    assert left <= {"venv", "tools", "pulumi-cli", "pulumi-home", "bin", "layout", "endpoint", "passphrase"}


def test_commands_without_a_cloud_say_how_to_start_it(tmp_path: Path) -> None:
    ran = Clone.make_in(tmp_path).make("env")
    assert ran.returncode != 0
    assert "The local cloud is not running. Start it with `make demo`." in ran.stdout


def test_another_port_is_refused_while_the_cloud_runs(deployed: Clone) -> None:
    ran = Clone(deployed.root, free_port()).make("demo")
    assert ran.returncode != 0
    assert f"The local cloud runs on port {deployed.port}" in ran.stdout
    assert deployed.get()[0] == 200


def test_down_ends_everything_even_if_destroy_fails(tmp_path: Path) -> None:
    clone = Clone.make_in(tmp_path)
    assert clone.make("setup").returncode == 0
    assert clone.shell("pulumi stack init consumer").returncode == 0
    state = clone.root / ".local" / "state" / ".pulumi" / "stacks" / "cross-account-ecr" / "consumer.json"
    state.write_text("{")
    ran = clone.make("down")
    assert ran.returncode != 0
    assert "were not destroyed, but" in ran.stdout
    assert clone.processes() == []


def test_a_taken_port_is_named(empty: Clone) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        taken = other.getsockname()[1]
        clone = Clone(empty.root, taken)
        ran = clone.make("setup")
    assert ran.returncode != 0
    assert f"Port {taken} is taken by another program" in ran.stdout
    assert f"LOCAL_CLOUD_PORT={taken + 1} make demo" in ran.stdout


def test_a_port_that_is_none_is_refused(empty: Clone) -> None:
    ran = Clone(empty.root, 80).make("setup")
    assert ran.returncode != 0
    assert "LOCAL_CLOUD_PORT='80' is not a port from 1024 to 65535" in ran.stdout
