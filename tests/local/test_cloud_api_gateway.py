"""API Gateway of the local cloud, called as on AWS, and by the stand-in of the aws provider."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from offline.plugins.aws import AwsProvider
from offline.plugins.provider import Values
from tests.local.stand_in import configure, diff
from tests.local.test_guard import OWNER, REGION, Cloud, cloud

__all__ = ["cloud"]

V1, V2 = "aws:apigateway/", "aws:apigatewayv2/"
POOL = "arn:aws:cognito-idp:us-east-1:111111111111:userpool/us-east-1_"
FUNCTION = (
    "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:111111111111:function"
)
LOG = {"destinationArn": "arn:aws:logs:us-east-1:111111111111:log-group:a", "format": "{}"}
HEADER = "gatewayresponse.header.Access-Control-Allow-Origin"


class Issuer:
    """An issuer of JSON web tokens on loopback, whose certificate the local cloud trusts."""

    def __init__(self, folder: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        authority, self.authority = trustme.CA(), folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(context)
        handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}"
        numbers = self._key.public_key().public_numbers()
        key = {"kid": "it", "kty": "RSA", "n": _base64(numbers.n.to_bytes(256)), "e": _base64(numbers.e.to_bytes(3))}
        (folder / "keys").write_text(json.dumps({"keys": [key]}))
        (folder / ".well-known").mkdir()
        (folder / ".well-known" / "openid-configuration").write_text(json.dumps({"jwks_uri": f"{self.url}/keys"}))

    def token(self, claims: dict[str, Any], *, signed: bool) -> str:
        """A token for the audience `orders`, unless other claims are given."""
        usual = {"iss": self.url, "aud": "orders", "exp": int(time.time()) + 60}
        parts = ({"kid": "it", "alg": "RS256"}, {**usual, **claims})
        text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        key = self._key if signed else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return f"{text}.{_base64(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.fixture(scope="module", autouse=True)
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    """Before the local cloud, which reads at its start what it trusts."""
    issuer = Issuer(tmp_path_factory.mktemp("issuer"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SSL_CERT_FILE", str(issuer.authority))
        threading.Thread(target=issuer.server.serve_forever, daemon=True).start()
        yield issuer
        issuer.server.shutdown()


@pytest.fixture
def provider(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> AwsProvider:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{cloud.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", cloud.key(OWNER))
    provider = AwsProvider()
    configure(provider, region=REGION)
    return provider


@pytest.fixture
def rest(provider: AwsProvider) -> str:
    return provider.create(f"{V1}restApi:RestApi", "urn", {"name": "rest"})[0]


@pytest.fixture
def http(provider: AwsProvider) -> str:
    return provider.create(f"{V2}api:Api", "urn", {"name": "http", "protocolType": "HTTP"})[0]


def lifecycle(provider: AwsProvider, kind: str, inputs: Values, changed: Values) -> None:
    """Create, read, change in place, read and delete a resource: what was given is what is there."""
    first, second = (provider.check(kind, "it", {}, given, b"seed") for given in (inputs, {**inputs, **changed}))
    identity, state = provider.create(kind, "urn", first)
    for given in (first, second):
        if given is second:
            assert diff(provider, kind, first, second) == (set(changed), set())
            state = provider.update(kind, "urn", identity, {**state, **first}, second, set(changed))
        found = provider.read(kind, identity, state)
        assert found is not None
        assert {name: found[1].get(name) for name in given} == given
    provider.delete(kind, identity, state)
    assert provider.read(kind, identity, state) is None


@pytest.mark.parametrize(
    ("kind", "inputs", "changed"),
    [
        ("response:Response", {"responseType": "DEFAULT_4XX", "responseParameters": {HEADER: "'*'"}},
         {"responseParameters": {HEADER: "'https://a.a'"}}),
        ("authorizer:Authorizer", {"type": "COGNITO_USER_POOLS", "providerArns": [f"{POOL}a"],
                                   "identitySource": "method.request.header.Authorization"},
         {"providerArns": [f"{POOL}b"], "identitySource": "method.request.header.X"}),
        ("authorizer:Authorizer", {"type": "TOKEN", "authorizerUri": f"{FUNCTION}:a/invocations",
                                   "identitySource": "method.request.header.Authorization"},
         {"authorizerUri": f"{FUNCTION}:b/invocations", "authorizerResultTtlInSeconds": 5}),
    ],
)  # fmt: skip
def test_parts_of_a_rest_api_are_as_they_were_given(
    provider: AwsProvider, rest: str, kind: str, inputs: Values, changed: Values
) -> None:
    owner = {"restApiId": rest} if kind.startswith("response") else {"restApi": rest}
    lifecycle(provider, f"{V1}{kind}", {**owner, **inputs}, changed)


@pytest.mark.parametrize(
    ("kind", "inputs", "changed"),
    [
        ("integration:Integration", {"integrationType": "AWS_PROXY", "integrationUri": f"{FUNCTION}:a/invocations",
                                     "payloadFormatVersion": "2.0"}, {"integrationUri": f"{FUNCTION}:b/invocations"}),
        ("route:Route", {"routeKey": "GET /a", "target": "integrations/a"}, {"authorizationType": "AWS_IAM"}),
        ("stage:Stage", {"name": "$default", "autoDeploy": True},
         {"accessLogSettings": LOG,
          "defaultRouteSettings": {"throttlingRateLimit": 100, "throttlingBurstLimit": 50}}),
        ("authorizer:Authorizer", {"authorizerType": "JWT", "identitySources": ["$request.header.Authorization"],
                                   "jwtConfiguration": {"issuer": "https://a.a", "audiences": ["a"]}},
         {"jwtConfiguration": {"issuer": "https://a.a", "audiences": ["a", "b"]}}),
    ],
)  # fmt: skip
def test_parts_of_an_http_api_are_as_they_were_given(
    provider: AwsProvider, http: str, kind: str, inputs: Values, changed: Values
) -> None:
    lifecycle(provider, f"{V2}{kind}", {"apiId": http, **inputs}, changed)


def test_what_aws_adds_to_a_domain_name_is_no_difference(provider: AwsProvider) -> None:
    kind = f"{V2}domainName:DomainName"
    configuration = {"certificateArn": "arn", "endpointType": "REGIONAL", "securityPolicy": "TLS_1_2"}
    given = {"domainName": "quiet.example.com", "domainNameConfiguration": configuration}
    identity, state = provider.create(kind, "urn", given)
    found = provider.read(kind, identity, state)
    assert found is not None
    assert found[1]["domainNameConfiguration"]["targetDomainName"]
    live = {name: found[1][name] for name in given}
    assert diff(provider, kind, live, given) == (set(), set())
    changed = {**given, "domainNameConfiguration": {**configuration, "certificateArn": "other"}}
    assert diff(provider, kind, live, changed) == ({"domainNameConfiguration"}, set())


def test_an_api_and_the_accounts_role_are_as_they_were_given(provider: AwsProvider) -> None:
    cors = {"allowOrigins": ["*"], "allowMethods": ["GET"], "allowHeaders": ["authorization"]}
    lifecycle(provider, f"{V2}api:Api", {"name": "a", "protocolType": "HTTP"}, {"corsConfiguration": cors})
    sizes = {"binaryMediaTypes": ["image/png"], "minimumCompressionSize": "10"}
    changed = {"binaryMediaTypes": ["a/b"], "minimumCompressionSize": "-1"}
    api = {"name": "a", "endpointConfiguration": {"types": "REGIONAL"}}
    kind = f"{V1}restApi:RestApi"
    identity, state = provider.create(kind, "urn", {**api, **sizes})
    assert {name: state[name] for name in sizes} == sizes
    state = provider.update(kind, "urn", identity, {**api, **sizes}, {**api, **changed}, set(changed))
    assert (state["binaryMediaTypes"], state["minimumCompressionSize"]) == (["a/b"], "")


@pytest.mark.parametrize("change", [("/accessLogSettings/destinationArn", "arn"), ("/*/*/logging/loglevel", "ERROR")])
def test_logs_need_the_accounts_role(cloud: Cloud, rest: str, change: tuple[str, str]) -> None:
    client = cloud.client("apigateway")
    client.put_method(
        restApiId=rest, httpMethod="GET", authorizationType="NONE",
        resourceId=client.get_resources(restApiId=rest)["items"][0]["id"],
    )  # fmt: skip
    client.create_stage(restApiId=rest, stageName="Prod", deploymentId=client.create_deployment(restApiId=rest)["id"])

    def patch(path: str, value: str) -> None:
        changes = [{"op": "replace", "path": path, "value": value}]
        client.update_stage(restApiId=rest, stageName="Prod", patchOperations=changes)

    patch("/*/*/logging/loglevel", "OFF")
    role = {"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}
    client.update_account(patchOperations=[role])
    with pytest.raises(client.exceptions.BadRequestException, match="CloudWatch Logs role ARN must be set in account"):
        patch(*change)
    client.update_account(patchOperations=[{**role, "value": "arn:aws:iam::111111111111:role/logs"}])
    patch(*change)


# ---- calls -------------------------------------------------------------------------------------------------------


def call(cloud: Cloud, api: str, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], Any]:
    host = f"{api}.execute-api.{REGION}.amazonaws.com"
    status, found, body = cloud.call(method, path, {"Host": host, **headers})
    return status, found, json.loads(body or b"null")


def test_a_stage_answers_with_what_its_deployment_is_a_snapshot_of(cloud: Cloud, rest: str) -> None:
    client = cloud.client("apigateway")
    root = client.get_resources(restApiId=rest)["items"][0]["id"]
    keys = {"restApiId": rest, "httpMethod": "GET", "resourceId": root}

    def deploy() -> str:
        return str(client.create_deployment(restApiId=rest)["id"])

    client.put_method(**keys, authorizationType="NONE")
    client.put_integration(**keys, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    client.create_stage(restApiId=rest, stageName="Prod", deploymentId=deploy())
    assert call(cloud, rest, "/Prod/")[0] == 200
    client.delete_method(**keys)
    assert call(cloud, rest, "/Prod/")[0] == 200
    change = {"op": "replace", "path": "/deploymentId", "value": deploy()}
    client.update_stage(restApiId=rest, stageName="Prod", patchOperations=[change])
    status, _, body = call(cloud, rest, "/Prod/")
    assert (status, body) == (403, {"message": "Missing Authentication Token"})


def test_api_gateways_own_errors_have_the_header_of_a_gateway_response(cloud: Cloud, rest: str) -> None:
    client = cloud.client("apigateway")
    client.put_gateway_response(
        restApiId=rest, responseType="DEFAULT_4XX", responseParameters={HEADER: "'https://a.a'"}
    )
    deployment = client.create_deployment(restApiId=rest)["id"]
    client.create_stage(restApiId=rest, stageName="Prod", deploymentId=deployment)
    status, headers, _ = call(cloud, rest, "/Prod/nowhere")
    assert (status, headers["access-control-allow-origin"]) == (403, "https://a.a")


def test_an_http_api_refuses_what_is_not_signed_and_what_is_not_there(cloud: Cloud, http: str) -> None:
    client = cloud.client("apigatewayv2")
    client.update_api(ApiId=http, CorsConfiguration={"AllowOrigins": ["https://a.a"], "AllowMethods": ["GET"]})
    integration = client.create_integration(ApiId=http, IntegrationType="AWS_PROXY", IntegrationUri=f"{FUNCTION}:a")
    target = f"integrations/{integration['IntegrationId']}"
    client.create_route(ApiId=http, RouteKey="GET /users/{id}", Target=target, AuthorizationType="AWS_IAM")
    client.create_stage(ApiId=http, StageName="$default", AutoDeploy=True)
    assert call(cloud, http, "/users/7")[::2] == (403, {"message": "Forbidden"})
    assert call(cloud, http, "/nowhere")[::2] == (404, {"message": "Not Found"})
    asked = {"Origin": "https://a.a", "Access-Control-Request-Method": "GET"}
    assert call(cloud, http, "/users/7", "OPTIONS", **asked)[1]["access-control-allow-origin"] == "https://a.a"


def test_a_method_response_and_the_parameters_of_a_method_are_patched(cloud: Cloud, rest: str) -> None:
    """As the AWS provider does: https://docs.aws.amazon.com/apigateway/latest/api/API_UpdateMethodResponse.html."""
    client = cloud.client("apigateway")
    root = client.get_resources(restApiId=rest)["items"][0]["id"]
    keys = {"restApiId": rest, "httpMethod": "GET", "resourceId": root}
    named = "method.request.querystring.a"
    client.put_method(**keys, authorizationType="NONE", requestParameters={named: True})
    change = {"op": "replace", "path": f"/requestParameters/{named}", "value": "false"}
    assert client.update_method(**keys, patchOperations=[change])["requestParameters"] == {named: False}
    header, other = "method.response.header.A", "method.response.header.B"
    with pytest.raises(client.exceptions.NotFoundException):
        client.update_method_response(**keys, statusCode="204", patchOperations=[])
    client.put_method_response(**keys, statusCode="204", responseParameters={header: True})
    changes = [
        {"op": "remove", "path": f"/responseParameters/{header}"},
        {"op": "add", "path": f"/responseParameters/{other}", "value": "true"},
        {"op": "add", "path": "/responseModels/application~1json", "value": "Empty"},
    ]
    client.update_method_response(**keys, statusCode="204", patchOperations=changes)
    found = client.get_method_response(**keys, statusCode="204")
    assert found["responseParameters"] == {other: True}
    assert found["responseModels"] == {"application/json": "Empty"}


