"""`FunctionApi`: a regional REST API whose routes call a Lambda function."""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

import pulumi
import pulumi_aws as aws
from pydantic import Field, ValidationInfo, field_validator, model_validator

from components import iam
from components.called import Called
from components.domain import Domain, create_record
from components.errors import LoggingRoleMissing
from components.limits import Switch, regional_arn, within
from components.model import Model, Whole, allowed, rule
from components.route import (
    TYPES,
    AccessLogRetention,
    CorsOrigin,
    Route,
    Throttle,
    TokenHeader,
    create_access_log,
    create_permissions,
    require_distinct,
    slug,
)

Dependencies = list[pulumi.Input[pulumi.Resource]]


class RestRoute(Route):
    """A path and a method of a REST API."""

    RENAMED: ClassVar = {"required": "requestParameters"}

    api_key: Switch = False
    """Whether a call needs the API's key."""
    request_parameters: Annotated[
        Sequence[Annotated[str, Field(pattern=r"^(querystring|header)\.[a-zA-Z0-9._$-]+$")]],
        allowed("a list of querystring.NAME and header.NAME", ["querystring.name"]),
    ] = ()
    """Required query parameters and headers. A call without them gets 400 and does not reach the function.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-method-request-validation.html"""


class Authorizer(Model):
    """Who authorizes callers of routes that are not public, in place of their AWS credentials.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-control-access-to-api.html
    """

    user_pools: Annotated[
        Sequence[
            Annotated[str, Field(pattern=r"^arn:aws(-[a-z]+)*:cognito-idp:[a-z0-9-]+:[0-9]{12}:userpool/[\w-]+$")]
        ],
        allowed(
            "a list of ARNs of Cognito user pools",
            ["arn:aws:cognito-idp:us-east-1:222222222222:userpool/us-east-1_Ab1"],
            max_length=10,
        ),
    ] = ()
    """Cognito user pools whose tokens are accepted."""
    function: Annotated[
        str | None,
        regional_arn(
            "the ARN of a Lambda function",
            "lambda",
            "function:[a-zA-Z0-9_-]+(:[a-zA-Z0-9_-]+)?",
            "function:authorizer",
        ),
    ] = None
    """Function of the same account that checks the token. The stack permits API Gateway to call it.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html"""
    header: TokenHeader = "Authorization"
    """Header with the token."""
    ttl: Annotated[Whole, within(range(3601), "seconds")] = 300
    """Seconds for which the function's answer for a token is cached; 0: no cache."""

    @field_validator("function")
    @classmethod
    def _one_of_both(cls, function: str | None, info: ValidationInfo) -> str | None:
        if function and info.data.get("user_pools"):
            raise rule("cannot be combined with `user_pools`. Remove one of them")
        return function

    @model_validator(mode="after")
    def _one(self) -> Self:
        if not self.function and not self.user_pools:
            raise rule("must have `user_pools` or `function`")
        return self


