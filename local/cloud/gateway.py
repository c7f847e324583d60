"""API Gateway: finds the API of an unsigned call in all accounts, and checks the function's policy."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from ministack.core.responses import get_region, set_request_account_id, set_request_region
from ministack.services import apigateway, apigateway_v1, lambda_svc

from local.cloud import access, partition
from local.cloud.access import Service
from local.cloud.asgi import document
from local.cloud.functions import FAILED_STATUS, TOO_LARGE, Functions, configuration_of
from local.cloud.images import Refused
from local.cloud.instances import CALLED_ARN, Document
from local.cloud.runtime import PAYLOAD_BYTES

PATH = re.compile(r"/(?:_aws/execute-api/(\w+)/.*|restapis/(\w+)/[^/]+/_user_request_/.*)")
HOST = re.compile(r"(\w+)\.execute-api\.")

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
TIMEOUT_MS = 29_000
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
HTTP_TIMEOUT_MS = 30_000
# https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html#api-gateway-simple-proxy-for-lambda-output-format
FIELDS: dict[str, tuple[type, ...]] = {
    "statusCode": (int, str),
    "headers": (dict, type(None)),
    "multiValueHeaders": (dict, type(None)),
    "body": (str, type(None)),
    "isBase64Encoded": (bool, type(None)),
}
INTERNAL_SERVER_ERROR = json.dumps({"message": "Internal server error"})
# Calls whose callers no longer wait.
_left: set[asyncio.Future[Any]] = set()


def called_api(path: str, host: str) -> str | None:
    """ID of the API that a request calls."""
    match = PATH.fullmatch(path) or HOST.match(host)
    return next((group for group in match.groups() if group), None) if match else None


def select_owner(api: str) -> None:
    """Set the account and Region of the API's owner for this request."""
    for apis in (apigateway_v1._rest_apis, apigateway._apis):
        for (account, region, api_id), _ in apis.all_items():
            if api_id == api:
                set_request_account_id(account)
                set_request_region(region)


def guard(functions: Functions) -> None:
    """Check the function's policy and state before each call by MiniStack's API Gateway.

    A denied call returns 500, "Internal server error", as on AWS.
    https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html#apigateway-permissions
    """
    apigateway_v1._lambda_proxy_response = proxy_response
    apigateway_v1._build_lambda_event_v1 = _naming_the_endpoint(apigateway_v1._build_lambda_event_v1)
    apigateway_v1._invoke_lambda_proxy_v1 = _guarded(apigateway_v1._invoke_lambda_proxy_v1, functions)
    apigateway_v1._invoke_lambda_custom_v1 = _guarded(apigateway_v1._invoke_lambda_custom_v1, functions)
    apigateway._invoke_lambda_proxy = _guarded_http(apigateway._invoke_lambda_proxy, functions)
    apigateway._create_api = _at_the_endpoint(apigateway._create_api)
    execute = lambda_svc._execute_function_with_config_scope
    lambda_svc._execute_function_with_config_scope = _of_an_endpoint(execute)


def _at_the_endpoint(create: Callable[..., Any]) -> Callable[..., Any]:
    """A new HTTP API with the endpoint that it has on AWS; MiniStack knows none of another host.

    https://docs.aws.amazon.com/apigatewayv2/latest/api-reference/apis.html
    """

    def create_api(asked: Document) -> Any:
        status, headers, body = create(asked)
        if api := document(body).get("apiId"):
            record = apigateway._apis[api]
            record["apiEndpoint"] = f"https://{api}.execute-api.{get_region()}.{partition.SUFFIX}"
            body = json.dumps({**document(body), "apiEndpoint": record["apiEndpoint"]}).encode()
        return status, headers, body

    return create_api


def _naming_the_endpoint(build: Callable[..., Document]) -> Callable[..., Document]:
    """Events with the host name of their API, and in the words of its partition."""

    def build_event(api: str, *rest: Any, **options: Any) -> Document:
        return _at_its_domain(build(api, *rest, **options), api)

    return build_event


def _of_an_endpoint(execute: Callable[..., Document]) -> Callable[..., Document]:
    """The same for events of HTTP APIs, which MiniStack builds where it calls the function.

    The event of an endpoint has the limit of an invocation, which the body alone may exceed if it becomes Base64.
    """

    def execute_of_endpoint(function: Document, event: Any) -> Document:
        context = event.get("requestContext") if isinstance(event, dict) else None
        if isinstance(context, dict):
            api = str(context.get("apiId"))
            if context.get("domainName") == f"{api}.execute-api.{apigateway._HOST}":
                event = _at_its_domain(event, api)
        if CALLED_ARN.get() and _size(event) > PAYLOAD_BYTES:
            return {"error": True, TOO_LARGE: True, "body": {}}
        return execute(function, event)

    return execute_of_endpoint


def _size(event: Any) -> int:
    return len(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode())


def _at_its_domain(event: Document, api: str) -> Document:
    words = partition.of(get_region())
    domain = {"domainName": f"{api}.execute-api.{get_region()}.{words.suffix}", "domainPrefix": api}
    context = json.loads(words.text(json.dumps(event["requestContext"])))
    return {**event, "requestContext": {**context, **domain}}


