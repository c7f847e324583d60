"""The staged build context: a folder with exactly the files from which the tag was computed.

The tag, the resource name, the Docker provider's own hash and the files that it sends to the builder all depend on this
folder. Files have mode 0644 or 0755, folders 0755. Owners, other mode bits and empty folders are left out.
"""

import contextlib
import errno
import filecmp
import os
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from components.errors import ImageUnusable
from components.image.build import ImageBuild
from components.image.context import STAGING, File, files_of
from components.image.ignore import pattern_of

# Smaller files are copied, because an editor may change them during a build, and a hard link would change with them.
LINKED_BYTES = 2**20
UNUSED_SECONDS = 24 * 60 * 60


@dataclass(frozen=True, kw_only=True)
class StagedBuild:
    """The inputs of the Docker provider. Both paths are relative to the project's folder.

    Attributes:
        context: the staged folder.
        dockerfile: the Dockerfile in it.
    """

    context: str
    dockerfile: str


def stage(build: ImageBuild) -> StagedBuild:
    """Stage a build's context in `.local/context/TAG`, unless it is already staged.

    Concurrent runs may stage the same content. Each fills its own folder, and the first one that is renamed is used.

    Raises:
        ImageUnusable: a file cannot be read or written, or changed after the tag was computed.
    """
    folder = STAGING / build.tag
    try:
        STAGING.mkdir(parents=True, exist_ok=True)
        (STAGING / ".gitignore").write_text("*\n")
        if not _is_intact(folder, build):
            _fill(folder, build)
        os.utime(folder)
        for used, path in _by_age():
            if time.time() - used > UNUSED_SECONDS:
                _discard(path)
    except OSError as error:
        raise ImageUnusable(
            f"The image context {build.context!r} cannot be staged in {STAGING}: {error}. The files must be readable, "
            f"and {STAGING} must be writable and have enough free space."
        ) from None
    return StagedBuild(context=folder.as_posix(), dockerfile=(folder / build.staged_dockerfile).as_posix())


def _fill(folder: Path, build: ImageBuild) -> None:
    newest = next((path for _, path in reversed(_by_age()) if not path.name.startswith(".")), None)
    # Link to unchanged files of the previous staging. If the tag does not match then, copy everything.
    for before in (newest, None):
        filled = Path(tempfile.mkdtemp(prefix=".", dir=STAGING))
        try:
            _write(filled, build, before)
            if _staged(filled, build).tag == build.tag:
                _publish(filled, folder, build)
                return
        finally:
            shutil.rmtree(filled, ignore_errors=True)
    raise ImageUnusable(
        f"Files of the image context {build.context!r} changed while they were read. Run the command again."
    )


def _write(folder: Path, build: ImageBuild, before: Path | None) -> None:
    folder.chmod(0o755)
    linked = set[tuple[int, int]]()
    for file in build.files:
        to = folder / file.name
        _make_folders(to.parent)
        if stat.S_ISLNK(file.mode):
            to.symlink_to(file.path.readlink())
        elif not _try_link(_to_link(file, before and before / file.name, linked), to):
            status = file.path.stat(follow_symlinks=False)
            shutil.copyfile(file.path, to, follow_symlinks=False)
            to.chmod(file.staged_mode)
            os.utime(to, ns=(status.st_atime_ns, status.st_mtime_ns))
    ignored = {build.staged_dockerfile, build.staged_ignore_file} - build.names
    lines = "".join(f"{pattern_of(name)}\n" for name in sorted(ignored))
    for name, content in (
        (build.staged_dockerfile, build.dockerfile_path.read_bytes()),
        (build.staged_ignore_file, os.fsencode(lines)),
    ):
        if name in ignored:
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o644)


def _make_folders(folder: Path) -> None:
    if not folder.is_dir():
        _make_folders(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


def _to_link(file: File, copy: Path | None, linked: set[tuple[int, int]]) -> Path | None:
    """The file to hard-link as the staged file: a large file itself, or its copy in the previous staging.

    Args:
        file: the file to stage.
        copy: its path in the previous staging.
        linked: devices and inodes of the files linked so far. A second link to the same file would be a hard link in
            the image.
    """
    status = file.path.stat(follow_symlinks=False)
    if file.size >= LINKED_BYTES:
        identity = status.st_dev, status.st_ino
        can_link = stat.S_IMODE(file.mode) == file.staged_mode and identity not in linked
        linked.add(identity)
        return file.path if can_link else None
    with contextlib.suppress(OSError):
        old = copy.stat(follow_symlinks=False) if copy else None
        same = status.st_size, status.st_mtime_ns, stat.S_IFREG | file.staged_mode
        return copy if old and (old.st_size, old.st_mtime_ns, old.st_mode) == same else None
    return None


def _try_link(source: Path | None, to: Path) -> bool:
    with contextlib.suppress(OSError):  # another file system, or one without hard links
        if source:
            to.hardlink_to(source)
            return True
    return False


def _staged(folder: Path, build: ImageBuild) -> ImageBuild:
    """The build of the staged folder, which has the same tag."""
    changed = {"dockerfile": str(folder / build.staged_dockerfile), "allow_secrets": ("**",)}
    return ImageBuild(**{**build.options(), "context": str(folder), **changed})


def _publish(filled: Path, folder: Path, build: ImageBuild) -> None:
    while True:
        try:
            filled.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
        if _is_intact(folder, build):  # another run was faster
            return
        _discard(folder)


def _is_intact(folder: Path, build: ImageBuild) -> bool:
    """Whether a staged folder has the build's files, with the same names, modes and sizes.

    The content of small files is not compared, because no one else writes to them. Large files are compared, unless
    they are hard links.
    """
    try:
        pairs = zip(build.files, files_of(folder, folder / build.staged_ignore_file), strict=True)
        is_same = all(_is_same(source, staged) for source, staged in pairs)
        return is_same and filecmp.cmp(build.dockerfile_path, folder / build.staged_dockerfile, shallow=False)
    except (OSError, ValueError, ImageUnusable):
        return False


def _is_same(source: File, staged: File) -> bool:
    if source.name != staged.name or stat.S_IFMT(source.mode) != stat.S_IFMT(staged.mode):
        return False
    if stat.S_ISLNK(source.mode):
        return source.path.readlink() == staged.path.readlink()
    if source.size != staged.size or stat.S_IMODE(staged.mode) != source.staged_mode:
        return False
    is_small = source.size < LINKED_BYTES
    return is_small or source.path.samefile(staged.path) or filecmp.cmp(source.path, staged.path, shallow=False)


def _by_age() -> list[tuple[float, Path]]:
    """The staged folders with the time of their last use, the oldest first, including those of killed runs."""
    found = []
    for path in STAGING.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another run removed it
            status = path.stat(follow_symlinks=False)
            found += [(status.st_mtime, path)] if stat.S_ISDIR(status.st_mode) else []
    return sorted(found)


def _discard(folder: Path) -> None:
    """Move a folder away in one step, then delete it."""
    aside = Path(tempfile.mkdtemp(prefix=".", dir=STAGING))
    with contextlib.suppress(FileNotFoundError):  # another run was faster
        folder.rename(aside / "old")
    shutil.rmtree(aside, ignore_errors=True)
