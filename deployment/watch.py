"""Watch the files of build contexts and the stack files. Needs watchfiles, the extra `watch` of this package.

https://watchfiles.helpmanual.io/
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from components.errors import DeploymentError as Refused
from components.image.build import ImageBuild
from components.limits import CONTEXT_MB
from deployment.errors import ConfigurationError, DeploymentError

# The context and the Dockerfile in a stack's file.
Build = tuple[str, str]
Paths = set[Path]

# An editor that saves a file in several steps needs less time.
QUIET_MS, STOP_MS = 50, 200
# A file with an older time was moved, not saved.
RECENT_SECONDS = 5


class Content(NamedTuple):
    """The content of a build: its tag, or the error in place of it; and the modification time of each file."""

    tag: str
    files: Mapping[Path, float]


@dataclass(frozen=True, kw_only=True)
class Save:
    """One or more files that were saved together.

    Attributes:
        files: their paths, relative to the program's folder.
        stacks: the stacks that use the files.
        time: when the last file was saved, as returned by `time.time`.
        is_outdated: whether there is a next save.
    """

    files: tuple[str, ...]
    stacks: frozenset[str]
    time: float
    is_outdated: Callable[[], bool] = field(default=lambda: False, repr=False, compare=False)


def saves(folder: Path, stacks: Collection[str], builds: Callable[[], Mapping[str, Build]]) -> Generator[Save]:
    """Yield each save that changes what a stack deploys. The first one contains all stacks and no file.

    Files that are saved while the caller handles a save are yielded together as the next one. Ignored files and files
    saved with the same content are skipped. The process works in the program's folder until the generator is closed.

    Args:
        folder: the program's folder.
        stacks: the stacks whose files are watched.
        builds: returns what the consumers build; called again when a stack's file is saved. It may raise a
            `DeploymentError`.

    Raises:
        ConfigurationError: watchfiles is not installed.
    """
    folder = folder.resolve()
    files = {folder / "Pulumi.yaml": frozenset(stacks)}
    files |= {folder / f"Pulumi.{stack}.yaml": frozenset({stack}) for stack in stacks}
    known, changed = builds(), SimpleQueue[None]()

    def read(contents: Iterable[Build]) -> tuple[dict[Build, Content], dict[Path, bytes]]:
        return {build: _content(folder, build) for build in contents}, {file: _text(file) for file in files}

    def is_outdated() -> bool:
        if not _drain(changed):
            return False
        new, new_texts = read(contents)
        is_new = new_texts != texts or any(new[build].tag != contents[build].tag for build in new)
        if is_new:
            changed.put(None)
        return is_new

    # Contexts are relative to the program's folder.
    with chdir(folder):
        contents, texts = read(known.values())
        is_first = True
        while True:
            with _watched(folder, [*known.values()], changed):
                if is_first:
                    yield Save(files=(), stacks=frozenset(stacks), time=time.time(), is_outdated=is_outdated)
                else:
                    # A file may have been saved before the watch started.
                    changed.put(None)
                is_first, settings = False, Paths()
                while not settings:
                    changed.get()
                    _drain(changed)
                    before, texts_before = contents, texts
                    contents, texts = read(contents)
                    settings = {file for file in files if texts[file] != texts_before[file]}
                    saved = {name: build for name, build in known.items() if contents[build].tag != before[build].tag}
                    if settings:
                        with suppress(DeploymentError):  # the update reports the error
                            known = builds()
                        contents |= read({*known.values()} - contents.keys())[0]
                    paths = settings.union(*(_differing(before[build], contents[build]) for build in saved.values()))
                    if paths:
                        yield Save(
                            files=tuple(sorted(os.path.relpath(path, folder) for path in paths)),
                            stacks=frozenset(saved).union(*(files[path] for path in settings)),
                            time=_saved_at(paths),
                            is_outdated=is_outdated,
                        )


def _drain(changed: SimpleQueue[None]) -> bool:
    """Empty a queue. Returns whether it held anything.

    It does not wait, because the checks of several consumers may empty the queue at the same time.
    """
    filled = False
    with suppress(Empty):
        while True:
            changed.get_nowait()
            filled = True
    return filled


def _text(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def _content(folder: Path, build: Build) -> Content:
    context, dockerfile = build
    limit = CONTEXT_MB[-1]
    try:
        image = ImageBuild(context=context, dockerfile=dockerfile, allow_secrets=["**"], context_limit=limit)
        paths = {file.path for file in image.files} | {image.dockerfile_path}
        return Content(image.tag, {folder / path: path.stat(follow_symlinks=False).st_mtime for path in paths})
    except (Refused, OSError) as error:
        return Content(str(error), {folder / context: time.time()})


def _differing(before: Content, after: Content) -> Paths:
    return {
        path for path in before.files.keys() | after.files.keys() if before.files.get(path) != after.files.get(path)
    }


def _saved_at(paths: Paths) -> float:
    now, times = time.time(), []
    for path in paths:
        with suppress(OSError):  # deleted
            times.append(path.stat().st_mtime)
    latest = max(times, default=now)
    return latest if now - RECENT_SECONDS < latest < now else now


@contextmanager
def _watched(folder: Path, builds: Collection[Build], changed: "SimpleQueue[None]") -> Iterator[None]:
    """Signal each change."""
    try:
        from watchfiles import watch
    except ImportError:
        hint = "Install it: pip install watchfiles"
        raise ConfigurationError("watchfiles is not installed", stack="", hint=hint) from None
    stop = threading.Event()

    def follow(recursive: bool, ready: threading.Event, paths: Paths) -> None:
        try:
            for changes in watch(
                *paths, recursive=recursive, step=QUIET_MS, rust_timeout=STOP_MS, yield_on_timeout=True,
                stop_event=stop, ignore_permission_denied=True,
            ):  # fmt: skip
                ready.set()
                if changes:
                    changed.put(None)
        finally:
            ready.set()

    contexts = {(folder / context).resolve() for context, _ in builds}
    others = {folder, *((folder / dockerfile).resolve().parent for _, dockerfile in builds if dockerfile)}
    ready = [threading.Event(), threading.Event()]
    threads = [
        threading.Thread(target=follow, args=(recursive, begun, {*filter(Path.is_dir, paths)}), daemon=True)
        for recursive, begun, paths in zip((True, False), ready, (contexts, others), strict=True)
    ]
    for thread in threads:
        thread.start()
    for begun in ready:
        begun.wait()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
