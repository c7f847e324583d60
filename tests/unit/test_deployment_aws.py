"""What `logs` and `invoke` ask of AWS, and what a person reads of the answers."""

import base64
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import boto3
import botocore.session
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    ReadTimeoutError,
)

from deployment import ConfigurationError, CredentialsError, DeploymentError, ProviderError
from deployment.aws import Answer, Function, invoke, logs, readable

ACCOUNT = "222222222222"
ARN = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:f:live"
FUNCTION = Function(stack="consumer", arn=ARN, log_group="/aws/lambda/f", profile="consumer")
OTHER = Function(stack="second", arn=ARN, log_group="/aws/lambda/g")
REPORT = (
    "REPORT RequestId: 1\tDuration: 3.61 ms\tBilled Duration: 205 ms\tMemory Size: 128 MB\tMax Memory Used: 40 MB\t"
    "Init Duration: 200.70 ms\t\n"
)


class Cloud:
    """The clients of a session.

    Attributes:
        account: whose credentials they are.
        groups: events of log groups.
        refuse: the next request fails with it.
        asked: arguments of all requests.
        configs: the SDK's configuration of each service's client.
    """

    def __init__(self) -> None:
        self.account = ACCOUNT
        self.groups: dict[str, list[dict[str, Any]]] = {}
        self.refuse: Exception | None = None
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {}
        self.configs: dict[str, Any] = {}

    def __call__(self, **options: Any) -> "Cloud":
        self.asked.append(options)
        return self

    def client(self, service: str, config: Any = None) -> "Cloud":
        self.configs[service] = config
        return self

    def get_caller_identity(self) -> dict[str, str]:
        if self.refuse:
            raise self.refuse
        return {"Account": self.account, "Arn": f"arn:aws:iam::{self.account}:user/me"}

    def get_paginator(self, operation: str) -> "Cloud":
        return self

    def paginate(self, **arguments: Any) -> list[dict[str, Any]]:
        events = self.groups.get(arguments["logGroupName"], [])
        found = [event for event in events if event["timestamp"] >= arguments["startTime"]]
        return [{"events": found[:1]}, {"events": found[1:]}]

    def invoke(self, **arguments: Any) -> dict[str, Any]:
        self.asked.append(arguments)
        return self.answer


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cloud = Cloud()
    monkeypatch.setattr(boto3, "Session", cloud)
    return cloud


def event(seconds_ago: float, text: str) -> dict[str, Any]:
    timestamp = int((time.time() - seconds_ago) * 1000)
    return {"timestamp": timestamp, "eventId": f"{text}-{timestamp}", "message": f"{text}\n"}


def test_lines_of_several_functions_are_in_the_order_of_time_and_as_old_as_asked_for(cloud: Cloud) -> None:
    cloud.groups = {
        "/aws/lambda/f": [event(500, "old"), event(30, "first"), event(10, "third")],
        "/aws/lambda/g": [event(20, "second")],
    }
    assert [(line.stack, line.text) for line in logs([FUNCTION, OTHER], 60)] == [
        ("consumer", "first"), ("second", "second"), ("consumer", "third"),
    ]  # fmt: skip
    assert cloud.asked[0] == {"profile_name": "consumer", "region_name": "eu-west-1"}
    assert cloud.asked[1]["profile_name"] is None


def test_log_events_without_an_id_are_shown(cloud: Cloud) -> None:
    cloud.groups = {"/aws/lambda/f": [{"timestamp": int(time.time() * 1000), "message": "hello\n"}]}
    assert [line.text for line in logs([FUNCTION], 60)] == ["hello"]


def test_following_tells_each_line_once_and_late_ones_too(cloud: Cloud) -> None:
    lines = cloud.groups["/aws/lambda/f"] = [event(5, "first")]
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            # Written before what was told already, and seen after it.
            lines.append(event(6, "late"))
        if len(waited) == 3:
            raise TimeoutError

    followed = logs([FUNCTION], 60, follow=True, wait=wait)
    assert (next(followed).text, next(followed).text) == ("first", "late")
    # The third wait: nothing was told twice until then.
    with pytest.raises(TimeoutError):
        next(followed)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("hello\n", "hello"),
        ("START RequestId: 1 Version: $LATEST\n", ""),
        ("END RequestId: 1\n", ""),
        ("INIT_START Runtime Version: python:3.13\n", ""),
        ("START processing order 5\n", "START processing order 5"),
        ("END of the batch\n", "END of the batch"),
        ("INIT_START pool\n", "INIT_START pool"),
        ("[ERROR] KeyError\rTraceback:\r  File app.py\n", "[ERROR] KeyError\nTraceback:\n  File app.py"),
        (REPORT, "took 4 ms, used 40 of 128 MB, cold start 201 ms"),
        (REPORT.partition("Init")[0], "took 4 ms, used 40 of 128 MB"),
        ('{"time": "x", "type": "platform.start", "record": {}}', ""),
        (
            json.dumps(
                {
                    "type": "platform.report",
                    "record": {"metrics": {"durationMs": 3.6, "memorySizeMB": 128, "maxMemoryUsedMB": 40}},
                }
            ),
            "took 4 ms, used 40 of 128 MB",
        ),
        ('{"level": "INFO", "message": "hello"}', '{"level": "INFO", "message": "hello"}'),
    ],
)
def test_a_report_is_readable_and_lines_that_say_nothing_are_left_out(message: str, expected: str) -> None:
    assert readable(message) == expected