class RestApi(RestRoute):
    """A regional REST API for a function. Its path and method are the first route."""

    type: Annotated[Literal["rest"], allowed(TYPES, "rest")] = "rest"
    """Type of the endpoint: a REST API, an HTTP API, a function URL, or none."""
    stage: Annotated[str, allowed("1 to 128 letters, digits, - and _", "Prod", pattern=r"^[a-zA-Z0-9_-]{1,128}$")] = (
        "Prod"
    )
    """Name of the stage, the first part of every path.
    https://docs.aws.amazon.com/apigateway/latest/api/API_CreateStage.html"""
    routes: Annotated[Sequence[RestRoute], allowed("a list of routes", [{"path": "bye", "public": True}])] = ()
    """Further routes."""
    throttle: Throttle | None = None
    """Limits for the calls of all routes together. Default: the limits of the account."""
    access_log_retention: AccessLogRetention = 0
    """Days that lines of the access log are kept; 0: no access log. API Gateway writes it with a role that is set once
    for the account and Region. https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html"""
    execution_logs: Switch = False
    """Whether API Gateway logs its own errors. Requires the same role as the access log."""
    logging_role: Switch = False
    """Whether the stack creates the role with which API Gateway writes logs. An account needs one in each Region: set
    this in one stack, or set the role yourself. A destroy keeps it.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html"""
    tracing: Switch = False
    """Whether calls are traced with X-Ray."""
    cors_origin: CorsOrigin | None = None
    """Origin whose pages may call it. API Gateway answers the browser's preflight, and sends the header with its own
    errors; the function must send `Access-Control-Allow-Origin` itself.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-cors.html"""
    authorizer: Authorizer | None = None
    """Authorizer of routes that are not public. Default: callers sign requests with AWS credentials."""
    domain: Domain | None = None
    """Domain name that callers use. Default: that of API Gateway."""
    binary_media_types: Annotated[
        Sequence[Annotated[str, Field(pattern=r"^(\*|[a-zA-Z0-9!#$&^_.+-]+)/(\*|[a-zA-Z0-9!#$&^_.+-]+)$")]],
        allowed("a list of media types", ["image/png"]),
    ] = ()
    """Media types that are passed as bytes to the function and the caller. To remove the last one, also remove it from
    the API, because the provider keeps the list if the option is not set.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-payload-encodings.html"""
    minimum_compression_size: Annotated[
        Whole | None, allowed("a whole number of bytes from 0 to 10485760", 1024, ge=0, le=10 * 1024**2)
    ] = None
    """Minimum size of compressed answers in bytes, if the caller accepts compression. Default: no compression.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-gzip-compression-decompression.html"""

    @field_validator("routes")
    @classmethod
    def _distinct(cls, routes: Sequence[RestRoute], info: ValidationInfo) -> Sequence[RestRoute]:
        own = {name: info.data[name] for name in ("path", "method") if name in info.data}
        require_distinct([*([Route(**own)] if len(own) == 2 else []), *routes])
        return routes

    @field_validator("cors_origin")
    @classmethod
    def _preflight_free(cls, origin: str | None, info: ValidationInfo) -> str | None:
        methods = {info.data.get("method"), *(route.method for route in info.data.get("routes", ()))}
        if origin and methods & {"OPTIONS", "ANY"}:
            raise rule("must not be set with a route for OPTIONS or ANY, which answers the preflight itself")
        return origin

    @property
    def all_routes(self) -> list[RestRoute]:
        """All routes, including the first."""
        return [self, *self.routes]


def require_logging_role(prefix: str, args: RestApi, child: pulumi.ResourceOptions) -> Dependencies:
    """Check that API Gateway may write the logs that are on. Returns what all other resources depend on.

    Raises:
        LoggingRoleMissing: the account has no role for logs in this Region, and `logging_role` does not create it.
    """
    if args.logging_role or not (args.access_log_retention or args.execution_logs):
        return []
    account = aws.apigateway.Account.get(f"{prefix}-logging-account", "api-gateway-account", opts=child)

    def checked(role: str | None) -> pulumi.Resource:
        if not role:
            raise LoggingRoleMissing(
                "API Gateway has no role for logs in this account and Region, which accessLogRetention and "
                "executionLogs require. Set loggingRole (Python: logging_role) to true in one stack of the account and "
                "Region, or set an existing role: aws apigateway update-account --patch-operations "
                "op=replace,path=/cloudwatchRoleArn,value=ROLE_ARN"
            )
        return account

    return [account.cloudwatch_role_arn.apply(checked)]


