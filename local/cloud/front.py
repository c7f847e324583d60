"""The thin layer in front of MiniStack, with features that this program needs and MiniStack does not have.

* ECR (`registry.py`): registries that Docker can push to and pull from, tokens, access across accounts.
* Lambda (`functions.py`): checks of images, and idle functions.
* STS (`sessions.py`): checks of assumed roles.
* API Gateway (`gateway.py`): APIs of all accounts, and the function's permission for the API.
* Events that take days or weeks on AWS: `POST /_local/functions/ACCOUNT/NAME/age` makes a function idle,
  `POST /_local/repositories/ACCOUNT/REGION/NAME/lifecycle?days=N` applies the lifecycle policy as of N days from now,
  `POST /_local/sessions/KEY/expire` ends a role's session.
"""

import dataclasses
import re
import time
from urllib.parse import parse_qsl

from ministack.app import app as ministack

from local.cloud import gateway, partition, sessions
from local.cloud.access import Tokens
from local.cloud.asgi import App, Receive, Scope, Send, answer, header
from local.cloud.functions import Functions
from local.cloud.guard import REGISTRY_PATH
from local.cloud.omissions import omitting
from local.cloud.registry import Registry, Repository

FUNCTION_URL = re.compile(r"(?:(?P<host>\w+)\.lambda-url\.|/_aws/lambda-url/(?P<path>\w+)(?:/|$))")
AGE_PATH = re.compile(r"/_local/functions/(\d{12})/([\w-]+)/age")
LIFECYCLE_PATH = re.compile(r"/_local/repositories/(\d{12})/([a-z0-9-]+)/([a-z0-9._/-]+)/lifecycle")
SESSION_PATH = re.compile(r"/_local/sessions/(\w+)/expire")
SECONDS_A_DAY = 24 * 3600


class Front:
    """ASGI application around MiniStack.

    Args:
        port: the loopback port, which is part of every registry name.
        token_seconds: lifetime of a registry token; on AWS twelve hours.
        gate_image: an image with Python, for the gates of functions.
    """

    def __init__(self, port: int, token_seconds: float = 12 * 3600, gate_image: str = "") -> None:
        tokens = Tokens(token_seconds)
        self._registry = Registry(f"localhost:{port}", tokens)
        self._functions = Functions(f"localhost:{port}", f"127.0.0.1:{port}", tokens, gate_image)
        self._services: dict[str, App] = {
            "apigateway": omitting("apigateway", ministack), "ecr": self._registry.api,
            "lambda": omitting("lambda", self._functions.api), "sts": sessions.api,
        }  # fmt: skip
        gateway.guard(self._functions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await ministack(scope, receive, send)
            return
        path, host, service = scope["path"], header(scope, "host"), scope.get("service")
        if service is not None:
            await partition.translate(self._services.get(service, ministack), scope, receive, send)
        elif REGISTRY_PATH.fullmatch(path):
            await self._registry.v2(scope, receive, send)
        elif match := (FUNCTION_URL.match(host) or FUNCTION_URL.match(path)):
            await self._functions.url(match["host"] or match["path"], scope, receive, send)
        elif path.startswith("/_local/") and scope["method"] == "POST":
            await self._local(scope, send)
        else:
            if api := gateway.called_api(path, host):
                gateway.select_owner(api)
            await ministack(scope, receive, send)

    async def _local(self, scope: Scope, send: Send) -> None:
        """Handle a call of the local cloud's own API."""
        path, query = scope["path"], dict(parse_qsl(scope["query_string"].decode()))
        if match := AGE_PATH.fullmatch(path):
            aged = await self._functions.age(match[1], match[2])
            await answer(send, 200 if aged else 404, {"functions": aged, "state": "Inactive"})
        elif match := SESSION_PATH.fullmatch(path):
            await answer(send, 200 if sessions.expire(match[1]) else 404, {"key": match[1]})
        elif match := LIFECYCLE_PATH.fullmatch(path):
            now = time.time() + float(query.get("days", 0)) * SECONDS_A_DAY
            expired = self._registry.expire(Repository(*match.groups()), now)
            images = [dataclasses.asdict(image) for image in expired or []]
            await answer(send, 404 if expired is None else 200, {"expired": images})
        else:
            await answer(send, 404, {"message": f"{path} is not a call of the local cloud."})