def test_a_function_is_called_through_its_alias_and_its_log_comes_back(cloud: Cloud) -> None:
    log = base64.b64encode(f"START RequestId: 1 Version: $LATEST\nhello\n{REPORT}".encode()).decode()
    cloud.answer = {"Payload": io.BytesIO(b'{"statusCode": 200}'), "LogResult": log}
    assert invoke(FUNCTION, b'{"a": 1}') == Answer(
        body='{"statusCode": 200}', failed=False, log=("hello", "took 4 ms, used 40 of 128 MB, cold start 201 ms")
    )
    assert cloud.asked[-1] == {"FunctionName": ARN, "Payload": b'{"a": 1}', "LogType": "Tail"}
    cloud.answer = {"Payload": io.BytesIO(b"{}"), "FunctionError": "Unhandled"}
    assert invoke(FUNCTION, b"{}").failed


def test_a_call_is_sent_once_and_a_throttled_request_for_logs_again(cloud: Cloud) -> None:
    cloud.answer = {"Payload": io.BytesIO(b"{}")}
    invoke(FUNCTION, b"{}")
    list(logs([FUNCTION], 60))
    assert cloud.configs["lambda"].retries == {"total_max_attempts": 1}
    assert cloud.configs["logs"] is None


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Invoke")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused("AccessDeniedException"), ProviderError),
        (refused("ExpiredTokenException"), CredentialsError),
        (NoCredentialsError(), CredentialsError),
        (ProfileNotFound(profile="x"), CredentialsError),
        (ReadTimeoutError(endpoint_url="https://x"), ProviderError),
        (EndpointConnectionError(endpoint_url="https://x"), ProviderError),
        (ConnectTimeoutError(endpoint_url="https://x"), ProviderError),
        (ProxyConnectionError(proxy_url="https://x"), ProviderError),
    ],
)
@pytest.mark.parametrize("call", [lambda: list(logs([FUNCTION], 60)), lambda: invoke(FUNCTION, b"{}")])
def test_what_aws_refuses_is_typed(
    cloud: Cloud, call: Callable[[], object], error: Exception, expected: type[DeploymentError]
) -> None:
    cloud.refuse = error
    with pytest.raises(expected) as raised:
        call()
    assert (type(raised.value), raised.value.stack) == (expected, "consumer")
    assert raised.value.hint


def test_credentials_of_another_account_read_no_log_of_the_same_name(cloud: Cloud) -> None:
    cloud.account = "333333333333"
    cloud.groups = {"/aws/lambda/f": [event(1, "of another account")]}
    with pytest.raises(CredentialsError, match="account 333333333333, not to 222222222222") as refused:
        list(logs([FUNCTION], 60))
    assert "Log in to account 222222222222" in refused.value.hint


def test_without_boto3_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ConfigurationError, match="boto3 is not installed") as refused:
        invoke(FUNCTION, b"{}")
    assert "pip install boto3" in refused.value.hint


# ---- roles


class Login:
    """A session of the SDK: whose keys it has, and who asked STS for what."""

    asked: ClassVar[list[dict[str, Any]]] = []
    regions: ClassVar[list[str | None]] = []
    refuse: ClassVar[bool] = False

    def __init__(self, profile: str | None = None) -> None:
        self.keys = profile or "default"

    def set_credentials(self, key: str, secret: str, token: str) -> None:
        self.keys = key

    def create_client(self, service: str, region_name: str | None = None, config: Any = None) -> Any:
        assert service == "sts"
        self.regions.append(region_name)
        return SimpleNamespace(assume_role=self._assume, assume_role_with_web_identity=self._assume)

    def _assume(self, **call: Any) -> dict[str, Any]:
        if self.refuse:
            denied = {"Error": {"Code": "AccessDenied", "Message": "not authorized to perform: sts:AssumeRole"}}
            raise ClientError(denied, "AssumeRole")  # type: ignore[arg-type]  # a part of it
        self.asked.append({"by": self.keys, **call})
        key = call["RoleArn"].rpartition("/")[2]
        return {"Credentials": {"AccessKeyId": key, "SecretAccessKey": "s", "SessionToken": "t"}}


@pytest.fixture
def login(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> type[Login]:
    monkeypatch.setattr(botocore.session, "Session", Login)
    monkeypatch.setattr(Login, "asked", [])
    monkeypatch.setattr(Login, "regions", [])
    return Login


def test_a_function_is_asked_with_the_roles_of_its_stack(login: type[Login], cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("told")
    web = {"roleArn": "arn:aws:iam::111111111111:role/web", "webIdentityTokenFile": str(tmp_path / "token")}
    roles = [{"roleArn": f"arn:aws:iam::{ACCOUNT}:role/own", "externalId": "x1", "sessionName": "run"}]
    asked = Function(stack="consumer", arn=ARN, log_group="g", assume_roles=roles, web_identity=web)
    assert list(logs([asked], 60)) == []
    assert login.asked == [
        {"by": "default", "RoleArn": web["roleArn"], "RoleSessionName": "deployment", "WebIdentityToken": "told"},
        {"by": "web", "RoleArn": roles[0]["roleArn"], "RoleSessionName": "run", "ExternalId": "x1"},
    ]
    assert cloud.asked[0]["botocore_session"].keys == "own"
    # The environment and the profile may name no Region.
    assert login.regions == ["eu-west-1", "eu-west-1"]


def test_a_role_that_is_not_assumed_is_a_matter_of_credentials(
    login: type[Login], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Login, "refuse", True)
    roles = [{"roleArn": f"arn:aws:iam::{ACCOUNT}:role/own"}]
    with pytest.raises(CredentialsError, match="sts:AssumeRole") as refused:
        list(logs([Function(stack="consumer", arn=ARN, log_group="g", profile="p", assume_roles=roles)], 60))
    assert "trust policy" in refused.value.hint
