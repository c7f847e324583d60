"""Routes of a REST API and an HTTP API, called as on AWS, where a stage serves the snapshot of its deployment."""

import json
import subprocess
import sys
import urllib.request

from tests.engine.clone import Clone

API = "api: {path: hello, stage: Prod, public: true}"
FUNCTION = "arn:aws:lambda:us-east-1:222222222222:function:cross-account-function"
CERTIFICATE = "arn:aws:acm:us-east-1:222222222222:certificate/1234abcd-12ab-34cd-56ef-1234567890ab"
# A function that authorizes its own callers, by what their token says.
AUTHORIZER = '''"""Says hello to callers that it allows itself."""

import json


def handler(event, context):
    """Answer a call, or the question of API Gateway whether a caller is allowed."""
    if event.get("type") != "TOKEN":
        return {"statusCode": 200, "body": json.dumps(event["requestContext"]["authorizer"]["principalId"])}
    who, _, effect = event["authorizationToken"].partition(":")
    if not effect:
        raise Exception("Unauthorized")
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"]}
    return {"principalId": who, "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
'''


def test_routes_come_and_go_with_one_update_while_the_others_answer(deployed: Clone) -> None:
    url = deployed.output("consumer", "endpointUrl")
    root = url.removesuffix("hello")
    parameters = "{path: 'users/{id}', public: true}, {path: 'files/{rest+}', method: ANY, public: true}"
    routes = f"[{{path: /, public: true}}, {{path: bye, public: true}}, {parameters}]"
    deployed.edit("Pulumi.consumer.yaml", API, f"{API[:-1]}, routes: {routes}}}")
    with deployed.asking(url) as answers:
        deployed.up("consumer")
        for path in ("", "bye", "users/7", "files/a/b"):
            assert deployed.get_url(f"{root}{path}")[0] == 200, path

        deployed.edit("Pulumi.consumer.yaml", "{path: bye, public: true}, ", "")
        deployed.edit("Pulumi.consumer.yaml", "users/{id}", "users/{name}")
        deployed.up("consumer")
        assert deployed.get_url(f"{root}bye") == (403, {"message": "Missing Authentication Token"})
        for path in ("", "users/7", "files/a/b"):
            assert deployed.get_url(f"{root}{path}")[0] == 200, path
    assert set(answers) == {200}
    assert len(answers) > 50
    assert deployed.planned("consumer", refresh=True) == {}


def test_a_lambda_authorizer_decides_about_calls_of_a_domain_name(updatable: Clone) -> None:
    (updatable.root / "app" / "app.py").write_text(AUTHORIZER)
    authorizer = f"authorizer: {{function: '{FUNCTION}', header: X-Token, ttl: 0}}"
    domain = f"domain: {{name: api.example.com, certificate: '{CERTIFICATE}', basePath: v1}}"
    updatable.edit("Pulumi.consumer.yaml", API, f"api: {{path: hello, stage: Prod, {authorizer}, {domain}}}")
    updatable.up("consumer")
    url = updatable.output("consumer", "endpointUrl")
    assert url == "https://api.example.com/v1/hello"
    assert updatable.output("consumer", "domainTarget").endswith(".amazonaws.com")
    assert updatable.get_url(url, {"X-Token": "anna:Allow"}) == (200, "anna")
    status, answer = updatable.get_url(url, {"X-Token": "anna:Deny"})
    assert (status, "explicit deny" in answer["Message"]) == (403, True)
    for headers in ({}, {"X-Token": "anna"}):
        assert updatable.get_url(url, headers) == (401, {"message": "Unauthorized"})

    # A refresh finds this change and no other.
    open_method(updatable)
    assert updatable.planned("consumer", refresh=True) == {"aws:apigateway/method:Method": "update"}