def proxy_response(result: Document) -> tuple[Document, None]:
    """The response that a function's answer stands for.

    A function that fails, or answers in another form, is a 502, and one that Lambda does not call a 500, both without
    the reason. https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html#services-apigateway-errors
    """
    answer: Any = result.get("body")
    if result.get("throttle") or result.get(TOO_LARGE):
        return _internal(500), None
    if result.get("error") or not is_proxy_response(answer):
        return _internal(502), None
    return {
        name: value for name, value in {**answer, "statusCode": int(answer["statusCode"])}.items() if value is not None
    }, None


def is_proxy_response(answer: Any) -> bool:
    """Whether API Gateway understands a function's answer; else it is a "Malformed Lambda proxy response"."""
    if not isinstance(answer, dict) or not str(answer.get("statusCode")).isdigit():
        return False
    many = answer.get("multiValueHeaders") or {}
    return (
        all(name in FIELDS and type(value) in FIELDS[name] for name, value in answer.items())
        and 100 <= int(answer["statusCode"]) < 600
        and not any(isinstance(value, dict | list) for value in (answer.get("headers") or {}).values())
        and all(isinstance(values, list) for values in many.values())
    )


def _internal(status: int) -> Document:
    headers = {"x-amzn-ErrorType": "InternalServerErrorException"}
    return {"statusCode": status, "headers": headers, "body": INTERNAL_SERVER_ERROR}


def _guarded(invoke: Callable[..., Awaitable[Any]], functions: Functions) -> Callable[..., Awaitable[Any]]:
    async def invoke_if_allowed(
        integration: dict[str, Any], api: str, stage: str, stage_record: Any, resource: dict[str, Any], path: str,
        method: str, *rest: Any, **scope: Any,
    ) -> Any:  # fmt: skip
        account, region = scope["owner_account_id"], scope["owner_region"]
        function = apigateway_v1._extract_lambda_ref_from_integration_uri(integration.get("uri", ""))
        source = f"arn:aws:execute-api:{region}:{account}:{api}/{stage}/{method}{resource['path']}"
        if not await _is_callable(function, account, region, source, functions):
            return _internal_server_error()
        answering = invoke(integration, api, stage, stage_record, resource, path, method, *rest, **scope)
        late = apigateway_v1._gw_error("INTEGRATION_TIMEOUT", "Endpoint request timed out")
        return await _in_time(answering, int(integration.get("timeoutInMillis") or TIMEOUT_MS), late)

    return invoke_if_allowed


async def _in_time(answering: Awaitable[Any], milliseconds: int, late: Any) -> Any:
    """The answer of an integration, which goes on if it is late."""
    answer = asyncio.ensure_future(answering)
    _left.add(answer)
    answer.add_done_callback(_left.discard)
    await asyncio.wait({answer}, timeout=milliseconds / 1000)
    return answer.result() if answer.done() else late


def _guarded_http(invoke: Callable[..., Awaitable[Any]], functions: Functions) -> Callable[..., Awaitable[Any]]:
    async def invoke_if_allowed(
        integration: dict[str, Any], api: str, stage: str, path: str, method: str, headers: Any, body: Any, query: Any,
        route: str = "$default", *rest: Any, **scope: Any,
    ) -> Any:  # fmt: skip
        account, region = scope["owner_account_id"], scope["owner_region"]
        function = apigateway._extract_lambda_ref_from_integration_uri(integration.get("integrationUri", ""))
        called, _, template = route.partition(" ")
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
        target = f"{method if called != 'ANY' else '*'}{template}" if template else route
        source = f"arn:aws:execute-api:{region}:{account}:{api}/{stage}/{target}"
        if not await _is_callable(function, account, region, source, functions):
            return _http_error(500, "Internal Server Error")
        FAILED_STATUS.set(500)
        answering = invoke(integration, api, stage, path, method, headers, body, query, route, *rest, **scope)
        milliseconds = int(integration.get("timeoutInMillis") or HTTP_TIMEOUT_MS)
        return await _in_time(answering, milliseconds, _http_error(503, "Service Unavailable"))

    return invoke_if_allowed


def _http_error(status: int, message: str) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps({"message": message}).encode()


async def _is_callable(function: str, account: str, region: str, source: str, functions: Functions) -> bool:
    """Whether a function may be called for a method, and can be; one that is not there is MiniStack's to tell."""
    configuration = configuration_of(function, account, region)
    if configuration is None:
        return True
    try:
        if not _permits(configuration["FunctionArn"], function, source):
            return False
        await functions.wake(configuration)
    except Refused:
        return False
    CALLED_ARN.set(function if function.startswith("arn:") else configuration["FunctionArn"])
    return True


def _permits(arn: str, called: str, source: str) -> bool:
    """Whether the policy of a function, version or alias allows API Gateway to call it for a method."""
    region, account, name = (arn.split(":")[index] for index in (3, 4, 6))
    policy = lambda_svc._functions.get_scoped(account, region, name)["policy"]
    gateway, resource = Service("apigateway.amazonaws.com", source), called if called.startswith("arn:") else arn
    return access.denial(gateway, "lambda:InvokeFunction", resource, policy) is None


def _internal_server_error() -> Any:
    return apigateway_v1._gw_error("API_CONFIGURATION_ERROR", "Internal server error")
