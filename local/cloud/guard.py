"""Restricts access to the local cloud. Other requests are refused before their bodies are read.

Every web page in a browser and every user of the machine can connect to loopback. So a request must not come from a web
page, must name a host of the local cloud, and must prove that it knows a secret of this run: with a signature, a
registry token, or the bearer token of the local cloud's own API. Only endpoints of functions are public, as on AWS.

The emulator has many more services and paths than this program uses, and some of them run code on this machine. Only
`SERVICES` are available.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from ministack import app
from ministack.core import iam_evaluator as iam
from ministack.core.router import detect_service

from local.cloud import access, domains, inputs, partition, sessions
from local.cloud.asgi import App, Receive, Scope, Send, answer, giving, header, read

HEALTH = "/_local/health"

# Hosts of endpoints. Browsers may call them from any page.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-call-api.html
# https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
PUBLIC_HOST = re.compile(
    r"(?P<id>\w+)\.(?P<kind>execute-api|lambda-url)\.[a-z0-9-]+\."
    rf"({partition.SUFFIXES}|on\.aws)(:\d+)?"
)
PUBLIC_PATH = re.compile(r"/(_aws/(execute-api|lambda-url)/\w+|restapis/\w+/[^/]+/_user_request_)/.*", re.DOTALL)
REGISTRY_PATH = re.compile(r"/v2(/.*)?", re.DOTALL)
# The emulator decodes a path twice and skips empty segments. No call of AWS needs this.
AMBIGUOUS_PATH = re.compile(r"%|//|/\.\.?(/|$)|[\x00-\x1f\x7f]")
SCOPE = re.compile(r"[^/,\s]+/\d{8}/[a-z0-9-]+/(?P<service>[a-z0-9-]+)/aws4_request")
# Headers that affect authorization. If one appeared twice, the emulator and this layer could use different values.
SINGLE = {b"host", b"authorization", b"content-type", b"content-encoding", b"origin", b"x-amz-target", b"x-amz-date"}

# The limits are 10 MB for API Gateway, 6 MB for Lambda and 10 GB for images.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
CALL_BYTES = 10 * 1024**2
URL_BYTES = 6 * 1024**2
# Without another part, of a body that is refused.
DRAIN_SECONDS = 1
# A token has at most 20,000 characters.
# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
TOKEN_BYTES = 64 * 1024
LAYER_BYTES = 10 * 1024**3


@dataclass(frozen=True)
class Service:
    """A service of the emulator that this program uses.

    Attributes:
        path: its paths.
        target: prefix of `X-Amz-Target`; empty if the path or the body names the action.
        actions: those that are served, by target or form fields; default: all.
    """

    path: re.Pattern[str] = field(default=re.compile("/"))
    target: str = ""
    actions: frozenset[str] | None = None


CLOUDWATCH = "GraniteServiceVersion20100801"
SNS = frozenset({
    "CreateTopic", "DeleteTopic", "GetSubscriptionAttributes", "GetTopicAttributes", "ListTagsForResource", "Publish",
    "SetSubscriptionAttributes", "SetTopicAttributes", "Subscribe", "TagResource", "Unsubscribe",
})  # fmt: skip
# For others the emulator would call any address, and so it would for connections and destinations of EventBridge.
SUBSCRIBERS = {"lambda", "sqs"}
EVENTS = frozenset({
    "CreateEventBus", "DeleteEventBus", "DeleteRule", "DescribeEventBus", "DescribeRule", "ListTagsForResource",
    "ListTargetsByRule", "PutEvents", "PutRule", "PutTargets", "RemoveTargets",
})  # fmt: skip

# The services by their names in signatures.
SERVICES = {
    "apigateway": Service(
        re.compile(r"/(restapis|apikeys|usageplans|account|domainnames|tags|v2/(apis|domainnames))(/[^/]+)*/?")
    ),
    "events": Service(target="AWSEvents.", actions=EVENTS),
    "ecr": Service(target="AmazonEC2ContainerRegistry_V20150921."),
    "iam": Service(),
    "lambda": Service(re.compile(r"/\d{4}-\d\d-\d\d/(functions|tags|event-source-mappings)(/[^/]+)*/?")),
    "logs": Service(target="Logs_20140328."),
    "monitoring": Service(re.compile(rf"/|/service/{CLOUDWATCH}/operation/\w+"), target=f"{CLOUDWATCH}."),
    "organizations": Service(target="AWSOrganizationsV20161128."),
    "scheduler": Service(re.compile(r"/schedules(/[^/]+)*/?")),
    "sns": Service(actions=SNS),
    "sqs": Service(target="AmazonSQS."),
    "sts": Service(),
}  # fmt: skip


class Refused(Exception):
    """Raised to refuse a request, with HTTP status, error code and text."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def _denied(message: str) -> Refused:
    return Refused(403, "AccessDeniedException", message)