def test_an_http_api_is_at_its_host_of_aws(cloud: Cloud) -> None:
    """https://docs.aws.amazon.com/apigatewayv2/latest/api-reference/apis-apiid.html."""
    for region, suffix in ((REGION, "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn")):
        client = boto3.client(
            "apigatewayv2", region, endpoint_url=f"http://127.0.0.1:{cloud.port}", aws_access_key_id=OWNER,
            aws_secret_access_key=cloud.key(OWNER),
        )  # fmt: skip
        created = client.create_api(Name="a", ProtocolType="HTTP")
        assert created["ApiEndpoint"] == f"https://{created['ApiId']}.execute-api.{region}.{suffix}"
        assert client.get_api(ApiId=created["ApiId"])["ApiEndpoint"] == created["ApiEndpoint"]


def test_the_issuer_of_a_token_is_not_called(cloud: Cloud, http: str) -> None:
    """On AWS it is: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html."""
    asked: list[str] = []

    class Issuer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    client = cloud.client("apigatewayv2")
    with ThreadingHTTPServer(("127.0.0.1", 0), Issuer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # Not loopback, and yet leads there.
        issuer = f"http://0.0.0.0:{server.server_port}"
        authorizer = client.create_authorizer(
            ApiId=http, Name="jwt", AuthorizerType="JWT", IdentitySource=["$request.header.Authorization"],
            JwtConfiguration={"Issuer": issuer, "Audience": ["a"]},
        )["AuthorizerId"]  # fmt: skip
        integration = client.create_integration(ApiId=http, IntegrationType="AWS_PROXY", IntegrationUri=FUNCTION)
        client.create_route(
            ApiId=http, RouteKey="GET /", Target=f"integrations/{integration['IntegrationId']}",
            AuthorizationType="JWT", AuthorizerId=authorizer,
        )  # fmt: skip
        client.create_stage(ApiId=http, StageName="$default", AutoDeploy=True)
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in ({"kid": "k"}, {})]
        answer = call(cloud, http, "/", Authorization=f"Bearer {'.'.join(parts)}.s")
        server.shutdown()
    assert answer[::2] == (401, {"message": "Unauthorized"})
    assert asked == []
    assert "calls loopback and the Docker engine only, not 0.0.0.0" in (cloud.folder / "log").read_text()


