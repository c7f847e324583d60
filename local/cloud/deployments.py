"""API Gateway: a stage answers with the routes of its deployment, which is a snapshot, until it gets another one.

https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-deploy-api.html
"""

import copy
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import apigateway_v1

# In the record of a deployment, which MiniStack keeps with its state.
ROUTES = "routes"

_served: ContextVar[dict[str, Any] | None] = ContextVar("served", default=None)


def apply() -> None:
    """Replace the functions of MiniStack that read the current routes for each request."""
    apigateway_v1._create_deployment = _keeping(apigateway_v1._create_deployment)
    for name, at in (("_execute_in_scope", 1), ("method_authorization_type", 0)):
        setattr(apigateway_v1, name, _serving(getattr(apigateway_v1, name), at))
    for name in ("_match_resource_tree", "_match_greedy_fallback"):
        setattr(apigateway_v1, name, _matching(getattr(apigateway_v1, name)))


def _keeping(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def create_deployment(api: str, asked: dict[str, Any]) -> Any:
        before = set(apigateway_v1._deployments_v1.get(api, {}))
        answer = otherwise(api, asked)
        for name, deployment in apigateway_v1._deployments_v1.get(api, {}).items():
            if name not in before:
                deployment[ROUTES] = copy.deepcopy(apigateway_v1._resources.get(api, {}))
        return answer

    return create_deployment


def _serving(otherwise: Callable[..., Any], at: int) -> Callable[..., Any]:
    """A call for a stage: `at` is where the API's ID is among its arguments, and the stage's name is behind it."""

    def serve(*asked: Any) -> Any:
        api, stage = asked[at : at + 2]
        if owner := apigateway_v1.find_api_scope(api):
            with request_scope(*owner):
                deployment = apigateway_v1._stages_v1.get(api, {}).get(stage, {}).get("deploymentId")
                kept = apigateway_v1._deployments_v1.get(api, {}).get(deployment, {})
            _served.set(kept.get(ROUTES))
        return otherwise(*asked)

    return serve


def _matching(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def match(api: str, *rest: Any) -> Any:
        live = apigateway_v1._resources
        kept = _served.get()
        if kept is None:  # deployed before there were snapshots
            return otherwise(api, *rest)
        apigateway_v1._resources = {api: kept}
        try:
            return otherwise(api, *rest)
        finally:
            apigateway_v1._resources = live

    return match
