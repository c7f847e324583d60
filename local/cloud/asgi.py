"""ASGI helpers for the layer in front of MiniStack."""

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]


def header(scope: Scope, name: str) -> str:
    """The first value of a request header, or an empty text."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name.encode()), "")


def with_headers(scope: Scope, **changed: bytes | None) -> Scope:
    """The request with changed headers; None removes a header. `_` in a name means `-`."""
    names = {name.replace("_", "-").encode(): value for name, value in changed.items()}
    kept = [(name, value) for name, value in scope["headers"] if name.lower() not in names]
    return {**scope, "headers": [*kept, *((name, value) for name, value in names.items() if value is not None)]}


async def read(receive: Receive) -> bytes:
    """The complete body of a request."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def document(body: bytes) -> dict[str, Any]:
    """A JSON body; empty if it is not an object."""
    try:
        data = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def giving(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns this body first, and then continues with the original one."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def inner() -> MutableMapping[str, Any]:
        return pending.pop() if pending else await receive()

    return inner


async def answer(send: Send, status: int, body: object, headers: Headers = ()) -> None:
    """Answer with JSON."""
    payload = json.dumps(body).encode()
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": payload})


def rewriting(send: Send, rewrite: Callable[[bytes], bytes]) -> Send:
    """A `send` that rewrites the complete body and sends it with its new length."""
    started: list[MutableMapping[str, Any]] = []
    parts: list[bytes] = []

    async def inner(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            started.append(message)
            return
        parts.append(message.get("body", b""))
        if message.get("more_body"):
            return
        body = rewrite(b"".join(parts))
        headers = [(name, value) for name, value in started[0]["headers"] if name.lower() != b"content-length"]
        await send({**started[0], "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    return inner
