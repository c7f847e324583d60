"""`Model`: each option is declared once, as a field of a model in the module of the component that uses it.

A field has a type, a default, limits and an example. Its `description` is the rule that an error shows after "must be";
the docstring below it is its meaning. The configuration, the components' arguments, the plugin's schema,
`docs/reference.md` and `Pulumi.yaml` are derived from these fields.
"""

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, ClassVar, get_args, get_origin

import pulumi
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from components.errors import InvalidArgument


class Key(str):
    """A part of a location that the user chose, such as a variable's name. It is shown unchanged."""


Location = tuple[str | int, ...]
Spelling = Callable[[str], str]


class Model(BaseModel):
    """A frozen group of options. Unknown options are refused.

    Option names are in snake case in Python, and in camel case in stack files and other languages.

    Raises:
        InvalidArgument: a value is not allowed. The error names all such values.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        loc_by_alias=False,
        arbitrary_types_allowed=True,
        defer_build=True,
    )
    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Renamed keys of a stack file, each with its new name."""

    def __init__(self, /, **given: Any) -> None:
        try:
            self.__pydantic_validator__.validate_python(given, self_instance=self, by_alias=False, by_name=True)
        except ValidationError as error:
            name = type(self).__name__
            raise InvalidArgument("\n".join(one.word(f"{name}.", str) for one in problems(type(self), error))) from None

    def options(self) -> dict[str, Any]:
        """The options with their values, for another model with the same options."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    # Pydantic's own marker: nested models are validated with their parent, without a call of this method (see
    # RootModel).
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


def allowed(text: str, *example: Any, **limits: Any) -> Any:
    """The rule of an option, which an error shows after "must be", with an example and the limits of its type."""
    return Field(description=text, examples=list(example) or None, **limits)


def no_switch(value: Any) -> Any:
    """Refuse true and false, which Python treats as 1 and 0."""
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "not a number")
    return value


Whole = Annotated[int, BeforeValidator(no_switch)]
Share = Annotated[float, BeforeValidator(no_switch)]
Late = str | pulumi.Output[str]
"""A text, or an output of another resource."""


def rule(text: str, *at: str | int) -> PydanticCustomError:
    """The error of a validator that checks more than one value.

    Args:
        text: the message; option names are in snake case, in backticks.
        at: path from the validated value to the invalid one. Default: the validated value itself.
    """
    return PydanticCustomError("rule", "{text}", {"text": text, "at": at})


@dataclass(frozen=True)
class ByType:
    """Selects one of the models of an option by its `type`, so that errors speak of that model only.

    Attributes:
        default: the type if none is given; empty if the type is required.
    """

    default: str = ""

    def __get_pydantic_core_schema__(self, models: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kinds: dict[Any, type[Model]] = {kind.model_fields["type"].default: kind for kind in get_args(models)}
        types, _ = about(next(iter(kinds.values())).model_fields["type"])

        def name_of(given: Any) -> str:
            found = (
                given.get("type", self.default) if isinstance(given, Mapping) else getattr(given, "type", self.default)
            )
            return kinds[found].__name__ if isinstance(found, str) and found in kinds else ""

        def checked(given: Any) -> Any:
            if isinstance(given, Mapping) and not name_of(given):
                said = f"{json.dumps(given['type'], default=str)} is not allowed" if "type" in given else "is missing"
                raise rule(f"{said}; it must be {types}", "type")
            return given

        choices = {kind.__name__: handler.generate_schema(kind) for kind in kinds.values()}
        return core_schema.no_info_before_validator_function(
            checked, core_schema.tagged_union_schema(choices, discriminator=name_of)
        )


@dataclass(frozen=True)
class Problem:
    """A value that is not allowed.

    Attributes:
        kind: Pydantic's type of the error, or `rule`.
        text: the message of a rule.
        path: option names, keys and indexes from the outermost model to the value.
        fields: the options on that path.
        model: the model that the last option belongs to, or should.
        value: the value itself.
    """

    kind: str
    text: str
    path: Location
    fields: tuple[FieldInfo, ...]
    model: "type[Model]"
    value: Any

    def word(self, prefix: str, spell: Spelling, *, secret: bool = False) -> str:
        """One line that names the option, the value, what is allowed, and an example.

        Args:
            prefix: prefix of the option's name.
            spell: converts an option's name from snake case.
            secret: whether the values must not be shown.
        """

        def spelled(path: Location) -> str:
            return prefix + shown(path, spell) if path else prefix.rstrip(".:")

        key = spelled(self.path)
        if self.kind == "rule":
            text = "the value given is not allowed" if secret else self.text
            return f"{key}: {re.sub('`([a-z_]+)`', lambda name: f'`{spell(name[1])}`', text)}."
        if self.kind == "extra_forbidden":
            if new := self.model.RENAMED.get(str(self.path[-1])):
                return f"{key}: is now named {new}. Rename it."
            return f"{key}: is not an option; the options are {', '.join(map(spell, self.model.model_fields))}."
        field = self.fields[-1]
        hidden = secret or any(not one.repr for one in self.fields) or _has_hidden(field)
        given = "the value given" if hidden else json.dumps(self.value, default=str)
        said = "is missing" if self.kind == "missing" else f"{given} is not allowed"
        if self.kind == "string_type" and isinstance(self.value, bool | int | float):
            said = f"{given} is not a text. Write it in quotes: YAML reads 3.10 as 3.1 and 010 as 8"
        is_inside = isinstance(self.path[-1], int | Key)
        allowed, examples = about(field, inner=is_inside)
        if not allowed:
            sections = [", ".join(map(spell, kind.model_fields)) for kind in models_of(field)]
            return f"{key}: {said}; it must be a section with {' or with '.join(sections)}."
        outer = is_inside and (allowed, examples) == about(field)
        where = spelled(self.path[:-1]) if outer else key
        example = f" Example: {assigned(where, examples[0], spell)}" if examples else ""
        return f"{key}: {said}; it must be {allowed}.{example}"


def problems(model: "type[Model]", error: ValidationError) -> Iterator[Problem]:
    """The invalid values that a validation found."""
    for found in error.errors():
        context = found.get("ctx", {})
        if context.get("class") == "Output":  # the second alternative of `Late`
            continue
        location = (*found["loc"], *context.get("at", ()))
        is_extra = found["type"] == "extra_forbidden"  # also raised for an option in the other spelling
        path, fields, owner, among = _path(model, location[:-1] if is_extra else location)
        if is_extra:
            path, owner = (*path, Key(location[-1])), among[0]
        yield Problem(found["type"], context.get("text", ""), path, fields, owner, found["input"])


def about(field: FieldInfo, *, inner: bool = False) -> tuple[str, list[Any]]:
    """The rule and the examples of a field, or of the values in its list or map if they have their own rule."""
    nested = (part for part in _parts(field.annotation) if isinstance(part, FieldInfo))
    described = [(one.description, one.examples or []) for one in (field, *nested) if one.description]
    return (described[-1 if inner else 0]) if described else ("", [])


def shown(path: Location, spell: Spelling) -> str:
    """A path as text: `consumers[0].account`."""
    parts = (
        f"[{part}]" if isinstance(part, int) else f".{part if isinstance(part, Key) else spell(part)}" for part in path
    )
    return "".join(parts).removeprefix(".")


def assigned(key: str, value: Any, spell: Spelling) -> str:
    """An example as it is written, in Python or in a stack file."""
    return f"{key.rpartition('.')[2]}={value!r}" if spell is str else f"{key}: {as_yaml(value)}"


def as_yaml(value: Any) -> str:
    """A value as YAML, on one line."""
    import yaml  # imported only for an error: it takes milliseconds

    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return str(text).removesuffix("...\n").strip()


def models_of(field: FieldInfo) -> list[type[Model]]:
    """The models of a field: one, several alternatives, or those of a list. Empty for plain values."""
    return [kind for kind in _parts(field.annotation) if isinstance(kind, type) and issubclass(kind, Model)]


def is_list(field: FieldInfo) -> bool:
    """Whether a field holds a list."""
    return any(get_origin(kind) is Sequence for kind in _parts(field.annotation))


def is_map(field: FieldInfo) -> bool:
    """Whether a field holds values under keys that are not options."""
    return any(get_origin(kind) is Mapping for kind in _parts(field.annotation))


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


def _has_hidden(field: FieldInfo) -> bool:
    """Whether a nested field's value must not be shown."""
    return any(
        not inner.repr or _has_hidden(inner) for kind in models_of(field) for inner in kind.model_fields.values()
    )


