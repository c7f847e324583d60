"""Validates the input of a call against AWS's model of the service.

The emulator does not validate inputs. AWS does, before anything else. The models are those of the SDK for Python.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs

import botocore.session
from botocore.model import OperationModel, ServiceModel, Shape

from local.cloud.asgi import Scope, header

# Services by their names in the SDK, and the error code for an input outside of a limit.
CODES = {
    "apigateway": "BadRequestException",
    "apigatewayv2": "BadRequestException",
    "ecr": "InvalidParameterException",
    "events": "ValidationException",
    "iam": "ValidationError",
    "lambda": "ValidationException",
    "logs": "InvalidParameterException",
    "organizations": "InvalidInputException",
    "scheduler": "ValidationException",
    "sns": "ValidationError",
    "sqs": "InvalidParameterValue",
    "sts": "ValidationError",
}
UNREADABLE = "SerializationException"
KINDS: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float, str),
}
NUMBERS = ("integer", "long", "float", "double")
Problem = tuple[str, str]


def problem(service: str, scope: Scope, body: bytes) -> Problem | None:
    """Error code and text for an invalid input, or None."""
    if service == "apigateway" and scope["path"].startswith("/v2/"):
        service = "apigatewayv2"  # signed for the same name
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    form = service in CODES and _model(service).protocol == "query"
    if form:
        query |= parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    operation = _operation(service, scope, query) if service in CODES else None
    shape = operation.input_shape if operation else None
    if shape is None:
        return None
    found = next(_numbers(shape, query, form), None)
    if not form and found is None and "payload" not in shape.serialization:
        try:
            data = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            return UNREADABLE, "The body is not JSON."
        found = next(_body(shape, data), None)
    return (CODES[service] if found[0] == "" else found[0], found[1]) if found else None


@cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


@cache
def _paths(service: str) -> list[tuple[str, re.Pattern[str], OperationModel]]:
    """The method and path of each operation."""
    model, found = _model(service), []
    for name in model.operation_names:
        operation = model.operation_model(name)
        path = re.escape(operation.http["requestUri"].partition("?")[0].rstrip("/"))
        pattern = re.sub(r"\\{\w+(\\\+)?\\}", lambda part: ".+" if part[1] else "[^/]+", path)
        found.append((operation.http["method"], re.compile(f"{pattern}/?"), operation))
    return found


def _operation(service: str, scope: Scope, query: Mapping[str, list[str]]) -> OperationModel | None:
    if target := header(scope, "x-amz-target").rpartition(".")[2] or query.get("Action", [""])[0]:
        return _model(service).operation_model(target) if target in _model(service).operation_names else None
    return next(
        (
            operation
            for method, path, operation in _paths(service)
            if method == scope["method"] and path.fullmatch(scope["path"])
        ),
        None,
    )


def _numbers(shape: Shape, query: Mapping[str, list[str]], form: bool) -> Iterator[Problem]:
    """The problem with the numbers of a query or a form."""
    for name, member in shape.members.items():
        asked = form or member.serialization.get("location") == "querystring"
        if asked and member.type_name in NUMBERS[:2]:
            for value in query.get(member.serialization.get("name", name), []):
                if not re.fullmatch(r"-?\d{1,9}", value):
                    yield UNREADABLE, f"{value!r} at {name!r} is not a number."
                else:
                    yield from _check(int(value), member, name)


def _body(shape: Shape, data: Any) -> Iterator[Problem]:
    """The problem with a body. Unknown members are ignored, as on AWS."""
    if not isinstance(data, dict):
        yield UNREADABLE, "The body is not an object."
        return
    yield from _members({name: one for name, one in shape.members.items() if "location" not in one.serialization},
                        shape.required_members, data, "")  # fmt: skip


def _members(members: Mapping[str, Shape], required: list[str], data: Any, at: str) -> Iterator[Problem]:
    for name, member in members.items():
        wire, path = member.serialization.get("name", name), f"{at}{name}"
        value = data.get(wire)
        if value is not None:
            yield from _check(value, member, path)
        elif name in required:
            yield "", f"Invalid parameter at {path!r}: it must not be null."


def _check(value: Any, shape: Shape, at: str) -> Iterator[Problem]:
    kind = shape.type_name
    if type(value) not in KINDS[kind]:
        yield UNREADABLE, f"The value at {at!r} cannot be converted to a {kind}."
        return
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    # The SDK does not limit maps either; no tags are an empty map.
    limited = value if kind in NUMBERS else len(value) if kind in ("string", "list", "blob") else None
    if limited is not None and not (least or limited) <= limited <= (most or limited):
        yield "", f"Invalid parameter at {at!r}: it must be from {least} to {most}, and is {limited}."
    elif kind == "string" and (pattern := shape.metadata.get("pattern")) and not _matches(pattern, value):
        yield "", f"Invalid parameter at {at!r}: it must satisfy the regular expression {pattern}."
    elif kind == "structure":
        yield from _members(shape.members, shape.required_members, value, f"{at}.")
    elif kind == "list":
        for index, item in enumerate(value):
            yield from _check(item, shape.member, f"{at}.{index}")
    elif kind == "map":
        for name, item in value.items():
            yield from _check(item, shape.value, f"{at}.{name}")


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:  # a Java expression with constructs that Python does not support
        return True
