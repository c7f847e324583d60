"""The Runtime API that the runtimes in the containers of functions find: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html."""

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ministack.core.responses import request_scope
from ministack.services import lambda_svc

from local.cloud import functions, gateway, instances, runtime
from local.cloud.gate import runtime_port
from local.cloud.gateway import is_proxy_response, proxy_response
from local.cloud.runtime import PAYLOAD_BYTES, RESPONSE_BYTES, Result, Runtime

ARN = "arn:aws:lambda:us-east-1:222222222222:function:f:live"
ACCOUNT = "222222222222"
NEXT = "/2018-06-01/runtime/invocation/next"
Answer = tuple[int, dict[str, str], bytes]


class Client:
    """A runtime in a container."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, named)
        answer = self._connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def next(self) -> tuple[str, Answer]:
        answer = self.call("GET", NEXT)
        return answer[1]["Lambda-Runtime-Aws-Request-Id"], answer

    def end(self, request: str, kind: str, body: bytes) -> int:
        return self.call("POST", f"/2018-06-01/runtime/invocation/{request}/{kind}", body)[0]


def called(
    act: Callable[[Client], Any], *, seconds: float = 5, calls: int = 1, status: int | None = None
) -> list[Result]:
    """Call a function whose container does this; `status` is that of its process, which ends then."""

    async def run() -> list[Result]:
        runtime = Runtime()
        here, there = socket.socketpair()
        serving = asyncio.create_task(runtime.serve(*await asyncio.open_connection(sock=here)))
        connection = http.client.HTTPConnection("runtime")
        connection.sock = there
        there.settimeout(20)

        def work() -> None:
            act(Client(connection))
            if status is not None:
                loop.call_soon_threadsafe(runtime.ended, status)

        loop = asyncio.get_running_loop()
        working = loop.run_in_executor(None, work)
        results = [
            await runtime.call(f"id-{number}", b'{"a": 1}', arn=ARN, trace="Root=1", seconds=seconds)
            for number in range(calls)
        ]
        await working
        there.close()
        await serving
        return results

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_a_runtime_gets_the_event_with_what_the_context_is_made_of() -> None:
    seen: list[Answer] = []

    def act(client: Client) -> None:
        for _ in range(2):
            request, answer = client.next()
            seen.append(answer)
            assert client.end(request, "response", json.dumps({"to": request}).encode()) == 202

    first, second = called(act, calls=2)
    assert [json.loads(result.payload) for result in (first, second)] == [{"to": "id-0"}, {"to": "id-1"}]
    assert (first.failed, second.failed, first.is_over) == (False, False, False)
    status, headers, event = seen[0]
    assert (status, event) == (200, b'{"a": 1}')
    assert headers["Lambda-Runtime-Invoked-Function-Arn"] == ARN
    assert headers["Lambda-Runtime-Trace-Id"] == "Root=1"
    assert int(headers["Lambda-Runtime-Deadline-Ms"]) > 0


def test_an_error_of_a_handler_is_the_answer() -> None:
    def act(client: Client) -> None:
        request, _ = client.next()
        client.end(request, "error", b'{"errorType": "KeyError"}')

    (result,) = called(act)
    assert (result.failed, result.is_over, result.payload) == (True, False, b'{"errorType": "KeyError"}')


def test_an_error_of_the_start_ends_the_instance() -> None:
    (result,) = called(lambda client: client.call("POST", "/2018-06-01/runtime/init/error", b'{"errorType": "Import"}'))
    assert (result.failed, result.is_over, result.payload) == (True, True, b'{"errorType": "Import"}')


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (1, "Runtime exited with error: exit status 1"),
        (137, "Runtime exited with error: signal: killed"),
        (0, "Runtime exited without providing a reason"),
    ],
)
def test_a_runtime_that_ends_is_an_error(status: int, reason: str) -> None:
    (result,) = called(lambda client: client.next(), status=status)
    assert result.failed
    assert result.is_over
    assert json.loads(result.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: id-0 Error: {reason}",
    }


def test_a_call_ends_with_the_functions_timeout() -> None:
    (result,) = called(lambda client: client.next(), seconds=0.2)
    assert result.is_over
    assert json.loads(result.payload) == {
        "errorType": "Sandbox.Timedout", "errorMessage": "RequestId: id-0 Error: Task timed out after 0.20 seconds",
    }  # fmt: skip


def test_a_start_has_ten_seconds_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib."""

    def act(client: Client) -> None:
        time.sleep(1.2)  # longer than the function's own time
        request, _ = client.next()
        client.end(request, "response", b"1")

    (result,) = called(act, seconds=1)
    assert (result.payload, result.failed) == (b"1", False)
    monkeypatch.setattr(runtime, "INIT_SECONDS", 0.5)
    (late,) = called(lambda _: None, seconds=0.2)
    assert json.loads(late.payload)["errorMessage"].endswith("Task timed out after 0.70 seconds")


