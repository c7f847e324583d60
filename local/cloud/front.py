"""The thin layer in front of MiniStack: what it leaves out and this program lives on.

* ECR (`registry.py`): registries that Docker can push to and pull from, tokens, access across accounts.
* Lambda (`functions.py`): the checks of an image, and what becomes of an idle function.
* API Gateway: an unsigned call of an API finds it whatever account it belongs to, and calls a function only with
  that function's permission.
* `POST /_local/…`: what takes weeks or a day on AWS, at once.
"""

import re

from ministack.app import _is_ecr_registry_path
from ministack.app import app as ministack
from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import apigateway_v1

from local.cloud.access import Tokens
from local.cloud.asgi import Receive, Scope, Send, answer, header
from local.cloud.functions import FUNCTION_URL, Functions
from local.cloud.registry import Registry

EXECUTE_API_PATH = re.compile(r"/(?:_aws/execute-api/(\w+)/.*|restapis/(\w+)/[^/]+/_user_request_/.*)")
EXECUTE_API_HOST = re.compile(r"(\w+)\.execute-api\.")
AGE_PATH = re.compile(r"/_local/functions/(\d{12})/([\w-]+)/age")


class Front:
    """ASGI application around MiniStack's.

    Args:
        port: the loopback port it is served on; part of every registry name.
        token_seconds: how long a registry token is good for; on AWS twelve hours.
    """

    def __init__(self, port: int, token_seconds: float = 12 * 3600) -> None:
        tokens = Tokens(token_seconds)
        self._registry = Registry(f"localhost:{port}", tokens)
        self._functions = Functions(f"localhost:{port}", f"127.0.0.1:{port}", tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, most of them by MiniStack alone."""
        if scope["type"] != "http":
            await ministack(scope, receive, send)
            return
        path, host = scope["path"], header(scope, "host")
        if _is_ecr_registry_path(path):
            await self._registry.v2(scope, receive, send)
        elif header(scope, "x-amz-target").startswith("AmazonEC2ContainerRegistry"):
            await self._registry.api(scope, receive, send)
        elif path.startswith("/2015-03-31/functions"):
            await self._functions.api(scope, receive, send)
        elif match := (FUNCTION_URL.match(host) or FUNCTION_URL.match(path)):
            await self._functions.url(match["host"] or match["path"], scope, receive, send)
        elif path.startswith("/_local/") and scope["method"] == "POST":
            await self._local(path, send)
        else:
            if api := _called_api(path, host):
                _select_owner(api)
            await ministack(scope, receive, send)

    async def _local(self, path: str, send: Send) -> None:
        """Calls of the local cloud itself."""
        if match := AGE_PATH.fullmatch(path):
            aged = await self._functions.age(match[1], match[2])
            status = 200 if aged else 404
            await answer(send, status, {"functions": aged, "state": "Inactive"})
        else:
            await answer(send, 404, {"message": f"{path} is not a call of the local cloud."})


def _called_api(path: str, host: str) -> str | None:
    match = EXECUTE_API_PATH.fullmatch(path) or EXECUTE_API_HOST.match(host)
    return next((group for group in match.groups() if group), None) if match else None


def _select_owner(api: str) -> None:
    """Make the API's owner the account and region of this request."""
    for (account, region, api_id), _ in apigateway_v1._rest_apis.all_items():
        if api_id == api:
            set_request_account_id(account)
            set_request_region(region)
