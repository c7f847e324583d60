"""The build context: the files that are sent to the builder, and checks of these files."""

import os
import posixpath
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from components.errors import ImageUnusable
from components.image.dockerfile import WILDCARD, Copy
from components.image.ignore import Patterns, pattern_of
from components.limits import CONTEXT_MB

# Folder of staged contexts, in the project's folder. It is never part of a context.
STAGING = Path(".local/context")

LISTED = 10
# A longer chain of links is treated as a circle.
LINKS = 40

# Names of files that usually hold secrets. If the Dockerfile copies the whole folder, they are in the image.
SECRETS = Patterns(
    [
        *("**/.env", "**/.env.*", "!**/.env.example", "!**/.env.sample", "!**/.env.template"),
        *("**/.aws", "**/.docker", "**/.git", "**/.kube", "**/.pulumi", "**/.ssh"),
        *("**/.git-credentials", "**/.netrc", "**/.npmrc", "**/.pypirc"),
        *("**/id_dsa", "**/id_ecdsa", "**/id_ed25519", "**/id_rsa"),
        *("**/*.jks", "**/*.key", "**/*.p12", "**/*.pem", "**/*.pfx"),
    ]
)


class File(NamedTuple):
    """A file or a symbolic link that is sent to the builder.

    Attributes:
        name: path within the context.
        path: path relative to the program's folder.
        mode: kind and permissions, as in `os.stat`.
        size: bytes.
    """

    name: str
    path: Path
    mode: int
    size: int

    @property
    def staged_mode(self) -> int:
        """The permissions in the staged context and in the image."""
        return 0o755 if self.mode & stat.S_IXUSR else 0o644


def files_of(context: Path, ignore_file: Path) -> tuple[File, ...]:
    """The files of a folder that are sent to the builder, in a fixed order. Symbolic links are not followed.

    Raises:
        ImageUnusable: a folder cannot be read, or a line of the ignore file is not a pattern.
    """
    with readable():
        return tuple(sorted(_walk(context, patterns_in(ignore_file))))


def patterns_in(ignore_file: Path) -> Patterns:
    """The patterns of an ignore file; none if there is no such file.

    Raises:
        ImageUnusable: it cannot be read, or a line is not a pattern.
    """
    with readable():
        text = ignore_file.read_bytes().decode("utf-8-sig", "surrogateescape") if ignore_file.is_file() else ""
    return Patterns(text.split("\n"), of=str(ignore_file))


def _walk(context: Path, ignored: Patterns) -> Iterator[File]:
    folders = [""]
    while folders:
        folder = folders.pop()
        for entry in os.scandir(context / folder):
            name = posixpath.join(folder, entry.name)
            is_ignored = ignored.match(name)
            if entry.is_dir(follow_symlinks=False):
                if os.path.normpath(entry.path) == str(STAGING):
                    continue
                folders += [name] if ignored.have_exceptions or not is_ignored else []
            elif not is_ignored:
                status = entry.stat(follow_symlinks=False)
                yield File(name, Path(entry.path), status.st_mode, status.st_size)


def require_sendable(files: Sequence[File], ignore_file: Path, *, allow_secrets: Sequence[str], limit_mb: int) -> None:
    """Check that files may be sent to the builder.

    Raises:
        ImageUnusable: the context has something other than files and links, a link that leads out of it or in a circle,
            a file that looks like a secret and is not allowed, or more than the limit.
    """
    _require_files(files, ignore_file)
    _require_links(files, ignore_file)
    _require_no_secrets(files, ignore_file, Patterns(allow_secrets, of="allowSecrets"))
    _require_size(files, ignore_file, limit_mb)


def _require_files(files: Sequence[File], ignore_file: Path) -> None:
    # Builders treat anything else differently.
    if special := [file.name for file in files if not (stat.S_ISREG(file.mode) or stat.S_ISLNK(file.mode))]:
        raise ImageUnusable(
            f"The image context contains a socket, a pipe or a device: {_listed(special)}. Delete it, or exclude it: "
            f"{_lines(special, ignore_file)}"
        )


def _require_links(files: Sequence[File], ignore_file: Path) -> None:
    with readable():
        links = {file.name: str(file.path.readlink()) for file in files if stat.S_ISLNK(file.mode)}
    if wrong := [name for name in links if _leads_out(name, links)]:
        raise ImageUnusable(
            "The image context has symbolic links that lead out of it or in a circle: "
            f"{_listed([f'{name} -> {links[name]}' for name in wrong])}. Replace them by files or by relative "
            "links within the context, create them in the Dockerfile with RUN ln -s, or exclude them: "
            f"{_lines(wrong, ignore_file)}"
        )


def _leads_out(name: str, links: dict[str, str]) -> bool:
    """Whether a link, followed step by step, leaves the context or does not end. Its target may be missing."""
    if links[name].startswith("/"):
        # A target that is missing on this machine may exist in the image.
        return os.path.exists(links[name])  # noqa: PTH110  # Path.exists raises for a name that is too long
    here, left, followed = list[str](), name.split("/"), 0
    while left:
        part = left.pop(0)
        if part == ".." and not here:
            return True
        if part == "..":
            here.pop()
        elif part not in ("", "."):
            here.append(part)
            text = links.get("/".join(here))
            if text is not None:
                followed += 1
                # An absolute link is checked separately.
                if followed > LINKS or text.startswith("/"):
                    return followed > LINKS
                here.pop()
                left = [*text.split("/"), *left]
    return False


