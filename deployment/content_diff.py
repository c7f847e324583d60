"""Compare the files of an image's build context with a commit."""

import io
import os
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.errors import DeploymentError as Refused
from components.image.build import ImageBuild
from components.image.context import File
from components.limits import CONTEXT_MB
from deployment.errors import ConfigurationError
from deployment.results import StackResult

IMAGE = "docker:index/image:Image"


@dataclass(frozen=True, kw_only=True)
class ContentDiff:
    """The files sent to the builder, compared with a commit.

    Attributes:
        context: folder of the build context.
        files: number of files in it.
        base: the commit to compare with; empty without a comparison.
        same_as_running: whether the tag of the base's content is the one that runs now.
        added: paths within the context that are not in the base.
        changed: paths whose content or executable bit differs.
        removed: paths that are only in the base.
    """

    context: str
    files: int
    base: str = ""
    same_as_running: bool = False
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def merge_base(folder: Path, base: str) -> str:
    """The merge base of the work tree's commit and another branch.

    Args:
        folder: the program's folder, in a Git work tree.
        base: the other branch, such as `origin/main`.

    Raises:
        ConfigurationError: Git finds no merge base, as in a shallow clone.
    """
    commit = _git(folder, "merge-base", "HEAD", base).decode().strip()
    if not commit:
        hint = "Fetch the other branch with its history (actions/checkout: `fetch-depth: 0`)."
        raise ConfigurationError(f"HEAD and {base} have no commit in common", stack="", hint=hint)
    return commit


def content_diff(folder: Path, result: StackResult, commit: str) -> ContentDiff | None:
    """Compare what a preview would build with the same folder in a commit.

    It changes the working directory temporarily, so it is not thread-safe.

    Args:
        folder: the program's folder, in a Git work tree.
        result: the preview.
        commit: the commit to compare with; empty for no comparison.

    Returns: None if nothing would be built.
    """
    images = [step for step in result.steps if step.type == IMAGE]
    builds = [step.new["build"] for step in images if step.operation == "create"]
    if not builds:
        return None
    [build] = builds
    before = [step.old["build"] for step in images if step.operation == "delete"]
    ours = _content(folder, result.stack, build)
    context, _ = _paths(folder, result.stack, build)
    if not commit:
        return ContentDiff(context=context, files=len(ours[1]))
    with tempfile.TemporaryDirectory(prefix="deployment-base-") as tree:
        # A commit without the folder has no archive.
        if archive := _git(folder, "archive", "--format=tar", commit, "."):
            with tarfile.open(fileobj=io.BytesIO(archive)) as files:
                files.extractall(tree, filter="data")
        try:
            theirs = _content(Path(tree), result.stack, before[0] if before else build)
        except Refused:
            theirs = "", {}
    names = {*ours[1], *theirs[1]}
    both = {name: (theirs[1].get(name), ours[1].get(name)) for name in sorted(names)}
    return ContentDiff(
        context=context,
        files=len(ours[1]),
        base=commit[:12],
        same_as_running=theirs[0] == result.outputs_before.get("imageTag"),
        added=tuple(name for name, (old, _) in both.items() if old is None),
        changed=tuple(name for name, (old, new) in both.items() if old and new and old != new),
        removed=tuple(name for name, (_, new) in both.items() if new is None),
    )


def _paths(folder: Path, stack: str, build: Mapping[str, Any]) -> tuple[str, str]:
    """Context and Dockerfile of a stack's image.

    They are in the stack's file. The image resource names the staged copy, which is used without a stack file.
    """
    try:
        project = yaml.safe_load((folder / "Pulumi.yaml").read_text())["name"]
        image = yaml.safe_load((folder / f"Pulumi.{stack}.yaml").read_text())["config"][f"{project}:image"]
        return str(image["context"]), str(image.get("dockerfile", ""))
    except (OSError, LookupError, TypeError, yaml.YAMLError):
        return str(build["context"]), str(build["dockerfile"])


def _content(folder: Path, stack: str, build: Mapping[str, Any]) -> tuple[str, dict[str, tuple[bytes, bool]]]:
    """The content tag of a build, and the content and executable bit of each file. Paths are relative to the folder."""
    context, dockerfile = _paths(folder, stack, build)
    # Paths in a state or tag are relative to the working directory.
    with chdir(folder):
        image = ImageBuild(
            context=context,
            dockerfile=dockerfile,
            args=build.get("args", {}),
            target=build.get("target", ""),
            platform=build["platform"],
            # The preview has already checked which files may be sent.
            allow_secrets=["**"],
            context_limit=CONTEXT_MB[-1],
        )
        return image.tag, {file.name: (_text(file), bool(file.mode & stat.S_IXUSR)) for file in image.files}


def _text(file: File) -> bytes:
    """The content of a file, or the target of a symbolic link."""
    return os.fsencode(file.path.readlink()) if stat.S_ISLNK(file.mode) else file.path.read_bytes()


def _git(folder: Path, *arguments: str) -> bytes:
    """The output of a Git command; empty if it fails."""
    return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True).stdout