def _path(
    model: type[Model], location: Location
) -> tuple[Location, tuple[FieldInfo, ...], type[Model], list[type[Model]]]:
    """The parts of a Pydantic location that the user wrote, without those that name types.

    Returns them with the fields on the path, the model of the last field, and the models that may be below it.
    """
    path: list[str | int] = []
    fields: list[FieldInfo] = []
    among, owner, key_next = [model], model, False
    for part in location:
        if isinstance(part, int):
            path.append(part)
        elif key_next:
            path.append(Key(part))
            key_next = False
        elif kind := next((kind for kind in among if part in kind.model_fields), None):
            owner, found = kind, kind.model_fields[part]
            path.append(part)
            fields.append(found)
            among, key_next = models_of(found), is_map(found)
        else:
            among = [kind for kind in among if kind.__name__ == part] or among
    return tuple(path), tuple(fields), owner, among


def meanings(kind: type) -> dict[str, str]:
    """The docstrings below the fields of a class and its bases, read from the source, each on one line."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        found |= _own_meanings(one)
    return found


@cache
def _own_meanings(kind: type) -> dict[str, str]:
    if kind.__module__.partition(".")[0] not in ("components", "settings"):
        return {}
    (declared,) = ast.parse(inspect.getsource(kind)).body
    return {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in pairwise(getattr(declared, "body", ()))
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }
