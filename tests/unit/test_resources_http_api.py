"""The HTTP API: its routes, who may call them, its stage, and the same options under the same names as a REST API."""

import json
from typing import Any

import pytest

from components.errors import InvalidConfiguration
from tests.unit.conftest import Deploy
from tests.unit.recorder import DIGEST
from tests.unit.registered import Deployed, grants, lets

GATEWAY = "aws:apigatewayv2/"
ROUTE, STAGE = f"{GATEWAY}route:Route", f"{GATEWAY}stage:Stage"
EXECUTE = "arn:aws:execute-api:us-east-1:222222222222:api"
FUNCTION = "arn:aws:lambda:us-east-1:222222222222:function:cross-account-function"
CERTIFICATE = "arn:aws:acm:us-east-1:222222222222:certificate/1234"


def with_api(deploy: Deploy, *, function: dict[str, Any] | None = None, **api: Any) -> Deployed:
    return deploy("consumer", image={"digest": DIGEST}, function=function, api={"type": "http", **api})


def test_a_call_is_handed_to_the_function_as_it_is(deploy: Deploy) -> None:
    done = with_api(deploy, function={"name": "orders"}, path="users/{id}", method="PUT")
    api, integration = done.one(f"{GATEWAY}api:Api"), done.one(f"{GATEWAY}integration:Integration")
    assert api.inputs == {"name": "orders", "protocolType": "HTTP"}
    assert integration.inputs == {
        "apiId": f"{api.name}-id",
        "integrationType": "AWS_PROXY",
        "integrationUri": "arn:aws:apigateway:us-east-1:lambda:path/orders/invocations",
        "payloadFormatVersion": "2.0",
    }
    assert done.one(ROUTE).inputs == {
        "apiId": f"{api.name}-id",
        "routeKey": "PUT /users/{id}",
        "target": f"integrations/{integration.name}-id",
        "authorizationType": "AWS_IAM",
    }
    assert not [one for one in done.resources if one.type.startswith("aws:apigateway/")]


@pytest.mark.parametrize(
    ("api", "key", "url"),
    [
        ({"path": "/"}, "GET /", "/"),
        ({"path": "{proxy+}", "method": "ANY"}, "ANY /{proxy+}", "/{proxy+}"),
        ({"path": "$default"}, "$default", "/"),
        ({"path": "hello", "stage": "Test"}, "GET /hello", "/Test/hello"),
    ],
)
def test_the_url_is_that_of_the_first_route(deploy: Deploy, api: dict[str, Any], key: str, url: str) -> None:
    done = with_api(deploy, **api)
    assert done.one(ROUTE).inputs["routeKey"] == key
    assert done.outputs["endpointUrl"] == f"https://api.execute-api.us-east-1.amazonaws.com{url}"
    assert done.outputs["apiKey"] is None


def test_the_api_may_call_the_function_for_exactly_its_routes(deploy: Deploy) -> None:
    policy = grants(with_api(deploy, path="users/{id}", routes=[{"path": "v1/orders", "method": "POST"}]))

    def may_call(source: str) -> bool:
        keys = {"aws:SourceArn": f"{EXECUTE}/{source}"}
        return lets(policy, "lambda:InvokeFunction", FUNCTION, service="apigateway.amazonaws.com", keys=keys)

    assert may_call("$default/GET/users/{id}")
    assert may_call("$default/POST/v1/orders")
    assert not may_call("$default/GET/v1/orders")
    assert not may_call("Prod/POST/v1/orders")
    default = grants(with_api(deploy, path="$default"))
    keys = {"aws:SourceArn": f"{EXECUTE}/$default/$default"}
    assert lets(default, "lambda:InvokeFunction", FUNCTION, service="apigateway.amazonaws.com", keys=keys)


def test_the_stage_deploys_every_change_after_what_it_needs(deploy: Deploy) -> None:
    done = with_api(deploy, path="hello", routes=[{"path": "bye"}])
    stage = done.one(STAGE)
    assert stage.inputs == {"apiId": "function-http-api-id", "name": "$default", "autoDeploy": True}
    needed = {one.name for kind in (ROUTE, "aws:lambda/permission:Permission") for one in done.of(kind)}
    assert len(needed) == 4
    assert needed <= stage.depends_on


