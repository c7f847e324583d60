"""The README's tables name every option, every output and every make target they should."""

import re
from pathlib import Path

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from settings import ConsumerSettings, RegistrySettings

README = Path("README.md").read_text()


def options(model: type[BaseModel], prefix: str = "") -> set[str]:
    """The paths of all options of a model, as the README writes them."""
    found = set()
    for name, field in model.model_fields.items():
        inner = [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner += [kind for part in inner for kind in getattr(part, "__args__", ())]
        nested = next((kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        path = f"{prefix}{to_camel(name)}"
        many = "[]" if nested and "list" in str(field.annotation) else ""
        found |= options(nested, f"{path}{many}.") if nested else {path}
    return found


def test_every_option_has_its_row_and_no_row_is_of_another() -> None:
    section = README.partition("## Configuration")[2].partition("## ")[0]
    rows = set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))
    assert rows == options(RegistrySettings) | options(ConsumerSettings)


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", Path("Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)", README))
    assert {"demo", "test", "shell", "env", "down"} <= named <= targets
