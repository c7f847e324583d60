"""Removes empty values from responses if AWS omits them, and adds those that AWS returns.

The official provider reads an empty structure as one that is set, and then plans a change in every preview.
https://docs.aws.amazon.com/apigateway/latest/api/API_GetStage.html
https://docs.aws.amazon.com/lambda/latest/api/API_GetFunctionConfiguration.html
"""

import json
from typing import Any

from local.cloud.asgi import App, Receive, Scope, Send, document, giving, read, rewriting, with_headers
from local.cloud.partition import INVOCATIONS

EMPTY: tuple[object, ...] = ("", {}, None)
NAMES = {
    "apigateway": {"accessLogSettings", "operationName", "quota", "throttle", "uri"},
    "lambda": {
        "Cors", "DeadLetterConfig", "Environment", "Handler", "KMSKeyArn", "LastUpdateStatusReason",
        "LastUpdateStatusReasonCode", "Runtime", "RuntimeVersionConfig", "StateReason", "StateReasonCode",
    },
}  # fmt: skip
# A function without variables, and an image without a runtime version.
HOLLOW: tuple[object, ...] = ({"Variables": {}}, {"RuntimeVersionArn": ""})
# Of an integration that calls nothing.
MOCK = ("connectionType", "httpMethod")


def omitting(service: str, inner: App) -> App:
    """The application with answers of a service as AWS gives them."""

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        if service == "apigateway" and (scope["method"], scope["path"].rstrip("/")) == ("POST", "/apikeys"):
            # The AWS provider sends an empty value where none is asked for.
            body = await read(receive)
            asked = document(body)
            if asked.get("value") == "":
                body = json.dumps({name: value for name, value in asked.items() if name != "value"}).encode()
                scope = with_headers(scope, content_length=str(len(body)).encode())
            receive = giving(body, receive)
        hides_keys = "/apikeys/" in scope["path"] and b"includeValue=true" not in scope["query_string"]
        names = NAMES[service] | ({"value"} if hides_keys and scope["method"] == "GET" else set())

        def rewrite(body: bytes) -> bytes:
            try:
                return json.dumps(_without(json.loads(body), names, {"value"} & names)).encode()
            except ValueError:
                return body

        await inner(scope, receive, send if INVOCATIONS.fullmatch(scope["path"]) else rewriting(send, rewrite))

    return answering


def _without(value: Any, names: set[str], hidden: set[str]) -> Any:
    if isinstance(value, list):
        return [_without(item, names, hidden) for item in value]
    if not isinstance(value, dict):
        return value
    mock = MOCK if value.get("type") == "MOCK" else ()
    return {
        name: _without(item, names, hidden)
        for name, item in value.items()
        if name not in hidden and name not in mock and not (name in names and (item in EMPTY or item in HOLLOW))
    }