@pytest.mark.parametrize(("size", "expected"), [(RESPONSE_BYTES, 202), (RESPONSE_BYTES + 1, 413)])
def test_an_answer_has_at_most_6_mb(size: int, expected: int) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""
    statuses: list[int] = []

    def act(client: Client) -> None:
        request, _ = client.next()
        statuses.append(client.end(request, "response", b"1" * size))

    (result,) = called(act)
    assert statuses == [expected]
    assert result.failed == (expected == 413)
    assert (b"Function.ResponseSizeTooLarge" in result.payload) == result.failed


def test_an_answer_to_another_call_is_refused() -> None:
    def act(client: Client) -> None:
        request, _ = client.next()
        assert client.end("other", "response", b"1") == 400
        assert client.call("GET", "/2020-01-01/extension/register")[0] == 404
        client.end(request, "response", b"2")

    assert called(act)[0].payload == b"2"


@pytest.mark.parametrize(("cloud", "port"), [(4566, 9001), (8080, 9001), (9001, 9002), (9002, 9001)])
def test_no_port_of_the_local_cloud_leaves_a_function_without_its_runtime_api(cloud: int, port: int) -> None:
    assert runtime_port(cloud) == port


# ---- what API Gateway makes of an answer

OK = {
    "statusCode": 200,
    "body": "{}",
    "headers": {"a": "b", "n": 1},
    "multiValueHeaders": {"c": ["d"]},
    "isBase64Encoded": False,
}


@pytest.mark.parametrize("answer", [OK, {"statusCode": "201"}, {"statusCode": 200, "body": None, "headers": None}])
def test_an_answer_of_a_proxy_integrations_form_is_taken(answer: dict[str, Any]) -> None:
    assert proxy_response({"body": answer})[0]["statusCode"] == int(answer["statusCode"])


@pytest.mark.parametrize(
    "answer",
    ["hello", None, 1, ["a"], {}, {"message": "hello"}, {**OK, "body": {"a": 1}}, {**OK, "statusCode": None},
     {**OK, "statusCode": 20}, {**OK, "headers": "a"}, {**OK, "headers": {"a": ["b"]}},
     {**OK, "multiValueHeaders": {"a": "b"}}, {**OK, "isBase64Encoded": "true"}, {**OK, "other": 1}],
)  # fmt: skip
def test_any_other_answer_is_malformed(answer: Any) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html."""
    assert not is_proxy_response(answer)
    response = proxy_response({"body": answer})[0]
    assert (response["statusCode"], json.loads(response["body"])) == (502, {"message": "Internal server error"})


def test_an_error_of_a_function_is_not_told_and_a_throttled_one_is_a_500() -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html#services-apigateway-errors."""
    failed = proxy_response({"error": True, "body": {"errorMessage": "secret", "statusCode": 200}})[0]
    assert (failed["statusCode"], "secret" in str(failed)) == (502, False)
    assert proxy_response({"throttle": True, "error": True, "body": {}})[0]["statusCode"] == 500


