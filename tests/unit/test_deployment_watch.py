"""`deployment.watch`: which saves deploy something, and which stacks they concern."""

import os
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from deployment import ConfigurationError
from deployment.watch import Build, Save, _saved_at, saves

STACKS = ("registry", "consumer")
Followed = tuple[Path, dict[str, Build], Generator[Save]]


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Followed]:
    """A program's folder, what its consumer builds, and the saves in it, of which the first is taken."""
    # A watch begins and ends at a time-out.
    monkeypatch.setattr("deployment.watch.STOP_MS", 10)
    (tmp_path / "app").mkdir()
    for name in ("Pulumi.yaml", "Pulumi.registry.yaml", "Pulumi.consumer.yaml", "app/app.py", "app/notes.md"):
        (tmp_path / name).write_text("")
    (tmp_path / "app" / "Dockerfile").write_text("FROM scratch\nCOPY app.py /\n")
    (tmp_path / "app" / ".dockerignore").write_text("*.md\n")
    builds = {"consumer": ("app", "")}
    found = saves(tmp_path, STACKS, lambda: dict(builds))
    assert next(found).stacks == {*STACKS}
    yield tmp_path, builds, found
    found.close()


def test_a_save_in_the_context_concerns_its_consumer_and_says_when_it_was(followed: Followed) -> None:
    folder, _, found = followed
    (folder / "app" / "app.py").write_text("changed")
    save = next(found)
    assert (save.files, save.stacks) == (("app/app.py",), {"consumer"})
    assert save.time == pytest.approx((folder / "app" / "app.py").stat().st_mtime)


def test_what_changes_nothing_of_the_image_is_no_save(followed: Followed) -> None:
    folder, _, found = followed
    (folder / "app" / "notes.md").write_text("excluded")
    (folder / "app" / "app.py").touch()
    (folder / "Pulumi.consumer.yaml").touch()
    (folder / "elsewhere").write_text("")
    (folder / "app" / "more.py").write_text("")
    assert {*next(found).files} - {"app/app.py"} == {"app/more.py"}


@pytest.mark.parametrize("name", [".dockerignore", "Dockerfile"])
def test_the_dockerfile_and_the_ignore_file_are_watched_even_if_they_are_excluded(
    followed: Followed, name: str
) -> None:
    folder, _, found = followed
    (folder / "app" / ".dockerignore").write_text("*\n!app.py\n")
    assert "app/.dockerignore" in next(found).files
    text = {".dockerignore": "", "Dockerfile": "FROM scratch\n"}[name]
    (folder / "app" / name).write_text(text)
    assert f"app/{name}" in next(found).files


def test_a_stack_file_concerns_its_stack_and_its_new_context_is_watched(followed: Followed) -> None:
    folder, builds, found = followed
    (folder / "Pulumi.registry.yaml").write_text("changed")
    assert next(found).stacks == {"registry"}
    (folder / "other").mkdir()
    (folder / "other.Dockerfile").write_text("FROM scratch\n")
    builds["consumer"] = ("other", "other.Dockerfile")
    (folder / "Pulumi.consumer.yaml").write_text("changed")
    save = next(found)
    assert (save.files, save.stacks) == (("Pulumi.consumer.yaml",), {"consumer"})
    (folder / "other" / "file").write_text("")
    assert next(found).files == ("other/file",)
    (folder / "other.Dockerfile").write_text("FROM base\n")
    assert next(found).files == ("other.Dockerfile",)
    (folder / "Pulumi.yaml").write_text("changed")
    assert next(found).stacks == {*STACKS}


def test_what_is_saved_while_another_save_is_worked_on_comes_next(followed: Followed) -> None:
    folder, _, found = followed
    (folder / "app" / "app.py").write_text("first")
    next(found)
    (folder / "app" / "app.py").write_text("second")
    (folder / "app" / "more.py").write_text("")
    saved = {*next(found).files}
    # One or two saves, as they were noticed.
    assert saved == {"app/app.py", "app/more.py"} or {*saved, *next(found).files} == {"app/app.py", "app/more.py"}


def test_a_save_is_outdated_as_soon_as_the_next_one_is_there_and_not_by_other_files(followed: Followed) -> None:
    folder, _, found = followed
    (folder / "app" / "app.py").write_text("first")
    save = next(found)
    (folder / "app" / "notes.md").write_text("excluded")
    (folder / "app" / "app.py").touch()
    ended = time.monotonic() + 0.3
    while time.monotonic() < ended:
        assert not save.is_outdated()
    (folder / "app" / "app.py").write_text("second")
    ended = time.monotonic() + 20
    while not save.is_outdated():
        assert time.monotonic() < ended
    following = next(found)
    assert (following.files, following.is_outdated()) == (("app/app.py",), False)


def test_a_file_that_an_editor_replaces_is_a_save(followed: Followed) -> None:
    folder, _, found = followed
    (folder / "app.tmp").write_text("changed")
    os.replace(folder / "app.tmp", folder / "app" / "app.py")  # noqa: PTH105  # as editors do
    assert next(found).files == ("app/app.py",)


def test_a_context_that_cannot_be_built_is_a_save_all_the_same(followed: Followed) -> None:
    folder, _, found = followed
    (folder / "app" / "Dockerfile").unlink()
    assert "app" in next(found).files
    (folder / "app" / "Dockerfile").write_text("FROM scratch\n")
    assert "app/Dockerfile" in next(found).files


def test_without_the_library_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(ConfigurationError) as refused:
        next(saves(tmp_path, STACKS, dict))
    assert refused.value.hint == "Install it: pip install watchfiles"


@pytest.mark.parametrize(("age", "expected"), [(2, 98), (30, 100), (-5, 100)], ids=["recent", "restored", "future"])
def test_a_save_began_when_its_newest_file_was_written_unless_its_time_is_not_that_of_the_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: int, expected: int
) -> None:
    monkeypatch.setattr("deployment.watch.time.time", lambda: 100.0)
    for name, seconds in (("old", 90), ("new", age)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (100 - seconds, 100 - seconds))
    assert _saved_at({tmp_path / "old", tmp_path / "new", tmp_path / "deleted"}) == expected
