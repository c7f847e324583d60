"""The content tag: a name for what a build is made of, the same on every machine."""

import hashlib
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pathspec

from components.errors import ImageUnusable

TAG_PREFIX = "content-"
TAG_DIGITS = 32


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

    Raises:
        ImageUnusable: the folder or the Dockerfile is missing, or a path is absolute, which would make another
            checkout look like a change.
    """

    context: str
    dockerfile: str = ""
    args: dict[str, str] = field(default_factory=dict)
    target: str = ""
    cache_from: tuple[str, ...] = ()
    network: str = ""
    platform: str = "linux/amd64"

    def __post_init__(self) -> None:
        for name, path in (("context", self.context), ("dockerfile", self.dockerfile)):
            if Path(path).is_absolute():
                raise ImageUnusable(
                    f"image {name} {path!r} is an absolute path, which differs between machines. "
                    f"Write it relative to Pulumi.yaml, for example `app`."
                )
        if not Path(self.context).is_dir():
            raise ImageUnusable(
                f"image context {self.context!r} is not a folder below {Path.cwd()}. "
                "Name the folder that holds the Dockerfile, for example `context: app`."
            )
        if not self.dockerfile_path.is_file():
            raise ImageUnusable(
                f"there is no Dockerfile {self.dockerfile_path}. Create it, or name it relative to Pulumi.yaml "
                f"(not to the context), for example `dockerfile: {self.context}/Dockerfile`."
            )

    @property
    def dockerfile_path(self) -> Path:
        """The Dockerfile, relative to the program's folder."""
        return Path(self.dockerfile) if self.dockerfile else Path(self.context) / "Dockerfile"

    @cached_property
    def tag(self) -> str:
        """The content tag: same content, same tag; any change of it, another one.

        Of a file its path, its executable bit and its content count; owner, other mode bits and times do not. Of the
        base image its name counts: name it by digest to have a new one change the tag.
        """
        sha = hashlib.sha256()
        options = [self.target, self.platform, *(f"{key}={value}" for key, value in sorted(self.args.items()))]
        for option in options:
            _add(sha, option)
        _add(sha, self.dockerfile_path.read_bytes())
        for relative, path in self.files():
            executable = "x" if path.stat(follow_symlinks=False).st_mode & stat.S_IXUSR else "-"
            _add(sha, relative)
            _add(sha, executable)
            _add(sha, str(path.readlink()) if path.is_symlink() else path.read_bytes())
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
        for path in (self.dockerfile_path, *(path for _, path in self.files())):
            _add(sha, f"{path.stat(follow_symlinks=False).st_mode:o}")
        return sha.hexdigest()[:TAG_DIGITS]

    def files(self) -> Iterator[tuple[str, Path]]:
        """The files that are sent to the builder, in a fixed order: path within the context, and path."""
        root = Path(self.context)
        ignored = _dockerignore(root, self.dockerfile_path)
        for path in sorted(root.rglob("*"), key=lambda found: found.relative_to(root).as_posix()):
            relative = path.relative_to(root).as_posix()
            if (path.is_symlink() or path.is_file()) and not ignored.match_file(relative):
                yield relative, path


def _dockerignore(context: Path, dockerfile: Path) -> pathspec.GitIgnoreSpec:
    """The patterns of the Dockerfile's own ignore file, if it has one, else of the context's.

    Their rules are those of a .gitignore whose every pattern starts at the root.
    https://docs.docker.com/build/concepts/context/#dockerignore-files
    """
    own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    file = own if own.is_file() else context / ".dockerignore"
    lines = [line.strip() for line in file.read_text().splitlines()] if file.is_file() else []
    patterns = []
    for line in lines:
        if line and not line.startswith("#"):
            negation, pattern = ("!", line[1:].strip()) if line.startswith("!") else ("", line)
            patterns.append(f"{negation}/{posixpath.normpath(pattern).lstrip('/')}")
    return pathspec.GitIgnoreSpec.from_lines(patterns)


def _add(sha: "hashlib._Hash", part: str | bytes) -> None:
    """Feed a part with its length in front, so that no two lists of parts look alike."""
    data = part.encode() if isinstance(part, str) else part
    sha.update(f"{len(data)}:".encode())
    sha.update(data)