def test_a_call_that_takes_longer_than_the_integration_may_is_a_504(monkeypatch: pytest.MonkeyPatch) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html."""
    monkeypatch.setattr(gateway, "configuration_of", lambda *_: None)

    async def call(milliseconds: int, seconds: float) -> Any:
        async def invoke(*_: Any, **__: Any) -> tuple[int, dict[str, str], bytes]:
            await asyncio.sleep(seconds)
            return 200, {}, b""

        integration = {"uri": "", "timeoutInMillis": milliseconds}
        return await gateway._guarded(invoke, object())(  # type: ignore[arg-type]  # no function is woken
            integration, "api", "Prod", {}, {"path": "/"}, "/", "GET", owner_account_id=ACCOUNT, owner_region="r"
        )

    assert asyncio.run(call(29_000, 0)) == (200, {}, b"")
    late = asyncio.run(call(50, 5))
    assert (late.response_type, late.message) == ("INTEGRATION_TIMEOUT", "Endpoint request timed out")


def test_an_http_api_that_waits_too_long_answers_503(monkeypatch: pytest.MonkeyPatch) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html."""
    monkeypatch.setattr(gateway, "configuration_of", lambda *_: None)

    async def call(milliseconds: int, seconds: float) -> Any:
        async def invoke(*_: Any, **__: Any) -> tuple[int, dict[str, str], bytes]:
            await asyncio.sleep(seconds)
            return 200, {}, b""

        integration = {"integrationUri": "", "timeoutInMillis": milliseconds}
        return await gateway._guarded_http(invoke, object())(  # type: ignore[arg-type]  # no function is woken
            integration, "api", "$default", "/", "GET", {}, b"", {}, owner_account_id=ACCOUNT, owner_region="r"
        )

    assert asyncio.run(call(30_000, 0)) == (200, {}, b"")
    status, _, body = asyncio.run(call(50, 5))
    assert (status, json.loads(body)) == (503, {"message": "Service Unavailable"})


def test_an_event_of_an_http_api_names_its_endpoint_and_one_of_a_caller_is_left_alone() -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html."""
    execute = gateway._of_an_endpoint(lambda _, event: event)

    def domain(name: str) -> Any:
        with request_scope(ACCOUNT, "cn-north-1"):
            return execute({}, {"requestContext": {"apiId": "a1", "domainName": name}})["requestContext"]["domainName"]

    assert domain("a1.execute-api.localhost") == "a1.execute-api.cn-north-1.amazonaws.com.cn"
    for given in ("a1.execute-api.us-east-1.amazonaws.com", "api.example.com"):
        assert domain(given) == given
    for event in ("text", None, {"requestContext": 1}, {"requestContext": {}}):
        assert execute({}, event) == event


@pytest.mark.parametrize(("size", "refused"), [(PAYLOAD_BYTES - 100, False), (PAYLOAD_BYTES, True)])
def test_an_event_of_an_endpoint_has_at_most_6_mb(size: int, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""
    execute, event = gateway._of_an_endpoint(lambda *_: {"body": "called"}), {"body": "x" * size}
    assert execute({}, event) == {"body": "called"}  # the caller of the Lambda API has met the limit
    token = instances.CALLED_ARN.set(ARN)
    try:
        result = execute({}, event)
    finally:
        instances.CALLED_ARN.reset(token)
    assert (result["body"] != "called") == refused
    if refused:
        assert proxy_response(result)[0]["statusCode"] == 500
        name = "lambda_execute_result_to_api_proxy_response"
        monkeypatch.setattr(lambda_svc, name, getattr(lambda_svc, name))
        functions._shaping_urls()
        assert getattr(lambda_svc, name)(result)[0]["statusCode"] == 413


def test_an_event_names_the_endpoint_in_the_words_of_its_partition() -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html."""
    caller = {"identity": {"userArn": "arn:aws:iam::1:user/u"}}
    build = gateway._naming_the_endpoint(lambda api: {"requestContext": caller})
    with request_scope(ACCOUNT, "cn-north-1"):
        context = build("a1")["requestContext"]
    assert context["domainName"] == "a1.execute-api.cn-north-1.amazonaws.com.cn"
    assert context["domainPrefix"] == "a1"
    assert context["identity"]["userArn"] == "arn:aws-cn:iam::1:user/u"


