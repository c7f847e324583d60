"""The wheel holds the program under one name, needs what it declares, and runs without this folder."""

import itertools
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.unit.test_rooms import ROOT, imported, modules

SHIPPED = ("__main__.py", "settings.py", "components", "deployment", "stacks")


def built(folder: Path) -> Path:
    """The wheel, built as `pip install .` builds it but without downloads."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w"]
    subprocess.run([*command, str(folder), str(ROOT)], capture_output=True, check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(built(tmp_path_factory.mktemp("wheel"))).extractall(folder)
    return folder


def test_the_wheel_contains_the_program_and_nothing_else(installed: Path) -> None:
    found = {str(path.relative_to(installed / "cross_account_ecr")) for path in installed.rglob("*.py")}
    assert found == {str(path.relative_to(ROOT)) for path in modules(*SHIPPED).values()}
    assert {path.name for path in installed.iterdir()} == {"cross_account_ecr", "cross_account_ecr-0.0.0.dist-info"}


def test_the_wheel_adds_no_module_with_a_name_that_users_may_have(installed: Path, tmp_path: Path) -> None:
    for name in ("components", "deployment", "settings", "stacks"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError('a module of the user')")
    names = [f"cross_account_ecr.{name}" for name in modules(*SHIPPED) if not name.endswith("__main__")]
    subprocess.run(
        [sys.executable, "-c", f"import {', '.join(names)}"],
        env={"PYTHONPATH": str(installed)},
        cwd=tmp_path,
        check=True,
    )


def test_the_command_line_of_the_wheel_has_the_name_that_its_help_shows(installed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cross_account_ecr.deployment", "up", "--help"]
    ran = subprocess.run(command, env={"PYTHONPATH": str(installed)}, cwd=tmp_path, text=True, stdout=subprocess.PIPE)
    assert "python -m cross_account_ecr.deployment up --check" in ran.stdout
    assert [file for file in installed.rglob("*.py") if "python -m deployment" in file.read_text()] == []


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    declared = {re.split(r"[<>=]", requirement)[0] for requirement in requirements}
    # Several distributions share the name `google`.
    providers = {**packages_distributions(), "google": ["protobuf"]}
    names = {name.split(".")[0] for path in modules(*SHIPPED, "plugin").values() for name in imported(path)} - {
        *sys.stdlib_module_names,
        "components",
        "deployment",
        "plugin",
        "settings",
        "stacks",
    }
    needed = {providers[name][0].lower().replace("_", "-") for name in names}
    assert needed == declared


@pytest.mark.parametrize("with_wheel", [True, False], ids=["wheel", "folder"])
def test_the_example_starts_as_its_first_line_says(installed: Path, tmp_path: Path, with_wheel: bool) -> None:
    [command] = re.findall(r"`python (.+?)`", (ROOT / "examples" / "embed.py").read_text())
    ran = subprocess.run(
        [sys.executable, *command.split()],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path), **({"PYTHONPATH": str(installed)} if with_wheel else {})},
        capture_output=True,
        text=True,
        timeout=60,
    )
    # There is no Pulumi CLI on this PATH: it comes so far as to say so, in words and not in a traceback.
    assert "pulumi" in ran.stdout
    assert "Traceback" not in ran.stderr
    assert ran.returncode not in (0, 130)
