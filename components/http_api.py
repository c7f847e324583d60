"""`FunctionHttpApi`: an HTTP API whose routes call a Lambda function."""

from collections.abc import Sequence
from typing import Annotated, Literal

import pulumi
import pulumi_aws as aws
from pydantic import Field, ValidationInfo, field_validator

from components.called import Called
from components.domain import Domain, create_record
from components.model import Model, allowed, rule
from components.route import (
    PATH,
    PATHS,
    TYPES,
    AccessLogRetention,
    CorsOrigin,
    Route,
    Throttle,
    TokenHeader,
    create_access_log,
    create_permissions,
    no_dots,
    require_distinct,
)

DEFAULT = "$default"


class HttpRoute(Route):
    """A path and a method of an HTTP API."""

    path: Annotated[str, allowed(f"{DEFAULT}, {PATHS}", "users/{id}", pattern=rf"^(\$default|{PATH})$"), no_dots] = (
        "hello"
    )
    """Path without a leading slash; `/` alone is the root. `$default` matches all calls that no other route matches.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html"""

    @property
    def key(self) -> str:
        """The route key."""
        return DEFAULT if self.path == DEFAULT else f"{self.method} /{'/'.join(self.parts)}"

    @property
    def source(self) -> str:
        """Method and path as the end of an execution ARN: `GET/users/*`."""
        return DEFAULT if self.path == DEFAULT else super().source


class JwtAuthorizer(Model):
    """Whose tokens authorize callers of routes that are not public, in place of AWS credentials.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html
    """

    issuer: Annotated[
        str, allowed("an https URL", "https://example.auth0.com/", pattern=r"^https://[^\s/?#]+(/[^\s?#]*)?$")
    ]
    """Issuer of the tokens, without `/.well-known/openid-configuration`."""
    audience: Annotated[
        Sequence[Annotated[str, Field(min_length=1)]],
        allowed("a list of one audience or more", ["orders"], min_length=1, max_length=50),
    ]
    """Accepted audiences or client IDs of a token."""
    header: TokenHeader = "Authorization"
    """Header with the token."""


class HttpApi(HttpRoute):
    """An HTTP API to call a function through, cheaper than a REST API; its own path and method are its first route."""

    type: Annotated[Literal["http"], allowed(TYPES, "http")] = "http"
    """Type of the endpoint: a REST API, an HTTP API, a function URL, or none."""
    stage: Annotated[
        str,
        allowed(
            "$default, or 1 to 128 letters, digits, - and _", "Prod", pattern=r"^(\$default|[a-zA-Z0-9_-]{1,128})$"
        ),
    ] = DEFAULT
    """Name of the stage, which is the first part of every path; that of `$default` is not.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-stages.html"""
    routes: Annotated[Sequence[HttpRoute], allowed("a list of routes", [{"path": "bye", "public": True}])] = ()
    """Further routes."""
    throttle: Throttle | None = None
    """Limits for the calls of all routes together. Default: the limits of the account."""
    access_log_retention: AccessLogRetention = 0
    """Days that lines of the access log are kept; 0: no access log."""
    cors_origin: CorsOrigin | None = None
    """Origin whose pages may call it. API Gateway answers the browser's preflight and sends the headers of all answers.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html"""
    authorizer: JwtAuthorizer | None = None
    """Authorizer of routes that are not public. Default: callers sign requests with AWS credentials."""
    domain: Domain | None = None
    """Domain name that callers use. Default: that of API Gateway."""

    @field_validator("routes")
    @classmethod
    def _distinct(cls, routes: Sequence[HttpRoute], info: ValidationInfo) -> Sequence[HttpRoute]:
        own = {name: info.data[name] for name in ("path", "method") if name in info.data}
        require_distinct([*([HttpRoute(**own)] if len(own) == 2 else []), *routes], beside_greedy=True)
        return routes

    @field_validator("domain")
    @classmethod
    def _of_an_http_api(cls, domain: Domain | None) -> Domain | None:
        if domain and domain.security_policy != "TLS_1_2":
            raise rule("must be TLS_1_2, the only version of HTTP APIs", "security_policy")
        return domain

    @property
    def all_routes(self) -> list[HttpRoute]:
        """Its own and the further ones."""
        return [self, *self.routes]


