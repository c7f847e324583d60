"""What is written about options, outputs and commands is true of the code."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from components.model import Model, about, is_list, models_of
from scripts.reference import PAGE, PROJECT, options, page, project
from settings import STACKS, ConsumerSettings, RegistrySettings
from tests.pages import PAGES, ROOT

README = Path("README.md").read_text()


def test_reference_is_that_of_the_types() -> None:
    assert PAGE.read_text() == page(), "run `make reference`"


@pytest.mark.parametrize("model", [RegistrySettings, ConsumerSettings])
def test_every_option_says_what_it_is_and_what_is_allowed(model: type[RegistrySettings | ConsumerSettings]) -> None:
    silent = [path for path, meaning, rule, _ in options(model) if not meaning or not rule]
    assert silent == []


def models(model: type[Model]) -> set[type[Model]]:
    """A model and all models in it."""
    return {model}.union(*(models(inner) for field in model.model_fields.values() for inner in models_of(field)))


@pytest.mark.parametrize("model", sorted(set.union(*map(models, STACKS.values())), key=str), ids=lambda it: it.__name__)
def test_every_example_is_allowed(model: type[Model]) -> None:
    for name, field in model.model_fields.items():
        if name == "consumers":  # its rule needs the repository beside it; test_promises deploys its examples
            continue
        outer, inner = about(field)[1], about(field, inner=True)[1]
        within = inner if inner != outer else []
        given = [*outer, *([one] if is_list(field) else {"A1": one} for one in within)]
        kind = field.rebuild_annotation()
        for one in given:
            TypeAdapter(kind, config=None if kind in models(model) else Model.model_config).validate_python(one)


@pytest.mark.parametrize("model", sorted(set.union(*map(models, STACKS.values())), key=str), ids=lambda it: it.__name__)
def test_every_default_is_of_the_options_type(model: type[Model]) -> None:
    for field in model.model_fields.values():
        if not field.is_required():
            TypeAdapter(field.annotation, config=None if models_of(field) else Model.model_config).validate_python(
                field.get_default(call_default_factory=True, validated_data={})
            )


def anchors(page: Path) -> set[str]:
    """What GitHub names the headings of a page: https://docs.github.com/en/get-started/writing-on-github."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = [re.sub(r"\]\([^)]*\)", "", title) for title in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)]
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def is_there(page: Path, link: str) -> bool:
    """Whether the file or folder exists, and has a heading of the part after `#`."""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def test_every_file_folder_and_heading_that_a_page_links_to_exists() -> None:
    pages = [*PAGES, ROOT / "CHANGELOG.md"]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^):]+)\)", page.read_text())]
    assert {str(page.relative_to(ROOT)) for page, link in links if "#" in link} >= {"README.md", "docs/credentials.md"}
    assert [(str(page), link) for page, link in links if not is_there(page, link)] == []


def test_the_readmes_layout_names_every_folder() -> None:
    layout = README.partition("## Layout")[2]
    folders = {name.partition("/")[0] for name in tracked() if "/" in name and not name.startswith(".")}
    assert set(re.findall(r"(\w+)/ ", layout)) | {"docs"} == folders


def tracked() -> list[str]:
    return subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()


def test_project_file_is_that_of_the_models() -> None:
    assert PROJECT.read_text() == project(), "run `make reference`"


def test_every_picture_is_on_a_page_and_small() -> None:
    pictures = list(Path("docs/images").iterdir())
    assert [picture.name for picture in pictures if picture.stat().st_size > 150_000] == []
    pages = "".join(page.read_text() for page in Path("docs").glob("*.md"))
    assert {f"images/{picture.name}" for picture in pictures} == set(re.findall(r"!\[[^]]+\]\((\S+)\)", pages))


def test_the_versions_of_the_readme_are_those_that_are_required_and_tested() -> None:
    ((python, go),) = re.findall(r"with Python ([\d.]+), Go ([\d.]+) and", README)
    assert tomllib.loads(Path("pyproject.toml").read_text())["project"]["requires-python"] == f">={python}"
    files = [Path(".github/workflows/test.yml"), Path(".github/actions/set-up/action.yml")]
    assert {found for file in files for found in re.findall(r'python-version: "(.+)"', file.read_text())} == {python}
    assert re.findall(r"--python-version (\S+) .*pyproject.toml", Path("Makefile").read_text()) == [python]
    modules = list(Path("offline").rglob("go.mod"))
    assert {re.findall(r"^go (\d+\.\d+)", path.read_text(), re.MULTILINE)[0] for path in modules} == {go}
