"""The local cloud runs functions as Lambda does, and returns their responses as API Gateway does."""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.engine.clone import Clone
from tests.engine.test_access import CONSUMER, NAME, age, running_image, scratch

PROBE = Path(__file__).with_name("probe.py")
GROUP = f"/aws/lambda/{NAME}"
Answer = tuple[int, Any, dict[str, Any]]


@pytest.fixture(scope="module")
def probe(clone: Clone) -> Clone:
    """The clone with the function of `probe.py`."""
    shutil.copy(PROBE, clone.root / "app" / "app.py")
    clone.up("consumer")
    return clone


@pytest.fixture(scope="module")
def url(probe: Clone) -> str:
    return probe.output("consumer", "endpointUrl")


def get(clone: Clone, url: str, body: bytes | None = None) -> Answer:
    """Call the endpoint. Returns status, headers and body."""
    request = urllib.request.Request(url, body)  # noqa: S310
    try:
        with clone.opener.open(request, timeout=60) as answer:
            return answer.status, answer.headers, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.load(error)


def invoke(clone: Clone, do: str, **event: Any) -> tuple[Any, str]:
    """Invoke the function with an event. Returns its response, and `Unhandled` if that is an error."""
    answer = clone.client("consumer", "lambda").invoke(FunctionName=NAME, Payload=json.dumps({"do": do, **event}))
    return json.load(answer["Payload"]), answer.get("FunctionError", "")


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
        ("large", "Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size"),
        ("sleep", "Sandbox.Timedout", "Task timed out after 3.00 seconds"),
    ],
)
def test_who_invokes_a_function_is_told_its_error(probe: Clone, do: str, kind: str, text: str) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html."""
    error, flag = invoke(probe, do)
    assert (error["errorType"], flag) == (kind, "Unhandled")
    assert text in error["errorMessage"]


def test_a_function_knows_where_it_is(probe: Clone) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime."""
    answer, _ = invoke(probe, "where")
    told = json.loads(answer["body"])
    assert told["arn"] == f"arn:aws:lambda:us-east-1:{CONSUMER}:function:{NAME}"
    assert 2000 < told["remaining"] <= 3000
    assert told["user"] == [993, 990]
    known = {
        "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": NAME,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_LAMBDA_LOG_GROUP_NAME": GROUP,
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "LAMBDA_TASK_ROOT": "/var/task", "_HANDLER": "app.handler",
        "TZ": ":UTC",
    }  # fmt: skip
    assert known.items() <= told["environment"].items()
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} <= told["environment"].keys()


def test_headers_and_query_reach_the_function_and_several_values_come_back(probe: Clone, url: str) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html."""
    _, _, event = get(probe, f"{url}?do=event&a=1&a=2")
    assert event["multiValueQueryStringParameters"]["a"] == ["1", "2"]
    assert (event["httpMethod"], event["path"], event["isBase64Encoded"]) == ("GET", "/hello", False)
    assert event["requestContext"]["accountId"] == CONSUMER
    assert event["requestContext"]["domainName"] == url.split("/")[2]
    status, headers, _ = get(probe, f"{url}?do=headers")
    assert (status, headers.get_all("Set-Cookie"), headers["X-One"]) == (200, ["a=1", "b=2"], "1")


def test_tmp_is_kept_while_an_instance_is_warm_and_gone_with_it(probe: Clone) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html."""
    age(probe)
    seen = [json.loads(invoke(probe, "kept")[0]["body"]) for _ in range(2)]
    age(probe)
    assert [*seen, json.loads(invoke(probe, "kept")[0]["body"])] == [
        {"file": 1, "calls": 1}, {"file": 2, "calls": 2}, {"file": 1, "calls": 1},
    ]  # fmt: skip