def open_method(clone: Clone) -> None:
    """Let everyone call a method, as somebody may in the console."""
    client = clone.client("consumer", "apigateway")
    api = client.get_base_path_mapping(domainName="api.example.com", basePath="v1")["restApiId"]
    resources = client.get_resources(restApiId=api)["items"]
    (hello,) = (one["id"] for one in resources if one["path"] == "/hello")
    change = {"op": "replace", "path": "/authorizationType", "value": "NONE"}
    client.update_method(restApiId=api, resourceId=hello, httpMethod="GET", patchOperations=[change])


def test_an_http_api_answers_at_its_routes(updatable: Clone) -> None:
    routes = "[{path: 'users/{id}', public: true}, {path: signed}]"
    options = "throttle: {rate: 100, burst: 50}, corsOrigin: 'https://example.com', accessLogRetention: 7"
    options += f", domain: {{name: http.example.com, certificate: '{CERTIFICATE}'}}"
    api = f"api: {{type: http, path: hello, public: true, routes: {routes}, {options}}}"
    updatable.edit("Pulumi.consumer.yaml", API, api)
    updatable.up("consumer")
    url = updatable.output("consumer", "endpointUrl")
    assert url == "https://http.example.com/hello"
    assert updatable.get() == (200, {"message": "hello world!"})
    root = url.removesuffix("hello")
    assert updatable.get_url(f"{root}users/7")[0] == 200
    # A request that is not signed, and a path that does not exist.
    assert updatable.get_url(f"{root}signed")[0] == 403
    assert updatable.get_url(f"{root}bye") == (404, {"message": "Not Found"})
    with updatable.opener.open(urllib.request.Request(url, headers={"Origin": "https://example.com"})) as answer:  # noqa: S310
        assert answer.headers["Access-Control-Allow-Origin"] == "https://example.com"
    assert updatable.planned("consumer", refresh=True) == {}

    updatable.edit("Pulumi.consumer.yaml", "{path: 'users/{id}', public: true}, ", "")
    issuer = "authorizer: {issuer: 'https://localhost:1/', audience: [orders]}"
    updatable.edit("Pulumi.consumer.yaml", "throttle: {rate: 100", f"{issuer}, throttle: {{rate: 100")
    updatable.up("consumer")
    assert updatable.get_url(f"{root}users/7") == (404, {"message": "Not Found"})
    assert updatable.get()[0] == 200
    # Without a token, and with one that nobody signed.
    for headers in ({}, {"Authorization": "Bearer e30.e30.e30"}):
        assert updatable.get_url(f"{root}signed", headers) == (401, {"message": "Unauthorized"})


def test_a_web_framework_is_served_under_every_path_and_method(updatable: Clone) -> None:
    folder = "examples/web-framework"
    done = subprocess.run(
        ["make", "-C", folder, "package", f"PYTHON={sys.executable}"],
        cwd=updatable.root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    updatable.edit("Pulumi.consumer.yaml", "context: app,", f"context: {folder},")
    updatable.edit("Pulumi.consumer.yaml", "memory: 128, timeout: 3,", "memory: 512, timeout: 30,")
    routes = "[{path: '{proxy+}', method: ANY, public: true}]"
    options = f"binaryMediaTypes: ['*/*'], routes: {routes}"
    updatable.edit("Pulumi.consumer.yaml", API, f"api: {{path: /, method: ANY, public: true, {options}}}")
    updatable.up("consumer")
    url = updatable.output("consumer", "endpointUrl")
    assert updatable.get() == (200, {"message": "hello world!"})
    assert updatable.get_url(f"{url}users/anna?greeting=hi") == (200, {"message": "hi anna!"})
    assert updatable.get_url(f"{url}nowhere/at/all") == (404, {"detail": "Not Found"})
    sent = urllib.request.Request(f"{url}length", b'{"a": "four"}', {"Content-Type": "application/json"})  # noqa: S310
    with updatable.opener.open(sent, timeout=60) as answer:
        assert json.load(answer) == {"a": 4}
    asked = urllib.request.Request(f"{url}pixel.png", headers={"Accept": "image/png"})  # noqa: S310
    with updatable.opener.open(asked, timeout=60) as answer:
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.read().startswith(b"\x89PNG\r\n\x1a\n")
    assert updatable.planned("consumer") == {}
