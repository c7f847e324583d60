"""The staged context holds what the tag was computed from: nothing else, and the same on every machine."""

import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest

from components.errors import ImageUnusable
from components.image.build import ImageBuild
from components.image.context import STAGING
from components.image.staging import LINKED_BYTES, UNUSED_SECONDS, StagedBuild, stage

ROOT = Path(__file__).parents[2]
LARGE = b"0" * LINKED_BYTES


def build(**changed: object) -> ImageBuild:
    return ImageBuild(**{"context": "app", **changed})  # type: ignore[arg-type]


def tree(staged: StagedBuild) -> dict[str, tuple[str, bytes | str]]:
    """What lies in a staged folder: mode and content of each path."""
    found: dict[str, tuple[str, bytes | str]] = {}
    for path in sorted(Path(staged.context).rglob("*")):
        mode = stat.filemode(path.lstat().st_mode)
        content = str(path.readlink()) if path.is_symlink() else b"" if path.is_dir() else path.read_bytes()
        found[str(path.relative_to(staged.context))] = (mode, content)
    return found


def is_clean() -> bool:
    """Whether nothing but whole stagings is left."""
    return all(entry.name.startswith("content-") for entry in STAGING.iterdir() if entry.name != ".gitignore")


def test_only_what_the_ignore_file_leaves_is_staged_with_modes_that_no_umask_changes(app: Path) -> None:
    (app / ".dockerignore").write_text("*.md\n")
    (app / "notes.md").write_text("")
    (app / "lib").mkdir(mode=0o700)
    (app / "empty").mkdir()
    for name, mode in (("app.py", 0o600), ("lib/run", 0o700), ("lib/setuid", 0o6755)):
        (app / name).write_text(name)
        (app / name).chmod(mode)
    (app / "link").symlink_to("lib/run")
    staged = stage(build())
    found = tree(staged)
    assert staged == StagedBuild(
        context=f".local/context/{build().tag}", dockerfile=f".local/context/{build().tag}/Dockerfile"
    )
    assert found == {
        ".dockerignore": ("-rw-r--r--", b"*.md\n"),
        "Dockerfile": ("-rw-r--r--", b"FROM scratch\nCOPY app.py /\n"),
        "Dockerfile.dockerignore": ("-rw-r--r--", b"Dockerfile.dockerignore\n"),
        "app.py": ("-rw-r--r--", b"app.py"),
        "lib": ("drwxr-xr-x", b""),
        "lib/run": ("-rwxr-xr-x", b"lib/run"),
        "lib/setuid": ("-rwxr-xr-x", b"lib/setuid"),
        "link": ("lrwxrwxrwx", "lib/run"),
    }


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_the_same_commit_is_staged_in_the_same_way_everywhere(app: Path, tmp_path: Path, umask: int) -> None:
    (app / "lib").mkdir()
    (app / "lib" / "a").write_text("a")
    expected = build().tag, tree(stage(build()))
    before = os.umask(umask)
    try:
        for source in [app, *app.rglob("*")]:
            copy = tmp_path / "elsewhere" / source.relative_to(tmp_path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.mkdir() if source.is_dir() else copy.write_bytes(source.read_bytes())
        with chdir(tmp_path / "elsewhere"):
            assert (build().tag, tree(stage(build()))) == expected
    finally:
        os.umask(before)


def test_a_staged_context_has_the_tag_of_its_source(app: Path) -> None:
    (app / "docker").mkdir()
    (app / "docker" / "api.Dockerfile").write_text("FROM scratch\n")
    (app.parent / "outside.Dockerfile").write_text("FROM scratch\n")
    for dockerfile in ("", "app/docker/api.Dockerfile", "outside.Dockerfile"):
        staged = stage(build(dockerfile=dockerfile))
        again = ImageBuild(context=staged.context, dockerfile=staged.dockerfile)
        assert again.tag == build(dockerfile=dockerfile).tag


@pytest.mark.parametrize(
    ("ignore", "dockerfile", "staged_dockerfile", "ignored"),
    [
        ("", "app/Dockerfile", "Dockerfile", ["Dockerfile.dockerignore"]),
        ("Dockerfile\n", "app/Dockerfile", "Dockerfile", ["Dockerfile", "Dockerfile.dockerignore"]),
        ("", "outside", ".Dockerfile", [".Dockerfile", ".Dockerfile.dockerignore"]),
        ("", "app/link", "Dockerfile", ["Dockerfile.dockerignore"]),
    ],
    ids=["in the context", "ignored", "outside", "a link"],
)
def test_the_dockerfile_is_a_file_of_the_staged_context(
    app: Path, ignore: str, dockerfile: str, staged_dockerfile: str, ignored: list[str]
) -> None:
    # What the image gets of it depends on the ignore file alone, wherever it lies.
    (app / ".dockerignore").write_text(ignore)
    (app.parent / "outside").write_text("FROM scratch\nCOPY . /\n")
    (app / "link").symlink_to("Dockerfile")
    staged = stage(build(dockerfile=dockerfile))
    assert Path(staged.dockerfile).relative_to(staged.context) == Path(staged_dockerfile)
    assert not Path(staged.dockerfile).is_symlink()
    assert Path(staged.dockerfile).read_bytes() == Path(dockerfile).read_bytes()
    assert Path(f"{staged.dockerfile}.dockerignore").read_text().splitlines() == ignored


def test_the_ignore_file_of_another_dockerfile_is_not_applied(app: Path) -> None:
    for name, ignored in (("a.Dockerfile", "app.py"), ("b.Dockerfile", "b.txt")):
        (app / name).write_text("FROM scratch\nCOPY . /\n")
        (app / f"{name}.dockerignore").write_text(f"{ignored}\n")
    (app / "b.txt").write_text("")
    staged = stage(build(dockerfile="app/b.Dockerfile"))
    assert staged.dockerfile.endswith("/b.Dockerfile")
    assert {"a.Dockerfile.dockerignore", "app.py"} <= tree(staged).keys()
    assert "b.txt" not in tree(staged)


def test_ignore_rules_are_applied_once(app: Path) -> None:
    # The Dockerfile's own ignore file wins; the other is a file like any other, and the provider must not apply it.
    (app / ".dockerignore").write_text("app.py\n")
    (app / "Dockerfile.dockerignore").write_text("Dockerfile.dockerignore\n")
    found = tree(stage(build()))
    assert {".dockerignore", "app.py"} <= found.keys()
    assert found["Dockerfile.dockerignore"][1] == b"Dockerfile.dockerignore\n"


def test_a_large_file_is_linked_and_a_small_one_copied(app: Path) -> None:
    # Editors write into small files, also while the builder reads them.
    (app / "model").write_bytes(LARGE)
    staged = Path(stage(build()).context)
    assert (staged / "model").samefile(app / "model")
    assert not (staged / "app.py").samefile(app / "app.py")
    (app / "app.py").write_text("changed while it is built")
    assert (staged / "app.py").read_text() == "print('hello')\n"


def test_a_large_file_is_copied_where_a_link_would_not_do(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, mode in (("private", 0o600), ("setuid", 0o4755), ("model", 0o644)):
        (app / name).write_bytes(LARGE + name.encode())
        (app / name).chmod(mode)
    (app / "second-name").hardlink_to(app / "model")
    staged = Path(stage(build()).context)
    modes = {name: stat.S_IMODE((staged / name).stat().st_mode) for name in ("private", "setuid")}
    assert modes == {"private": 0o644, "setuid": 0o755}
    assert not (staged / "model").samefile(staged / "second-name")
    shutil.rmtree(staged)

    def cross_device(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", cross_device)
    assert not (Path(stage(build()).context) / "model").samefile(app / "model")


def test_an_unchanged_context_is_not_staged_again(app: Path) -> None:
    first = Path(stage(build()).context)
    made = (first / "app.py").stat().st_ino
    assert (Path(stage(build()).context) / "app.py").stat().st_ino == made
    (app / "more.py").write_text("")
    assert (Path(stage(build()).context) / "app.py").stat().st_ino == made, "copies of unchanged files serve again"


def test_an_edit_that_keeps_size_and_time_is_staged(app: Path) -> None:
    stage(build())
    status = (app / "app.py").stat()
    (app / "app.py").write_text("print('HELLO')\n")
    os.utime(app / "app.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (Path(stage(build()).context) / "app.py").read_text() == "print('HELLO')\n"


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "app.py").unlink(),
        lambda folder: (folder / "app.py").write_text("print"),
        lambda folder: (folder / "app.py").chmod(0o600),
        lambda folder: (folder / "more.py").write_text(""),
        lambda folder: (folder / "Dockerfile").write_text("FROM other\n"),
        lambda folder: (folder / "Dockerfile.dockerignore").write_text("[\n"),
        shutil.rmtree,
    ],
    ids=["missing", "other size", "mode", "added", "Dockerfile", "ignore file", "all of it"],
)
def test_a_damaged_staging_is_replaced(app: Path, damage: Callable[[Path], object]) -> None:
    expected = tree(stage(build()))
    damage(STAGING / build().tag)
    assert tree(stage(build())) == expected
    assert is_clean()


def test_a_large_file_that_was_edited_in_place_after_it_was_linked_does_not_come_back(app: Path) -> None:
    (app / "model").write_bytes(LARGE)
    first = build().tag
    stage(build())
    with (app / "model").open("r+b") as file:
        file.write(b"1")
    stage(build())
    (app / "model").unlink()
    (app / "model").write_bytes(LARGE)
    assert build().tag == first
    assert (Path(stage(build()).context) / "model").read_bytes() == LARGE


def test_a_context_that_changes_while_it_is_staged_is_refused(app: Path) -> None:
    changing = build()
    assert changing.tag
    (app / "app.py").write_text("other content, other size")
    with pytest.raises(ImageUnusable, match="'app' changed while they were read. Run the command again"):
        stage(changing)
    assert is_clean()


def test_a_killed_run_leaves_nothing_that_breaks_the_next_one(app: Path) -> None:
    for number in range(300):
        (app / f"{number}.txt").write_text(str(number))
    program = (
        "from components.image.build import ImageBuild; from components.image import staging; import os, signal\n"
        "copy, left = staging.shutil.copyfile, [150]\n"
        "def die(*arguments, **options):\n"
        "    left[0] -= 1\n"
        "    os.kill(os.getpid(), signal.SIGKILL) if not left[0] else copy(*arguments, **options)\n"
        "staging.shutil.copyfile = die\n"
        "staging.stage(ImageBuild(context='app'))"
    )
    killed = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert killed.returncode == -9
    assert not is_clean()
    assert len(tree(stage(build()))) == 303
    for entry in STAGING.glob(".*"):
        os.utime(entry, (0, 0))
    stage(build())
    assert is_clean()


def test_runs_that_stage_the_same_content_at_once_do_not_collide(app: Path) -> None:
    shutil.copytree(app, app.with_name("second"))
    (app / "model").write_bytes(LARGE)
    (app.with_name("second") / "model").write_bytes(LARGE)
    failed: list[BaseException] = []

    def run(context: str) -> None:
        try:
            for _ in range(10):
                staged = Path(stage(build(context=context)).context)
                assert (staged / "model").read_bytes() == LARGE
        except BaseException as error:  # shown by the assertion below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(context,)) for context in ("app", "second") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert is_clean()


def test_stagings_that_no_run_used_for_a_day_are_removed(app: Path) -> None:
    old = STAGING / build().tag
    stage(build())
    (app / "app.py").write_text("other")
    os.utime(old, (time.time() - UNUSED_SECONDS + 60,) * 2)
    stage(build())
    assert old.exists()
    os.utime(old, (time.time() - UNUSED_SECONDS - 60,) * 2)
    stage(build())
    assert not old.exists()


def test_what_is_staged_is_not_part_of_a_context_and_not_of_a_commit(app: Path, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    before = build(context=".").tag
    stage(build(context="."))
    stage(build(context="app"))
    assert build(context=".").tag == before
    subprocess.run(["git", "init", "-q"], check=True)
    status = subprocess.run(["git", "status", "--porcelain", "-uall"], capture_output=True, text=True, check=True)
    assert ".local" not in status.stdout


def test_a_folder_that_cannot_be_written_is_named(app: Path) -> None:
    Path(".local").write_text("a file")
    with pytest.raises(ImageUnusable, match=r"cannot be staged in \.local/context: .*\.local"):
        stage(build())


def test_a_name_that_is_no_text_is_staged_as_it_is(app: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (app / name).write_text("")
    assert (Path(stage(build()).context) / name).is_file()


def test_the_tag_of_one_commit_is_this(app: Path) -> None:
    # Another rule is another tag for all content, and a build of every consumer: change RULE, and this, on purpose.
    (app / "link").symlink_to("app.py")
    (app / "run").write_text("")
    (app / "run").chmod(0o755)
    assert build(args={"A": "1"}).tag == "content-d517117fd9afa803a2d1494b411d266f"


def test_a_checkout_that_converts_line_ends_has_the_same_tag(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    shutil.copytree(ROOT / "app", source / "app", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".gitattributes", source)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], cwd=source, check=True)
    clone = ["clone", "-q", "-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    subprocess.run(["git", *clone, str(source), str(copy)], check=True)
    tags = []
    for folder in (source, copy):
        with chdir(folder):
            tags.append(build().tag)
    assert tags[0] == tags[1]