def test_calls_at_a_time_get_an_instance_each(probe: Clone) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html."""
    client, payload = probe.client("consumer", "lambda"), json.dumps({"do": "sleep", "seconds": 1})
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(client.invoke, FunctionName=NAME, Payload=payload) for _ in range(3)]
    assert len({json.load(call.result()["Payload"])["body"] for call in calls}) == 3


def test_a_function_without_concurrency_is_throttled(probe: Clone, url: str) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html."""
    lambda_ = probe.client("consumer", "lambda")
    lambda_.put_function_concurrency(FunctionName=NAME, ReservedConcurrentExecutions=0)
    try:
        with pytest.raises(ClientError) as refused:
            lambda_.invoke(FunctionName=NAME)
        assert refused.value.response["Error"]["Code"] == "TooManyRequestsException"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert get(probe, url)[::2] == (500, {"message": "Internal server error"})
    finally:
        lambda_.delete_function_concurrency(FunctionName=NAME)


def test_events_have_a_limit(probe: Clone, url: str) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""
    with pytest.raises(ClientError) as refused:
        probe.client("consumer", "lambda").invoke(FunctionName=NAME, Payload=b'"' + b"x" * 6 * 1024**2 + b'"')
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert get(probe, url, b"x" * (10 * 1024**2 + 1))[::2] == (413, {"message": "Request Too Long"})


def test_a_call_is_logged_in_the_functions_group(probe: Clone) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html."""
    request = json.loads(invoke(probe, "where")[0]["body"])["id"]
    invoke(probe, "say")
    events = probe.client("consumer", "logs").filter_log_events(logGroupName=GROUP)["events"]
    lines = [event["message"] for event in events]
    assert f"START RequestId: {request} Version: $LATEST" in lines
    assert f"END RequestId: {request}" in lines
    (report,) = [line for line in lines if line.startswith(f"REPORT RequestId: {request}\t")]
    assert "\tMemory Size: 128 MB\tMax Memory Used: " in report
    assert {"from the function", "to the other stream"} <= set(lines)
    assert all("/[$LATEST]" in event["logStreamName"] for event in events)


def test_without_the_right_to_log_nothing_is_logged(probe: Clone) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html."""
    iam, role = probe.client("consumer", "iam"), probe.client("consumer", "lambda").get_function(FunctionName=NAME)
    name = role["Configuration"]["Role"].rpartition("/")[2]
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "logs:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=name, PolicyName="no-logs", PolicyDocument=json.dumps(deny))
    try:
        request = json.loads(invoke(probe, "where")[0]["body"])["id"]
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="no-logs")
    events = probe.client("consumer", "logs").filter_log_events(logGroupName=GROUP)["events"]
    assert [event for event in events if request in event["message"]] == []


def answer_of(probe: Clone, context: Path, name: str) -> Any:
    """Build the image in a folder and invoke a function of it with an event. Returns its response."""
    image = f"{running_image(probe)[0]}:{name}"
    probe.log_in_to_registry()
    pushed = probe.shell(f"docker build -q -t {image} {context} && docker push -q {image}")
    assert pushed.returncode == 0, pushed.stdout
    with scratch(probe, image) as lambda_:
        return json.load(lambda_.invoke(FunctionName="scratch", Payload=b'{"from": "here"}')["Payload"])


def test_a_static_binary_on_an_empty_image_runs(probe: Clone, tmp_path: Path) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/go-image.html."""
    if (go := shutil.which("go")) is None:
        pytest.skip("needs Go")
    shutil.copy(Path(__file__).with_name("bootstrap.go"), tmp_path)
    built = subprocess.run(
        ["nice", go, "build", "-ldflags=-s -w", "-o", "bootstrap", "bootstrap.go"], cwd=tmp_path, capture_output=True,
        env={**probe.env, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GO111MODULE": "off"}, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY bootstrap /\nENTRYPOINT ["/bootstrap"]\n')
    assert answer_of(probe, tmp_path, "static") == {"event": {"from": "here"}}


def test_a_node_handler_runs(probe: Clone, tmp_path: Path) -> None:
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
    assert answer_of(probe, tmp_path, "node") == {"from": "here", "by": "node"}
