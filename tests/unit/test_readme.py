"""What is written about options, outputs and commands is true of the code."""

import re
from pathlib import Path

import pytest

from scripts.package_inputs import MODULE, module
from scripts.reference import PAGE, options, page
from settings import ConsumerSettings, RegistrySettings

README = Path("README.md").read_text()


def test_reference_is_that_of_the_types() -> None:
    assert PAGE.read_text() == page(), "run `make reference`"


@pytest.mark.parametrize("model", [RegistrySettings, ConsumerSettings])
def test_every_option_says_what_it_is_and_what_is_allowed(model: type[RegistrySettings | ConsumerSettings]) -> None:
    silent = [path for path, meaning, rule, _ in options(model) if not meaning or not rule]
    assert silent == []


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", Path("Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)|^make ([a-z-]+)", README, re.MULTILINE))
    assert {"demo", "test", "shell", "down"} <= {first or second for first, second in named} <= targets


def test_the_packages_arguments_are_those_of_the_components() -> None:
    assert MODULE.read_text() == module(), "run `make reference`"
