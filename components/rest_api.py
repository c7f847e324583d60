"""`FunctionApi`: a regional REST API whose routes call a Lambda function."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.errors import InvalidArgument
from components.limits import require_retention

SLUG_CHARACTERS = 30

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "ANY")
# Clients resolve the parts . and .. themselves.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
PART = r"(?!\.{1,2}(?:/|$))[a-zA-Z0-9._-]+"
PATH = re.compile(rf"{PART}(/{PART})*")
PARAMETER = re.compile(r"(querystring|header)\.[a-zA-Z0-9._$-]+")
ORIGIN = re.compile(r"\*|https?://[^\s/'*]+")
STAGE = re.compile(r"[a-zA-Z0-9_-]{1,128}")

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


@dataclass(frozen=True, kw_only=True)
class Route:
    """A path and a method of a REST API.

    Attributes:
        path: path without a leading slash, such as `hello` or `v1/hello`.
        method: HTTP method, or `ANY`. Default `GET`.
        public: whether anyone may call it. Default no: callers sign with AWS credentials (`AWS_IAM`).
        api_key: whether a call needs the API's key. Default no.
        required: query parameters and headers without which a call is answered with 400 and does not reach the
            function: `querystring.NAME` or `header.NAME`. Default none.
            https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-method-request-validation.html

    Raises:
        InvalidArgument: a path, method or parameter that API Gateway refuses.
    """

    path: str
    method: str = "GET"
    public: bool = False
    api_key: bool = False
    required: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not PATH.fullmatch(self.path):
            raise InvalidArgument(
                f"Route path: {self.path!r} given; allowed are letters, digits and . _ - between single slashes, "
                'none at either end. Example: path="v1/hello"'
            )
        if self.method not in METHODS:
            raise InvalidArgument(
                f'Route method: {self.method!r} given; allowed are {", ".join(METHODS)}. Example: method="GET"'
            )

        for parameter in self.required:
            if not PARAMETER.fullmatch(parameter):
                raise InvalidArgument(
                    f"Route required: {parameter!r} given; allowed are querystring.NAME and header.NAME. "
                    'Example: required=["querystring.name"]'
                )

    @property
    def authorization(self) -> str:
        """Who may call it, in API Gateway's words."""
        return "NONE" if self.public else "AWS_IAM"


@dataclass(frozen=True, kw_only=True)
class Throttle:
    """How many calls a stage takes; what is more is answered with 429.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html

    Attributes:
        rate: calls a second, in the long run.
        burst: calls at once.

    Raises:
        InvalidArgument: one of them is below 1.
    """

    rate: int
    burst: int

    def __post_init__(self) -> None:
        if self.rate < 1 or self.burst < 1:
            raise InvalidArgument(
                f"Throttle: rate={self.rate}, burst={self.burst} given; allowed are 1 or more of each. "
                "Example: Throttle(rate=100, burst=50)"
            )


@dataclass(frozen=True, kw_only=True)
class RestApi:
    """A regional REST API to call a function through.

    Attributes:
        routes: one or more; the first is the endpoint's URL.
        stage: name of the stage, the first part of every path. Default `Prod`.
        throttle: bounds of all routes together. Default those of the account.
        access_log_retention: days that the access log is kept, a JSON object a call; 0 (default): there is none. API
            Gateway writes it with a role that is set once for the account and Region.
            https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
        execution_logs: log errors of API Gateway itself, with the role that the access log needs. Default off.
        tracing: trace calls with X-Ray. Default off.
        cors_origin: the origin whose pages may call it, or `*`. API Gateway answers the browser's preflight for every
            path; the function has to send `Access-Control-Allow-Origin` with its own answers. Default none.
            https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-cors.html

    Raises:
        InvalidArgument: no route, one given twice, or a stage name or origin that API Gateway refuses.
    """

    routes: Sequence[Route]
    stage: str = "Prod"
    throttle: Throttle | None = None
    access_log_retention: int = 0
    execution_logs: bool = False
    tracing: bool = False
    cors_origin: str = ""

    def __post_init__(self) -> None:
        given = [(route.path, route.method) for route in self.routes]
        if not given or len(set(given)) != len(given):
            raise InvalidArgument(
                f"RestApi routes: {given or 'none'} given; allowed is one or more, each path and method once. "
                'Example: routes=[Route(path="hello")]'
            )
        if self.cors_origin and not ORIGIN.fullmatch(self.cors_origin):
            raise InvalidArgument(
                f"RestApi cors_origin: {self.cors_origin!r} given; allowed is one origin without a path, or *. "
                'Example: cors_origin="https://example.com"'
            )
        if self.cors_origin and any(route.method in ("OPTIONS", "ANY") for route in self.routes):
            raise InvalidArgument(
                "RestApi cors_origin: given with a route for OPTIONS or ANY; allowed is one of them, for that route "
                "answers the preflight itself."
            )
        if self.access_log_retention:
            require_retention("RestApi access_log_retention", self.access_log_retention)
        if not STAGE.fullmatch(self.stage):
            raise InvalidArgument(
                f"RestApi stage: {self.stage!r} given; allowed are 1 to 128 letters, digits, - and _. "
                'Example: stage="Prod"'
            )