def test_options_of_a_rest_api_have_the_same_names(deploy: Deploy) -> None:
    limits, origin = {"rate": 100, "burst": 50}, "https://example.com"
    done = with_api(deploy, path="hello", throttle=limits, accessLogRetention=30, corsOrigin=origin)
    stage = done.one(STAGE).inputs
    assert stage["defaultRouteSettings"] == {"throttlingRateLimit": 100, "throttlingBurstLimit": 50}
    # A name of a log group has no $.
    group = done.one("aws:cloudwatch/logGroup:LogGroup", name="/aws/apigateway/cross-account-function/default")
    assert group.inputs["retentionInDays"] == 30
    assert stage["accessLogSettings"]["destinationArn"].endswith(group.inputs["name"])
    assert json.loads(stage["accessLogSettings"]["format"])["status"] == "$context.status"
    cors = done.one(f"{GATEWAY}api:Api").inputs["corsConfiguration"]
    assert (cors["allowOrigins"], cors["allowMethods"]) == ([origin], ["GET"])
    assert "authorization" in cors["allowHeaders"]
    every = with_api(deploy, path="$default", corsOrigin=origin).one(f"{GATEWAY}api:Api").inputs
    assert every["corsConfiguration"]["allowMethods"] == ["*"]


def test_a_token_of_an_issuer_authorizes_what_is_not_public(deploy: Deploy) -> None:
    authorizer = {"issuer": "https://example.com/", "audience": ["orders"]}
    done = with_api(deploy, path="hello", routes=[{"path": "open", "public": True}], authorizer=authorizer)
    found = done.one(f"{GATEWAY}authorizer:Authorizer")
    assert found.inputs == {
        "apiId": "function-http-api-id",
        "authorizerType": "JWT",
        "identitySources": ["$request.header.Authorization"],
        "jwtConfiguration": {"issuer": "https://example.com/", "audiences": ["orders"]},
    }
    routes = {one.inputs["routeKey"]: one.inputs for one in done.of(ROUTE)}
    assert (routes["GET /hello"]["authorizationType"], routes["GET /hello"]["authorizerId"]) == (
        "JWT",
        f"{found.name}-id",
    )
    assert routes["GET /open"]["authorizationType"] == "NONE"
    assert "authorizerId" not in routes["GET /open"]


def test_a_domain_is_in_front_of_the_stage(deploy: Deploy) -> None:
    domain = {"name": "api.example.com", "certificate": CERTIFICATE, "basePath": "v1"}
    done = with_api(deploy, path="hello", domain=domain)
    assert done.one(f"{GATEWAY}domainName:DomainName").inputs["domainNameConfiguration"] == {
        "certificateArn": CERTIFICATE,
        "endpointType": "REGIONAL",
        "securityPolicy": "TLS_1_2",
    }
    assert done.one(f"{GATEWAY}apiMapping:ApiMapping").inputs == {
        "apiId": "function-http-api-id",
        "domainName": "api.example.com",
        "stage": "$default",
        "apiMappingKey": "v1",
    }
    assert done.outputs["endpointUrl"] == "https://api.example.com/v1/hello"
    assert done.outputs["domainTarget"] == "d-1.execute-api.us-east-1.amazonaws.com"


def test_a_parameter_may_be_beside_a_greedy_one(deploy: Deploy) -> None:
    done = with_api(deploy, path="{id}", routes=[{"path": "{proxy+}"}])
    assert {one.inputs["routeKey"] for one in done.of(ROUTE)} == {"GET /{id}", "GET /{proxy+}"}


@pytest.mark.parametrize(
    ("api", "expected"),
    [
        ({"apiKey": True}, "api.apiKey: is not an option; the options are path, method, public"),
        ({"stage": "$live"}, 'api.stage: "$live" is not allowed; it must be $default, or'),
        ({"routes": [{"path": "hello"}]}, "more than once: GET hello"),
        ({"authorizer": {"issuer": "example.com"}}, 'api.authorizer.issuer: "example.com" is not allowed'),
        ({"authorizer": {"issuer": "https://example.com"}}, "api.authorizer.audience: is missing"),
        (
            {"domain": {"name": "a.example.com", "certificate": CERTIFICATE, "securityPolicy": "TLS_1_0"}},
            "api.domain.securityPolicy: must be TLS_1_2",
        ),
        ({"type": "https"}, 'api.type: "https" is not allowed; it must be rest, http, url or none'),
    ],
)
def test_what_is_no_option_of_an_http_api_is_refused(deploy: Deploy, api: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        with_api(deploy, **api)
    assert expected in str(refused.value)
