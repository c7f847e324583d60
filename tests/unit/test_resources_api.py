"""The REST API: its routes, who may call them, its stage, its key, and the answers to a browser's preflight."""

import json
import re
from typing import Any

import pytest

from components.errors import InvalidConfiguration, LoggingRoleMissing
from tests.unit.conftest import Deploy
from tests.unit.recorder import DIGEST, Recorder
from tests.unit.registered import Deployed, grants, lets

API = "aws:apigateway/restApi:RestApi"
RESOURCE = "aws:apigateway/resource:Resource"
METHOD = "aws:apigateway/method:Method"
INTEGRATION = "aws:apigateway/integration:Integration"
METHOD_RESPONSE = "aws:apigateway/methodResponse:MethodResponse"
INTEGRATION_RESPONSE = "aws:apigateway/integrationResponse:IntegrationResponse"
DEPLOYMENT = "aws:apigateway/deployment:Deployment"
STAGE = "aws:apigateway/stage:Stage"
SETTINGS = "aws:apigateway/methodSettings:MethodSettings"
VALIDATOR = "aws:apigateway/requestValidator:RequestValidator"
GATEWAY_RESPONSE = "aws:apigateway/response:Response"
ACCOUNT = "aws:apigateway/account:Account"
KEY = "aws:apigateway/apiKey:ApiKey"
PLAN = "aws:apigateway/usagePlan:UsagePlan"
PLAN_KEY = "aws:apigateway/usagePlanKey:UsagePlanKey"
PERMISSION = "aws:lambda/permission:Permission"
LOGS = "aws:cloudwatch/logGroup:LogGroup"

GATEWAY = "aws:apigateway/"
AUTHORIZERS = f"{GATEWAY}authorizer:Authorizer"
POOL = "arn:aws:cognito-idp:us-east-1:222222222222:userpool/us-east-1_Ab1"
AUTHORIZER = "arn:aws:lambda:us-east-1:222222222222:function:authorizer"
CERTIFICATE = "arn:aws:acm:us-east-1:222222222222:certificate/1234"
FUNCTION = "arn:aws:lambda:us-east-1:222222222222:function:cross-account-function"
EXECUTE = "arn:aws:execute-api:us-east-1:222222222222:api"
INVOKE = "arn:aws:apigateway:us-east-1:lambda:path/cross-account-function/invocations"


def with_api(deploy: Deploy, *, function: dict[str, Any] | None = None, **api: Any) -> Deployed:
    return deploy("consumer", image={"digest": DIGEST}, function=function, api=api or None)


def test_the_api_is_regional_and_has_the_functions_name(deploy: Deploy) -> None:
    api = with_api(deploy, function={"name": "orders"}).one(API)
    assert api.name == "function-api"
    # The provider keeps a compression that is left out: -1 turns it off.
    regional = {"endpointConfiguration": {"types": "REGIONAL"}, "minimumCompressionSize": "-1"}
    assert api.inputs == {"name": "orders", **regional}


@pytest.mark.parametrize("size", [0, 1024])
def test_answers_are_compressed_and_bytes_stay_bytes_on_request(deploy: Deploy, size: int) -> None:
    types = ["image/png", "application/*"]
    api = with_api(deploy, path="hello", minimumCompressionSize=size, binaryMediaTypes=types).one(API)
    assert api.inputs["minimumCompressionSize"] == str(size)
    assert api.inputs["binaryMediaTypes"] == types


def test_a_call_is_handed_to_the_function_as_it_is(deploy: Deploy) -> None:
    done = with_api(deploy, path="v1/hello", method="PUT")
    resource = done.one(RESOURCE, pathPart="hello")
    method, integration = done.one(METHOD), done.one(INTEGRATION)
    assert method.inputs == {
        "restApi": "function-api-id",
        "resourceId": f"{resource.name}-id",
        "httpMethod": "PUT",
        "authorization": "AWS_IAM",
    }
    assert integration.inputs == {
        "restApi": "function-api-id",
        "resourceId": f"{resource.name}-id",
        "httpMethod": "PUT",
        "type": "AWS_PROXY",
        # Lambda's API knows POST only, whatever the caller's method is.
        "integrationHttpMethod": "POST",
        "uri": INVOKE,
    }
    assert method.name in integration.depends_on