class FunctionApi(pulumi.ComponentResource):
    """A regional REST API with routes to a Lambda function.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """

    endpoint_url: pulumi.Output[str]
    """URL of the first route."""
    api_key: pulumi.Output[str | None]
    """The key for routes with `api_key`, a secret; None without such a route."""
    domain_target: pulumi.Output[str | None]
    """Name that the record of the domain refers to; None without a domain."""

    def __init__(self, name: str, args: RestApi, called: Called) -> None:
        super().__init__("cross-account-ecr:index:FunctionApi", name, None, called.opts)
        self._prefix, self._args, self._child = name, args, pulumi.ResourceOptions(parent=self)
        routes = args.all_routes
        api = aws.apigateway.RestApi(
            name,
            name=called.name,
            endpoint_configuration={"types": "REGIONAL"},
            binary_media_types=list(args.binary_media_types) or None,
            # The provider keeps a size that is left out: -1 turns compression off.
            minimum_compression_size=str(
                -1 if args.minimum_compression_size is None else args.minimum_compression_size
            ),
            opts=self._child,
        )
        self._api = api
        # Pulumi deletes last, but a deployment is a snapshot: a removed method would be in it. So another list of
        # routes is created only after the methods are deleted. Callers do not notice: the stage has its deployment.
        # https://github.com/pulumi/pulumi-aws/issues/3289
        listed = [route.name for route in routes]
        listed += ["cors"] if args.cors_origin else []
        routes_listed = pulumi.Stash(
            f"{name}-routes",
            input=listed,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True, replacement_trigger=listed),
        )
        self._of_route = pulumi.ResourceOptions(parent=self, replace_with=[routes_listed])
        paths = self._paths()
        validator = (
            aws.apigateway.RequestValidator(
                f"{name}-validator", rest_api=api.id, validate_request_parameters=True, opts=self._child
            )
            if any(route.request_parameters for route in routes)
            else None
        )
        authorizer = self._authorizer(args.authorizer) if args.authorizer else None
        answers: list[pulumi.Resource] = [
            self._integration(route, paths[route.path], called.invoke_arn, validator, authorizer) for route in routes
        ]
        if args.cors_origin:
            answers += [self._preflight(path, paths[path]) for path in dict.fromkeys(route.path for route in routes)]
            answers += [self._gateway_response(kind) for kind in ("DEFAULT_4XX", "DEFAULT_5XX")]
        # A deployment is a snapshot of the routes. The trigger creates a new one when a route changes.
        # https://www.pulumi.com/registry/packages/aws/api-docs/apigateway/deployment/
        deployment = aws.apigateway.Deployment(
            f"{name}-deployment",
            rest_api=api.id,
            triggers={"routes": pulumi.Output.all(_snapshot(args), called.invoke_arn).apply(_fingerprint)},
            opts=pulumi.ResourceOptions(parent=self, depends_on=answers),
        )
        stage_arn = pulumi.Output.concat(api.execution_arn, f"/{args.stage}")
        permissions = create_permissions(name, routes, stage_arn, called, self._child)
        # Create the permissions before the stage, so that a change to the alias causes no failed calls.
        stage = self._stage(deployment, called.name, permissions)
        self.api_key = self._key(stage)
        self.domain_target = self._domain(args.domain, stage) if args.domain else pulumi.Output.from_input(None)
        base = pulumi.Output.from_input(args.domain.url) if args.domain else stage.invoke_url
        self.endpoint_url = base.apply(lambda url: f"{url}/{'/'.join(args.parts)}")
        self.register_outputs({output: getattr(self, output) for output in FunctionApi.__annotations__})

    def _paths(self) -> dict[str, pulumi.Output[str]]:
        """The IDs of all paths. Common parents are created once."""
        ids: dict[str, pulumi.Output[str]] = {"": self._api.root_resource_id}
        for parts in (route.parts for route in self._args.all_routes):
            for depth, part in enumerate(parts):
                above, path = "/".join(parts[:depth]), "/".join(parts[: depth + 1])
                if path not in ids:
                    ids[path] = aws.apigateway.Resource(
                        f"{self._prefix}-{slug(path)}",
                        rest_api=self._api.id,
                        parent_id=ids[above],
                        path_part=part,
                        opts=self._child,
                    ).id
        return {path or "/": resource_id for path, resource_id in ids.items()}

    def _integration(
        self,
        route: RestRoute,
        resource_id: pulumi.Output[str],
        invoke_arn: pulumi.Input[str],
        validator: "aws.apigateway.RequestValidator | None",
        authorizer: "aws.apigateway.Authorizer | None",
    ) -> "aws.apigateway.Integration":
        """The method of a route and its integration with the function."""
        method = aws.apigateway.Method(
            f"{self._prefix}-{route.name}-method",
            rest_api=self._api.id,
            resource_id=resource_id,
            http_method=route.method,
            authorization="NONE" if route.public else _authorization(self._args.authorizer),
            authorizer_id=authorizer.id if authorizer and not route.public else None,
            api_key_required=True if route.api_key else None,
            request_parameters={f"method.request.{name}": True for name in route.request_parameters} or None,
            request_validator_id=validator.id if validator and route.request_parameters else None,
            opts=self._of_route,
        )
        return aws.apigateway.Integration(
            f"{self._prefix}-{route.name}-integration",
            rest_api=self._api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            type="AWS_PROXY",
            integration_http_method="POST",
            uri=invoke_arn,
            opts=self._of_route,
        )

    def _authorizer(self, args: Authorizer) -> "aws.apigateway.Authorizer":
        """Who authorizes callers, with the permission to ask it."""
        aws_arn = (args.function or "").split(":")
        authorizer = aws.apigateway.Authorizer(
            f"{self._prefix}-authorizer",
            rest_api=self._api.id,
            type="TOKEN" if args.function else "COGNITO_USER_POOLS",
            identity_source=f"method.request.header.{args.header}",
            provider_arns=list(args.user_pools) or None,
            # https://docs.aws.amazon.com/apigateway/latest/api/API_CreateAuthorizer.html
            authorizer_uri=f"arn:{aws_arn[1]}:apigateway:{aws_arn[3]}:lambda:path/2015-03-31/functions/{args.function}"
            "/invocations"
            if args.function
            else None,
            authorizer_result_ttl_in_seconds=args.ttl,
            opts=self._child,
        )
        if args.function:
            function, _, alias = args.function.partition(":function:")[2].partition(":")
            aws.lambda_.Permission(
                f"{self._prefix}-authorizer-permission",
                function=f"{args.function.partition(':function:')[0]}:function:{function}",
                qualifier=alias or None,
                action="lambda:InvokeFunction",
                principal="apigateway.amazonaws.com",
                source_arn=pulumi.Output.concat(self._api.execution_arn, "/authorizers/", authorizer.id),
                opts=self._child,
            )
        return authorizer

    def _preflight(self, path: str, resource_id: pulumi.Output[str]) -> "aws.apigateway.IntegrationResponse":
        """API Gateway's response to preflight requests (OPTIONS) of browsers."""
        prefix = f"{self._prefix}-options-{slug(path)}"
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
            opts=self._of_route,
        )
        integration = aws.apigateway.Integration(
            f"{prefix}-integration",
            rest_api=self._api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            type="MOCK",
            request_templates={"application/json": '{"statusCode": 204}'},
            opts=self._of_route,
        )
        response = aws.apigateway.MethodResponse(
            f"{prefix}-response",
            rest_api=self._api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            status_code="204",
            response_parameters={f"method.response.header.{header}": True for header in headers},
            opts=self._of_route,
        )
        return aws.apigateway.IntegrationResponse(
            f"{prefix}-integration-response",
            rest_api=self._api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            status_code=response.status_code,
            response_parameters={f"method.response.header.{header}": f"'{value}'" for header, value in headers.items()},
            opts=pulumi.ResourceOptions.merge(self._of_route, pulumi.ResourceOptions(depends_on=[integration])),
        )

    def _gateway_response(self, kind: str) -> "aws.apigateway.Response":
        """The header without which a browser hides API Gateway's own errors from a page."""
        return aws.apigateway.Response(
            f"{self._prefix}-{kind.lower().replace('_', '-')}",
            rest_api_id=self._api.id,
            response_type=kind,
            response_parameters={"gatewayresponse.header.Access-Control-Allow-Origin": f"'{self._args.cors_origin}'"},
            opts=self._of_route,
        )

    def _logging(self) -> list[pulumi.Resource]:
        """The role with which API Gateway writes the logs of all APIs of the account and Region. It is kept."""
        if not self._args.logging_role:
            return []
        kept = pulumi.ResourceOptions(parent=self, retain_on_delete=True)
        role = aws.iam.Role(
            f"{self._prefix}-logging-role",
            assume_role_policy=json.dumps(iam.trust_policy("apigateway")),
            opts=kept,
        )
        policy = aws.iam.RolePolicyAttachment(
            f"{self._prefix}-logging-role-policy",
            role=role.name,
            policy_arn=role.arn.apply(
                lambda arn: f"arn:{arn.split(':')[1]}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
            ),
            opts=kept,
        )
        account = aws.apigateway.Account(
            f"{self._prefix}-account",
            cloudwatch_role_arn=role.arn,
            opts=pulumi.ResourceOptions.merge(kept, pulumi.ResourceOptions(depends_on=[policy])),
        )
        return [account]

    def _stage(
        self, deployment: "aws.apigateway.Deployment", api_name: str, permissions: "Sequence[aws.lambda_.Permission]"
    ) -> "aws.apigateway.Stage":
        """The stage with its access log and its settings."""
        args = self._args
        access_log = create_access_log(self._prefix, f"{api_name}/{args.stage}", args.access_log_retention, self._child)
        stage = aws.apigateway.Stage(
            f"{self._prefix}-stage",
            rest_api=self._api.id,
            deployment=deployment.id,
            stage_name=args.stage,
            access_log_settings=access_log,
            xray_tracing_enabled=True if args.tracing else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*permissions, *self._logging()]),
        )
        if args.throttle or args.execution_logs:
            # If the level is left out, the provider keeps the old value, so it is always set.
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

    def _domain(self, domain: Domain, stage: "aws.apigateway.Stage") -> pulumi.Output[str | None]:
        """The domain name of the stage, and its record if a hosted zone is given. Returns what a record refers to."""
        name = aws.apigateway.DomainName(
            f"{self._prefix}-domain",
            domain_name=domain.name,
            regional_certificate_arn=domain.certificate,
            security_policy=domain.security_policy,
            endpoint_configuration={"types": "REGIONAL"},
            opts=self._child,
        )
        aws.apigateway.BasePathMapping(
            f"{self._prefix}-domain-mapping",
            domain_name=name.domain_name,
            rest_api=self._api.id,
            stage_name=stage.stage_name,
            base_path=domain.base_path or None,
            opts=self._child,
        )
        create_record(self._prefix, domain, name.regional_domain_name, name.regional_zone_id, self._child)
        return name.regional_domain_name

    def _key(self, stage: "aws.apigateway.Stage") -> pulumi.Output[str | None]:
        """The key and its usage plan for the stage, if a route requires a key."""
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


def _authorization(authorizer: Authorizer | None) -> str:
    """How callers of a route that is not public show who they are."""
    if authorizer is None:
        return "AWS_IAM"
    return "CUSTOM" if authorizer.function else "COGNITO_USER_POOLS"


def _snapshot(args: RestApi) -> str:
    """The text of everything in a deployment. A changed text deploys the API again."""
    routes = [
        [route.path, route.method, route.public, route.api_key, list(route.request_parameters)]
        for route in args.all_routes
    ]
    # API Gateway's own errors have the header since this version; without an origin nothing is deployed again.
    authorizer = [args.authorizer.model_dump_json()] if args.authorizer else []
    return json.dumps([*routes, f"{args.cors_origin} errors" if args.cors_origin else "", *authorizer])


def _fingerprint(parts: list[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
