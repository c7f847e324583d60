"""Answers of API Gateway and Lambda leave out what is empty, as AWS does: an official provider takes it for set."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from local.cloud.asgi import Receive, Scope, Send, answer, document, giving, read
from local.cloud.omissions import omitting

Document = dict[str, Any]


def answered(
    service: str, method: str, path: str, told: Any, body: bytes = b"", query: bytes = b""
) -> tuple[Any, Document]:
    """What the caller gets of an answer, and what MiniStack got of the call."""
    got: list[Document] = []
    given: list[bytes] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        got.append(document(await read(receive)))
        await answer(send, 200, told)

    async def send(message: MutableMapping[str, Any]) -> None:
        given.append(message.get("body", b""))

    async def never() -> MutableMapping[str, Any]:
        raise AssertionError

    scope = {"method": method, "path": path, "query_string": query, "headers": []}
    asyncio.run(omitting(service, inner)(scope, giving(body, never), send))
    return json.loads(b"".join(given)), got[0]


@pytest.mark.parametrize(
    ("service", "told", "expected"),
    [
        ("apigateway", {"accessLogSettings": {}, "methodSettings": {}}, {"methodSettings": {}}),
        ("apigateway", {"items": [{"id": "p", "throttle": {}, "quota": {}}]}, {"items": [{"id": "p"}]}),
        ("apigateway", {"id": "p", "throttle": {"rateLimit": 0.0}}, {"id": "p", "throttle": {"rateLimit": 0.0}}),
        ("apigateway", {"type": "MOCK", "httpMethod": "POST", "uri": ""}, {"type": "MOCK"}),
        ("apigateway", {"type": "AWS_PROXY", "httpMethod": "POST"}, {"type": "AWS_PROXY", "httpMethod": "POST"}),
        ("lambda", {"Environment": {"Variables": {}}, "DeadLetterConfig": {}, "Timeout": 3}, {"Timeout": 3}),
        ("lambda", {"FunctionUrl": "u", "Cors": {}}, {"FunctionUrl": "u"}),
        ("lambda", {"Environment": {"Variables": {"A": ""}}}, {"Environment": {"Variables": {"A": ""}}}),
    ],
)  # fmt: skip
def test_what_is_empty_is_left_out(service: str, told: Document, expected: Document) -> None:
    assert answered(service, "GET", "/restapis/a", told)[0] == expected


def test_what_a_function_answers_is_its_own() -> None:
    told = {"Environment": {}}
    assert answered("lambda", "POST", "/2015-03-31/functions/f/invocations", told)[0] == told


def test_a_keys_value_is_told_to_who_asks_for_it() -> None:
    """https://docs.aws.amazon.com/apigateway/latest/api/API_GetApiKey.html."""
    key = {"id": "k", "value": "secret"}
    assert answered("apigateway", "GET", "/apikeys/k", key)[0] == {"id": "k"}
    assert answered("apigateway", "GET", "/apikeys/k", key, query=b"includeValue=true")[0] == key


def test_an_empty_value_of_a_key_is_none() -> None:
    """As the AWS provider sends it: https://docs.aws.amazon.com/apigateway/latest/api/API_CreateApiKey.html."""
    asked = b'{"name": "k", "value": ""}'
    assert answered("apigateway", "POST", "/apikeys", {"value": "made"}, asked) == ({"value": "made"}, {"name": "k"})
