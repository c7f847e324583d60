"""Faults on request, so that tests can show how each failure of a deployment ends.

`POST /_local/faults` adds a fault (the JSON of a `Fault`), `DELETE` clears them, and each response lists the faults
with their counts, so that a test can assert that its fault happened. For example, a registry that is unavailable twice:

    curl -d '{"method": "PUT", "path": "/manifests/", "status": 503, "times": 2}' http://127.0.0.1:4566/_local/faults
"""

import asyncio
import json
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from local.cloud.asgi import App, Receive, Scope, Send, answer, header, read

CONTROL_PATH = "/_local/faults"


class Fault(BaseModel):
    """A fault for some requests: exactly one of `status`, `cut` and `hold`.

    Attributes:
        method, path, target: the requests: HTTP method, regular expressions found in the path and in the header
            `X-Amz-Target`, which names the action of some services. Default: all.
        skip, times: number of matching requests that pass first, and number of requests after them that fail.
        status, headers, body: the response; a body that is not a text is sent as JSON.
        cut: the connection is closed without a response.
        hold: the request waits until the faults are cleared, and then passes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    method: str | None = None
    path: re.Pattern[str] = re.compile("")
    target: re.Pattern[str] = re.compile("")
    skip: int = Field(default=0, ge=0)
    times: int = Field(default=1, ge=1)
    status: int | None = Field(default=None, ge=200, le=599)
    headers: dict[str, str] = {}
    body: str | dict[str, Any] = ""
    cut: bool = False
    hold: bool = False
    _matched: int = PrivateAttr(default=0)
    _cleared: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    @model_validator(mode="after")
    def _one_kind(self) -> "Fault":
        if [self.status is not None, self.cut, self.hold].count(True) != 1:
            raise ValueError("exactly one of status, cut and hold is required")
        return self

    def strikes(self, scope: Scope) -> bool:
        """Whether the fault applies to this request. Counts the request."""
        of_mine = self.method in (None, scope["method"]) and self.path.search(scope["path"])
        if not of_mine or not self.target.search(header(scope, "x-amz-target")):
            return False
        self._matched += 1
        return self.skip < self._matched <= self.skip + self.times

    def shown(self) -> dict[str, Any]:
        """The fault and its count."""
        struck = min(max(self._matched - self.skip, 0), self.times)
        return {**self.model_dump(mode="json", exclude_defaults=True), "struck": struck}


class Faults:
    """ASGI application around another one."""

    def __init__(self, inner: App) -> None:
        self._inner = inner
        self._faults: list[Fault] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a control call, apply a fault, or pass the request on."""
        if scope["type"] == "http" and scope["path"] == CONTROL_PATH:
            await self._control(scope["method"], receive, send)
            return
        fault = next((one for one in self._faults if one.strikes(scope)), None) if scope["type"] == "http" else None
        if fault and fault.status:
            await _answer(send, fault.status, fault.body, fault.headers)
        elif fault and fault.cut:
            # After an interim response without a final one, the server closes the connection.
            await send({"type": "http.response.start", "status": 100, "headers": []})
        else:
            if fault:
                await fault._cleared.wait()
            await self._inner(scope, receive, send)

    async def _control(self, method: str, receive: Receive, send: Send) -> None:
        if method == "POST":
            try:
                self._faults.append(Fault.model_validate_json(await read(receive)))
            except ValidationError as error:
                await answer(send, 400, {"error": str(error)})
                return
        faults = [fault.shown() for fault in self._faults]
        if method == "DELETE":
            for fault in self._faults:
                fault._cleared.set()
            self._faults.clear()
        await answer(send, 200, {"faults": faults})


async def _answer(send: Send, status: int, body: str | dict[str, Any], headers: dict[str, str]) -> None:
    payload = (body if isinstance(body, str) else json.dumps(body)).encode()
    named = {"content-type": "application/json", **headers, "content-length": str(len(payload))}
    fields = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": payload})
