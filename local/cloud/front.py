"""The thin layer in front of MiniStack: what it leaves out and this program lives on.

* Every account's registry has a name that Docker can push to and pull from on loopback:
  `localhost:PORT/ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY`. ECR's answers carry it as `repositoryUri`.
* A tag of an immutable repository is refused as ECR refuses it, even with the digest that it already names.
* Lambda pulls through the registry: images are handed on under a second name of the same registry, which is not
  in Docker's image cache just because the image was built here.
* An unsigned call of an API finds it whatever account it belongs to.
"""

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ministack.app import app as ministack
from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import apigateway_v1, ecr

from local.cloud.corrections import refused_function

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

REGISTRY_HOST = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com")
REGISTRY_PATH = re.compile(r"/v2/(?P<host>\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com)/(?P<rest>.+)")
MANIFEST_PATH = re.compile(r"(?P<repository>.+)/manifests/(?P<reference>[^/]+)")
EXECUTE_API_PATH = re.compile(r"/(?:_aws/execute-api/(\w+)/.*|restapis/(\w+)/[^/]+/_user_request_/.*)")
EXECUTE_API_HOST = re.compile(r"(\w+)\.execute-api\.")


class Front:
    """ASGI application around MiniStack's.

    Args:
        port: the loopback port it is served on; part of every registry name.
    """

    def __init__(self, port: int) -> None:
        # What users and stacks see, and what the Lambda service pulls by: two names of the same registry.
        self.registry = f"localhost:{port}"
        self.lambda_registry = f"127.0.0.1:{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, most of them by MiniStack alone."""
        if scope["type"] != "http":
            await ministack(scope, receive, send)
            return
        path, headers = scope["path"], dict(scope["headers"])
        target = headers.get(b"x-amz-target", b"").decode()
        if path.startswith("/v2/") and (match := REGISTRY_PATH.fullmatch(path)):
            await self._registry(match["host"], match["rest"], scope, receive, send)
        elif api := _called_api(path, headers.get(b"host", b"").decode()):
            _select_owner(api)
            await ministack(scope, receive, send)
        elif target.startswith("AmazonEC2ContainerRegistry"):
            await ministack(scope, receive, _rewriting(send, self._localise))
        elif path.startswith("/2015-03-31/functions"):
            await self._lambda(scope, receive, send)
        else:
            await ministack(scope, receive, send)

    async def _registry(self, host: str, rest: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Registry v2 calls of one account: the account's host name moves from the path to the Host header."""
        if scope["method"] == "PUT" and (refusal := _immutable_tag(host, rest)):
            await _answer(send, 400, {"errors": [{"code": "TAG_INVALID", "message": refusal}]})
            return
        query = [
            (key, value.removeprefix(f"{host}/") if key == "from" else value)
            for key, value in parse_qsl(scope["query_string"].decode())
        ]
        path = f"/v2/{rest}"
        headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
        inner = {
            **scope,
            "path": path,
            "raw_path": path.encode(),
            "query_string": urlencode(query).encode(),
            "headers": [*headers, (b"host", host.encode())],
        }
        await ministack(inner, receive, _rewriting_location(send, host))

    async def _lambda(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lambda calls: the image is handed to MiniStack under the name that the Lambda service pulls by."""
        ours, theirs = f'"{self.registry}/'.encode(), f'"{self.lambda_registry}/'.encode()
        body = (await _body(receive)).replace(ours, theirs)
        texts = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        if refusal := refused_function(texts, scope["method"], scope["path"], body):
            await _answer(send, 403, {"Type": "User", "Message": refusal}, error="AccessDeniedException")
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        inner = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        await ministack(inner, _receiving(body, receive), _rewriting(send, lambda text: text.replace(theirs, ours)))

    def _localise(self, body: bytes) -> bytes:
        """Give registry names in an ECR answer the loopback address in front."""
        text = REGISTRY_HOST.sub(lambda match: f"{self.registry}/{match[0]}", body.decode())
        return text.replace(f"https://{self.registry}/", f"http://{self.registry}/").encode()


def _called_api(path: str, host: str) -> str | None:
    match = EXECUTE_API_PATH.fullmatch(path) or EXECUTE_API_HOST.match(host)
    return next((group for group in match.groups() if group), None) if match else None


def _select_owner(api: str) -> None:
    """Make the API's owner the account and region of this request."""
    for (account, region, api_id), _ in apigateway_v1._rest_apis.all_items():
        if api_id == api:
            set_request_account_id(account)
            set_request_region(region)


def _immutable_tag(host: str, rest: str) -> str | None:
    """ECR's refusal of a manifest PUT under a tag that exists already, or None.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
    """
    match = MANIFEST_PATH.fullmatch(rest)
    owner = REGISTRY_HOST.fullmatch(host)
    if match is None or owner is None or match["reference"].startswith("sha256:"):
        return None
    name, tag = match["repository"], match["reference"]
    repository = ecr._repositories.get_scoped(owner[1], owner[2], name)
    if repository is None or repository["imageTagMutability"] != "IMMUTABLE":
        return None
    images = ecr._images.get_scoped(owner[1], owner[2], name) or []
    if any(tag in image.get("imageTags", []) for image in images):
        return (
            f"The image tag '{tag}' already exists in the '{name}' repository "
            "and cannot be overwritten because the tag is immutable."
        )
    return None


async def _answer(send: Send, status: int, body: object, *, error: str = "") -> None:
    payload = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
    if error:
        headers.append((b"x-amzn-errortype", error.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _receiving(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives this body first and then goes on as before."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def inner() -> MutableMapping[str, Any]:
        return pending.pop() if pending else await receive()

    return inner


def _rewriting(send: Send, rewrite: Callable[[bytes], bytes]) -> Send:
    """A `send` that collects the body, rewrites it and sends it with its new length."""
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


def _rewriting_location(send: Send, host: str) -> Send:
    """A `send` that puts the registry's host back into the paths that Docker is told to go on with."""

    async def inner(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                (name, value.replace(b"/v2/", f"/v2/{host}/".encode(), 1) if name.lower() == b"location" else value)
                for name, value in message["headers"]
            ]
        await send(message)

    return inner
