"""Wrong input is reported before anything is created: what, where, what is allowed, and how to fix it."""

import re
import shutil
import signal
import socket
from pathlib import Path

from tests.engine.clone import Clone, free_port, interrupt_at, tracebacks


def refused(clone: Clone, command: str, **changed: str) -> str:
    """Run a command that must fail. Returns its output."""
    ran = clone.shell(command, **changed)
    assert ran.returncode != 0, ran.stdout
    assert tracebacks(ran.stdout) == []
    return ran.stdout


# ---- a deployed pair of stacks, previews as in a pull request


def test_wrong_configuration_is_refused_in_the_preview(updatable: Clone) -> None:
    updatable.edit("Pulumi.consumer.yaml", '"222222222222"', '"2222"')
    said = refused(updatable, "pulumi preview -s consumer")
    assert 'account: "2222" is not allowed; it must be an AWS account' in said


def test_a_second_stack_with_the_names_of_the_first_is_refused(updatable: Clone) -> None:
    shutil.copy(updatable.root / "Pulumi.consumer.yaml", updatable.root / "Pulumi.second.yaml")
    try:
        said = refused(updatable, "pulumi stack init second && pulumi preview -s second")
        assert "The log group /aws/lambda/cross-account-function exists in account 222222222222" in said
        assert "cross-account-ecr:function: {name: cross-account-function-second}" in said
    finally:
        updatable.shell("pulumi stack rm --yes second")
        (updatable.root / "Pulumi.second.yaml").unlink(missing_ok=True)


def test_missing_dockerfile_is_named(updatable: Clone) -> None:
    (updatable.root / "app" / "Dockerfile").unlink()
    assert "there is no Dockerfile app/Dockerfile" in refused(updatable, "pulumi preview -s consumer")


def test_existing_image_is_previewed_without_docker(updatable: Clone) -> None:
    digest = updatable.output("consumer", "imageUri").partition("@")[2]
    updatable.edit("Pulumi.consumer.yaml", "{context: app, args: {LAMBDA_BASE_IMAGE: null}}", f'{{digest: "{digest}"}}')
    updatable.up("consumer")
    shown = updatable.shell("DOCKER_HOST=unix:///nowhere/docker.sock pulumi preview -s consumer")
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


def test_ctrl_c_during_the_update_is_recovered_from(empty: Clone) -> None:
    printed = interrupt_at(empty.start("demo"), "docker:index:Image function-image-")
    assert tracebacks(printed) == []
    ran = empty.make("demo")
    assert '200 {"message": "hello world!"}' in ran.stdout, ran.stdout


def test_a_killed_update_is_recovered_from(empty: Clone) -> None:
    # SIGKILL leaves a lock and an operation whose outcome is unknown.
    empty.edit("app/app.py", "hello world!", "hello survivor!")
    empty.control("POST", {"method": "PUT", "path": "/functions/[^/]+/code$", "hold": True})
    interrupt_at(empty.start("demo"), "aws:lambda:Function function updating", signal.SIGKILL)
    empty.control("DELETE")
    ran = empty.make("demo")
    assert "Interrupted update" in ran.stdout
    assert '200 {"message": "hello survivor!"}' in ran.stdout, ran.stdout


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


def test_another_port_is_refused_while_the_cloud_runs(updatable: Clone) -> None:
    ran = Clone(updatable.root, free_port()).make("demo")
    assert ran.returncode != 0
    assert f"The local cloud runs on port {updatable.port}" in ran.stdout
    assert updatable.get()[0] == 200


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