def _unknown(what: str) -> Refused:
    return Refused(404, "UnknownOperationException", f"The local cloud does not have {what}.")


class Guard:
    """ASGI application in front of all others.

    Args:
        inner: handles allowed requests. The scope of an API call has its `service`, `caller` and, unless its path says
            it, its `action`.
        port: the loopback port it is served on.
        secret: the bearer token of the local cloud's own API.
    """

    def __init__(self, inner: App, port: int, secret: str) -> None:
        self._inner = inner
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        self._bearer = f"Bearer {secret}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # closed before it is accepted: 403
        else:
            try:
                await self._admit(scope, receive, send)
            except Refused as refused:
                fault = {"__type": refused.code, "message": str(refused)}
                await answer(send, refused.status, fault, [(b"x-amzn-errortype", refused.code.encode())])

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = [name.lower() for name, _ in scope["headers"]]
        if any(names.count(name) > 1 for name in SINGLE):
            raise _denied("A header appears twice.")
        if not scope["query_string"].isascii():
            raise Refused(400, "ValidationException", "A query may contain only ASCII characters.")
        path, host, domain = scope["path"], header(scope, "host").lower(), None
        if endpoint := PUBLIC_HOST.fullmatch(host):
            path = f"/_aws/{endpoint['kind']}/{endpoint['id']}{path}"
        elif domain := domains.mapped(host, path):
            path = domain
        if endpoint or domain or (host in self._hosts and PUBLIC_PATH.fullmatch(path)):
            if not (app._parse_execute_api_url(host, path) or app._parse_lambda_url(host, path)):
                raise _denied("Missing Authentication Token")  # the emulator would handle it as another call
            await self._endpoint({**scope, "path": path}, receive, send)
            return
        if host not in self._hosts:
            raise _denied(f"The local cloud does not serve the host {host!r}.")
        if self._is_foreign(scope):
            raise _denied("The local cloud refuses calls from web pages.")
        send = _without_cors(send)
        if path.startswith("/_local/"):
            await self._control(scope, receive, send)
        elif REGISTRY_PATH.fullmatch(path) and "/apigateway/aws4_request" not in header(scope, "authorization"):
            await self._inner(scope, _bounded(scope, receive, LAYER_BYTES), send)
        else:
            await self._api(scope, receive, send)

    async def _endpoint(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A call of a function's endpoint, which it gets as a whole."""
        limit = CALL_BYTES if "/lambda-url/" not in scope["path"] else URL_BYTES
        try:
            body = await read(_bounded(scope, receive, limit))
        except Refused as refused:
            # Most clients read no answer while they send.
            with contextlib.suppress(TimeoutError):
                while (await asyncio.wait_for(receive(), DRAIN_SECONDS)).get("more_body"):
                    pass
            await answer(send, refused.status, {"message": "Request Too Long"})
            return
        await self._inner(scope, giving(body, receive), send)

    def _is_foreign(self, scope: Scope) -> bool:
        """Whether the request comes from a web page of another origin."""
        origins = {f"http://{host}" for host in self._hosts}
        origin, referer = header(scope, "origin"), header(scope, "referer")
        foreign = (origin and origin not in origins) or (referer and "/".join(referer.split("/")[:3]) not in origins)
        return bool(foreign) or header(scope, "sec-fetch-site") not in ("", "none", "same-origin")

    async def _control(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Calls of the local cloud itself."""
        if not secrets.compare_digest(header(scope, "authorization").encode(), self._bearer.encode()):
            raise _denied("The local cloud's own API needs the bearer token in .local/run/secret.")
        if scope["path"] == HEALTH:
            await answer(send, 200, {"status": "running"})
        else:
            await self._inner(scope, _bounded(scope, receive, CALL_BYTES), send)

    async def _api(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a call of an AWS API: its service, and its signature."""
        if await self._web_identity(scope, receive, send):
            return
        name = _signed_for(scope)
        service = SERVICES.get(name)
        target = header(scope, "x-amz-target")
        if service is None or AMBIGUOUS_PATH.search(scope["path"]) or not service.path.fullmatch(scope["path"]):
            raise _unknown(f"{scope['method']} {scope['path']} of {name}")
        if target and not (service.target and target.startswith(service.target)):
            raise _unknown(f"{target} of {name}")
        if header(scope, "content-encoding").lower() not in ("", "identity"):
            raise _denied("The local cloud does not support compressed requests.")
        body = await read(_bounded(scope, receive, CALL_BYTES))
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        fields = {**_form(scope, body), **query}
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if detect_service(scope["method"], scope["path"], headers, fields) != name:
            raise _unknown(f"this call of {name}")
        action = target.removeprefix(service.target) if target else ", ".join(fields.get("Action", []))
        if service.actions is not None and action not in service.actions:
            raise _unknown(f"{action} of {name}")
        if action == "Subscribe" and fields.get("Protocol") not in [[kind] for kind in SUBSCRIBERS]:
            raise _unknown(f"subscriptions of {', '.join(fields.get('Protocol', []))}")
        caller = access.signer(scope, body)
        if isinstance(caller, iam.AuthError):
            await _fail(send, name, headers, caller)
        elif found := inputs.problem(name, scope, body):
            await _fail(send, name, headers, iam.AuthError(*found), 400)
        else:
            await self._inner(
                {**scope, "service": name, "caller": caller, "action": action}, giving(body, receive), send
            )

    async def _web_identity(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Handle the only unsigned call, which has a token instead. Returns whether it was this call."""
        is_form = header(scope, "content-type").startswith("application/x-www-form-urlencoded")
        if header(scope, "authorization") or scope["path"] != "/" or scope["query_string"] or not is_form:
            return False
        body = await read(_bounded(scope, receive, TOKEN_BYTES))
        if sessions.form(body).get("Action") != sessions.WEB_IDENTITY:
            return False
        if found := inputs.problem("sts", scope, body):
            await _fail(send, "sts", {}, iam.AuthError(*found), 400)
        else:
            await self._inner({**scope, "service": "sts", "caller": None}, giving(body, receive), send)
        return True


async def _fail(send: Send, service: str, headers: dict[str, str], error: iam.AuthError, status: int = 0) -> None:
    """Send an error in the service's protocol."""
    usual, named, body = app._credential_failure(service, "", secrets.token_hex(16), error, headers)
    raw = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status or usual, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _signed_for(scope: Scope) -> str:
    """The service in a request's signature, in its header or its query."""
    authorization = header(scope, "authorization")
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    presigned = [name for name in query if name.lower() in ("x-amz-credential", "awsaccesskeyid")]
    if not authorization and not presigned:
        raise Refused(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    if authorization.startswith("AWS4-HMAC-SHA256 ") and not presigned:
        _, _, credential = authorization.partition("Credential=")
    elif not authorization and presigned == ["X-Amz-Credential"]:
        credential = query["X-Amz-Credential"][0] + ","
    else:
        raise Refused(403, "IncompleteSignatureException", "Exactly one signature version 4 is required.")
    match = SCOPE.match(credential)
    if match is None or len(query.get("X-Amz-Credential", [])) > 1:
        raise Refused(
            403, "IncompleteSignatureException", "The credential is not KEY/DATE/REGION/SERVICE/aws4_request."
        )
    return match["service"]


def _form(scope: Scope, body: bytes) -> dict[str, list[str]]:
    """The fields of a form."""
    if not header(scope, "content-type").startswith("application/x-www-form-urlencoded"):
        return {}
    return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)


def _bounded(scope: Scope, receive: Receive, limit: int) -> Receive:
    """A `receive` with a limit in bytes."""
    length = header(scope, "content-length")
    if length and not (length.isdigit() and int(length) <= limit):
        raise Refused(413, "RequestEntityTooLargeException", f"The body is limited to {limit} bytes.")
    received = 0

    async def inner() -> MutableMapping[str, Any]:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise Refused(413, "RequestEntityTooLargeException", f"A body has {limit} bytes at most here.")
        return message

    return inner


def _without_cors(send: Send) -> Send:
    """A `send` without the emulator's headers that allow every web page to read the response."""

    async def inner(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value) for name, value in message["headers"] if not name.lower().startswith(b"access-control-")
            ]
            message = {**message, "headers": kept}
        await send(message)

    return inner
