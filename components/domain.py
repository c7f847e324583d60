"""`Domain`: a domain name of one's own in front of an API."""

from typing import Annotated, Literal

import pulumi
import pulumi_aws as aws

from components.limits import UUID, regional_arn
from components.model import Model, allowed

SECURITY_POLICIES = ("TLS_1_2", "TLS_1_0")


class Domain(Model):
    """A domain name in front of an API.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-regional-api-custom-domain-create.html
    """

    name: Annotated[
        str,
        allowed(
            "a domain name in lower case, whose first part may be *",
            "api.example.com",
            pattern=r"^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$",
            max_length=253,
        ),
    ]
    """The domain name."""
    certificate: Annotated[
        str,
        regional_arn("the ARN of a certificate of ACM", "acm", "certificate/[a-zA-Z0-9-]+", f"certificate/{UUID}"),
    ]
    """Certificate for the name, in the API's Region."""
    base_path: Annotated[
        str, allowed("up to 300 letters, digits and - . _", "v1", pattern=r"^[a-zA-Z0-9._-]{0,300}$")
    ] = ""
    """First part of the path of all calls. Default: none.
    https://docs.aws.amazon.com/apigateway/latest/api/API_CreateBasePathMapping.html"""
    security_policy: Annotated[
        Literal[SECURITY_POLICIES],  # type: ignore[valid-type]  # the table is the type
        allowed(" or ".join(SECURITY_POLICIES), "TLS_1_2"),
    ] = "TLS_1_2"
    """Minimum version of TLS.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-custom-domain-tls-version.html"""
    hosted_zone: Annotated[
        str | None, allowed("the ID of a hosted zone", "Z0123456789ABCDEFGHIJ", pattern="^Z[A-Z0-9]{1,31}$")
    ] = None
    """Hosted zone of the same account in which the record is created. Default: create the record yourself, for the
    output `domainTarget`."""

    @property
    def url(self) -> str:
        """URL of the domain with its base path, without a slash at the end."""
        return f"https://{self.name}/{self.base_path}".rstrip("/")


def create_record(
    prefix: str,
    domain: Domain,
    target: pulumi.Input[str],
    target_zone: pulumi.Input[str],
    child: pulumi.ResourceOptions,
) -> None:
    """Create the alias record of a domain, if a hosted zone is given.

    https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-to-api-gateway.html
    """
    if domain.hosted_zone:
        aws.route53.Record(
            f"{prefix}-domain-record",
            zone_id=domain.hosted_zone,
            name=domain.name,
            type="A",
            aliases=[{"name": target, "zone_id": target_zone, "evaluate_target_health": False}],
            opts=child,
        )