def test_a_domain_name_leads_to_the_stage_that_it_is_mapped_to_and_other_hosts_are_refused(
    cloud: Cloud, rest: str
) -> None:
    client = cloud.client("apigateway")
    root = client.get_resources(restApiId=rest)["items"][0]["id"]
    keys = {"restApiId": rest, "httpMethod": "GET", "resourceId": root}
    client.put_method(**keys, authorizationType="NONE")
    client.put_integration(**keys, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    client.create_stage(restApiId=rest, stageName="Prod", deploymentId=client.create_deployment(restApiId=rest)["id"])
    name = "api.example.com"
    client.create_domain_name(domainName=name, endpointConfiguration={"types": ["REGIONAL"]})
    client.create_base_path_mapping(domainName=name, restApiId=rest, stage="Prod", basePath="v1")
    statuses = {path: cloud.call("GET", path, {"Host": name})[0] for path in ("/v1", "/v1/nowhere", "/v2", "/")}
    assert statuses == {"/v1": 200, "/v1/nowhere": 403, "/v2": 403, "/": 403}
    # It leads nowhere else, and no other name leads there.
    assert cloud.call("GET", "/restapis", {"Host": name})[0] == 403
    assert cloud.call("GET", "/v1", {"Host": "other.example.com"})[0] == 403
    client.delete_base_path_mapping(domainName=name, basePath="v1")
    client.delete_domain_name(domainName=name)
    assert cloud.call("GET", "/v1", {"Host": name})[0] == 403


@pytest.mark.parametrize(
    ("claims", "signed", "allowed"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"aud": "others"}, True, False),
        ({"iss": "https://localhost/"}, True, False),
        ({"exp": 1}, True, False),
    ],
)
def test_a_token_of_the_issuer_for_the_audience_is_taken_and_no_other_one(
    cloud: Cloud, http: str, issuer: Issuer, claims: dict[str, Any], signed: bool, allowed: bool
) -> None:
    client = cloud.client("apigatewayv2")
    authorizer = client.create_authorizer(
        ApiId=http, Name="it", AuthorizerType="JWT", IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Issuer": issuer.url, "Audience": ["orders"]},
    )  # fmt: skip
    integration = client.create_integration(ApiId=http, IntegrationType="AWS_PROXY", IntegrationUri=f"{FUNCTION}:none")
    target = f"integrations/{integration['IntegrationId']}"
    client.create_route(
        ApiId=http, RouteKey="GET /", Target=target, AuthorizationType="JWT", AuthorizerId=authorizer["AuthorizerId"]
    )
    client.create_stage(ApiId=http, StageName="$default", AutoDeploy=True)
    token = issuer.token(claims, signed=signed)
    status, _, body = call(cloud, http, "/", Authorization=f"Bearer {token}")
    # There is no such function.
    assert (status, "not found" in json.dumps(body)) == ((502, True) if allowed else (401, False))


def test_an_http_api_answers_at_its_domain_name(cloud: Cloud, http: str) -> None:
    client, name = cloud.client("apigatewayv2"), "http.example.com"
    client.create_stage(ApiId=http, StageName="$default", AutoDeploy=True)
    client.create_domain_name(DomainName=name, DomainNameConfigurations=[{"CertificateArn": "arn"}])
    assert cloud.call("GET", "/nowhere", {"Host": name})[0] == 403
    client.create_api_mapping(ApiId=http, DomainName=name, Stage="$default")
    status, _, body = cloud.call("GET", "/nowhere", {"Host": name})
    assert (status, json.loads(body)) == (404, {"message": "Not Found"})
