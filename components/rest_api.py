"""`FunctionApi`: a regional REST API whose routes call a Lambda function."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import pulumi
import pulumi_aws as aws
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from components.limits import RETENTION_DAYS, Switch
from components.model import Model, Whole, allowed, no_switch, rule

SLUG_CHARACTERS = 30
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "ANY")

# What one call leaves in the access log.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html
ACCESS_LOG_FIELDS = {
    "requestId": "$context.requestId",
    "time": "$context.requestTime",
    "sourceIp": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "status": "$context.status",
    "latency": "$context.responseLatency",
    "error": "$context.error.message",
}


def _no_dots(path: str) -> str:
    """Refuse the parts . and .., which clients resolve themselves."""
    if {".", ".."} & set(path.split("/")):
        raise PydanticCustomError("path", "a part is . or ..")
    return path


CorsOrigin = Annotated[
    str, allowed("an origin without a path, or *", "https://example.com", pattern=r"^(\*|https?://[^\s/'*]+)$")
]


class Route(Model):
    """A path and a method of a REST API."""

    RENAMED: ClassVar = {"required": "requestParameters"}

    path: Annotated[
        str,
        allowed(
            "letters, digits and . _ - between single slashes, where no part is . or .. alone",
            "hello",
            pattern=r"^[a-zA-Z0-9._-]+(/[a-zA-Z0-9._-]+)*$",
        ),
        AfterValidator(_no_dots),
    ] = "hello"
    """Path without a leading slash.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html"""
    method: Annotated[
        Literal[METHODS],  # type: ignore[valid-type]  # the table is the type
        allowed(f"{', '.join(METHODS[:-1])} or {METHODS[-1]}", "GET"),
    ] = "GET"
    """HTTP method."""
    public: Switch = False
    """Whether anyone may call it; otherwise callers sign with AWS credentials."""
    api_key: Switch = False
    """Whether a call needs the API's key."""
    request_parameters: Annotated[
        Sequence[Annotated[str, Field(pattern=r"^(querystring|header)\.[a-zA-Z0-9._$-]+$")]],
        allowed("a list of querystring.NAME and header.NAME", ["querystring.name"]),
    ] = ()
    """Query parameters and headers without which a call is answered with 400 and does not reach the function.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-method-request-validation.html"""


class Throttle(Model):
    """How many calls a stage takes; it answers more calls with 429.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
    """

    rate: Annotated[Whole, allowed("a whole number of calls a second, 1 or more", 100, ge=1)]
    """Calls a second."""
    burst: Annotated[Whole, allowed("a whole number of calls at once, 1 or more", 50, ge=1)]
    """Calls at once."""


class RestApi(Route):
    """A regional REST API to call a function through; its own path and method are its first route."""

    type: Annotated[Literal["rest"], allowed("rest, url or none", "rest")] = "rest"
    """What the function is called through: a REST API, a function URL, or nothing."""
    stage: Annotated[str, allowed("1 to 128 letters, digits, - and _", "Prod", pattern=r"^[a-zA-Z0-9_-]{1,128}$")] = (
        "Prod"
    )
    """Name of the stage, which is the first part of every path.
    https://docs.aws.amazon.com/apigateway/latest/api/API_CreateStage.html"""
    routes: Annotated[Sequence[Route], allowed("a list of routes", [{"path": "bye", "public": True}])] = ()
    """Further routes."""
    throttle: Throttle | None = None
    """How many calls all routes take together. Default: the limits of the account."""
    access_log_retention: Annotated[
        Literal[(0, *RETENTION_DAYS)],  # type: ignore[valid-type]  # the table is the type
        BeforeValidator(no_switch),
        allowed(f"0 or one of {', '.join(map(str, RETENTION_DAYS))} days", 30),
    ] = 0
    """Days that the access log is kept; 0: there is none. API Gateway writes it with a role that is set once for the
    account and Region. https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html"""
    execution_logs: Switch = False
    """Whether errors of API Gateway itself are logged, with the role that the access log needs."""
    tracing: Switch = False
    """Whether calls are traced with X-Ray."""
    cors_origin: CorsOrigin | None = None
    """Origin whose pages may call it. API Gateway answers the browser's preflight; the function has to send
    `Access-Control-Allow-Origin` itself. https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-cors.html"""

    @field_validator("routes")
    @classmethod
    def _each_once(cls, routes: Sequence[Route], info: ValidationInfo) -> Sequence[Route]:
        called = [(route.method, route.path) for route in routes]
        if {"method", "path"} <= set(info.data):
            called.append((info.data["method"], info.data["path"]))
        if twice := sorted({f"{method} {path}" for method, path in called if called.count((method, path)) > 1}):
            raise rule(f"must have each method and path once; more than once: {', '.join(twice)}")
        return routes

    @field_validator("cors_origin")
    @classmethod
    def _preflight_free(cls, origin: str | None, info: ValidationInfo) -> str | None:
        methods = {info.data.get("method"), *(route.method for route in info.data.get("routes", ()))}
        if origin and methods & {"OPTIONS", "ANY"}:
            raise rule("must not be set with a route for OPTIONS or ANY, which answers the preflight itself")
        return origin

    @property
    def all_routes(self) -> list[Route]:
        """Its own and the further ones."""
        return [self, *self.routes]