def _require_no_secrets(files: Sequence[File], ignore_file: Path, allowed: Patterns) -> None:
    names = [file.name for file in files if _is_secret(file) and not allowed.match(file.name)]
    if found := list(dict.fromkeys(map(_secret_part, names))):
        raise ImageUnusable(
            f"The image context contains files that look like secrets: {_listed(found)}. They would be sent to the "
            f"builder. Exclude them: {_lines(found, ignore_file)}\n"
            f"If they are not secret, allow them by name. Example: allowSecrets: ['{_shown(pattern_of(found[0]))}']"
        )


def _is_secret(file: File) -> bool:
    if not SECRETS.match(file.name) or not stat.S_ISREG(file.mode):
        return False
    if not file.name.endswith(".pem"):
        return True
    # Certificates are public, and many libraries contain them.
    with readable():
        text = file.path.read_bytes()
    return b"-----BEGIN CERTIFICATE-----" not in text or b"PRIVATE KEY" in text


def _secret_part(name: str) -> str:
    """The part of a path that looks like a secret: `.git` of `.git/config`."""
    ends = [index for index, character in enumerate(name) if character == "/"]
    return next((name[:end] for end in ends if SECRETS.match(name[:end])), name)


def _require_size(files: Sequence[File], ignore_file: Path, limit_mb: int) -> None:
    size = sum(file.size for file in files)
    if size <= limit_mb * 2**20:
        return
    sizes = Counter({file.name: file.size for file in files})
    for file in files:
        if "/" in file.name:
            sizes[file.name.partition("/")[0]] += file.size
    largest = sizes.most_common(LISTED)
    raise ImageUnusable(
        f"The image context has {len(files)} files of {_mb(size)} in total; the limit is {limit_mb} MB. The largest "
        f"folders and files: {', '.join(f'{_shown(name)} ({_mb(part)})' for name, part in largest)}. Exclude what the "
        f"image does not need: {_lines([largest[0][0]], ignore_file)}\n"
        f"If it needs them, set a higher limit, up to {CONTEXT_MB[-1]} MB. Example: contextLimit: {-(-size // 2**20)}"
    )


def left_out(copies: Sequence[Copy], files: Sequence[File], context: Path, ignore_file: Path) -> dict[Copy, str]:
    """The sources of COPY and ADD of which files are in the folder, but none is sent; with the line that excludes them.

    Args:
        copies: what the Dockerfile copies.
        files: what is sent.
        context: the folder.
        ignore_file: the file that excludes the others.
    """
    ignored = patterns_in(ignore_file)
    found = {}
    for copy in copies:
        with readable():
            path = _unsent(copy.source, files, context)
        number, line = ignored.deciding(path) if path else (0, "")
        if number:
            found[copy] = f"{ignore_file}:{number} ({_shown(line)}) excludes {_shown(path)}"
    return found


def _unsent(source: str, files: Sequence[File], context: Path) -> str:
    """A file in the folder that a source means; empty if there is none, or if one that it means is sent."""
    if WILDCARD.search(source):
        try:
            wanted = Patterns([source])
        except ImageUnusable:
            return ""
        if any(wanted.match(file.name) for file in files):
            return ""
        return next((file.name for file in _walk(context, Patterns([])) if wanted.match(file.name)), "")
    path = posixpath.normpath(source).lstrip("/")
    # A link of the context may lead to it.
    sent = (
        f"{file.name}/".startswith(f"{path}/") or (stat.S_ISLNK(file.mode) and path.startswith(f"{file.name}/"))
        for file in files
    )
    if path in ("", ".") or path.startswith("..") or any(sent):
        return ""
    if os.path.isdir(context / path):  # noqa: PTH112  # Path.is_dir raises for a name that is too long
        return next((posixpath.join(path, file.name) for file in _walk(context / path, Patterns([]))), "")
    return path if os.path.lexists(context / path) else ""


@contextmanager
def readable() -> Iterator[None]:
    """Report an unreadable file as an error of the program.

    Raises:
        ImageUnusable: a file cannot be read; names it and the reason.
    """
    try:
        yield
    except OSError as error:
        raise ImageUnusable(
            f"{_shown(str(error.filename))} of the image context cannot be read: {error.strerror}. Make it readable, "
            "or exclude it in .dockerignore."
        ) from None


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(_shown, names[:LISTED])) + more


def _lines(names: Sequence[str], ignore_file: Path) -> str:
    """The fix: the lines to add to the ignore file."""
    lines = "".join(f"\n    {_shown(pattern_of(name))}" for name in names)
    return f"write into {ignore_file}{lines}"


def _shown(name: str) -> str:
    """A path as text, even if it is not valid UTF-8."""
    return name.encode(errors="backslashreplace").decode()


def _mb(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"
