"""The content tag is a name for what is built: the same for the same content, another for any other."""

import os
import shutil
from pathlib import Path

import pytest

from components.content import ImageBuild
from components.errors import ImageUnusable


def tag(**changed: object) -> str:
    return ImageBuild(**{"context": "app", **changed}).tag  # type: ignore[arg-type]


def test_a_tag_is_one_that_a_registry_takes(app: Path) -> None:
    assert tag().startswith("content-")
    assert len(tag()) <= 128


@pytest.mark.parametrize(
    "change",
    [
        lambda app: (app / "app.py").write_text("print('bye')\n"),
        lambda app: (app / "app.py").rename(app / "main.py"),
        lambda app: (app / "app.py").chmod(0o755),
        lambda app: (app / "more.py").write_text(""),
        lambda app: (app / "link").symlink_to("app.py"),
        lambda app: (app / "Dockerfile").write_text("FROM scratch\nCOPY . /\n"),
        lambda app: (app / ".dockerignore").write_text("app.py\n"),
    ],
    ids=["content", "name", "executable", "new file", "link", "Dockerfile", "ignored file"],
)
def test_what_can_change_the_image_changes_the_tag(app: Path, change) -> None:  # noqa: ANN001  # a lambda
    before = tag()
    change(app)
    assert tag() != before


@pytest.mark.parametrize(
    "changed",
    [{"args": {"A": "1"}}, {"args": {"A": "2"}}, {"target": "release"}, {"platform": "linux/arm64"}],
    ids=str,
)
def test_an_option_that_can_change_the_image_changes_the_tag(app: Path, changed: dict[str, object]) -> None:
    assert tag(**changed) != tag()


def test_the_order_of_build_arguments_changes_nothing(app: Path) -> None:
    assert tag(args={"A": "1", "B": "2"}) == tag(args={"B": "2", "A": "1"})


def test_time_and_group_permissions_change_nothing(app: Path) -> None:
    # Another checkout, another umask: the same commit has to give the same tag on every machine.
    before = tag()
    os.utime(app / "app.py", (0, 0))
    (app / "app.py").chmod(0o600)
    assert tag() == before


def test_a_dockerfiles_own_ignore_file_wins(app: Path) -> None:
    (app / ".dockerignore").write_text("app.py")
    (app / "Dockerfile.dockerignore").write_text("Dockerfile*")
    assert [name for name, _ in ImageBuild(context="app").files()] == [".dockerignore", "app.py"]


def test_another_folder_with_the_same_content_has_the_same_tag(app: Path) -> None:
    shutil.copytree(app, app.with_name("copy"))
    assert tag(context="copy") == tag()


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [
        ("", ["Dockerfile", "app.py", "lib/a.py", "lib/deep/a.py", "notes.md"]),
        ("*\n!app.py", ["app.py"]),
        ("# app.py\n*.py", ["Dockerfile", "lib/a.py", "lib/deep/a.py", "notes.md"]),
        ("**/*.py", ["Dockerfile", "notes.md"]),
        ("/lib/", ["Dockerfile", "app.py", "notes.md"]),
        ("lib\n!lib/deep", ["Dockerfile", "app.py", "lib/deep/a.py", "notes.md"]),
        ("lib/*/a.py", ["Dockerfile", "app.py", "lib/a.py", "notes.md"]),
        ("./notes.md", ["Dockerfile", "app.py", "lib/a.py", "lib/deep/a.py"]),
    ],
)
def test_dockerignore_is_read_as_the_builder_reads_it(app: Path, patterns: str, kept: list[str]) -> None:
    (app / "lib" / "deep").mkdir(parents=True)
    for name in ("lib/a.py", "lib/deep/a.py", "notes.md"):
        (app / name).write_text("")
    (app / ".dockerignore").write_text(patterns)
    files = [name for name, _ in ImageBuild(context="app").files()]
    assert [name for name in files if name != ".dockerignore"] == kept


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"context": "missing"}, "image context 'missing' is not a folder"),
        ({"context": "/app"}, "is an absolute path, which differs between machines"),
        ({"dockerfile": "Dockerfile"}, "there is no Dockerfile Dockerfile.*dockerfile: app/Dockerfile"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_cure(app: Path, changed: dict[str, object], expected: str) -> None:
    with pytest.raises(ImageUnusable, match=expected):
        tag(**changed)
