"""Write `plugin/inputs.py`, the components' arguments as the SDK's component host reads them: `make reference`.

The host infers a schema from annotations: `NotRequired` makes an argument optional, the text below describes it. It
knows neither defaults nor unions nor literals. https://www.pulumi.com/docs/iac/concepts/components/
"""

import dataclasses
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi

from components.function import ImageFunctionArgs
from components.repository import CrossAccountRepositoryArgs

MODULE = Path("plugin/inputs.py")
HEAD = '''"""Arguments of the components, for other languages. Written by `make reference` from `components/`."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
'''
WIDTH = 120
PLAIN = {str: "str", int: "int", float: "float", bool: "bool", Any: "Any"}


def module() -> str:
    """The whole module."""
    classes: dict[str, str] = {}
    for arguments in (CrossAccountRepositoryArgs, ImageFunctionArgs):
        _write(arguments.__name__, [arguments], classes)
    return "\n\n".join([HEAD, *classes.values()])


def _write(name: str, kinds: list[type], classes: dict[str, str]) -> str:
    """Add a class with the fields of a dataclass; of several, which are alternatives, all fields, as optional."""
    first, *others = [(inspect.getdoc(kind) or "").partition("\n")[0] for kind in kinds]
    lines = [f"class {name}(TypedDict):", f'    """{first}']
    lines += [f"\n    Or: {other}\n    " for other in others]
    lines[-1] += '"""\n'
    for kind in kinds:
        meanings = _meanings(kind)
        for field in dataclasses.fields(kind):
            annotation = _annotation(field.type, f"{name.removesuffix('Args')}{field.name.title()}", classes)
            no_default = field.default is field.default_factory is dataclasses.MISSING
            if len(kinds) > 1 or not no_default:
                annotation = f"NotRequired[{annotation}]"
            lines += [f"    {field.name}: {annotation}", *_docstring(meanings[field.name])]
    classes[name] = "\n".join(lines) + "\n"
    return name


def _annotation(hint: Any, alternatives: str, classes: dict[str, str]) -> str:
    """A type as the host knows it. Alternatives become a class of that name."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in PLAIN:
        return PLAIN[hint]
    if hint == pulumi.Input[str]:
        return "pulumi.Input[str]"
    if dataclasses.is_dataclass(hint):
        return _write(hint.__name__, [typing.cast(type, hint)], classes)
    if origin is typing.Literal:
        return "str"
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for kind in arguments if kind is not type(None)]
        if len(kinds) == 1:
            return _annotation(kinds[0], alternatives, classes)
        return _write(alternatives, kinds, classes)
    values = _annotation(arguments[1 if issubclass(origin, Mapping) else 0], alternatives, classes)
    return f"Mapping[str, {values}]" if issubclass(origin, Mapping) else f"Sequence[{values}]"


def _meanings(kind: type) -> dict[str, str]:
    """The section `Attributes` of a docstring, by field."""
    section = re.search(r"^Attributes:\n((?:    .*\n?|\n)+)", inspect.getdoc(kind) or "", re.MULTILINE)
    entries = re.findall(r"^    (\w+): ((?:.*\n?)(?:        .*\n?)*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _docstring(text: str) -> list[str]:
    sentence = text[0].upper() + text[1:]
    if len(sentence) + 10 <= WIDTH:
        return [f'    """{sentence}"""']
    wrapped = textwrap.wrap(sentence, WIDTH - 4, break_long_words=False, break_on_hyphens=False, initial_indent="xxx")
    wrapped[0] = wrapped[0][3:]
    return [f'    """{wrapped[0]}', *(f"    {line}" for line in wrapped[1:]), '    """']


if __name__ == "__main__":
    MODULE.write_text(module())
    print(f"{MODULE} written", file=sys.stderr)
