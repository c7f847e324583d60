"""The staged build context: a folder that holds what the tag was computed from, and nothing else.

Tag, resource name, the docker provider's own hash and what it sends to the builder all come from this folder. Modes are
0644 and 0755, folders are 0755; owners, other mode bits and empty folders do not get into it.
"""

import errno
import filecmp
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.errors import ImageUnusable
from components.image.build import ImageBuild
from components.image.context import STAGING, File, files_of
from components.image.ignore import pattern_of

# Smaller files are copied: editors write into them, also during a build, and a hard link would show that.
LINKED_BYTES = 2**20
UNUSED_SECONDS = 24 * 60 * 60


@dataclass(frozen=True, kw_only=True)
class StagedBuild:
    """What the docker provider is given. Both paths are relative to the project's folder, the same on every machine.

    Attributes:
        context: the staged folder.
        dockerfile: the Dockerfile in it.
    """

    context: str
    dockerfile: str


def stage(build: ImageBuild) -> StagedBuild:
    """Stage a build's context below `.local/context`, under its tag. A folder that is there already is used again.

    Concurrent runs may stage the same content: each fills a folder of its own, and the first to rename it wins.

    Raises:
        ImageUnusable: a file cannot be read or written, or changed since the tag was computed.
    """
    folder = STAGING / build.tag
    try:
        STAGING.mkdir(parents=True, exist_ok=True)
        (STAGING / ".gitignore").write_text("*\n")
        if not _is_intact(folder, build):
            _fill(folder, build)
        os.utime(folder)
        _remove_unused()
    except OSError as error:
        raise ImageUnusable(
            f"The image context {build.context!r} cannot be staged in {STAGING}: {error}. Files have to be readable, "
            f"and {STAGING} writable with enough free space."
        ) from None
    return StagedBuild(context=folder.as_posix(), dockerfile=(folder / build.staged_dockerfile).as_posix())


def _fill(folder: Path, build: ImageBuild) -> None:
    # The copies of the staging before serve again. A wrong one shows in the tag, and then nothing is reused.
    for before in (_newest(), None):
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
        _make_folders(to.parent, folder)
        if stat.S_ISLNK(file.mode):
            to.symlink_to(file.path.readlink())
        elif not (_link(file, to, linked) or (before and _link_copy(before / file.name, file, to))):
            _copy(file, to)
    if build.staged_dockerfile not in build.names:
        shutil.copyfile(build.dockerfile_path, folder / build.staged_dockerfile)
        (folder / build.staged_dockerfile).chmod(0o644)
    if build.staged_ignore_file not in build.names:
        ignored = {build.staged_dockerfile, build.staged_ignore_file} - build.names
        lines = "".join(f"{pattern_of(name)}\n" for name in sorted(ignored))
        (folder / build.staged_ignore_file).write_bytes(os.fsencode(lines))
        (folder / build.staged_ignore_file).chmod(0o644)


def _make_folders(folder: Path, root: Path) -> None:
    if not folder.is_dir():
        _make_folders(folder.parent, root)
        folder.mkdir()
        folder.chmod(0o755)


def _link(file: File, to: Path, linked: set[tuple[int, int]]) -> bool:
    """Hard-link a large file that needs no change, if the file system can."""
    if file.size < LINKED_BYTES or stat.S_IMODE(file.mode) != file.staged_mode:
        return False
    status = file.path.stat(follow_symlinks=False)
    # Two names of one file would be a hard link in the image as well.
    if (status.st_dev, status.st_ino) in linked:
        return False
    linked.add((status.st_dev, status.st_ino))
    return _try_link(file.path, to)


def _link_copy(copy: Path, file: File, to: Path) -> bool:
    """Hard-link the copy that the staging before has of a file that looks unchanged."""
    try:
        old, new = copy.stat(follow_symlinks=False), file.path.stat(follow_symlinks=False)
    except OSError:
        return False
    same = (old.st_mode, old.st_size, old.st_mtime_ns) == (
        stat.S_IFREG | file.staged_mode,
        new.st_size,
        new.st_mtime_ns,
    )
    # A large one may be a link to a file of the user's.
    return same and file.size < LINKED_BYTES and _try_link(copy, to)


def _try_link(source: Path, to: Path) -> bool:
    try:
        to.hardlink_to(source)
    except OSError:  # another file system, or one without hard links
        return False
    return True


def _copy(file: File, to: Path) -> None:
    shutil.copyfile(file.path, to, follow_symlinks=False)
    to.chmod(file.staged_mode)
    status = file.path.stat(follow_symlinks=False)
    os.utime(to, ns=(status.st_atime_ns, status.st_mtime_ns))


def _staged(folder: Path, build: ImageBuild) -> ImageBuild:
    """The same build of a staged folder: it has the same tag."""
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
        if _is_intact(folder, build):
            return
        _discard(folder)


def _is_intact(folder: Path, build: ImageBuild) -> bool:
    """Whether a staged folder holds what the build's files are, by names, modes and sizes.

    Its small files are copies that nobody else writes to. Large ones are compared, unless they are the same file.
    """
    try:
        staged = files_of(folder, folder / build.staged_ignore_file)
        if not filecmp.cmp(build.dockerfile_path, folder / build.staged_dockerfile, shallow=False):
            return False
    except (OSError, ImageUnusable):
        return False
    if len(staged) != len(build.files):
        return False
    return all(map(_is_same, build.files, staged))


def _is_same(source: File, staged: File) -> bool:
    if source.name != staged.name or stat.S_IFMT(source.mode) != stat.S_IFMT(staged.mode):
        return False
    if stat.S_ISLNK(source.mode):
        return source.path.readlink() == staged.path.readlink()
    if source.size != staged.size or stat.S_IMODE(staged.mode) != source.staged_mode:
        return False
    is_small = source.size < LINKED_BYTES
    return is_small or source.path.samefile(staged.path) or filecmp.cmp(source.path, staged.path, shallow=False)


def _stagings() -> Iterator[os.DirEntry[str]]:
    with os.scandir(STAGING) as entries:
        yield from (entry for entry in entries if entry.is_dir(follow_symlinks=False))


def _newest() -> Path | None:
    """The staging used last."""
    ages = {}
    for entry in _stagings():
        if not entry.name.startswith("."):
            ages[entry.path] = _used(entry)
    return Path(max(ages, key=ages.__getitem__)) if ages else None


def _remove_unused() -> None:
    """Remove stagings that no run has used for a day, and what killed runs left behind."""
    for entry in _stagings():
        if time.time() - _used(entry) > UNUSED_SECONDS:
            _discard(Path(entry.path))


def _used(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:  # another run has removed it
        return time.time()


def _discard(folder: Path) -> None:
    """Take a folder away in one step, then delete it."""
    aside = Path(tempfile.mkdtemp(prefix=".", dir=STAGING))
    try:
        folder.rename(aside / "old")
    except FileNotFoundError:  # another run was faster
        pass
    finally:
        shutil.rmtree(aside, ignore_errors=True)
