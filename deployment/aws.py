"""Read the logs of functions, invoke them, and check what credentials are allowed to do.

Needs boto3, the extra `aws` of this package.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html
"""

import base64
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deployment.errors import EXPIRED, REFUSED, ConfigurationError, CredentialsError, ProviderError

FOLLOW_SECONDS = 2
# Log lines arrive late, so each request reads the last seconds again.
OVERLAP_MS = 10_000
# Policies allow `iam:PassRole` for one service.
CONTEXT = {"iam:PassedToService": "lambda.amazonaws.com"}
READ_TIMEOUT_SECONDS = 905  # a function runs for up to 900 s

REPORT = re.compile(
    r"REPORT .*?\bDuration: (?P<duration>[\d.]+) ms.*Memory Size: (?P<size>\d+) MB\s+Max Memory Used: (?P<used>\d+) MB"
    r"(?:.*Init Duration: (?P<init>[\d.]+) ms)?",
    re.S,
)
# Lambda's own lines, in text and in JSON.
FRAME = re.compile(r"(START|END) RequestId: |INIT_START Runtime Version: |\{.*\"type\": ?\"platform\.(?!report)")


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """The credentials of a stack.

    Attributes:
        stack: name of the stack that uses them.
        profile: AWS profile; empty: the default credential chain.
        assume_roles: roles of the stack's configuration, assumed one after the other.
        web_identity: the role to assume with a token, instead of a profile.
    """

    stack: str
    profile: str = ""
    assume_roles: Sequence[Mapping[str, str]] = field(default=(), hash=False)
    web_identity: Mapping[str, str] | None = field(default=None, hash=False)


@dataclass(frozen=True, kw_only=True)
class Login(Credentials):
    """Credentials with the account that they must belong to.

    Attributes:
        account: the account.
        region: Region of the calls.
    """

    account: str
    region: str


@dataclass(frozen=True, kw_only=True)
class Function(Credentials):
    """The location of a consumer's function, with the credentials of its stack.

    Attributes:
        arn: of the function or, with a release, of its alias.
        log_group: name of its log group.
    """

    arn: str
    log_group: str

    @property
    def account(self) -> str:
        """Its account."""
        return self.arn.split(":")[4]

    @property
    def region(self) -> str:
        """Its Region."""
        return self.arn.split(":")[3]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a log.

    Attributes:
        stack: name of the consumer's stack.
        time: when it was written.
        text: the line as the function wrote it, or a shortened line of Lambda.
    """

    stack: str
    time: datetime
    text: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The response of a function.

    Attributes:
        body: what the function returned, or its error.
        failed: whether it is an error.
        log: the last 4 kB of its log.
    """

    body: str
    failed: bool
    log: tuple[str, ...]


def logs(
    functions: Sequence[Function], seconds: float, *, follow: bool = False, wait: Callable[[float], None] = time.sleep
) -> Iterator[Line]:
    """The log lines of functions, sorted by time.

    Args:
        functions: one or more functions.
        seconds: how far back to start.
        follow: wait for new lines, without end.
        wait: called between requests.

    Raises:
        CredentialsError: there are no credentials, or they belong to another account.
        ProviderError: AWS refused the request.
    """
    clients = {function: _client(function, "logs") for function in functions}
    start = int((time.time() - seconds) * 1000)
    told = set[tuple[str, str]]()
    while True:
        now = int(time.time() * 1000)
        found = [
            # Emulators return no event ID.
            (event["timestamp"], function.stack, event.get("eventId") or event["message"], event["message"])
            for function, client in clients.items()
            for event in _events(function, client, start)
        ]
        for timestamp, stack, event, message in sorted(found):
            if (stack, event) not in told and (text := readable(message)):
                yield Line(stack=stack, time=datetime.fromtimestamp(timestamp / 1000, UTC), text=text)
        if not follow:
            return
        told = {(stack, event) for _, stack, event, _ in found}
        start = max(start, now - OVERLAP_MS)
        wait(FOLLOW_SECONDS)


def invoke(function: Function, event: bytes) -> Answer:
    """Call a function, through its alias if it has one.

    Raises:
        CredentialsError: there are no credentials, or they belong to another account.
        ProviderError: AWS refused the call.
    """
    client = _client(function, "lambda")
    with _translated(function):
        answer = client.invoke(FunctionName=function.arn, Payload=event, LogType="Tail")
        body = answer["Payload"].read().decode(errors="replace")
    log = base64.b64decode(answer.get("LogResult", "")).decode(errors="replace")
    lines = tuple(text for line in log.splitlines() if (text := readable(line)))
    return Answer(body=body, failed="FunctionError" in answer, log=lines)


def rights(login: Login, actions: Mapping[str, Sequence[str]]) -> tuple[str, list[str] | None]:
    """The principal of a login, and which actions its policies do not allow.

    The actions are None if the principal lacks `iam:SimulatePrincipalPolicy`.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_testing-policies.html

    Args:
        login: the login.
        actions: the actions by the ARN of their resource.

    Raises:
        CredentialsError: there are no credentials, or they belong to another account.
    """
    from botocore.exceptions import ClientError

    session, who = _session(login)
    if who.endswith(":root"):
        return who, []
    denied = list[str]()
    try:
        client = session.client("iam")
        for resource, names in actions.items():
            answer = client.simulate_principal_policy(
                PolicySourceArn=_principal(who),
                ActionNames=list(names),
                ResourceArns=[resource],
                ContextEntries=[
                    {"ContextKeyName": key, "ContextKeyType": "string", "ContextKeyValues": [value]}
                    for key, value in CONTEXT.items()
                ],
            )
            results = answer["EvaluationResults"]
            denied += [each["EvalActionName"] for each in results if each["EvalDecision"] != "allowed"]
    except ClientError:
        return who, None
    return who, denied


