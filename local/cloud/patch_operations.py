"""API Gateway's patch operations as on AWS: typed values, names as JSON pointers, stages as a list, logs with a role.

MiniStack has no patches of method responses.
https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html
"""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from ministack.services import apigateway_v1

Document = dict[str, Any]
TYPES: dict[str, Callable[[str], Any]] = {
    "minimumCompressionSize": int,
    "timeoutInMillis": int,
    "apiKeyRequired": lambda text: text.lower() == "true",
}
# Their values are in the path.
LISTS = ("binaryMediaTypes",)
# https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
NO_ROLE = "CloudWatch Logs role ARN must be set in account settings to enable logging"
# Of methods and their responses they are booleans; of integrations and gateway responses, which name others, texts.
# https://docs.aws.amazon.com/apigateway/latest/api/API_UpdateMethod.html
PARAMETERS = ("requestParameters", "responseParameters")
RESPONSE = re.compile(r"/restapis/(\w+)/resources/(\w+)/methods/(\w+)/responses/(\d{3})/?")
# `-1` removes the limit of a method.
UNLIMITED = -1


def apply() -> None:
    """Patch MiniStack. It looks these names up for each request."""
    apigateway_v1._apply_patch = _applying(apigateway_v1._apply_patch)
    apigateway_v1._method_throttle_settings = _limiting(apigateway_v1._method_throttle_settings)
    apigateway_v1._update_stage = _requiring_role(apigateway_v1._update_stage)
    apigateway_v1.handle_request = _patching_responses(apigateway_v1.handle_request)


def _applying(otherwise: Callable[..., Document]) -> Callable[..., Document]:
    def apply_patch(target: Document, operations: list[Document]) -> Document:
        for operation in operations:
            names = [name.replace("~1", "/").replace("~0", "~") for name in operation["path"].lstrip("/").split("/")]
            value = operation.get("value")
            if names == ["apiStages"]:
                api, _, stage = str(value).partition(":")
                others = [one for one in target["apiStages"] if (one["apiId"], one["stage"]) != (api, stage)]
                added = [{"apiId": api, "stage": stage}] if operation["op"] == "add" else []
                target["apiStages"] = others + added
            elif names[0] in LISTS:
                others = [kept for kept in target.get(names[0]) or [] if kept != names[1]]
                target[names[0]] = others + ([names[1]] if operation["op"] == "add" else [])
            elif names[0] in PARAMETERS and names[-1].startswith("method.") and value is not None:
                otherwise(target, [{**operation, "value": value == "true"}])
            elif names[-1] in TYPES and value is not None:
                otherwise(target, [{**operation, "value": TYPES[names[-1]](value)}])
            elif "~" in operation["path"] and operation["op"] == "remove":
                _parent(target, names).pop(names[-1], None)
            elif "~" in operation["path"]:
                _parent(target, names)[names[-1]] = value
            else:
                otherwise(target, [operation])
        return target

    return apply_patch


def _patching_responses(otherwise: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def handle_request(method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
        match = RESPONSE.fullmatch(path) if method == "PATCH" else None
        if match is None:
            return await otherwise(method, path, headers, body, query)
        api, resource, called, status = match.groups()
        methods = apigateway_v1._resources.get(api, {}).get(resource, {}).get("resourceMethods", {})
        if found := methods.get(called, {}).get("methodResponses", {}).get(status):
            apigateway_v1._apply_patch(found, json.loads(body or b"{}").get("patchOperations", []))
        return apigateway_v1._get_method_response(api, resource, called, status)

    return handle_request


def _parent(target: Document, names: list[str]) -> Document:
    for name in names[:-1]:
        target = target.setdefault(name, {})
    return target


def _requiring_role(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def update_stage(api: str, stage: str, asked: Document) -> Any:
        settings = apigateway_v1._account_settings.get("settings") or {}
        if any(map(_turns_logs_on, asked.get("patchOperations", []))) and not settings.get("cloudwatchRoleArn"):
            return apigateway_v1._v1_error("BadRequestException", NO_ROLE, 400)
        return otherwise(api, stage, asked)

    return update_stage


def _turns_logs_on(operation: Document) -> bool:
    path, value = operation["path"], operation.get("value")
    is_log = path.startswith("/accessLogSettings") or path.endswith("/logging/loglevel")
    return is_log and operation["op"] != "remove" and value not in (None, "", "OFF")


def _limiting(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def method_throttle_settings(*asked: Any) -> Any:
        found = otherwise(*asked)
        limits = {} if found is None else {found.get("throttlingRateLimit"), found.get("throttlingBurstLimit")}
        return None if UNLIMITED in limits else found

    return method_throttle_settings