class FunctionApi(pulumi.ComponentResource):
    """A regional REST API that hands its routes to a Lambda function.

    A route that is removed answers with an error from then on; it disappears from the API with the next change of
    routes, for Pulumi deletes its parts after it has created the new deployment, which is a snapshot.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """

    endpoint_url: pulumi.Output[str]
    """URL of the first route."""
    api_key: pulumi.Output[str | None]
    """The key that routes with `api_key` need, a secret; None without such a route."""

    def __init__(
        self,
        name: str,
        args: RestApi,
        *,
        api_name: str,
        function_name: pulumi.Input[str],
        invoke_arn: pulumi.Input[str],
        qualifier: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the API `api_name`, which calls `invoke_arn` of a function or, with `qualifier`, of its alias."""
        super().__init__("cross-account-ecr:index:FunctionApi", name, None, opts)
        self._prefix, self._args, self._child = name, args, pulumi.ResourceOptions(parent=self)
        routes = args.all_routes
        api = aws.apigateway.RestApi(
            name, name=api_name, endpoint_configuration={"types": "REGIONAL"}, opts=self._child
        )
        self._api = api
        paths = self._paths()
        validator = (
            aws.apigateway.RequestValidator(
                f"{name}-validator", rest_api=api.id, validate_request_parameters=True, opts=self._child
            )
            if any(route.request_parameters for route in routes)
            else None
        )
        answers: list[pulumi.Resource] = [
            self._integration(route, paths[route.path], invoke_arn, validator) for route in routes
        ]
        if args.cors_origin:
            answers += [self._preflight(path, paths[path]) for path in dict.fromkeys(route.path for route in routes)]
        # A deployment is a snapshot of the routes: without a trigger an edited route never goes live.
        # https://www.pulumi.com/registry/packages/aws/api-docs/apigateway/deployment/
        deployment = aws.apigateway.Deployment(
            f"{name}-deployment",
            rest_api=api.id,
            triggers={"routes": pulumi.Output.all(_snapshot(args), invoke_arn).apply(_fingerprint)},
            opts=pulumi.ResourceOptions(parent=self, depends_on=answers),
        )
        permissions = [
            aws.lambda_.Permission(
                f"{self._route_name(route)}-permission",
                function=function_name,
                qualifier=qualifier,
                action="lambda:InvokeFunction",
                principal="apigateway.amazonaws.com",
                # Of `ANY` the method is a wildcard in API Gateway's own ARN, of all others it is the method.
                source_arn=pulumi.Output.concat(
                    api.execution_arn, f"/{args.stage}/{'*' if route.method == 'ANY' else route.method}/{route.path}"
                ),
                opts=self._child,
            )
            for route in routes
        ]
        # The stage goes live with what it may call: a running API that turns to the alias has no gap.
        stage = self._stage(deployment, api_name, permissions)
        self.api_key = self._key(stage)
        self.endpoint_url = stage.invoke_url.apply(lambda url: f"{url}/{args.path}")
        self.register_outputs({output: getattr(self, output) for output in FunctionApi.__annotations__})

    def _route_name(self, route: Route) -> str:
        """The beginning of the names of what belongs to a route."""
        return f"{self._prefix}-{route.method.lower()}-{_slug(route.path)}"

    def _paths(self) -> dict[str, pulumi.Output[str]]:
        """The IDs of all paths; what paths have in common is created once."""
        ids: dict[str, pulumi.Output[str]] = {"": self._api.root_resource_id}
        for route in self._args.all_routes:
            parts = route.path.split("/")
            for depth, part in enumerate(parts):
                above, path = "/".join(parts[:depth]), "/".join(parts[: depth + 1])
                if path not in ids:
                    ids[path] = aws.apigateway.Resource(
                        f"{self._prefix}-{_slug(path)}",
                        rest_api=self._api.id,
                        parent_id=ids[above],
                        path_part=part,
                        opts=self._child,
                    ).id
        return ids

    def _integration(
        self,
        route: Route,
        resource_id: pulumi.Output[str],
        invoke_arn: pulumi.Input[str],
        validator: aws.apigateway.RequestValidator | None,
    ) -> aws.apigateway.Integration:
        """A route's method, and the function that answers it."""
        method = aws.apigateway.Method(
            f"{self._route_name(route)}-method",
            rest_api=self._api.id,
            resource_id=resource_id,
            http_method=route.method,
            authorization="NONE" if route.public else "AWS_IAM",
            api_key_required=True if route.api_key else None,
            request_parameters={f"method.request.{name}": True for name in route.request_parameters} or None,
            request_validator_id=validator.id if validator and route.request_parameters else None,
            opts=self._child,
        )
        return aws.apigateway.Integration(
            f"{self._route_name(route)}-integration",
            rest_api=self._api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            type="AWS_PROXY",
            integration_http_method="POST",
            uri=invoke_arn,
            opts=self._child,
        )

    def _preflight(self, path: str, resource_id: pulumi.Output[str]) -> aws.apigateway.IntegrationResponse:
        """API Gateway's own answer to OPTIONS, which a browser sends before a call from another origin."""
        prefix = f"{self._prefix}-options-{_slug(path)}"
        methods = {route.method for route in self._args.all_routes if route.path == path}
        headers = {
            "Access-Control-Allow-Origin": self._args.cors_origin,
            "Access-Control-Allow-Methods": ",".join(sorted({"OPTIONS", *methods})),
            "Access-Control-Allow-Headers": "Authorization,Content-Type,X-Amz-Date,X-Amz-Security-Token,X-Api-Key",
        }
        method = aws.apigateway.Method(
            f"{prefix}-method",
            rest_api=self._api.id,
            resource_id=resource_id,
            http_method="OPTIONS",
            authorization="NONE",
            opts=self._child,
        )
        integration = aws.apigateway.Integration(
            f"{prefix}-integration",
            rest_api=self._api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            type="MOCK",
            request_templates={"application/json": '{"statusCode": 204}'},
            opts=self._child,
        )
        response = aws.apigateway.MethodResponse(
            f"{prefix}-response",
            rest_api=self._api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            status_code="204",
            response_parameters={f"method.response.header.{header}": True for header in headers},
            opts=self._child,
        )
        return aws.apigateway.IntegrationResponse(
            f"{prefix}-integration-response",
            rest_api=self._api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            status_code=response.status_code,
            response_parameters={f"method.response.header.{header}": f"'{value}'" for header, value in headers.items()},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[integration]),
        )

    def _stage(
        self, deployment: aws.apigateway.Deployment, api_name: str, permissions: Sequence[aws.lambda_.Permission]
    ) -> aws.apigateway.Stage:
        """The stage with its access log and its settings."""
        args = self._args
        access_log: aws.apigateway.StageAccessLogSettingsArgsDict | None = None
        if args.access_log_retention:
            log_group = aws.cloudwatch.LogGroup(
                f"{self._prefix}-access-log",
                name=f"/aws/apigateway/{api_name}/{args.stage}",
                retention_in_days=args.access_log_retention,
                opts=self._child,
            )
            access_log = {"destination_arn": log_group.arn, "format": json.dumps(ACCESS_LOG_FIELDS)}
        stage = aws.apigateway.Stage(
            f"{self._prefix}-stage",
            rest_api=self._api.id,
            deployment=deployment.id,
            stage_name=args.stage,
            access_log_settings=access_log,
            xray_tracing_enabled=True if args.tracing else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=permissions),
        )
        if args.throttle or args.execution_logs:
            # The provider keeps a level that is left out: to turn logs off, it is set.
            settings: aws.apigateway.MethodSettingsSettingsArgsDict = {
                "logging_level": "ERROR" if args.execution_logs else "OFF"
            }
            if args.throttle:
                settings["throttling_rate_limit"] = float(args.throttle.rate)
                settings["throttling_burst_limit"] = args.throttle.burst
            aws.apigateway.MethodSettings(
                f"{self._prefix}-settings",
                rest_api=self._api.id,
                stage_name=stage.stage_name,
                method_path="*/*",
                settings=settings,
                opts=self._child,
            )
        return stage

    def _key(self, stage: aws.apigateway.Stage) -> pulumi.Output[str | None]:
        """The key and the plan that ties it to the stage, if a route needs one."""
        if not any(route.api_key for route in self._args.all_routes):
            return pulumi.Output.from_input(None)
        key = aws.apigateway.ApiKey(f"{self._prefix}-key", opts=self._child)
        plan = aws.apigateway.UsagePlan(
            f"{self._prefix}-plan", api_stages=[{"api_id": self._api.id, "stage": stage.stage_name}], opts=self._child
        )
        aws.apigateway.UsagePlanKey(
            f"{self._prefix}-plan-key", key_id=key.id, key_type="API_KEY", usage_plan_id=plan.id, opts=self._child
        )
        return pulumi.Output.secret(key.value)


def _slug(path: str) -> str:
    """A path as part of a name. Names become statement IDs, which know letters, digits and - only, and are short."""
    if re.fullmatch(rf"[a-zA-Z0-9]{{1,{SLUG_CHARACTERS}}}", path):
        return path
    readable = re.sub(r"[^a-zA-Z0-9]+", "-", path).strip("-")[:SLUG_CHARACTERS]
    return f"{readable}-{hashlib.sha256(path.encode()).hexdigest()[:6]}"


def _snapshot(args: RestApi) -> str:
    """What a deployment is a snapshot of. Another text deploys the API again."""
    routes = [
        [route.path, route.method, route.public, route.api_key, list(route.request_parameters)]
        for route in args.all_routes
    ]
    return json.dumps([*routes, args.cors_origin or ""])


def _fingerprint(parts: list[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
