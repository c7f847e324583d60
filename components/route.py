"""Routes of an API: what REST and HTTP APIs have in common."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Annotated, Literal

import pulumi
import pulumi_aws as aws
from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from components.called import Called
from components.limits import RETENTION_DAYS, Switch
from components.model import Model, Whole, allowed, no_switch, rule

SLUG_CHARACTERS = 30
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "ANY")
TYPES = "rest, http, url or none"
PARAMETER = re.compile(r"\{[^}]*\}")
PART = r"[a-zA-Z0-9._-]+"
PATHS = (
    "/ or letters, digits and . _ - between single slashes, where no part is . or .. alone; a part may be a parameter "
    "such as {id}, and the last one {proxy+}, which takes the rest of the path"
)

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


def _refuse_dots(path: str) -> str:
    """Refuse the parts . and .., which clients resolve themselves."""
    if {".", ".."} & set(path.split("/")):
        raise PydanticCustomError("path", "a part is . or ..")
    return path


no_dots = AfterValidator(_refuse_dots)
PATH = rf"(/|(({PART}|\{{{PART}\}})/)*({PART}|\{{{PART}\+?\}}))"
CorsOrigin = Annotated[
    str, allowed("an origin without a path, or *", "https://example.com", pattern=r"^(\*|https?://[^\s/'*]+)$")
]

TokenHeader = Annotated[str, allowed("the name of a header", "Authorization", pattern="^[a-zA-Z0-9-]+$")]

AccessLogRetention = Annotated[
    Literal[(0, *RETENTION_DAYS)],  # type: ignore[valid-type]  # the table is the type
    BeforeValidator(no_switch),
    allowed(f"0 or one of {', '.join(map(str, RETENTION_DAYS))} days", 30),
]


class Route(Model):
    """A path and a method of an API."""

    path: Annotated[
        str,
        allowed(PATHS, "users/{id}", pattern=f"^{PATH}$"),
        no_dots,
    ] = "hello"
    """Path without a leading slash; `/` alone is the root.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-method-settings-method-request.html"""
    method: Annotated[
        Literal[METHODS],  # type: ignore[valid-type]  # the table is the type
        allowed(f"{', '.join(METHODS[:-1])} or {METHODS[-1]}", "GET"),
    ] = "GET"
    """HTTP method; `ANY` for all methods without a route."""
    public: Switch = False
    """Whether anyone may call it; otherwise callers sign with AWS credentials."""

    @property
    def parts(self) -> list[str]:
        """The parts of the path; none for the root."""
        return self.path.strip("/").split("/") if self.path != "/" else []

    @property
    def source(self) -> str:
        """Method and path as the end of an execution ARN: `GET/users/*`.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-control-access-using-iam-policies-to-invoke-api.html
        """
        # Of `ANY` the method is a wildcard in API Gateway's own ARN, of all others it is the method.
        return f"{'*' if self.method == 'ANY' else self.method}/{PARAMETER.sub('*', '/'.join(self.parts))}"

    @property
    def name(self) -> str:
        """Method and path as part of a name."""
        return f"{self.method.lower()}-{slug(self.path)}"


class Throttle(Model):
    """How many calls a stage takes; it answers more calls with 429.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
    """

    rate: Annotated[Whole, allowed("a whole number of calls a second, 1 or more", 100, ge=1)]
    """Calls a second."""
    burst: Annotated[Whole, allowed("a whole number of calls at once, 1 or more", 50, ge=1)]
    """Calls at once."""


def require_distinct(routes: Sequence[Route], *, beside_greedy: bool = False) -> None:
    """Refuse two routes of the same method and path, and two parameters in one place.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html

    Args:
        routes: of one API.
        beside_greedy: whether a parameter and {proxy+} may be in one place.
    """
    called = [f"{route.method} {route.path}" for route in routes]
    if twice := sorted({one for one in called if called.count(one) > 1}):
        raise rule(f"must have each method and path once; more than once: {', '.join(twice)}")
    parameters: dict[str, str] = {}
    for route in routes:
        for depth, part in enumerate(route.parts):
            above = "/".join(route.parts[:depth])
            is_other = beside_greedy and part.endswith("+}")
            if part.startswith("{") and not is_other and parameters.setdefault(above, part) != part:
                place = f"below {above}" if above else "at the top"
                raise rule(
                    f"must have one parameter in each place; {place} are {parameters[above]} and {part}. Use one name"
                )


def create_permissions(
    prefix: str, routes: Sequence[Route], stage_arn: pulumi.Output[str], called: Called, child: pulumi.ResourceOptions
) -> "list[aws.lambda_.Permission]":
    """Allow a stage to call the function for each of its routes."""
    return [
        called.permission(
            f"{prefix}-{route.name}-permission",
            "apigateway.amazonaws.com",
            child,
            source_arn=pulumi.Output.concat(stage_arn, f"/{route.source}"),
        )
        for route in routes
    ]


def create_access_log(
    prefix: str, name: str, retention: int, child: pulumi.ResourceOptions
) -> "aws.apigateway.StageAccessLogSettingsArgsDict | None":
    """Create the log group of a stage, unless its retention is 0. Returns the settings of the stage."""
    if not retention:
        return None
    log_group = aws.cloudwatch.LogGroup(
        f"{prefix}-access-log", name=f"/aws/apigateway/{name}", retention_in_days=retention, opts=child
    )
    return {"destination_arn": log_group.arn, "format": json.dumps(ACCESS_LOG_FIELDS)}


def slug(path: str) -> str:
    """A path as part of a name. Names become statement IDs, which are short and contain only letters, digits and -.

    A parameter that gets another name keeps its resource: API Gateway allows one in each place.
    """
    if re.fullmatch(rf"[a-zA-Z0-9]{{1,{SLUG_CHARACTERS}}}", path):
        return path
    path = PARAMETER.sub("{}", path)
    readable = re.sub(r"[^a-zA-Z0-9]+", "-", path).strip("-")[:SLUG_CHARACTERS]
    return f"{readable}-{hashlib.sha256(path.encode()).hexdigest()[:6]}"