def test_a_function_url_tells_nothing_of_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/urls-monitoring.html."""
    name = "lambda_execute_result_to_api_proxy_response"
    monkeypatch.setattr(lambda_svc, name, getattr(lambda_svc, name))
    functions._shaping_urls()
    shape = getattr(lambda_svc, name)
    assert (
        lambda_svc._function_url_proxy_response(shape({"error": True, "body": {"errorMessage": "secret"}})[0], {})[0]
        == 502
    )
    assert shape({"body": "text"})[0]["body"] == "text"
    assert shape({"throttle": True, "error": True, "body": {}})[0]["statusCode"] == 429
    token = functions.FAILED_STATUS.set(500)  # as for an HTTP API
    try:
        assert shape({"error": True, "body": {"errorMessage": "secret"}})[0]["statusCode"] == 500
    finally:
        functions.FAILED_STATUS.reset(token)


# ---- the log of a call


def framed(result: Result, *, is_cold: bool = False, **configuration: Any) -> list[str]:
    """The lines of a call in which the function has written one."""
    instance = SimpleNamespace(
        configuration={"Version": "$LATEST", "MemorySize": 128, **configuration}, peak_mb=40, is_cold=is_cold,
        gate=SimpleNamespace(runtime=SimpleNamespace(init_seconds=0.25)),
    )  # fmt: skip
    return [line for _, line in instances._framed(instance, "id-1", result, [(0, ""), (1, "mine"), (2, "")])]  # type: ignore[arg-type]


def test_the_lines_of_a_call_are_between_those_of_lambda() -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html."""
    times, sizes = "Duration: 12.34 ms\tBilled Duration: 13 ms", "Memory Size: 128 MB\tMax Memory Used: 40 MB"
    report = f"REPORT RequestId: id-1\t{times}\t{sizes}\t"
    frame = ["START RequestId: id-1 Version: $LATEST", "mine", "END RequestId: id-1"]
    assert framed(Result(b"1", False, 0.01234)) == [*frame, report]
    assert framed(Result(b"1", False, 0.01234), is_cold=True) == [*frame, f"{report}Init Duration: 250.00 ms\t"]


def test_a_timeout_is_told_before_the_end() -> None:
    error = {
        "errorType": "Sandbox.Timedout",
        "errorMessage": "RequestId: id-1 Error: Task timed out after 3.00 seconds",
    }
    lines = framed(Result(json.dumps(error).encode(), True, 3.0, is_over=True))
    assert lines[2] == "1970-01-01T00:00:00.002Z id-1 Task timed out after 3.00 seconds"
    assert lines[-1].endswith("Status: timeout")


def test_json_logs_have_events_of_the_platform() -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html."""
    start, own, report = framed(Result(b"1", False, 0.01), LoggingConfig={"LogFormat": "JSON"})
    told = {"requestId": "id-1", "version": "$LATEST"}
    assert json.loads(start) == {"time": "1970-01-01T00:00:00.000Z", "type": "platform.start", "record": told}
    assert own == "mine"
    record = json.loads(report)["record"]
    assert record["status"] == "success"
    assert record["metrics"] == {"durationMs": 10.0, "billedDurationMs": 10, "memorySizeMB": 128, "maxMemoryUsedMB": 40}


def test_a_line_that_docker_has_late_is_written_once_and_after_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html."""
    written: list[str] = []
    monkeypatch.setattr(instances, "_write", lambda _, lines: written.extend(text for _, text in lines))
    told = "2026-01-01T00:00:00.000000001Z first\n"
    instance = instances.Instance({"Id": "1"})
    instance.reading, instance.request = threading.Lock(), "id-1"
    monkeypatch.setattr(instance, "logs", lambda **_: told.encode())
    assert [text for _, text in instance.lines()] == ["first"]
    told += "2026-01-01T00:00:00.000000002Z late\n2026-01-01T00:00:00.000000000Z of the other stream\n"
    instance.write_late("id-0")  # the next call writes it
    assert written == []
    for _ in range(2):
        instance.write_late("id-1")
    assert written == ["late", "of the other stream"]
