"""What a function is called through: a REST API, an HTTP API, a function URL, or nothing."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pulumi
import pulumi_aws as aws

from components.called import Called
from components.http_api import FunctionHttpApi, HttpApi
from components.limits import Switch
from components.model import ByType, Model, allowed
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


Endpoint = Annotated[RestApi | HttpApi | FunctionUrl | NoEndpoint, ByType("rest")]


def _none() -> pulumi.Output[str | None]:
    return pulumi.Output.from_input(None)


@dataclass(frozen=True, kw_only=True)
class Created:
    """The endpoint of a function. An output is None if the endpoint does not have it."""

    url: pulumi.Output[str | None] = field(default_factory=_none)
    api_key: pulumi.Output[str | None] = field(default_factory=_none)
    domain_target: pulumi.Output[str | None] = field(default_factory=_none)


def check_endpoint(prefix: str, endpoint: Endpoint, child: pulumi.ResourceOptions) -> Dependencies:
    """Check what can be known of an endpoint before resources exist. Returns what all other resources depend on."""
    return require_logging_role(prefix, endpoint, child) if isinstance(endpoint, RestApi) else []


def create_endpoint(endpoint: Endpoint, called: Called) -> Created:
    """Create what calls a function or its alias."""
    if isinstance(endpoint, RestApi):
        api = FunctionApi(f"{called.prefix}-api", endpoint, called)
        return Created(url=api.endpoint_url, api_key=api.api_key, domain_target=api.domain_target)
    if isinstance(endpoint, HttpApi):
        http_api = FunctionHttpApi(f"{called.prefix}-http-api", endpoint, called)
        return Created(url=http_api.endpoint_url, domain_target=http_api.domain_target)
    if isinstance(endpoint, NoEndpoint):
        return Created()
    grants = _public_grants(called) if endpoint.public else []
    url = aws.lambda_.FunctionUrl(
        f"{called.prefix}-url",
        function_name=called.function.name,
        qualifier=called.qualifier,
        authorization_type="NONE" if endpoint.public else "AWS_IAM",
        cors={"allow_origins": [endpoint.cors_origin]} if endpoint.cors_origin else None,
        opts=called.after(*grants),
    )
    known = pulumi.Output.all(url.function_url, *(grant.id for grant in grants))
    return Created(url=known.apply(lambda values: str(values[0])))


def _public_grants(called: Called) -> "list[aws.lambda_.Permission]":
    """The two statements that a public URL needs; otherwise it returns 403.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
    When the provider creates a public URL, it adds statements with these IDs if they are missing, and never removes
    them. So they are created before the URL, as resources of the stack.
    https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/lambda/function_url.go
    """
    return [
        called.permission(
            f"{called.prefix}-url-public",
            "*",
            statement_id="FunctionURLAllowPublicAccess",
            action="lambda:InvokeFunctionUrl",
            function_url_auth_type="NONE",
        ),
        called.permission(
            f"{called.prefix}-url-invoke",
            "*",
            statement_id="FunctionURLAllowInvokeAction",
            invoked_via_function_url=True,
        ),
    ]
