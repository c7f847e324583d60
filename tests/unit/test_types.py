"""Names of resource types and their properties are those of the provider, and mypy knows them."""

import dataclasses
import inspect
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pulumi_aws
import pytest
from pydantic import TypeAdapter
from pydantic.alias_generators import to_camel

import deployment
import deployment.comment
import policy_pack.rules
import stacks.names


def resource(kind: str) -> Any:
    """The class of a resource type."""
    service, _, name = re.split("[:/]", kind)[1:]
    return getattr(getattr(pulumi_aws, "lambda_" if service == "lambda" else service), name)


@pytest.mark.parametrize("module", [deployment.comment, policy_pack.rules, stacks.names], ids=lambda it: it.__name__)
def test_every_resource_type_exists(module: ModuleType) -> None:
    named = set(re.findall(r'"(\w+:\w+/\w+:\w+)"', inspect.getsource(module)))
    assert named
    for kind in named:
        assert kind == resource(kind).pulumi_type


@pytest.mark.parametrize(("kind", "option"), deployment.comment.WEIGHTY)
def test_every_property_exists(kind: str, option: str) -> None:
    assert option in map(to_camel, inspect.signature(resource(kind)._internal_init).parameters)


RESULTS = [it for it in (getattr(deployment, name) for name in deployment.__all__) if dataclasses.is_dataclass(it)]


@pytest.mark.parametrize("kind", RESULTS, ids=lambda it: it.__name__)
def test_every_default_is_of_the_type_that_is_declared(kind: Any) -> None:
    for one in dataclasses.fields(kind):
        if one.default is not dataclasses.MISSING and not callable(one.default):
            TypeAdapter(one.type).validate_python(one.default)


def test_the_package_has_all_that_it_exports() -> None:
    assert [name for name in deployment.__all__ if not hasattr(deployment, name)] == []


def test_mypy_reads_every_service_that_is_used() -> None:
    config = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mypy"]
    checked = [path for name in config["files"] for path in (Path(name), *Path(name).rglob("*.py")) if path.is_file()]
    names = {name for path in checked for name in re.findall(r"\baws\.(\w+)\.\w", path.read_text())}
    used = {name for name in names if Path(str(pulumi_aws.__file__)).with_name(name).is_dir()}
    assert used
    (read,) = (item["module"] for item in config["overrides"] if item.get("follow_imports") == "normal")
    assert used == {name.split(".")[1] for name in read if name.endswith(".*")}
