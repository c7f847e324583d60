"""What an image is built from, and the content tag that names it."""

import filecmp
import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from components.errors import ImageUnusable
from components.image.context import (
    File,
    files_of,
    readable,
    require_files,
    require_links,
    require_no_secrets,
    require_size,
)
from components.image.dockerfile import require_platform
from components.limits import CONTEXT_LIMIT_MB

TAG_PREFIX = "content-"
TAG_DIGITS = 32
# The version of the rule by which the tag is computed. Another one gives all content other tags.
RULE = "2"
CHUNK_BYTES = 2**20
ARGUMENT = re.compile(r"[^\s=\0]+")


@dataclass(frozen=True, kw_only=True)
class ImageBuild:
    """What an image is built from. All paths are relative to the program's folder.

    Attributes:
        context: folder that is sent to the builder, without what its ignore file names.
        dockerfile: the Dockerfile; default `Dockerfile` in the context.
        args: build arguments. They can be read in the image and in the state, so never pass secrets.
        target: stage of the Dockerfile to build; default the last.
        cache_from: images whose layers the builder may reuse, pulled with the login of the push, so they have to be in
            its registry. They need inline cache data, which the build argument `BUILDKIT_INLINE_CACHE: "1"` adds. A
            missing one is no error. https://docs.docker.com/build/cache/backends/inline/
        network: network of the build's steps: `host`, `none`, or the builder's default.
        platform: `linux/amd64` or `linux/arm64`.
        context_limit: largest total size of the files in MB, up to 10,240. Default 2,048.
        allow_secrets: patterns, as in a `.dockerignore`, of files that look like secrets but may be sent.

    Raises:
        ImageUnusable: the folder or the Dockerfile is missing; a path is absolute; the Dockerfile is for another
            platform; or the context contains files that look like secrets, links that lead out of it, anything that is
            neither file nor link, or more than the limit.
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
            raise ImageUnusable(f"image args: {wrong[0]!r} is not the name of a build argument. Example: VERSION")
        with readable():
            text = self.dockerfile_path.read_text(errors="replace")
        require_platform(text, self.dockerfile_path, self.platform, target=self.target, args=self.args)
        require_files(self.files, self.ignore_path)
        require_links(self.files, self.ignore_path)
        require_no_secrets(self.files, self.ignore_path, allowed=self.allow_secrets)
        require_size(self.files, self.ignore_path, limit_mb=self.context_limit)

    @property
    def dockerfile_path(self) -> Path:
        """The Dockerfile, relative to the program's folder."""
        return Path(self.dockerfile) if self.dockerfile else Path(self.context) / "Dockerfile"

    @property
    def ignore_path(self) -> Path:
        """The Dockerfile's own ignore file if there is one, else the context's.

        https://docs.docker.com/build/concepts/context/#filename-and-location
        """
        own = self.dockerfile_path.with_name(f"{self.dockerfile_path.name}.dockerignore")
        return own if own.is_file() else Path(self.context) / ".dockerignore"

    @cached_property
    def tag(self) -> str:
        """The content tag: equal content has an equal tag, on every machine.

        It is a hash of target, platform and build arguments, of the Dockerfile and its path as staged, and of each
        file's path, executable bit and content, or each symbolic link's path and text. Owner, time, other mode bits
        and empty folders do not count: the staged context has none of them.
        Of the base image only the name counts: name it by digest to get another tag with another base.
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
        """What is sent to the builder, in a fixed order."""
        return files_of(Path(self.context), self.ignore_path)

    @cached_property
    def names(self) -> frozenset[str]:
        """The paths of the files within the context."""
        return frozenset(file.name for file in self.files)

    @cached_property
    def staged_dockerfile(self) -> str:
        """Path of the Dockerfile within the staged context: of a file with its content, or of a copy under a free name.

        So content alone decides: the same Dockerfile outside of the context gives the same tag as one in it.
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
        """Path of the ignore file within the staged context; there is nothing left that it has to exclude."""
        return f"{self.staged_dockerfile}.dockerignore"


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
