"""Write `docs/reference.md`, the table of all options, from the types in `settings.py`: `make reference`."""

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from settings import ConsumerSettings, RegistrySettings, section_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"
HEAD = """# Options

Keys of `Pulumi.STACK.yaml`, each with `cross-account-ecr:` in front; `a.b` is `b` inside of `a`, `a[]` an entry of a
list. Written by `make reference` from the types in `settings.py`.
"""
SECTIONS = {"Registry stack": RegistrySettings, "Consumer stack": ConsumerSettings}


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, model in SECTIONS.items():
        rows = [f"| `{path}` | {meaning} | {rule} | {default} |" for path, meaning, rule, default in options(model)]
        parts.append(
            "\n".join(
                [f"## {title}\n", "| option | what it is | value | default |", "| --- | --- | --- | --- |", *rows]
            )
        )
    return "\n\n".join(parts) + "\n"


def options(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Path, meaning, rule and default of every option of a model, nested ones included."""
    meanings = {name: text for kind in reversed(model.__mro__) for name, text in _attribute_docstrings(kind).items()}
    for name, field in model.model_fields.items():
        path = f"{prefix}{to_camel(name)}"
        if nested := section_of(field):
            yield from options(nested, f"{path}{'[]' if 'list' in str(field.annotation) else ''}.")
        else:
            yield path, _cell(meanings.get(name, "")), _cell(_rule(field)), _default(field)


def _rule(field: FieldInfo) -> str:
    literal = getattr(field.annotation, "__args__", ())
    rule = field.description or " or ".join(map(str, literal))
    example = f", such as `{field.examples[0]}`" if field.examples else ""
    return f"{rule}{example}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.default
    return "" if value in (None, "", [], {}) else f"`{json.dumps(value) if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _attribute_docstrings(kind: type) -> dict[str, str]:
    """The texts that stand below the fields of a class."""
    if kind.__module__ != "settings":
        return {}
    declared = next(node for node in ast.walk(ast.parse(inspect.getsource(kind))) if isinstance(node, ast.ClassDef))
    return {
        field.target.id: text.value.value
        for field, text in zip(declared.body, declared.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE.name} written", file=sys.stderr)
