"""The build of an image, and its content tag."""

import filecmp
import hashlib
import os
import stat
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import model_validator

from components.errors import ImageUnusable
from components.image.context import File, files_of, left_out, readable, require_sendable
from components.image.dockerfile import Copy, copies, require_platform
from components.image.ignore import pattern_of
from components.image.options import BuildOptions, Context
from components.model import allowed

TAG_PREFIX = "content-"
TAG_DIGITS = 32
# Version of the rule that computes the tag. A new version changes the tags of all images.
RULE = "2"
CHUNK_BYTES = 2**20
Platform = Literal["linux/amd64", "linux/arm64"]


class ImageBuild(BuildOptions):
    """The build of an image. Paths are relative to the program's folder.

    Raises:
        ImageUnusable: the folder or the Dockerfile is missing, the Dockerfile is for another platform or copies a file
            that is not sent, or the context has something that may not be sent: see `require_sendable`.
    """

    context: Context
    """Folder that is sent to the builder, without the files that its ignore file excludes."""
    platform: Annotated[Platform, allowed("linux/amd64 or linux/arm64", "linux/amd64")] = "linux/amd64"
    """Platform of the image."""

    @model_validator(mode="after")
    def _readable(self) -> "ImageBuild":
        # os.path, because Path.is_dir raises for a name that is too long.
        if not os.path.isdir(self.context):  # noqa: PTH112  # see above
            raise ImageUnusable(
                f"image context {self.context!r} is not a folder below {Path.cwd()}. "
                "Name the folder that holds the Dockerfile, for example `context: app`."
            )
        if not os.path.isfile(self.dockerfile_path):  # noqa: PTH113  # see above
            raise ImageUnusable(
                f"there is no Dockerfile {self.dockerfile_path}. Create it, or name it relative to Pulumi.yaml "
                f"(not to the context), for example `dockerfile: {self.context}/Dockerfile`."
            )
        with readable():
            text = self.dockerfile_path.read_text(errors="replace")
        require_platform(text, self.dockerfile_path, self.platform, target=self.target, args=self.known_args({}))
        require_sendable(self.files, self.ignore_path, allow_secrets=self.allow_secrets, limit_mb=self.context_limit)
        if wrong := {copy: reason for copy, reason in self._left_out.items() if copy.is_certain}:
            raise ImageUnusable(
                f"The build would fail, because files that the Dockerfile copies are excluded:{self._told(wrong)}\n"
                f"To send them to the builder, write into {self.ignore_path}"
                + "".join(f"\n    !{pattern_of(os.path.normpath(copy.source).lstrip('/'))}" for copy in wrong)
            )
        return self

    @property
    def dockerfile_path(self) -> Path:
        """The Dockerfile, relative to the program's folder."""
        return Path(self.dockerfile) if self.dockerfile else Path(self.context) / "Dockerfile"

    @property
    def ignore_path(self) -> Path:
        """The Dockerfile's own ignore file if it exists, otherwise the context's.

        https://docs.docker.com/build/concepts/context/#filename-and-location
        """
        own = self.dockerfile_path.with_name(f"{self.dockerfile_path.name}.dockerignore")
        return own if own.is_file() else Path(self.context) / ".dockerignore"

    @property
    def warning(self) -> str:
        """The files that the Dockerfile may copy but that are not sent; empty if there are none."""
        unsure = {copy: reason for copy, reason in self._left_out.items() if not copy.is_certain}
        return f"The Dockerfile may copy files that are excluded:{self._told(unsure)}" if unsure else ""

    @cached_property
    def _left_out(self) -> dict[Copy, str]:
        text = self.dockerfile_path.read_text(errors="replace")
        copied = copies(text, self.platform, target=self.target, args=self.known_args({}))
        return left_out(copied, self.files, Path(self.context), self.ignore_path)

    def _told(self, reasons: Mapping[Copy, str]) -> str:
        return "".join(
            f"\n    {self.dockerfile_path}:{copy.line}: {copy.kind} {copy.source}: {reason}"
            for copy, reason in reasons.items()
        )

    @cached_property
    def tag(self) -> str:
        """The content tag. The same content has the same tag on every machine.

        It is a hash of target, platform and build arguments, the Dockerfile and its path as staged, each file's path,
        executable bit and content, and each symbolic link's path and text. Owner, time, other mode bits and empty
        folders are not part of it, because the staged context does not have them. The base image is part of it by name
        only; name it by digest to get a new tag for a new base image.
        """
        sha = hashlib.sha256()
        options = [self.target, self.platform, *(f"{key}={value}" for key, value in sorted(self.args.items()))]
        for option in (RULE, *options, self.staged_dockerfile):
            _add(sha, option)
        _add_content(sha, self.dockerfile_path)
        for file in self.files:
            _add(sha, file.name)
            if stat.S_ISLNK(file.mode):
                _add(sha, "l")
                _add(sha, str(file.path.readlink()))
            else:
                _add(sha, "x" if file.staged_mode & stat.S_IXUSR else "-")
                _add_content(sha, file.path)
        return TAG_PREFIX + sha.hexdigest()[:TAG_DIGITS]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all inputs of the `docker.Image`: the tag, and the options that do not change the image."""
        sha = hashlib.sha256()
        for part in (self.tag, self.network, *self.cache_from):
            _add(sha, part)
        return sha.hexdigest()[:TAG_DIGITS]

    @cached_property
    def files(self) -> tuple[File, ...]:
        """The files that are sent to the builder, in a fixed order."""
        return files_of(Path(self.context), self.ignore_path)

    @cached_property
    def names(self) -> frozenset[str]:
        """The paths of the files within the context."""
        return frozenset(file.name for file in self.files)

    @cached_property
    def staged_dockerfile(self) -> str:
        """Path of the Dockerfile in the staged context: a file with the same content, or a copy with a free name.

        The same Dockerfile therefore gives the same tag, inside or outside of the context.
        """
        path, own = self.dockerfile_path, os.path.relpath(self.dockerfile_path, self.context)
        size = path.stat().st_size
        same_size = (file for file in self.files if stat.S_ISREG(file.mode) and file.size == size)
        same = [file.name for file in same_size if filecmp.cmp(path, file.path, shallow=False)]
        # The ignore file of another Dockerfile must not be applied.
        if free := [name for name in same if f"{name}.dockerignore" not in self.names]:
            return free[0]
        if own in same:
            return own
        name = "Dockerfile"
        while self.names & {name, f"{name}.dockerignore"}:
            name = f".{name}"
        return name

    @property
    def staged_ignore_file(self) -> str:
        """Path of the ignore file in the staged context. It excludes only the files that staging adds."""
        return f"{self.staged_dockerfile}.dockerignore"


def _add(sha: "hashlib._Hash", part: str | bytes) -> None:
    """Add a part with its length in front, so that different lists of parts have different hashes."""
    data = os.fsencode(part)
    sha.update(f"{len(data)}:".encode())
    sha.update(data)


def _add_content(sha: "hashlib._Hash", path: Path) -> None:
    """Add a file's content in the same way, in chunks."""
    with readable(), path.open("rb") as file:
        sha.update(f"{os.fstat(file.fileno()).st_size}:".encode())
        while chunk := file.read(CHUNK_BYTES):
            sha.update(chunk)