@pytest.mark.parametrize(("public", "authorization"), [(True, "NONE"), (False, "AWS_IAM"), (None, "AWS_IAM")])
def test_callers_sign_unless_a_route_is_public(deploy: Deploy, public: bool | None, authorization: str) -> None:
    api = {"path": "bye"} if public is None else {"public": public}
    assert with_api(deploy, **api).one(METHOD).inputs["authorization"] == authorization


def test_each_route_has_its_own_options(deploy: Deploy) -> None:
    routes = [
        {"path": "a", "public": True},
        {"path": "b", "apiKey": True},
        {"path": "c", "method": "POST", "requestParameters": ["header.X-Tenant"]},
    ]
    done = with_api(deploy, path="hello", routes=routes)
    found = {}
    parts = {f"{one.name}-id": one.inputs["pathPart"] for one in done.of(RESOURCE)}
    for method in done.of(METHOD):
        path = parts[method.inputs["resourceId"]]
        found[path] = {key: method.inputs.get(key) for key in ("httpMethod", "authorization", "apiKeyRequired")}
        has_validator = method.inputs.get("requestValidatorId") == "function-api-validator-id"
        assert has_validator == (path == "c")
        assert method.inputs.get("requestParameters") == (
            {"method.request.header.X-Tenant": True} if path == "c" else None
        )
    assert found == {
        "hello": {"httpMethod": "GET", "authorization": "AWS_IAM", "apiKeyRequired": None},
        "a": {"httpMethod": "GET", "authorization": "NONE", "apiKeyRequired": None},
        "b": {"httpMethod": "GET", "authorization": "AWS_IAM", "apiKeyRequired": True},
        "c": {"httpMethod": "POST", "authorization": "AWS_IAM", "apiKeyRequired": None},
    }
    validator = done.one(VALIDATOR)
    assert validator.inputs.items() >= {"restApi": "function-api-id", "validateRequestParameters": True}.items()
    # The first route is the endpoint.
    assert done.outputs["endpointUrl"].endswith("/Prod/hello")


def test_paths_are_a_tree_of_which_each_part_is_there_once(deploy: Deploy) -> None:
    routes = [{"path": "v1/orders"}, {"path": "v1/orders", "method": "POST"}, {"path": "orders"}]
    done = with_api(deploy, path="v1", routes=routes)
    parents = {f"{one.name}-id": (one.inputs["parentId"], one.inputs["pathPart"]) for one in done.of(RESOURCE)}

    def whole(resource: str) -> str:
        parent, part = parents[resource]
        return part if parent == "root" else f"{whole(parent)}/{part}"

    assert sorted(map(whole, parents)) == ["orders", "v1", "v1/orders"]
    assert {one.inputs["restApi"] for one in done.of(RESOURCE)} == {"function-api-id"}
    assert {whole(one.inputs["resourceId"]) for one in done.of(METHOD)} == {"orders", "v1", "v1/orders"}


def test_a_framework_gets_every_path_and_method(deploy: Deploy) -> None:
    done = with_api(deploy, path="/", method="ANY", routes=[{"path": "{proxy+}", "method": "ANY"}])
    proxy = done.one(RESOURCE)
    assert (proxy.inputs["parentId"], proxy.inputs["pathPart"]) == ("root", "{proxy+}")
    assert {one.inputs["resourceId"] for one in done.of(METHOD)} == {"root", f"{proxy.name}-id"}
    assert {one.inputs["httpMethod"] for one in done.of(METHOD)} == {"ANY"}
    assert done.outputs["endpointUrl"].endswith("/Prod/")


def test_a_parameter_with_another_name_keeps_its_resource(deploy: Deploy) -> None:
    # API Gateway refuses a second one in the same place, and Pulumi would create it before it deletes the first.
    names = [[one.name for one in with_api(deploy, path=f"users/{part}/x").of(RESOURCE)] for part in ("{id}", "{name}")]
    assert names[0] == names[1]
    assert len(set(names[0])) == 3


