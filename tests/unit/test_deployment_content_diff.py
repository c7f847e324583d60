"""What a pull request changes in an image's content is found from its files, not from its commits."""

import subprocess
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from components.image.build import ImageBuild
from deployment import ConfigurationError, StackResult, Step
from deployment.content_diff import IMAGE, ContentDiff, content_diff, merge_base

BUILD = {"context": "app", "dockerfile": "app/Dockerfile", "platform": "linux/amd64"}


def git(folder: Path, *arguments: str) -> None:
    person = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", *person, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program below the root of a work tree, with one commit on `main`; checked out is a branch of it."""
    folder = tmp_path / "below"
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "Dockerfile").write_text("FROM scratch\nCOPY app.py /\n")
    (folder / "app" / ".dockerignore").write_text("*.md\n")
    (folder / "app" / "app.py").write_text("1\n")
    (folder / "app" / "old.py").write_text("1\n")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "one")
    git(tmp_path, "checkout", "-qb", "branch")
    return folder


def tag(program: Path) -> str:
    with chdir(program):
        return ImageBuild(context="app").tag


def preview(running: str, before: dict[str, Any] | None = None) -> StackResult:
    def step(operation: str, kind: str, **values: Any) -> Step:
        urn = f"urn:pulumi:consumer::p::{kind}::{operation}"
        return Step(stack="consumer", urn=urn, operation=operation, state="planned", **values)

    steps = [
        step("create", IMAGE, new={"build": BUILD}),
        step("same", "pulumi:pulumi:Stack", old={"imageTag": running}),
        *([step("delete", IMAGE, old={"build": before})] if before else []),
    ]
    return StackResult(stack="consumer", operation="preview", steps=tuple(steps), seconds=1, log=Path("log"))


def test_files_that_are_sent_to_the_builder_are_compared(program: Path) -> None:
    running = tag(program)
    (program / "app" / "app.py").write_text("2\n")
    (program / "app" / "new.py").write_text("1\n")
    (program / "app" / "old.py").unlink()
    (program / "app" / "ignored.md").write_text("1\n")
    (program / "elsewhere").write_text("1\n")
    commit = merge_base(program, "main")
    assert content_diff(program, preview(running, BUILD), commit) == ContentDiff(
        context="app",
        files=4,
        base=commit[:12],
        same_as_running=True,
        added=("new.py",),
        changed=("app.py",),
        removed=("old.py",),
    )


def test_a_file_that_becomes_executable_has_changed(program: Path) -> None:
    running = tag(program)
    (program / "app" / "old.py").chmod(0o755)
    compared = content_diff(program, preview(running, BUILD), merge_base(program, "main"))
    assert compared
    assert (compared.added, compared.changed, compared.removed) == ((), ("old.py",), ())


def test_other_options_than_those_of_the_image_that_runs_are_told_from_other_files(program: Path) -> None:
    running = tag(program)
    commit = merge_base(program, "main")
    without = content_diff(program, preview(running, BUILD | {"target": "other"}), commit)
    assert without
    assert (without.same_as_running, without.changed) == (False, ())


def test_the_sources_of_a_staged_context_are_compared(program: Path) -> None:
    # The resource names the staged copy, which no commit has.
    (program / "Pulumi.yaml").write_text("name: p\n")
    (program / "Pulumi.consumer.yaml").write_text("config: {p:image: {context: app}}\n")
    git(program, "add", "-A")
    git(program, "commit", "-qm", "project")
    (program / "app" / "app.py").write_text("2\n")
    staged = BUILD | {"context": ".local/context/content-1", "dockerfile": ".local/context/content-1/Dockerfile"}
    result = preview(tag(program))
    result.steps[0].new["build"] = staged
    diff = content_diff(program, result, merge_base(program, "HEAD"))
    assert diff
    assert (diff.context, diff.added, diff.changed, diff.removed) == ("app", (), ("app.py",), ())


def test_a_context_that_the_base_does_not_have_is_new(program: Path) -> None:
    (program / "app").rename(program / "else")
    git(program, "commit", "-qam", "moved")
    base = merge_base(program, "HEAD")
    (program / "else").rename(program / "app")
    diff = content_diff(program, preview("content-1"), base)
    assert diff
    assert (diff.same_as_running, len(diff.added)) == (False, diff.files)


def test_without_a_base_the_files_are_counted(program: Path) -> None:
    assert content_diff(program, preview("content-1"), "") == ContentDiff(context="app", files=4)


def test_nothing_to_build_is_nothing_to_compare(program: Path) -> None:
    nothing = StackResult(stack="consumer", operation="preview", steps=(), seconds=1, log=Path("log"))
    assert content_diff(program, nothing, "") is None


def test_a_branch_that_git_does_not_know_is_refused_before_anything_is_done(program: Path) -> None:
    with pytest.raises(ConfigurationError, match="HEAD and origin/main") as refused:
        merge_base(program, "origin/main")
    assert refused.value.hint.startswith("Fetch the other branch with its history")
    assert refused.value.hint.endswith("(actions/checkout: `fetch-depth: 0`).")
