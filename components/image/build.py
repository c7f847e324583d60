"""The content tag: a name for what a build is made of, the same on every machine."""

import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from components.errors import ImageUnusable
from components.image.context import File, files_of, readable, require_files, require_no_secrets, require_size
from components.limits import CONTEXT_LIMIT_MB

TAG_PREFIX = "content-"
TAG_DIGITS = 32
CHUNK_BYTES = 2**20
ARGUMENT = re.compile(r"[^\s=\0]+")


@dataclass(frozen=True, kw_only=True)
class ImageBuild:
    """What an image is built from. All paths are relative to the program's folder.

    Attributes:
        context: folder that is sent to the builder, less what its `.dockerignore` names.
        dockerfile: the Dockerfile; default `Dockerfile` in the context.
        args: build arguments. They can be read in the image and in the state: no secrets.
        target: stage of the Dockerfile to build; default the last.
        cache_from: images whose layers the builder may use, with their registry. They do not change what comes out.
        network: network of the build's steps: `host`, `none`, or the builder's default.
        platform: `linux/amd64` or `linux/arm64`. Always given, for a default would follow the machine.
        context_limit: MB that the files may have together. An image has at most 10,240 MB, a context is rarely meant
            to have a fifth of it.
        allow_secrets: patterns, as in a `.dockerignore`, of files that look like secrets and are sent all the same.

    Raises:
        ImageUnusable: the folder or the Dockerfile is missing; a path is absolute, which would make another checkout
            look like a change; or the context has files that look like secrets, are no files, or are too large.
    """

    context: str
    dockerfile: str = ""
    args: dict[str, str] = field(default_factory=dict)
    target: str = ""
    cache_from: tuple[str, ...] = ()
    network: str = ""
    platform: str = "linux/amd64"
    context_limit: int = CONTEXT_LIMIT_MB
    allow_secrets: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, path in (("context", self.context), ("dockerfile", self.dockerfile)):
            if Path(path).is_absolute():
                raise ImageUnusable(
                    f"image {name} {path!r} is an absolute path, which differs between machines. "
                    f"Write it relative to Pulumi.yaml, for example `app`."
                )
        # Not Path.is_dir, which raises what it does not know, such as a name that is too long.
        if not os.path.isdir(self.context):  # noqa: PTH112
            raise ImageUnusable(
                f"image context {self.context!r} is not a folder below {Path.cwd()}. "
                "Name the folder that holds the Dockerfile, for example `context: app`."
            )
        if not os.path.isfile(self.dockerfile_path):  # noqa: PTH113
            raise ImageUnusable(
                f"there is no Dockerfile {self.dockerfile_path}. Create it, or name it relative to Pulumi.yaml "
                f"(not to the context), for example `dockerfile: {self.context}/Dockerfile`."
            )
        if wrong := [name for name in self.args if not ARGUMENT.fullmatch(name)]:
            raise ImageUnusable(f"image args: {wrong[0]!r} is no name of a build argument. Example: VERSION")
        require_files(self.files, self.ignore_path)
        require_no_secrets(self.files, self.ignore_path, allowed=self.allow_secrets)
        require_size(self.files, self.ignore_path, limit_mb=self.context_limit)

    @property
    def dockerfile_path(self) -> Path:
        """The Dockerfile, relative to the program's folder."""
        return Path(self.dockerfile) if self.dockerfile else Path(self.context) / "Dockerfile"

    @property
    def ignore_path(self) -> Path:
        """The Dockerfile's own ignore file, if it has one, else the context's.

        https://docs.docker.com/build/concepts/context/#filename-and-location
        """
        own = self.dockerfile_path.with_name(f"{self.dockerfile_path.name}.dockerignore")
        return own if own.is_file() else Path(self.context) / ".dockerignore"

    @cached_property
    def tag(self) -> str:
        """The content tag: same content, same tag; any change of it, another one.

        Of a file its path, its executable bit and its content count, of a symbolic link its path and its text; owner,
        other mode bits, times and folders without files do not. Of the base image its name counts: name it by digest
        to have a new one change the tag.
        """
        sha = hashlib.sha256()
        options = [self.target, self.platform, *(f"{key}={value}" for key, value in sorted(self.args.items()))]
        for option in options:
            _add(sha, option)
        _add_content(sha, self.dockerfile_path)
        for file in self.files:
            _add(sha, file.name)
            if stat.S_ISLNK(file.mode):
                _add(sha, "l")
                _add(sha, str(file.path.readlink()))
            else:
                _add(sha, "x" if file.mode & stat.S_IXUSR else "-")
                _add_content(sha, file.path)
        return TAG_PREFIX + sha.hexdigest()[:TAG_DIGITS]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what the docker provider compares: the content, and where it lies and with which modes.

        The tag is the same in another folder or with another umask, the provider's resource is not: it would build
        again and push to a tag that is taken.
        https://github.com/pulumi/pulumi-docker/blob/master/provider/provider.go
        """
        sha = hashlib.sha256()
        for part in (self.tag, self.context, self.dockerfile_path.as_posix(), self.network, *self.cache_from):
            _add(sha, part)
        for mode in (self.dockerfile_path.lstat().st_mode, *(file.mode for file in self.files)):
            _add(sha, f"{mode:o}")
        return sha.hexdigest()[:TAG_DIGITS]

    @cached_property
    def files(self) -> tuple[File, ...]:
        """What is sent to the builder, in a fixed order."""
        return files_of(Path(self.context), self.ignore_path)


def _add(sha: "hashlib._Hash", part: str | bytes) -> None:
    """Feed a part with its length in front, so that no two lists of parts look alike."""
    data = os.fsencode(part)
    sha.update(f"{len(data)}:".encode())
    sha.update(data)


def _add_content(sha: "hashlib._Hash", path: Path) -> None:
    """Feed a file's content in the same way, but never all of it in memory."""
    with readable(), path.open("rb") as file:
        sha.update(f"{os.fstat(file.fileno()).st_size}:".encode())
        while chunk := file.read(CHUNK_BYTES):
            sha.update(chunk)