@pytest.mark.parametrize(
    ("api", "expected"),
    [
        ({"path": "users/{id"}, 'api.path: "users/{id" is not allowed; it must be / or letters'),
        ({"path": "{rest+}/more"}, 'api.path: "{rest+}/more" is not allowed'),
        ({"path": "/hello"}, 'api.path: "/hello" is not allowed'),
        ({"path": "a{id}"}, 'api.path: "a{id}" is not allowed'),
        (
            {"path": "users/{id}", "routes": [{"path": "users/{name}/orders"}]},
            "api.routes: must have one parameter in each place; below users are {id} and {name}. Use one name",
        ),
        ({"path": "{id}", "routes": [{"path": "{proxy+}"}]}, "at the top are {id} and {proxy+}"),
        ({"authorizer": {"ttl": 5}}, "api.authorizer: must have `userPools` or `function`"),
        (
            {"authorizer": {"userPools": [POOL], "function": AUTHORIZER}},
            "api.authorizer.function: cannot be combined with `userPools`",
        ),
        ({"authorizer": {"userPools": ["pool"]}}, 'api.authorizer.userPools[0]: "pool" is not allowed'),
        ({"authorizer": {"function": "authorizer"}}, 'api.authorizer.function: "authorizer" is not allowed'),
        ({"domain": {"name": "api"}}, 'api.domain.name: "api" is not allowed; it must be a domain name'),
        ({"domain": {"name": "api"}}, "api.domain.certificate: is missing"),
        ({"binaryMediaTypes": ["png"]}, 'api.binaryMediaTypes[0]: "png" is not allowed'),
        ({"method": "ANY", "corsOrigin": "*"}, "api.corsOrigin: must not be set with a route for OPTIONS or ANY"),
        (
            {"routes": [{"path": "bye", "method": "OPTIONS"}], "corsOrigin": "*"},
            "api.corsOrigin: must not be set with a route for OPTIONS or ANY, which answers the preflight itself",
        ),
        ({"minimumCompressionSize": -1}, "api.minimumCompressionSize: -1 is not allowed; it must be a whole number"),
        ({"path": "/", "routes": [{"path": "/"}]}, "api.routes: must have each method and path once; more than once: "),
    ],
)
def test_what_api_gateway_refuses_is_refused_before_anything_is_created(
    deploy: Deploy, api: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        with_api(deploy, **api)
    assert expected in str(refused.value)


def test_a_change_of_the_routes_deletes_their_methods_before_anything_is_deployed(deploy: Deploy) -> None:
    done = with_api(deploy, path="hello", routes=[{"path": "bye"}], corsOrigin="*")
    listed = done.one("pulumi:index:Stash")
    assert listed.inputs["input"] == ["get-hello", "get-bye", "cors"]
    assert listed.delete_before_replace
    kinds = (METHOD, INTEGRATION, METHOD_RESPONSE, INTEGRATION_RESPONSE, GATEWAY_RESPONSE)
    of_routes = [one for kind in kinds for one in done.of(kind)]
    assert len(of_routes) == 14
    assert {one.replace_with for one in of_routes} == {frozenset({listed.name})}
    # What holds identity, and what lets the stage answer, stays.
    others = {one.name for one in done.resources if one.replace_with} - {one.name for one in of_routes}
    assert others == set()


# ---- who may call the function


def test_the_api_may_call_the_function_for_exactly_its_routes(deploy: Deploy) -> None:
    policy = grants(with_api(deploy, path="hello", routes=[{"path": "v1/orders", "method": "POST"}]))

    def may_call(source: str, service: str = "apigateway.amazonaws.com", action: str = "lambda:InvokeFunction") -> bool:
        return lets(policy, action, FUNCTION, service=service, keys={"aws:SourceArn": source})

    assert may_call(f"{EXECUTE}/Prod/GET/hello")
    assert may_call(f"{EXECUTE}/Prod/POST/v1/orders")
    assert not may_call(f"{EXECUTE}/Prod/GET/v1/orders")
    assert not may_call(f"{EXECUTE}/Prod/POST/hello")
    assert not may_call(f"{EXECUTE}/Test/GET/hello")
    assert not may_call(f"{EXECUTE}/Prod/GET/hello/more")
    assert not may_call(f"{EXECUTE}2/Prod/GET/hello")
    assert not may_call(f"{EXECUTE}/Prod/GET/hello", service="s3.amazonaws.com")
    assert not may_call(f"{EXECUTE}/Prod/GET/hello", action="lambda:UpdateFunctionCode")
    assert not lets(policy, "lambda:InvokeFunction", FUNCTION, caller="arn:aws:iam::999999999999:role/anyone")


def test_a_route_for_any_method_may_be_called_with_each(deploy: Deploy) -> None:
    # API Gateway's own ARN has a wildcard for it: https://docs.aws.amazon.com/apigateway/latest/developerguide/arn-format-reference.html
    policy = grants(with_api(deploy, path="hello", method="ANY"))
    for method, path, expected in (("*", "hello", True), ("DELETE", "hello", True), ("DELETE", "bye", False)):
        keys = {"aws:SourceArn": f"{EXECUTE}/Prod/{method}/{path}"}
        service = "apigateway.amazonaws.com"
        assert lets(policy, "lambda:InvokeFunction", FUNCTION, service=service, keys=keys) == expected


@pytest.mark.parametrize(
    ("route", "called", "not_called"),
    [
        ({"path": "/"}, "GET/", "GET/hello"),
        ({"path": "users/{id}"}, "GET/users/{id}", "POST/users/{id}"),
        ({"path": "users/{id}/orders"}, "GET/users/{id}/orders", "GET/users/{id}/more"),
        ({"path": "files/{path+}", "method": "ANY"}, "*/files/{path+}", "*/more/{path+}"),
        ({"path": "{proxy+}", "method": "ANY"}, "PUT/{proxy+}", None),
    ],
)
def test_a_parameter_is_a_wildcard_in_the_permission(
    deploy: Deploy, route: dict[str, Any], called: str, not_called: str | None
) -> None:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/arn-format-reference.html
    policy = grants(with_api(deploy, **route))
    service = "apigateway.amazonaws.com"
    for source, expected in ((called, True), (not_called, False)):
        keys = {"aws:SourceArn": f"{EXECUTE}/Prod/{source}"}
        assert source is None or lets(policy, "lambda:InvokeFunction", FUNCTION, service=service, keys=keys) == expected


def test_the_stage_goes_live_with_its_permissions(deploy: Deploy) -> None:
    done = with_api(deploy, path="hello", routes=[{"path": "bye"}])
    assert {one.name for one in done.of(PERMISSION)} <= done.one(STAGE).depends_on
    assert len(done.of(PERMISSION)) == 2
    assert {one.inputs["function"] for one in done.of(PERMISSION)} == {"cross-account-function"}


def test_with_a_release_the_api_calls_the_alias(deploy: Deploy) -> None:
    done = with_api(deploy, function={"release": {"previousShare": 0}}, path="hello")
    assert done.one(INTEGRATION).inputs["uri"] == "arn:live/invocations"
    assert done.one(PERMISSION).inputs["qualifier"] == "live"
    assert "qualifier" not in with_api(deploy, path="hello").one(PERMISSION).inputs


# ---- deployment and stage


def test_a_deployment_is_of_all_routes_with_their_preflights(deploy: Deploy) -> None:
    # A deployment is a snapshot: what is made later is not in it.
    done = with_api(deploy, path="hello", routes=[{"path": "bye", "method": "POST"}], corsOrigin="*")
    proxies = {one.name for one in done.of(INTEGRATION) if one.inputs["type"] == "AWS_PROXY"}
    answers = {one.name for one in done.of(INTEGRATION_RESPONSE)}
    assert (len(proxies), len(answers)) == (2, 2)
    deployment = done.one(DEPLOYMENT)
    assert proxies | answers <= deployment.depends_on
    assert deployment.inputs["restApi"] == "function-api-id"
    assert done.one(STAGE).inputs.items() >= {"restApi": "function-api-id", "stageName": "Prod"}.items()
    assert done.one(STAGE).inputs["deployment"] == f"{deployment.name}-id"


def test_every_change_of_a_route_is_deployed_and_nothing_else_is(deploy: Deploy) -> None:
    def trigger(function: dict[str, Any] | None = None, **api: Any) -> str:
        return str(with_api(deploy, function=function, **{"path": "hello", **api}).one(DEPLOYMENT).inputs["triggers"])

    changes: list[dict[str, Any]] = [
        {},
        {"path": "bye"},
        {"method": "POST"},
        {"public": True},
        {"apiKey": True},
        {"requestParameters": ["header.A"]},
        {"requestParameters": ["header.B"]},
        {"routes": [{"path": "bye"}]},
        {"routes": [{"path": "bye"}, {"path": "more"}]},
        {"corsOrigin": "*"},
        {"corsOrigin": "https://example.com"},
        {"function": {"release": {"previousShare": 0}}},  # the alias is called instead
    ]
    triggers = [trigger(**change) for change in changes]
    assert len(set(triggers)) == len(triggers)
    assert trigger(throttle={"rate": 1, "burst": 1}, tracing=True, executionLogs=True) == triggers[0]


def test_a_plain_stage_has_no_settings(deploy: Deploy) -> None:
    done = with_api(deploy, path="hello")
    assert set(done.one(STAGE).inputs) == {"restApi", "deployment", "stageName"}
    # Turned off or left alone, but nothing is on.
    assert all(one.inputs["settings"] in ({}, {"loggingLevel": "OFF"}) for one in done.of(SETTINGS))
    assert not done.of(VALIDATOR)
    assert not [one for one in done.of(LOGS) if "apigateway" in one.inputs["name"]]


def test_the_stages_name_is_the_first_part_of_every_path(deploy: Deploy) -> None:
    done = with_api(deploy, path="hello", stage="Test", throttle={"rate": 3, "burst": 2}, accessLogRetention=7)
    assert done.one(STAGE).inputs["stageName"] == "Test"
    assert done.one(SETTINGS).inputs["stageName"] == "Test"
    assert done.one(PERMISSION).inputs["sourceArn"] == f"{EXECUTE}/Test/GET/hello"
    assert done.one(LOGS, name="/aws/apigateway/cross-account-function/Test").inputs["retentionInDays"] == 7


@pytest.mark.parametrize(
    ("api", "expected"),
    [
        ({"throttle": {"rate": 100, "burst": 50}}, {"throttlingRateLimit": 100, "throttlingBurstLimit": 50}),
        ({"executionLogs": True}, {"loggingLevel": "ERROR"}),
    ],
)
def test_limits_and_logs_are_of_all_methods(deploy: Deploy, api: dict[str, Any], expected: dict[str, Any]) -> None:
    inputs = with_api(deploy, path="hello", **api).one(SETTINGS).inputs
    assert (inputs["restApi"], inputs["methodPath"]) == ("function-api-id", "*/*")
    assert inputs["settings"].items() >= expected.items()


def test_traces_are_on_request(deploy: Deploy) -> None:
    assert with_api(deploy, path="hello", tracing=True).one(STAGE).inputs["xrayTracingEnabled"] is True


def test_a_line_of_the_access_log_says_who_called_what_and_what_came_of_it(deploy: Deploy) -> None:
    done = with_api(deploy, path="hello", accessLogRetention=1)
    settings = done.one(STAGE).inputs["accessLogSettings"]
    group = done.one(LOGS, name="/aws/apigateway/cross-account-function/Prod")
    assert settings["destinationArn"] == f"arn:aws:logs:us-east-1:222222222222:log-group:{group.inputs['name']}"
    assert json.loads(settings["format"]) == {
        "requestId": "$context.requestId",
        "time": "$context.requestTime",
        "sourceIp": "$context.identity.sourceIp",
        "method": "$context.httpMethod",
        "path": "$context.path",
        "status": "$context.status",
        "latency": "$context.responseLatency",
        "error": "$context.error.message",
    }


# ---- key


def test_the_key_of_the_stage_is_a_secret_output(deploy: Deploy) -> None:
    done = with_api(deploy, path="hello", routes=[{"path": "bye", "apiKey": True}])
    assert done.outputs["apiKey"] == "the-key"
    assert done.secret == {"apiKey"}
    assert done.one(PLAN).inputs["apiStages"] == [{"apiId": "function-api-id", "stage": "Prod"}]
    assert done.one(PLAN_KEY).inputs == {
        "keyId": f"{done.one(KEY).name}-id",
        "keyType": "API_KEY",
        "usagePlanId": f"{done.one(PLAN).name}-id",
    }
    assert done.one(STAGE).name in done.one(PLAN).depends_on


def test_without_a_route_that_asks_for_one_there_is_no_key(deploy: Deploy) -> None:
    done = with_api(deploy, path="hello")
    assert not [*done.of(KEY), *done.of(PLAN), *done.of(PLAN_KEY)]
    assert done.outputs["apiKey"] is None


# ---- preflight


def test_a_preflight_is_answered_for_each_path_with_the_methods_of_that_path(deploy: Deploy) -> None:
    routes = [{"path": "hello", "method": "POST"}, {"path": "v1/bye", "method": "DELETE"}]
    done = with_api(deploy, path="hello", routes=routes, corsOrigin="https://example.com")
    allowed = {}
    for part in ("hello", "bye"):
        of_path = {"resourceId": f"{done.one(RESOURCE, pathPart=part).name}-id", "httpMethod": "OPTIONS"}
        of_path["restApi"] = "function-api-id"
        assert done.one(METHOD, **of_path).inputs == {**of_path, "authorization": "NONE"}
        integration = done.one(INTEGRATION, **of_path)
        assert integration.inputs["type"] == "MOCK"
        assert json.loads(integration.inputs["requestTemplates"]["application/json"]) == {"statusCode": 204}
        response = done.one(METHOD_RESPONSE, **of_path).inputs
        answer = done.one(INTEGRATION_RESPONSE, **of_path)
        assert (response["statusCode"], answer.inputs["statusCode"]) == ("204", "204")
        headers = answer.inputs["responseParameters"]
        assert response["responseParameters"] == dict.fromkeys(headers, True)
        assert integration.name in answer.depends_on
        allowed[part] = headers
    prefix = "method.response.header.Access-Control-Allow"
    # API Gateway takes what stands in single quotes as it is.
    assert {part: headers[f"{prefix}-Methods"] for part, headers in allowed.items()} == {
        "hello": "'GET,OPTIONS,POST'",
        "bye": "'DELETE,OPTIONS'",
    }
    for headers in allowed.values():
        assert headers[f"{prefix}-Origin"] == "'https://example.com'"
        # What a signed call, or one with a key or a JSON body, sends.
        sent = {"Authorization", "Content-Type", "X-Amz-Date", "X-Amz-Security-Token", "X-Api-Key"}
        assert set(headers[f"{prefix}-Headers"].strip("'").split(",")) == sent
    assert len(done.of(INTEGRATION_RESPONSE)) == 2


def test_without_an_origin_no_preflight_is_answered(deploy: Deploy) -> None:
    done = with_api(deploy, path="hello")
    assert not done.of(INTEGRATION_RESPONSE)
    assert [one.inputs["httpMethod"] for one in done.of(METHOD)] == ["GET"]


def test_api_gateways_own_errors_can_be_read_from_another_origin(deploy: Deploy) -> None:
    done = with_api(deploy, path="hello", corsOrigin="https://example.com")
    header = {"gatewayresponse.header.Access-Control-Allow-Origin": "'https://example.com'"}
    found = {one.inputs["responseType"]: one.inputs["responseParameters"] for one in done.of(GATEWAY_RESPONSE)}
    assert found == {"DEFAULT_4XX": header, "DEFAULT_5XX": header}
    # They are part of the snapshot as well.
    assert {one.name for one in done.of(GATEWAY_RESPONSE)} <= done.one(DEPLOYMENT).depends_on
    assert not with_api(deploy, path="hello").of(GATEWAY_RESPONSE)


# ---- the account's role for logs


def test_the_role_for_logs_is_created_on_request_and_kept(deploy: Deploy) -> None:
    done = with_api(deploy, path="hello", accessLogRetention=30, loggingRole=True)
    account, policy = done.one(ACCOUNT), done.one("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
    role = done.named("function-api-logging-role")
    trust = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
    assert [statement["Principal"] for statement in trust] == [{"Service": "apigateway.amazonaws.com"}]
    managed = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
    assert policy.inputs["policyArn"] == managed
    assert account.inputs == {"cloudwatchRoleArn": f"arn:aws:iam::222222222222:role/{role.name}"}
    assert policy.name in account.depends_on
    # Other APIs of the account and Region write with it.
    assert {one.retain_on_delete for one in (account, policy, role)} == {True}
    # API Gateway refuses to log before it is set.
    assert account.name in done.one(STAGE).depends_on
    assert not with_api(deploy, path="hello", accessLogRetention=30).of(ACCOUNT)


@pytest.mark.parametrize("logs", [{"accessLogRetention": 30}, {"executionLogs": True}])
def test_logs_without_the_accounts_role_are_refused_before_anything_is_created(
    deploy: Deploy, recorder: Recorder, logs: dict[str, Any]
) -> None:
    recorder.logging_role = None
    with pytest.raises(LoggingRoleMissing, match="Set loggingRole .* to true in one stack of the account and Region"):
        with_api(deploy, path="hello", **logs)
    created = {one.typ for one in recorder.resources if one.typ.startswith("aws:") and not one.resource_id}
    assert created == set()
    assert with_api(deploy, path="hello", **logs, loggingRole=True).of(ACCOUNT)
    assert with_api(deploy, path="hello").of(STAGE)


# ---- who authorizes, and the domain


@pytest.mark.parametrize(
    ("authorizer", "authorization", "expected"),
    [
        (
            {"userPools": [POOL]},
            "COGNITO_USER_POOLS",
            {"type": "COGNITO_USER_POOLS", "providerArns": [POOL], "authorizerResultTtlInSeconds": 300},
        ),
        (
            {"function": f"{AUTHORIZER}:live", "header": "X-Token", "ttl": 0},
            "CUSTOM",
            {
                "type": "TOKEN",
                "authorizerUri": "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/"
                f"{AUTHORIZER}:live/invocations",
                "identitySource": "method.request.header.X-Token",
                "authorizerResultTtlInSeconds": 0,
            },
        ),
    ],
)
def test_an_authorizer_is_asked_for_routes_that_are_not_public(
    deploy: Deploy, authorizer: dict[str, Any], authorization: str, expected: dict[str, Any]
) -> None:
    done = with_api(deploy, path="hello", routes=[{"path": "open", "public": True}], authorizer=authorizer)
    found = done.one(AUTHORIZERS)
    assert found.inputs.items() >= expected.items()
    methods = {one.name: (one.inputs["authorization"], one.inputs.get("authorizerId")) for one in done.of(METHOD)}
    assert methods == {
        "function-api-get-hello-method": (authorization, f"{found.name}-id"),
        "function-api-get-open-method": ("NONE", None),
    }
    asked = [one for one in done.of(PERMISSION) if "authorizer" in one.name]
    assert [(one.inputs["function"], one.inputs["qualifier"], one.inputs["sourceArn"]) for one in asked] == (
        [(AUTHORIZER, "live", f"{EXECUTE}/authorizers/{found.name}-id")] if "function" in authorizer else []
    )
    # The authorizer is part of the snapshot.
    other = with_api(deploy, path="hello", routes=[{"path": "open", "public": True}])
    assert other.one(DEPLOYMENT).inputs["triggers"] != done.one(DEPLOYMENT).inputs["triggers"]


def test_a_domain_is_in_front_of_the_stage(deploy: Deploy) -> None:
    domain = {"name": "api.example.com", "certificate": CERTIFICATE, "basePath": "v1"}
    done = with_api(deploy, path="hello", domain=domain)
    assert done.one(f"{GATEWAY}domainName:DomainName").inputs == {
        "domainName": "api.example.com",
        "regionalCertificateArn": CERTIFICATE,
        "securityPolicy": "TLS_1_2",
        "endpointConfiguration": {"types": "REGIONAL"},
    }
    mapped = {"restApi": "function-api-id", "stageName": "Prod", "basePath": "v1", "domainName": "api.example.com"}
    assert done.one(f"{GATEWAY}basePathMapping:BasePathMapping").inputs == mapped
    assert done.outputs["endpointUrl"] == "https://api.example.com/v1/hello"
    assert done.outputs["domainTarget"] == "d-1.execute-api.us-east-1.amazonaws.com"
    assert not done.of("aws:route53/record:Record")
    assert with_api(deploy, path="hello").outputs["domainTarget"] is None


@pytest.mark.parametrize("kind", ["rest", "http"])
def test_the_record_of_a_domain_is_created_in_a_hosted_zone(deploy: Deploy, kind: str) -> None:
    domain = {"name": "api.example.com", "certificate": CERTIFICATE, "hostedZone": "Z123"}
    done = with_api(deploy, type=kind, path="hello", domain=domain)
    assert done.one("aws:route53/record:Record").inputs == {
        "zoneId": "Z123",
        "name": "api.example.com",
        "type": "A",
        "aliases": [{"name": "d-1.execute-api.us-east-1.amazonaws.com", "zoneId": "Z9", "evaluateTargetHealth": False}],
    }
    assert done.outputs["endpointUrl"] == "https://api.example.com/hello"


# ---- names


def test_names_are_short_distinct_statement_ids_that_say_the_route(deploy: Deploy) -> None:
    # https://docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html, with room for the provider's suffix
    paths = ["a/b", "a-b", "a.b", "x" * 30, "x" * 31, f"{'x' * 31}y"]
    done = with_api(deploy, path="hello", routes=[{"path": path} for path in paths])
    names = [one.name for one in done.of(PERMISSION)]
    assert len(set(names)) == len(paths) + 1
    assert all(re.fullmatch(r"[a-zA-Z0-9-]{1,80}", name) for name in names)
    assert {"function-api-get-hello-permission", f"function-api-get-{'x' * 30}-permission"} <= set(names)
    assert done.of(RESOURCE)[0].name == "function-api-hello"