def _principal(caller: str) -> str:
    """The user or role that holds the caller's policies. The ARN of a session does not contain the path of its role."""
    start, _, name = caller.partition(":assumed-role/")
    return f"{start.replace(':sts:', ':iam:')}:role/{name.partition('/')[0]}" if name else caller


def readable(message: str) -> str:
    """A log line shortened for a person; empty for lines that only mark the start or end of a call."""
    # Lambda ends the lines of a traceback with \r, with which a terminal would write each over the one before.
    message = "\n".join(message.rstrip().splitlines())
    if report := REPORT.match(message):
        cold = f", cold start {float(report['init']):.0f} ms" if report["init"] else ""
        return f"took {float(report['duration']):.0f} ms, used {report['used']} of {report['size']} MB{cold}"
    if message.startswith("{") and '"platform.report"' in message:
        metrics = json.loads(message)["record"]["metrics"]
        cold = f", cold start {metrics['initDurationMs']:.0f} ms" if "initDurationMs" in metrics else ""
        used = f"{metrics['maxMemoryUsedMB']} of {metrics['memorySizeMB']} MB"
        return f"took {metrics['durationMs']:.0f} ms, used {used}{cold}"
    return "" if FRAME.match(message) else message


def _events(function: Function, client: Any, start: int) -> list[dict[str, Any]]:
    with _translated(function):
        pages = client.get_paginator("filter_log_events").paginate(logGroupName=function.log_group, startTime=start)
        return [event for page in pages for event in page["events"]]


def _client(function: Function, service: str) -> Any:
    """A client in the function's account and Region."""
    session, _ = _session(function)
    with _translated(function):
        from botocore.config import Config

        # A retry would call the function twice.
        once = Config(read_timeout=READ_TIMEOUT_SECONDS, retries={"total_max_attempts": 1})
        return session.client(service, config=once if service == "lambda" else None)


def _session(login: Login | Function) -> tuple[Any, str]:
    """A session in an account and Region, and the ARN of its principal."""
    try:
        import boto3
    except ImportError:
        hint = "Install it: pip install boto3"
        raise ConfigurationError("boto3 is not installed", stack=login.stack, hint=hint) from None
    with _translated(login):
        has_roles = login.assume_roles or login.web_identity
        given = {"botocore_session": _login(login)} if has_roles else {"profile_name": login.profile or None}
        session = boto3.Session(**given, region_name=login.region)
        # Another account may have a log group with the same name.
        found = session.client("sts").get_caller_identity()
        if found["Account"] != login.account:
            text = f"the credentials belong to account {found['Account']}, not to {login.account}"
            hint = f"Log in to account {login.account}, or name another profile in the stack's file."
            raise CredentialsError(text, stack=login.stack, hint=hint)
        return session, found["Arn"]


def _login(function: Login | Function) -> Any:
    """The credentials in the stack's configuration, resolved as the AWS provider resolves them."""
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.session import Session

    session = Session(profile=function.profile or None)
    region = function.region
    if role := function.web_identity:
        token = Path(role["webIdentityTokenFile"]).read_text()
        sts = session.create_client("sts", region_name=region, config=Config(signature_version=UNSIGNED))
        given = sts.assume_role_with_web_identity(**_named(role), WebIdentityToken=token)
        session.set_credentials(*_keys(given))
    for role in function.assume_roles:
        sts = session.create_client("sts", region_name=region)
        session.set_credentials(*_keys(sts.assume_role(**_named(role))))
    return session


def _named(role: Mapping[str, str]) -> dict[str, str]:
    external_id = {"ExternalId": role["externalId"]} if role.get("externalId") else {}
    return {"RoleArn": role["roleArn"], "RoleSessionName": role.get("sessionName") or "deployment", **external_id}


def _keys(given: Mapping[str, Any]) -> tuple[str, str, str]:
    keys = given["Credentials"]
    return keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]


@contextmanager
def _translated(function: Login | Function) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as NoConnection

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        said = str(error)
        if isinstance(error, (HTTPClientError, NoConnection)):
            raise ProviderError(said, stack=function.stack, hint="Try again.") from None
        if isinstance(error, ClientError) and error.operation_name.startswith("AssumeRole"):
            hint = "Both the role's trust policy and the principal's own policy must allow it: docs/credentials.md"
            raise CredentialsError(said, stack=function.stack, hint=hint) from None
        if isinstance(error, ClientError) and not (EXPIRED.search(said) or REFUSED.search(said)):
            raise ProviderError(said, stack=function.stack, hint="Fix the cause, and run it again.") from None
        hint = "Log in, or name another profile in the stack's file. List them: aws configure list-profiles"
        raise CredentialsError(said, stack=function.stack, hint=hint) from None