class FunctionApi(pulumi.ComponentResource):
    """A regional REST API that hands its routes to a Lambda function.

    A route that is taken out answers with an error from then on; it is gone from the API with the next change of
    routes, for Pulumi deletes its parts after the new deployment, which is a snapshot, was made.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """

    endpoint_url: pulumi.Output[str]
    """URL of the first route."""
    api_key: pulumi.Output[str | None]
    """The key that routes with `api_key` ask for, a secret; None without such a route."""

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
        """Make the API.

        Args:
            name: name of the component.
            args: routes and options.
            api_name: name of the API.
            function_name: name of the function that answers.
            invoke_arn: the ARN by which API Gateway calls it.
            qualifier: alias of the function that is called. Default the function itself.
            opts: options of the component.
        """
        super().__init__("cross-account-ecr:index:FunctionApi", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        api = aws.apigateway.RestApi(name, name=api_name, endpoint_configuration={"types": "REGIONAL"}, opts=child)
        resources = self._resources(name, api, args.routes, child)
        validator = self._validator(name, args, api, child)
        integrations: list[pulumi.Resource] = [
            self._route(name, api, route, resources[route.path], invoke_arn, validator, child) for route in args.routes
        ]
        if args.cors_origin:
            for path in dict.fromkeys(route.path for route in args.routes):
                methods = [route.method for route in args.routes if route.path == path]
                integrations.append(self._preflight(name, api, path, resources[path], methods, args.cors_origin, child))
        # A deployment is a snapshot of the routes: without a trigger an edited route never goes live.
        # https://www.pulumi.com/registry/packages/aws/api-docs/apigateway/deployment/
        routes = json.dumps([dataclasses.astuple(route) for route in args.routes] + [args.cors_origin])
        deployment = aws.apigateway.Deployment(
            f"{name}-deployment",
            rest_api=api.id,
            triggers={"routes": pulumi.Output.all(routes, invoke_arn).apply(_fingerprint)},
            opts=pulumi.ResourceOptions(parent=self, depends_on=integrations),
        )
        permissions = [
            aws.lambda_.Permission(
                f"{_route_name(name, route)}-permission",
                function=function_name,
                qualifier=qualifier,
                action="lambda:InvokeFunction",
                principal="apigateway.amazonaws.com",
                # Of `ANY` the method is a wildcard in API Gateway's own ARN, of all others it is the method.
                source_arn=pulumi.Output.concat(
                    api.execution_arn, f"/{args.stage}/{'*' if route.method == 'ANY' else route.method}/{route.path}"
                ),
                opts=child,
            )
            for route in args.routes
        ]
        # The stage goes live with what it may call: a running API that turns to the alias has no gap.
        stage = self._stage(name, args, api, deployment, api_name, permissions, child)
        self.api_key = self._key(name, args, api, stage, child)
        self.endpoint_url = stage.invoke_url.apply(lambda url: f"{url}/{args.routes[0].path}")
        self.register_outputs({"endpoint_url": self.endpoint_url, "api_key": self.api_key})

    def _resources(
        self, name: str, api: aws.apigateway.RestApi, routes: Sequence[Route], child: pulumi.ResourceOptions
    ) -> dict[str, pulumi.Output[str]]:
        """The IDs of all paths; what paths have in common is made once."""
        made: dict[str, pulumi.Output[str]] = {"": api.root_resource_id}
        for route in routes:
            parts = route.path.split("/")
            for depth, part in enumerate(parts):
                above, path = "/".join(parts[:depth]), "/".join(parts[: depth + 1])
                if path not in made:
                    made[path] = aws.apigateway.Resource(
                        f"{name}-{_slug(path)}",
                        rest_api=api.id,
                        parent_id=made[above],
                        path_part=part,
                        opts=child,
                    ).id
        return made

    def _route(
        self,
        name: str,
        api: aws.apigateway.RestApi,
        route: Route,
        resource_id: pulumi.Output[str],
        invoke_arn: pulumi.Input[str],
        validator: aws.apigateway.RequestValidator | None,
        child: pulumi.ResourceOptions,
    ) -> aws.apigateway.Integration:
        method = aws.apigateway.Method(
            f"{_route_name(name, route)}-method",
            rest_api=api.id,
            resource_id=resource_id,
            http_method=route.method,
            authorization=route.authorization,
            api_key_required=True if route.api_key else None,
            request_parameters={f"method.request.{name}": True for name in route.required} or None,
            request_validator_id=validator.id if validator and route.required else None,
            opts=child,
        )
        return aws.apigateway.Integration(
            f"{_route_name(name, route)}-integration",
            rest_api=api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            type="AWS_PROXY",
            integration_http_method="POST",
            uri=invoke_arn,
            opts=child,
        )

    def _validator(
        self, name: str, args: RestApi, api: aws.apigateway.RestApi, child: pulumi.ResourceOptions
    ) -> aws.apigateway.RequestValidator | None:
        """What checks parameters, if a route requires some."""
        if not any(route.required for route in args.routes):
            return None
        return aws.apigateway.RequestValidator(
            f"{name}-validator", rest_api=api.id, validate_request_parameters=True, opts=child
        )

    def _preflight(
        self,
        name: str,
        api: aws.apigateway.RestApi,
        path: str,
        resource_id: pulumi.Output[str],
        methods: Sequence[str],
        origin: str,
        child: pulumi.ResourceOptions,
    ) -> aws.apigateway.IntegrationResponse:
        """API Gateway's own answer to OPTIONS, which a browser sends before a call from another origin."""
        prefix = f"{name}-options-{_slug(path)}"
        headers = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": ",".join(sorted({"OPTIONS", *methods})),
            "Access-Control-Allow-Headers": "Authorization,Content-Type,X-Amz-Date,X-Amz-Security-Token,X-Api-Key",
        }
        method = aws.apigateway.Method(
            f"{prefix}-method",
            rest_api=api.id,
            resource_id=resource_id,
            http_method="OPTIONS",
            authorization="NONE",
            opts=child,
        )
        integration = aws.apigateway.Integration(
            f"{prefix}-integration",
            rest_api=api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            type="MOCK",
            request_templates={"application/json": '{"statusCode": 204}'},
            opts=child,
        )
        response = aws.apigateway.MethodResponse(
            f"{prefix}-response",
            rest_api=api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            status_code="204",
            response_parameters={f"method.response.header.{header}": True for header in headers},
            opts=child,
        )
        return aws.apigateway.IntegrationResponse(
            f"{prefix}-integration-response",
            rest_api=api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            status_code=response.status_code,
            response_parameters={f"method.response.header.{header}": f"'{value}'" for header, value in headers.items()},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[integration]),
        )

    def _stage(
        self,
        name: str,
        args: RestApi,
        api: aws.apigateway.RestApi,
        deployment: aws.apigateway.Deployment,
        api_name: str,
        permissions: Sequence[aws.lambda_.Permission],
        child: pulumi.ResourceOptions,
    ) -> aws.apigateway.Stage:
        access_log: aws.apigateway.StageAccessLogSettingsArgsDict | None = None
        if args.access_log_retention:
            log_group = aws.cloudwatch.LogGroup(
                f"{name}-access-log",
                name=f"/aws/apigateway/{api_name}/{args.stage}",
                retention_in_days=args.access_log_retention,
                opts=child,
            )
            access_log = {"destination_arn": log_group.arn, "format": json.dumps(ACCESS_LOG_FIELDS)}
        stage = aws.apigateway.Stage(
            f"{name}-stage",
            rest_api=api.id,
            deployment=deployment.id,
            stage_name=args.stage,
            access_log_settings=access_log,
            xray_tracing_enabled=True if args.tracing else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=permissions),
        )
        settings: aws.apigateway.MethodSettingsSettingsArgsDict = {}
        if args.throttle:
            settings["throttling_rate_limit"] = float(args.throttle.rate)
            settings["throttling_burst_limit"] = args.throttle.burst
        if args.execution_logs:
            settings["logging_level"] = "ERROR"
        if settings:
            aws.apigateway.MethodSettings(
                f"{name}-settings",
                rest_api=api.id,
                stage_name=stage.stage_name,
                method_path="*/*",
                settings=settings,
                opts=child,
            )
        return stage

    def _key(
        self,
        name: str,
        args: RestApi,
        api: aws.apigateway.RestApi,
        stage: aws.apigateway.Stage,
        child: pulumi.ResourceOptions,
    ) -> pulumi.Output[str | None]:
        """The key and the plan that ties it to the stage, if a route asks for one."""
        if not any(route.api_key for route in args.routes):
            return pulumi.Output.from_input(None)
        key = aws.apigateway.ApiKey(f"{name}-key", opts=child)
        plan = aws.apigateway.UsagePlan(
            f"{name}-plan", api_stages=[{"api_id": api.id, "stage": stage.stage_name}], opts=child
        )
        aws.apigateway.UsagePlanKey(
            f"{name}-plan-key", key_id=key.id, key_type="API_KEY", usage_plan_id=plan.id, opts=child
        )
        return pulumi.Output.secret(key.value)


def _route_name(name: str, route: Route) -> str:
    """The beginning of the names of what belongs to a route."""
    return f"{name}-{route.method.lower()}-{_slug(route.path)}"


def _slug(path: str) -> str:
    """A path as part of a name. Names become statement IDs, which know letters, digits and - only, and are short."""
    if re.fullmatch(rf"[a-zA-Z0-9]{{1,{SLUG_CHARACTERS}}}", path):
        return path
    readable = re.sub(r"[^a-zA-Z0-9]+", "-", path).strip("-")[:SLUG_CHARACTERS]
    return f"{readable}-{hashlib.sha256(path.encode()).hexdigest()[:6]}"


def _fingerprint(routes: list[str]) -> str:
    return hashlib.sha256(json.dumps(routes).encode()).hexdigest()
