"""What a function is called through: a REST API, an HTTP API, a function URL, or nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pulumi
import pulumi_aws as aws
from pydantic import BeforeValidator, Discriminator, Tag

from components.http_api import FunctionHttpApi, HttpApi
from components.limits import Switch
from components.model import Model, allowed, rule
from components.rest_api import Dependencies, FunctionApi, RestApi, require_logging_role
from components.route import TYPES, CorsOrigin


class FunctionUrl(Model):
    """A function URL, without API Gateway.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html
    """

    type: Annotated[Literal["url"], allowed(TYPES, "url")] = "url"
    """Type of the endpoint: a REST API, an HTTP API, a function URL, or none."""
    public: Switch = False
    """Whether everyone may call it. Otherwise callers sign requests with AWS credentials."""
    cors_origin: CorsOrigin | None = None
    """Origin whose web pages may call it."""


class NoEndpoint(Model):
    """No endpoint."""

    type: Annotated[Literal["none"], allowed(TYPES, "none")] = "none"
    """Type of the endpoint: a REST API, an HTTP API, a function URL, or none."""


KINDS: Mapping[str, type[Model]] = {"rest": RestApi, "http": HttpApi, "url": FunctionUrl, "none": NoEndpoint}


def _kind(given: Any) -> str:
    """Which kind of endpoint is given: a REST API, if nothing is said."""
    kind = given.get("type", "rest") if isinstance(given, Mapping) else getattr(given, "type", "rest")
    return KINDS[kind].__name__ if isinstance(kind, str) and kind in KINDS else "RestApi"


def _of_a_kind(given: Any) -> Any:
    """Refuse a type that does not exist, and none of the options, which belong to no type."""
    kind = given.get("type", "rest") if isinstance(given, Mapping) else "rest"
    if kind not in list(KINDS):
        said = f"{json.dumps(kind, default=str)} is not allowed; it must be {TYPES}"
        raise rule(said, "type")
    return given


Endpoint = Annotated[
    Annotated[RestApi, Tag("RestApi")]
    | Annotated[HttpApi, Tag("HttpApi")]
    | Annotated[FunctionUrl, Tag("FunctionUrl")]
    | Annotated[NoEndpoint, Tag("NoEndpoint")],
    Discriminator(_kind),
    BeforeValidator(_of_a_kind),
]


def _none() -> pulumi.Output[str | None]:
    return pulumi.Output.from_input(None)


@dataclass(frozen=True, kw_only=True)
class Created:
    """The endpoint of a function. An output is None if the endpoint does not have it."""

    url: pulumi.Output[str | None] = field(default_factory=_none)
    api_key: pulumi.Output[str | None] = field(default_factory=_none)
    domain_target: pulumi.Output[str | None] = field(default_factory=_none)


def check_endpoint(
    prefix: str, endpoint: RestApi | HttpApi | FunctionUrl | NoEndpoint, child: pulumi.ResourceOptions
) -> Dependencies:
    """Check what can be known of an endpoint before resources exist. Returns what all other resources depend on."""
    return require_logging_role(prefix, endpoint, child) if isinstance(endpoint, RestApi) else []


def create_endpoint(
    prefix: str,
    endpoint: RestApi | HttpApi | FunctionUrl | NoEndpoint,
    api_name: str,
    function: aws.lambda_.Function,
    alias: aws.lambda_.Alias | None,
    child: pulumi.ResourceOptions,
) -> Created:
    """Create what calls a function or its alias."""
    qualifier = alias.name if alias else None
    called: dict[str, Any] = {
        "api_name": api_name,
        "function_name": function.name,
        "invoke_arn": alias.invoke_arn if alias else function.invoke_arn,
        "qualifier": qualifier,
        "opts": child,
    }
    if isinstance(endpoint, RestApi):
        api = FunctionApi(f"{prefix}-api", endpoint, **called)
        return Created(url=_some(api.endpoint_url), api_key=api.api_key, domain_target=api.domain_target)
    if isinstance(endpoint, HttpApi):
        http_api = FunctionHttpApi(f"{prefix}-http-api", endpoint, **called)
        return Created(url=_some(http_api.endpoint_url), domain_target=http_api.domain_target)
    if isinstance(endpoint, NoEndpoint):
        return Created()
    grants = _public_grants(prefix, function.name, qualifier, child) if endpoint.public else []
    url = aws.lambda_.FunctionUrl(
        f"{prefix}-url",
        function_name=function.name,
        qualifier=qualifier,
        authorization_type="NONE" if endpoint.public else "AWS_IAM",
        cors={"allow_origins": [endpoint.cors_origin]} if endpoint.cors_origin else None,
        opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=grants)),
    )
    known = pulumi.Output.all(url.function_url, *(grant.id for grant in grants))
    return Created(url=known.apply(lambda values: str(values[0])))


def _some(known: pulumi.Output[str]) -> pulumi.Output[str | None]:
    return known.apply(lambda value: value)


def _public_grants(
    prefix: str, function: pulumi.Input[str], qualifier: pulumi.Input[str] | None, child: pulumi.ResourceOptions
) -> list[aws.lambda_.Permission]:
    """The two statements that a public URL needs; otherwise it returns 403.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
    When the provider creates a public URL, it adds statements with these IDs if they are missing, and never removes
    them. So they are created before the URL, as resources of the stack.
    https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/lambda/function_url.go
    """
    return [
        aws.lambda_.Permission(
            f"{prefix}-url-public",
            statement_id="FunctionURLAllowPublicAccess",
            function=function,
            qualifier=qualifier,
            principal="*",
            action="lambda:InvokeFunctionUrl",
            function_url_auth_type="NONE",
            opts=child,
        ),
        aws.lambda_.Permission(
            f"{prefix}-url-invoke",
            statement_id="FunctionURLAllowInvokeAction",
            function=function,
            qualifier=qualifier,
            principal="*",
            action="lambda:InvokeFunction",
            invoked_via_function_url=True,
            opts=child,
        ),
    ]
