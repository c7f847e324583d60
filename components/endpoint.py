"""What a function is called through: a REST API, a function URL, or nothing."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pulumi
import pulumi_aws as aws
from pydantic import Discriminator, Tag

from components.limits import Switch
from components.model import Model, allowed
from components.rest_api import CorsOrigin, FunctionApi, RestApi


class FunctionUrl(Model):
    """A URL of the function's own, without API Gateway.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html
    """

    type: Annotated[Literal["url"], allowed("rest, url or none", "url")] = "url"
    """What the function is called through: a REST API, a function URL, or nothing."""
    public: Switch = False
    """Whether anyone may call it; otherwise callers sign with AWS credentials."""
    cors_origin: CorsOrigin | None = None
    """Origin whose pages may call it."""


class NoEndpoint(Model):
    """Nothing to call the function through."""

    type: Annotated[Literal["none"], allowed("rest, url or none", "none")] = "none"
    """What the function is called through: a REST API, a function URL, or nothing."""


def _endpoint_type(given: Any) -> str:
    """Which kind of endpoint is given; what is no kind is refused by that of the REST API."""
    kind = given.get("type", "rest") if isinstance(given, Mapping) else getattr(given, "type", "rest")
    return {"url": "FunctionUrl", "none": "NoEndpoint"}.get(kind if isinstance(kind, str) else "", "RestApi")


Endpoint = Annotated[
    Annotated[RestApi, Tag("RestApi")]
    | Annotated[FunctionUrl, Tag("FunctionUrl")]
    | Annotated[NoEndpoint, Tag("NoEndpoint")],
    Discriminator(_endpoint_type),
]


def create_endpoint(
    prefix: str,
    endpoint: RestApi | FunctionUrl | NoEndpoint,
    api_name: str,
    function: aws.lambda_.Function,
    alias: aws.lambda_.Alias | None,
    child: pulumi.ResourceOptions,
) -> tuple[pulumi.Output[str | None], pulumi.Output[str | None]]:
    """Create what calls a function or its alias. Returns its URL, and the key that it needs."""
    qualifier = alias.name if alias else None
    none: pulumi.Output[str | None] = pulumi.Output.from_input(None)
    if isinstance(endpoint, RestApi):
        api = FunctionApi(
            f"{prefix}-api",
            endpoint,
            api_name=api_name,
            function_name=function.name,
            invoke_arn=alias.invoke_arn if alias else function.invoke_arn,
            qualifier=qualifier,
            opts=child,
        )
        return api.endpoint_url.apply(lambda url: url), api.api_key
    if isinstance(endpoint, NoEndpoint):
        return none, none
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
    return known.apply(lambda values: str(values[0])), none


def _public_grants(
    prefix: str, function: pulumi.Input[str], qualifier: pulumi.Input[str] | None, child: pulumi.ResourceOptions
) -> list[aws.lambda_.Permission]:
    """The two statements without which a public URL answers 403.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
    The provider adds statements with these two IDs to a public URL that it creates, and never removes them. It
    takes the ones that are there already: so they are created before the URL, and belong to the stack.
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
