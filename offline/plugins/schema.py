"""The SDK's schema: the inputs of its argument classes and the arguments of its functions.

A real provider contains its schema. Here it is read from the SDK once and cached, because importing the SDK would slow
down the start of a plugin.
"""

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Class or function → input → the argument class of its value, if it has one, and whether it is required.
Schema = dict[str, dict[str, tuple[str | None, bool]]]


def load(package: str, names: Iterable[str]) -> Schema:
    """The schema of classes and functions of an SDK package, such as `pulumi_aws.ecr.RepositoryArgs`.

    Raises:
        subprocess.CalledProcessError: the SDK has no such name.
    """
    file = Path(sys.prefix) / f"schema-{package}-{version(package)}.json"
    known: Schema = json.loads(file.read_text()) if file.exists() else {}
    # Keep the names that another version of this file read, because the folder may be shared.
    wanted = sorted({*names, *known})
    if known.keys() != set(wanted):
        # A separate process, so that this one does not import the SDK.
        read = [sys.executable, "-m", "offline.plugins.schema", *wanted]
        written = subprocess.run(read, check=True, stdout=subprocess.PIPE, text=True).stdout
        known = json.loads(written)
        new = file.with_suffix(f".{os.getpid()}")
        new.write_text(written)
        new.replace(file)
    return known


def undeclared(schema: Schema, name: str, values: dict[str, Any], path: str = "") -> list[tuple[str, str]]:
    """Inputs that a class does not declare, and required inputs that are missing.

    Returns: pairs of property path and reason.
    """
    declared = schema[name]
    problems = [
        (f"{path}{key}", f"is not a property of {short(name)}; it has {', '.join(sorted(declared))}")
        for key in values
        if key not in declared
    ]
    for key, (nested, required) in declared.items():
        value = values.get(key)
        if value is None and required:
            problems.append((f"{path}{key}", "is required"))
        for number, item in enumerate(value if isinstance(value, list) else [value]):
            if nested and isinstance(item, dict):
                index = f"[{number}]" if isinstance(value, list) else ""
                problems += undeclared(schema, nested, item, f"{path}{key}{index}.")
    return problems


def short(name: str) -> str:
    """The name of a class or function without its module."""
    return name.rpartition(".")[2]


def _read(names: Iterable[str]) -> Schema:
    """The schema of the names, and of the argument classes of their values."""
    schema: Schema = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in schema:
            module, _, own = name.rpartition(".")
            found = getattr(importlib.import_module(module), own)
            schema[name] = _inputs(found) if isinstance(found, type) else _arguments(found)
            waiting += [nested for nested, _ in schema[name].values() if nested]
    return schema


def _inputs(sdk_class: type) -> dict[str, tuple[str | None, bool]]:
    import pulumi

    parameters = inspect.signature(sdk_class.__init__).parameters  # type: ignore[misc]  # the class's own
    names = pulumi._types.input_type_py_to_pulumi_names(sdk_class)
    hints = pulumi._types.input_type_types(sdk_class)
    return {
        name: (_argument_class(hints[name]), parameters[python].default is inspect.Parameter.empty)
        for python, name in names.items()
    }


def _argument_class(hint: Any) -> str | None:
    """The SDK argument class inside a hint such as `Input[Optional[Sequence[Input[XArgs]]]]`."""
    import pulumi

    if isinstance(hint, type) and pulumi._types.is_input_type(hint):
        return f"{hint.__module__}.{hint.__qualname__}"
    for inner in typing.get_args(hint):
        if found := _argument_class(inner):
            return found
    return None


def _arguments(function: Callable[..., Any]) -> dict[str, tuple[str | None, bool]]:
    names = set(inspect.signature(function).parameters) - {"opts"}
    return {re.sub(r"_(\w)", lambda match: match[1].upper(), name): (None, False) for name in sorted(names)}


if __name__ == "__main__":
    print(json.dumps(_read(sys.argv[1:]), indent=1, sort_keys=True))