class FunctionHttpApi(pulumi.ComponentResource):
    """An HTTP API that hands its routes to a Lambda function.

    A change of a route is live at once.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """

    endpoint_url: pulumi.Output[str]
    """URL of the first route."""
    domain_target: pulumi.Output[str | None]
    """Name that the record of the domain refers to; None without a domain."""

    def __init__(self, name: str, args: HttpApi, called: Called) -> None:
        super().__init__("cross-account-ecr:index:FunctionHttpApi", name, None, called.opts)
        self._prefix, self._args, self._child = name, args, pulumi.ResourceOptions(parent=self)
        methods = sorted({route.method for route in args.all_routes if route.path != DEFAULT} - {"ANY"})
        every = any(route.method == "ANY" or route.path == DEFAULT for route in args.all_routes)
        api = aws.apigatewayv2.Api(
            name,
            name=called.name,
            protocol_type="HTTP",
            cors_configuration={
                "allow_origins": [args.cors_origin],
                "allow_methods": ["*"] if every else methods,
                "allow_headers": ["authorization", "content-type", "x-amz-date", "x-amz-security-token"],
            }
            if args.cors_origin
            else None,
            opts=self._child,
        )
        self._api = api
        integration = aws.apigatewayv2.Integration(
            f"{name}-integration",
            api_id=api.id,
            integration_type="AWS_PROXY",
            integration_uri=called.invoke_arn,
            payload_format_version="2.0",
            opts=self._child,
        )
        authorizer = self._authorizer(args.authorizer) if args.authorizer else None
        routes: list[pulumi.Resource] = [
            aws.apigatewayv2.Route(
                f"{name}-{route.name}-route",
                api_id=api.id,
                route_key=route.key,
                target=pulumi.Output.concat("integrations/", integration.id),
                authorization_type="NONE" if route.public else "JWT" if authorizer else "AWS_IAM",
                authorizer_id=authorizer.id if authorizer and not route.public else None,
                opts=self._child,
            )
            for route in args.all_routes
        ]
        stage_arn = pulumi.Output.concat(api.execution_arn, f"/{args.stage}")
        routes += create_permissions(name, args.all_routes, stage_arn, called, self._child)
        stage = self._stage(called.name, routes)
        self.domain_target = self._domain(args.domain, stage) if args.domain else pulumi.Output.from_input(None)
        named = "" if args.stage == DEFAULT else f"/{args.stage}"
        base = args.domain.url if args.domain else pulumi.Output.concat(api.api_endpoint, named)
        path = "/".join(args.parts) if args.path != DEFAULT else ""
        # The URL is known when it answers.
        self.endpoint_url = pulumi.Output.all(base, stage.id).apply(lambda known: f"{known[0]}/{path}")
        self.register_outputs({output: getattr(self, output) for output in FunctionHttpApi.__annotations__})

    def _authorizer(self, args: JwtAuthorizer) -> "aws.apigatewayv2.Authorizer":
        return aws.apigatewayv2.Authorizer(
            f"{self._prefix}-authorizer",
            api_id=self._api.id,
            authorizer_type="JWT",
            identity_sources=[f"$request.header.{args.header}"],
            jwt_configuration={"issuer": args.issuer, "audiences": list(args.audience)},
            opts=self._child,
        )

    def _stage(self, api_name: str, routes: Sequence[pulumi.Resource]) -> "aws.apigatewayv2.Stage":
        """The stage with its access log and its limits, which deploys every change."""
        args = self._args
        # A log group's name has no $.
        # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
        access_log = create_access_log(
            self._prefix, f"{api_name}/{args.stage.strip('$')}", args.access_log_retention, self._child
        )
        throttle = args.throttle
        return aws.apigatewayv2.Stage(
            f"{self._prefix}-stage",
            api_id=self._api.id,
            name=args.stage,
            auto_deploy=True,
            access_log_settings=access_log,
            default_route_settings={
                "throttling_rate_limit": float(throttle.rate),
                "throttling_burst_limit": throttle.burst,
            }
            if throttle
            else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=routes),
        )

    def _domain(self, domain: Domain, stage: "aws.apigatewayv2.Stage") -> pulumi.Output[str | None]:
        """The domain name of the stage, and its record if a hosted zone is given. Returns what a record refers to."""
        name = aws.apigatewayv2.DomainName(
            f"{self._prefix}-domain",
            domain_name=domain.name,
            domain_name_configuration={
                "certificate_arn": domain.certificate,
                "endpoint_type": "REGIONAL",
                "security_policy": domain.security_policy,
            },
            opts=self._child,
        )
        aws.apigatewayv2.ApiMapping(
            f"{self._prefix}-domain-mapping",
            api_id=self._api.id,
            domain_name=name.domain_name,
            stage=stage.name,
            api_mapping_key=domain.base_path or None,
            opts=self._child,
        )
        target = name.domain_name_configuration.target_domain_name
        create_record(self._prefix, domain, target, name.domain_name_configuration.hosted_zone_id, self._child)
        return target
