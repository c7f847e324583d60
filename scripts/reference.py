"""Write `docs/reference.md` and the keys of `Pulumi.yaml` from the models: `make reference`."""

import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from components.model import Model, about, as_yaml, is_list, meanings, models_of
from settings import FIELDS, KEYS, STACKS, STRUCTURED

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference.md"
PROJECT = ROOT / "Pulumi.yaml"
HEAD = """# Options

Keys of `Pulumi.STACK.yaml`. Each has the prefix `cross-account-ecr:`. `a.b` is the key `b` in `a`, and `a[]` is an
entry of a list. `make reference` writes this page from the models in `components/` and `settings.py`.
"""
COLUMNS = "| option | what it is | value | default |\n| --- | --- | --- | --- |"
# In Pulumi.yaml, everything after this line is generated.
MARK = "  # Written by `make reference`; docs/reference.md has all options.\n"


def page() -> str:
    """The page of all options."""
    parts = [HEAD]
    for name, model in STACKS.items():
        rows = [f"| `{path}` | {' | '.join(cells)} |" for path, *cells in options(model)]
        parts.append("\n".join([f"## {name.title()} stack\n", COLUMNS, *rows]))
    return "\n\n".join(parts) + "\n"


def options(model: type[Model], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Path, meaning, value and default of every option of a model and its nested models."""
    texts = meanings(model)
    for name, field in model.model_fields.items():
        path = f"{prefix}{to_camel(name)}"
        kinds = models_of(field)
        for kind in kinds:
            alternative = f" (type: {kind.model_fields['type'].default})" if len(kinds) > 1 else ""
            for below, *cells in options(kind, f"{path}{'[]' if is_list(field) else ''}."):
                yield below + alternative, *cells  # type: ignore[misc]  # three cells
        if not kinds:
            yield path, _cell(texts.get(name, "")), _cell(_value(field)), _default(field)


def project() -> str:
    """`Pulumi.yaml` with the declared keys."""
    kept = PROJECT.read_text().partition(MARK)[0]
    declared = (f"{key}: {as_yaml(_key(key))}" for key in KEYS)
    return kept + MARK + "".join(f"  {line}\n" for line in declared)


def _key(key: str) -> dict[str, object]:
    """The declaration of a key for Pulumi. A key of only one stack has an empty default, because the other omits it."""
    names = [name for name, model in STACKS.items() if key in map(to_camel, model.model_fields)]
    model = STACKS[names[0]]
    (name,) = (name for name in model.model_fields if to_camel(name) == key)
    field = FIELDS[key]
    kind = "array" if is_list(field) else "object" if key in STRUCTURED else "string"
    items = {"items": {"type": "object"}} if kind == "array" else {}
    empty = {"array": [], "object": {}, "string": ""}[kind]
    default = {} if key in ("account", "region") else {"default": empty}
    stack = "" if len(names) > 1 else f"{names[0].title()}: "
    return {"type": kind, **items, **default, "description": f"{stack}{meanings(model)[name]}"}


def _value(field: FieldInfo) -> str:
    rule, examples = about(field)
    return f"{rule}, such as `{as_yaml(examples[0])}`" if examples else rule


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    plain = isinstance(field.default, str | int | float) and field.default != ""
    return f"`{as_yaml(field.default)}`" if plain else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
    PROJECT.write_text(project())
    print(f"{PAGE.name} and {PROJECT.name} written", file=sys.stderr)
