"""What is written about options, outputs and commands is true of the code."""

import re
import subprocess
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from components.model import Model, about, is_list, models_of
from scripts.reference import PAGE, PROJECT, options, page, project
from settings import STACKS, ConsumerSettings, RegistrySettings

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


def test_every_file_and_folder_that_a_page_links_to_exists() -> None:
    pages = [Path("README.md"), Path("CONTRIBUTING.md"), Path("CHANGELOG.md"), *Path("docs").rglob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text())]
    assert len(links) > 10
    assert [(str(page), link) for page, link in links if not (page.parent / link).exists()] == []


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
