"""The schema of the package, derived from the models and the outputs of its components.

https://www.pulumi.com/docs/iac/using-pulumi/extending-pulumi/schema/
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pulumi
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from components.model import Model, about, as_yaml, is_list, meanings, models_of

NAMES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
LANGUAGES = ("nodejs", "python", "csharp", "java", "go")


def schema(name: str, version: str, components: Mapping[type[pulumi.ComponentResource], type[Model]]) -> dict[str, Any]:
    """The schema of components with their arguments."""
    types: dict[str, Any] = {}
    package = Package(name, types)
    return {
        "name": name,
        "displayName": name,
        "version": version,
        "resources": {
            f"{name}:index:{component.__name__}": package.component(component, arguments)
            for component, arguments in components.items()
        },
        "types": types,
        "language": {language: {"respectSchemaVersion": True} for language in LANGUAGES},
    }


def outputs(component: type[pulumi.ComponentResource]) -> dict[str, Any]:
    """The outputs of a component, each with its type."""
    return {name: kind for name, kind in inspect.get_annotations(component).items() if not name.startswith("_")}


class Package:
    """Converts types to types of the schema.

    Attributes:
        name: name of the package.
        types: the types so far, by token.
    """

    def __init__(self, name: str, types: dict[str, Any]) -> None:
        self.name = name
        self.types = types

    def component(self, component: type[pulumi.ComponentResource], arguments: type[Model]) -> dict[str, Any]:
        """A component with its inputs and outputs."""
        texts = meanings(component)
        owner = arguments.__name__.removesuffix("Args")
        return {
            "isComponent": True,
            "description": inspect.getdoc(component),
            "type": "object",
            "inputProperties": self.inputs([arguments], owner),
            "requiredInputs": required(arguments),
            "properties": {
                to_camel(name): {**self.kind_of(kind, name, plain=False), "description": texts[name]}
                for name, kind in outputs(component).items()
            },
            "required": sorted(
                to_camel(name)
                for name, kind in outputs(component).items()
                if type(None) not in get_args(get_args(kind)[0])
            ),
        }

    def inputs(self, models: Sequence[type[Model]], owner: str) -> dict[str, Any]:
        """The options of a model, or of several alternative models."""
        written: dict[str, Any] = {}
        for model in models:
            texts = meanings(model)
            for name, field in model.model_fields.items():
                kinds = [
                    kind for one in models if name in one.model_fields for kind in models_of(one.model_fields[name])
                ]
                title = f"{owner}{name.title().replace('_', '')}"
                if len(set(kinds)) > len(models_of(field)):
                    kind = self.reference(title, kinds, {"plain": True})
                    kind = {"type": "array", "items": kind, "plain": True} if is_list(field) else kind
                else:
                    kind = self.kind_of(field.annotation, title)
                written[to_camel(name)] = {**kind, "description": _description(field, texts[name])}
        return written

    def kind_of(self, kind: Any, name: str, *, plain: bool = True) -> dict[str, Any]:
        """A type; plain if outputs are not allowed. `name` is the name of a new type for alternatives."""
        origin, inner = get_origin(kind), get_args(kind)
        mark = {"plain": True} if plain else {}
        if kind is Any:
            return {"$ref": "pulumi.json#/Any", **mark}
        if kind in NAMES:
            return {"type": NAMES[kind], **mark}
        if origin is Annotated:
            return self.kind_of(inner[0], name, plain=plain)
        if origin is Literal:
            return self.kind_of(type(inner[-1]), name, plain=plain)
        if origin is pulumi.Output:
            return self.kind_of(inner[0], name, plain=False)
        if origin in (Union, UnionType):
            kinds = [one for one in inner if one is not type(None)]
            if any(get_origin(one) is pulumi.Output for one in kinds):
                return self.kind_of(kinds[0], name, plain=False)
            return self.kind_of(kinds[0], name, plain=plain) if len(kinds) == 1 else self.reference(name, kinds, mark)
        if origin is Sequence:
            return {"type": "array", "items": self.kind_of(inner[0], name, plain=plain), **mark}
        if origin in (dict, Mapping):
            return {"type": "object", "additionalProperties": self.kind_of(inner[1], name, plain=plain), **mark}
        return self.reference(kind.__name__, [kind], mark)

    def reference(self, name: str, kinds: Iterable[Any], mark: Mapping[str, bool]) -> dict[str, Any]:
        """A reference to a type of the package. A new type is added."""
        token = f"{self.name}:index:{name}"
        models: list[type[Model]] = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds]
        if token not in self.types:
            self.types[token] = {
                "type": "object",
                "description": "\n\nOr: ".join(inspect.getdoc(model) or "" for model in models),
                "properties": self.inputs(models, name),
                "required": required(models[0]) if len(models) == 1 else [],
            }
        return {"$ref": f"#/types/{token}", **mark}


def required(model: type[Model]) -> list[str]:
    """The options without a default."""
    return sorted(to_camel(name) for name, field in model.model_fields.items() if field.is_required())


def _description(field: FieldInfo, meaning: str) -> str:
    """Meaning, rule and default of an option."""
    rule, _ = about(field)
    default = field.default if isinstance(field.default, str | int | float) and field.default != "" else None
    allowed = f" Allowed: {rule}." if rule else ""
    return f"{meaning}{allowed}" + (f" Default: {as_yaml(default)}." if default is not None else "")
