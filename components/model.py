"""`Model`: an option is declared once, as a field of a model beside the component that uses it.

A field has its type, its default, its limits and an example; `description` is its rule, which an error shows behind
"must be", and the docstring below it is its meaning. The configuration, the arguments of the components, the schema of
the plugin, `docs/reference.md` and `Pulumi.yaml` are all read from these fields.
"""

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, get_args, get_origin

import pulumi
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from components.errors import InvalidArgument


class Key(str):
    """A part of a location that is no option, but the user's own, and is written as it is."""


Location = tuple[str | int, ...]
Spelling = Callable[[str], str]


class Model(BaseModel):
    """Options that belong together: fixed once read, and nothing else is allowed.

    A program names its options in snake case, a stack file and other languages in camel case.

    Raises:
        InvalidArgument: in a program, if a value is not allowed. All such values are named.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        loc_by_alias=False,
        arbitrary_types_allowed=True,
    )
    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Old keys of a stack file, with what to write instead."""

    def __init__(self, /, **given: Any) -> None:
        try:
            self.__pydantic_validator__.validate_python(given, self_instance=self, by_alias=False, by_name=True)
        except ValidationError as error:
            name = type(self).__name__
            raise InvalidArgument("\n".join(one.word(f"{name}.", str) for one in problems(type(self), error))) from None

    def options(self) -> dict[str, Any]:
        """The options with their values, for another model that has them as well."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    # Pydantic's own mark: models inside of others are checked with them, and not by a call of this (see RootModel).
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


def allowed(text: str, *example: Any, **limits: Any) -> Any:
    """What an option may be: its rule, which an error shows behind "must be", an example, and the type's limits."""
    return Field(description=text, examples=list(example) or None, **limits)


def no_switch(value: Any) -> Any:
    """Refuse true and false, which Python takes for 1 and 0."""
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "not a number")
    return value


Whole = Annotated[int, BeforeValidator(no_switch)]
Share = Annotated[float, BeforeValidator(no_switch)]
Late = str | pulumi.Output[str]
"""A text that may be known later, as an output of another resource."""


def rule(text: str, *at: str | int) -> PydanticCustomError:
    """What a validator raises that looks at more than one value.

    Args:
        text: the whole refusal; names of options are in snake case, in backticks.
        at: where below the validated value the wrong value is. Default the value itself.
    """
    return PydanticCustomError("rule", "{text}", {"text": text, "at": at})


@dataclass(frozen=True)
class Problem:
    """A value that is not allowed.

    Attributes:
        kind: what is wrong, in Pydantic's words, or `rule`.
        text: of a rule, the whole refusal.
        path: option names, keys and indexes that lead to the value.
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
        """The problem as a line: which option, which value, what is allowed, an example.

        Args:
            prefix: of the option's name.
            spell: how an option's name is written.
            secret: whether no value may be repeated.
        """

        def spelled(path: Location) -> str:
            return prefix + shown(path, spell) if path else prefix.rstrip(".:")

        key = spelled(self.path)
        if self.kind == "rule":
            text = "the value given is not allowed" if secret else self.text
            return f"{key}: {re.sub('`([a-z_]+)`', lambda name: f'`{spell(name[1])}`', text)}."
        if self.kind == "extra_forbidden":
            if new := self.model.RENAMED.get(str(self.path[-1])):
                return f"{key}: is called {new} now. Rename it."
            return f"{key}: there is no such option; there are {', '.join(map(spell, self.model.model_fields))}."
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
    """The values that a validation refuses."""
    for found in error.errors():
        context = found.get("ctx", {})
        if context.get("class") == "Output":  # the other half of a text that may be known later
            continue
        location = (*found["loc"], *context.get("at", ()))
        is_extra = found["type"] == "extra_forbidden"  # also an option in the other spelling
        path, fields, owner, among = _path(model, location[:-1] if is_extra else location)
        if is_extra:
            path, owner = (*path, Key(location[-1])), among[0]
        yield Problem(found["type"], context.get("text", ""), path, fields, owner, found["input"])


def about(field: FieldInfo, *, inner: bool = False) -> tuple[str, list[Any]]:
    """The rule of a field and examples; of the values in a list or a map, if they have a rule of their own."""
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
    import yaml  # only to word an error: it takes milliseconds of every run

    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return str(text).removesuffix("...\n").strip()


def models_of(field: FieldInfo) -> list[type[Model]]:
    """The models that a field holds: alone, optional, in a list, or one of several. None if it holds plain values."""
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
    """Whether something below a field is not repeated."""
    return any(
        not inner.repr or _has_hidden(inner) for kind in models_of(field) for inner in kind.model_fields.values()
    )


def _path(
    model: type[Model], location: Location
) -> tuple[Location, tuple[FieldInfo, ...], type[Model], list[type[Model]]]:
    """What of a location of Pydantic's the user has written; the rest is about types.

    And the fields on it, the model of the last one, and the models that may be below it.
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
    """The docstrings below the fields of a class and its bases, each on one line, read from the source."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if one.__module__.partition(".")[0] not in ("components", "settings"):
            continue
        (declared,) = ast.parse(inspect.getsource(one)).body
        for field, text in pairwise(getattr(declared, "body", ())):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                found[field.target.id] = " ".join(str(text.value.value).split())
    return found
