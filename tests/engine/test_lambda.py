"""The local cloud runs functions as Lambda does, and returns their responses as API Gateway does."""

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.engine.clone import Clone
from tests.engine.test_access import CONSUMER, NAME, age, running_image, scratch

PROBE = Path(__file__).with_name("probe.py")
GROUP = f"/aws/lambda/{NAME}"
LOG_SECONDS = 60
ONCE = Config(retries={"total_max_attempts": 1})
Answer = tuple[int, Any, dict[str, Any]]


@pytest.fixture(scope="module")
def probe(clone: Clone) -> Clone:
    """The clone with the function of `probe.py`."""
    shutil.copy(PROBE, clone.root / "app" / "app.py")
    # Docker reports late on a busy machine that a process has ended.
    clone.edit("Pulumi.consumer.yaml", "timeout: 3,", "timeout: 8,")
    clone.up("consumer")
    return clone


@pytest.fixture(scope="module")
def url(probe: Clone) -> str:
    return probe.output("consumer", "endpointUrl")


@pytest.fixture(scope="module")
def image(probe: Clone) -> tuple[str, str]:
    """URL of the repository and tag of the function's image."""
    return running_image(probe)


@contextmanager
def public_url(lambda_: Any, **function: str) -> Iterator[str]:
    """A URL of a function, or of its alias, that everybody may call."""
    statements = {
        "by-url": {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
        "by-everyone": {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
    }
    url = lambda_.create_function_url_config(**function, AuthType="NONE")["FunctionUrl"]
    try:
        for name, statement in statements.items():
            lambda_.add_permission(**function, StatementId=name, Principal="*", **statement)
        yield url
    finally:
        for name in statements:
            lambda_.remove_permission(**function, StatementId=name)
        lambda_.delete_function_url_config(**function)


@pytest.fixture(scope="module")
def function_url(probe: Clone) -> Iterator[str]:
    """A public URL of the function."""
    with public_url(probe.client("consumer", "lambda"), FunctionName=NAME) as url:
        yield url


def get(clone: Clone, url: str, body: bytes | None = None) -> Answer:
    """Call the endpoint. Returns status, headers and body: what is not JSON as bytes."""
    kind = {"Content-Type": "application/octet-stream"} if body else {}
    try:
        with clone.opener.open(urllib.request.Request(url, body, kind), timeout=60) as answer:  # noqa: S310
            status, headers, text = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        status, headers, text = error.code, error.headers, error.read()
    try:
        return status, headers, json.loads(text or b"null")
    except ValueError:
        return status, headers, text


def invoke(clone: Clone, do: str, **event: Any) -> tuple[Any, str]:
    """Invoke the function with an event. Returns its response, and `Unhandled` if that is an error."""
    answer = clone.client("consumer", "lambda").invoke(FunctionName=NAME, Payload=json.dumps({"do": do, **event}))
    return json.load(answer["Payload"]), answer.get("FunctionError", "")


def logged(probe: Clone, *texts: str) -> list[tuple[str, str]]:
    """Stream and message of each event in the function's log group, once it contains these messages."""
    client, end = probe.client("consumer", "logs"), time.monotonic() + LOG_SECONDS
    while True:
        events = client.filter_log_events(logGroupName=GROUP)["events"]
        found = [(event["logStreamName"], event["message"]) for event in events]
        if {*texts} <= {message for _, message in found} or time.monotonic() > end:
            return found
        time.sleep(0.1)


@pytest.mark.parametrize("do", ["text", "nothing", "object", "raise", "write", "exit", "large"])
def test_an_error_or_an_answer_of_another_form_is_a_502_without_a_reason(probe: Clone, url: str, do: str) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html#services-apigateway-errors."""
    status, _, body = get(probe, f"{url}?do={do}")
    assert (status, body) == (502, {"message": "Internal server error"})


@pytest.mark.parametrize(
    ("do", "kind", "text"),
    [
        ("raise", "KeyError", "a secret of the function"),
        ("write", "OSError", "Read-only file system: '/var/task/new'"),
        ("exit", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("memory", "Runtime.ExitError", "Runtime exited with error: signal: killed"),
        ("large", "Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size"),
    ],
)
def test_who_invokes_a_function_is_told_its_error(probe: Clone, do: str, kind: str, text: str) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html."""
    error, flag = invoke(probe, do)
    assert (error["errorType"], flag) == (kind, "Unhandled")
    assert text in error["errorMessage"]


def test_a_function_ends_with_its_timeout(probe: Clone, url: str) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html."""
    with ThreadPoolExecutor() as pool:
        called = pool.submit(get, probe, f"{url}?do=sleep")
        error, flag = invoke(probe, "sleep")
    assert (error["errorType"], flag) == ("Sandbox.Timedout", "Unhandled")
    assert "Task timed out after 8.00 seconds" in error["errorMessage"]
    assert called.result()[::2] == (502, {"message": "Internal server error"})


def test_an_api_waits_for_as_long_as_its_integration_may_take(probe: Clone, url: str) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html."""
    client, api = probe.client("consumer", "apigateway"), get(probe, f"{url}?do=event")[2]["requestContext"]["apiId"]
    resource = next(one for one in client.get_resources(restApiId=api)["items"] if one["path"] == "/hello")
    method = {"restApiId": api, "resourceId": resource["id"], "httpMethod": "GET"}
    stage = {"restApiId": api, "stageName": "Prod"}
    deployed = client.get_stage(**stage)["deploymentId"]

    def serve(deployment: str, milliseconds: int) -> None:
        change = {"op": "replace", "path": "/timeoutInMillis", "value": str(milliseconds)}
        client.update_integration(**method, patchOperations=[change])
        deployment = deployment or client.create_deployment(restApiId=api)["id"]
        change = {"op": "replace", "path": "/deploymentId", "value": deployment}
        client.update_stage(**stage, patchOperations=[change])

    limit = client.get_integration(**method)["timeoutInMillis"]
    assert limit == 29_000
    serve("", 100)
    try:
        assert get(probe, f"{url}?do=sleep&seconds=1")[::2] == (504, {"message": "Endpoint request timed out"})
    finally:
        serve(deployed, limit)
    assert get(probe, url)[0] == 200


def test_a_function_knows_where_it_is(probe: Clone) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime."""
    answer, _ = invoke(probe, "where")
    told = json.loads(answer["body"])
    assert told["arn"] == f"arn:aws:lambda:us-east-1:{CONSUMER}:function:{NAME}"
    assert 0 < told["remaining"] <= 8000
    assert told["user"] == [993, 990]
    assert told["environment"].get("HOME") != "/root"
    known = {
        "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": NAME,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_LAMBDA_LOG_GROUP_NAME": GROUP,
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "LAMBDA_TASK_ROOT": "/var/task", "_HANDLER": "app.handler",
        "TZ": ":UTC",
    }  # fmt: skip
    assert known.items() <= told["environment"].items()
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} <= told["environment"].keys()


def test_a_function_has_the_rights_of_its_role_and_no_others(probe: Clone) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html."""
    given = json.loads(invoke(probe, "where")[0]["body"])["environment"]

    def client(service: str) -> Any:
        return boto3.client(
            service, given["AWS_REGION"], endpoint_url=f"http://127.0.0.1:{probe.port}", config=ONCE,
            aws_access_key_id=given["AWS_ACCESS_KEY_ID"], aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=given["AWS_SESSION_TOKEN"],
        )  # fmt: skip

    role = probe.client("consumer", "lambda").get_function_configuration(FunctionName=NAME)["Role"]
    name = role.rpartition("/")[2]
    assert client("sts").get_caller_identity()["Arn"] == f"arn:aws:sts::{CONSUMER}:assumed-role/{name}/{NAME}"
    client("logs").create_log_stream(logGroupName=GROUP, logStreamName="of the test")
    for call in (
        client("lambda").list_functions,
        client("logs").describe_log_groups,
        lambda: client("logs").create_log_stream(logGroupName="/aws/lambda/another", logStreamName="of the test"),
        lambda: client("ecr").describe_repositories(),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            call()


def test_an_alias_is_in_the_arn_of_the_function(probe: Clone, image: tuple[str, str]) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/python-context.html."""
    with scratch(probe, ":".join(image)) as lambda_:
        version = lambda_.publish_version(FunctionName="scratch")["Version"]
        lambda_.create_alias(FunctionName="scratch", Name="live", FunctionVersion=version)
        answer = lambda_.invoke(FunctionName="scratch", Qualifier="live", Payload=b'{"do": "where"}')
        told = [json.loads(json.load(answer["Payload"])["body"])]
        with public_url(lambda_, FunctionName="scratch", Qualifier="live") as live:
            told.append(get(probe, f"{live}?do=where")[2])
    for one in told:
        assert one["arn"] == f"arn:aws:lambda:us-east-1:{CONSUMER}:function:scratch:live"
        assert one["environment"]["AWS_LAMBDA_FUNCTION_VERSION"] == version


def test_headers_and_query_reach_the_function_and_several_values_come_back(probe: Clone, url: str) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html."""
    _, _, event = get(probe, f"{url}?do=event&a=1&a=2")
    assert event["multiValueQueryStringParameters"]["a"] == ["1", "2"]
    assert (event["httpMethod"], event["path"], event["isBase64Encoded"]) == ("GET", "/hello", False)
    context = event["requestContext"]
    assert context["accountId"] == CONSUMER
    assert context["apiId"] in url
    assert context["domainName"] == f"{context['apiId']}.execute-api.us-east-1.amazonaws.com"
    status, headers, _ = get(probe, f"{url}?do=headers")
    assert (status, headers.get_all("Set-Cookie"), headers["X-One"]) == (200, ["a=1", "b=2"], "1")


def test_tmp_is_kept_while_an_instance_is_warm_and_gone_with_it(probe: Clone) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html."""
    first, second = (json.loads(invoke(probe, "kept")[0]["body"]) for _ in range(2))
    assert second == {"file": first["file"] + 1, "calls": first["calls"] + 1}
    age(probe)
    assert json.loads(invoke(probe, "kept")[0]["body"]) == {"file": 1, "calls": 1}


def test_calls_at_a_time_get_an_instance_each(probe: Clone) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html."""
    client, payload = probe.client("consumer", "lambda"), json.dumps({"do": "sleep", "seconds": 2})
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(client.invoke, FunctionName=NAME, Payload=payload) for _ in range(3)]
    assert len({json.load(call.result()["Payload"])["body"] for call in calls}) == 3


def test_a_function_without_concurrency_is_throttled(probe: Clone, url: str, function_url: str) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html, and urls-configuration.html."""
    lambda_ = probe.client("consumer", "lambda", config=ONCE)
    lambda_.put_function_concurrency(FunctionName=NAME, ReservedConcurrentExecutions=0)
    try:
        with pytest.raises(ClientError) as refused:
            lambda_.invoke(FunctionName=NAME)
        assert refused.value.response["Error"]["Code"] == "TooManyRequestsException"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert get(probe, url)[::2] == (500, {"message": "Internal server error"})
        assert get(probe, function_url)[0] == 429
    finally:
        lambda_.delete_function_concurrency(FunctionName=NAME)
    assert get(probe, function_url)[0] == 200


def test_events_have_a_limit(probe: Clone, url: str, function_url: str) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""
    for kind, size in (("RequestResponse", 6 * 1024**2), ("Event", 1024**2)):
        with pytest.raises(ClientError) as refused:
            probe.client("consumer", "lambda").invoke(
                FunctionName=NAME, InvocationType=kind, Payload=b'"' + b"x" * size + b'"'
            )
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert get(probe, url, b"x" * (10 * 1024**2 + 1))[::2] == (413, {"message": "Request Too Long"})
    assert get(probe, function_url, b"x" * (6 * 1024**2 + 1))[0] == 413
    assert get(probe, function_url, b"x" * (5 * 1024**2))[0] == 413  # larger as Base64


def test_a_function_url_passes_bytes_on_and_tells_nothing_of_an_error(probe: Clone, function_url: str) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html."""
    _, _, event = get(probe, f"{function_url}?do=event", b"\x00\xff")
    assert (event["isBase64Encoded"], event["body"]) == (True, "AP8=")
    assert get(probe, f"{function_url}?do=binary")[::2] == (200, b"\x00\xff")
    assert get(probe, f"{function_url}?do=raise")[::2] == (502, {"message": "Internal Server Error"})


def test_a_call_is_logged_in_the_functions_group(probe: Clone) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html."""
    request = json.loads(invoke(probe, "where")[0]["body"])["id"]
    invoke(probe, "say")
    own = {"from the function", "to the other stream"}
    events = logged(probe, *own)
    lines = [message for _, message in events]
    assert f"START RequestId: {request} Version: $LATEST" in lines
    assert f"END RequestId: {request}" in lines
    (report,) = [line for line in lines if line.startswith(f"REPORT RequestId: {request}\t")]
    assert "\tMemory Size: 128 MB\tMax Memory Used: " in report
    assert own <= {*lines}
    (stream,) = {stream for stream, message in events if request in message}
    assert "/[$LATEST]" in stream


def test_an_update_starts_new_instances_whose_log_is_json(probe: Clone) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html."""
    lambda_ = probe.client("consumer", "lambda")

    def update(log_format: str) -> None:
        lambda_.update_function_configuration(FunctionName=NAME, LoggingConfig={"LogFormat": log_format})
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=NAME, WaiterConfig={"Delay": 0.1})

    invoke(probe, "kept")
    update("JSON")
    try:
        assert json.loads(invoke(probe, "kept")[0]["body"]) == {"file": 1, "calls": 1}
        request = json.loads(invoke(probe, "where")[0]["body"])["id"]
        invoke(probe, "say", text="from the new instance")
        lines = [message for _, message in logged(probe, "from the new instance")]
    finally:
        update("Text")
    told = [json.loads(line) for line in lines if line.startswith("{")]
    records = {one["type"]: one["record"] for one in told if one.get("record", {}).get("requestId") == request}
    assert records["platform.start"] == {"requestId": request, "version": "$LATEST"}
    assert records["platform.report"]["status"] == "success"
    assert records["platform.report"]["metrics"].keys() >= {"durationMs", "billedDurationMs", "memorySizeMB"}
    assert [one["level"] for one in told if one.get("message") == "by the logger"] == ["WARNING"]
    assert "from the new instance" in lines


def test_without_the_right_to_log_nothing_is_logged(probe: Clone) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html."""
    iam, role = probe.client("consumer", "iam"), probe.client("consumer", "lambda").get_function(FunctionName=NAME)
    name = role["Configuration"]["Role"].rpartition("/")[2]
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "logs:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=name, PolicyName="no-logs", PolicyDocument=json.dumps(deny))
    try:
        denied = json.loads(invoke(probe, "where")[0]["body"])["id"]
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="no-logs")
    # The lines of a later call show that those of the first are not on their way.
    end = f"END RequestId: {json.loads(invoke(probe, 'where')[0]['body'])['id']}"
    lines = [message for _, message in logged(probe, end)]
    assert end in lines
    assert [line for line in lines if denied in line] == []


def answer_of(probe: Clone, context: Path, uri: str) -> Any:
    """Build the image in a folder and invoke a function of it with an event. Returns its response."""
    probe.log_in_to_registry()
    pushed = probe.shell(f"docker build -q -t {uri} {context} && docker push -q {uri}")
    assert pushed.returncode == 0, pushed.stdout
    with scratch(probe, uri) as lambda_:
        return json.load(lambda_.invoke(FunctionName="scratch", Payload=b'{"from": "here"}')["Payload"])


def test_a_static_binary_on_an_empty_image_runs(probe: Clone, image: tuple[str, str], tmp_path: Path) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/go-image.html."""
    if (go := shutil.which("go")) is None:
        pytest.skip("needs Go")
    shutil.copy(Path(__file__).with_name("bootstrap.go"), tmp_path)
    # Options of `offline/go.py`, with which Go's cache contains the standard library.
    options = ["-trimpath", "-gcflags=all=-dwarf=false", "-ldflags=-s -w"]
    built = subprocess.run(
        [go, "build", *options, "-o", "bootstrap", "bootstrap.go"], cwd=tmp_path, capture_output=True,
        env={**probe.env, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GO111MODULE": "off"}, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY bootstrap /\nENTRYPOINT ["/bootstrap"]\n')
    assert answer_of(probe, tmp_path, f"{image[0]}:static") == {"event": {"from": "here"}}


def test_a_node_handler_runs(probe: Clone, image: tuple[str, str], tmp_path: Path) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/nodejs-image.html."""
    if (node := shutil.which("node")) is None:
        pytest.skip("needs Node.js")
    linked = subprocess.run(["ldd", node], capture_output=True, text=True, check=True)
    for library in re.findall(r"/\S+", linked.stdout):
        (tmp_path / library[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, tmp_path / library[1:])
    shutil.copy(node, tmp_path / "node")
    shutil.copy(Path(__file__).with_name("bootstrap.mjs"), tmp_path)
    (tmp_path / "app.mjs").write_text(
        "export const handler = async (event) => ({ from: event.from, by: process.release.name });\n"
    )
    (tmp_path / "Dockerfile").write_text(
        'FROM scratch\nCOPY . /\nENTRYPOINT ["/node", "/bootstrap.mjs"]\nCMD ["/app.mjs"]\n'
    )
    assert answer_of(probe, tmp_path, f"{image[0]}:node") == {"from": "here", "by": "node"}
