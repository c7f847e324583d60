"""Partitions in the local cloud: every ARN and host name as in the Region's own partition.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
"""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import boto3
import pytest
from ministack.core.responses import request_scope

from local.cloud import partition
from local.cloud.asgi import Receive, Scope, Send, giving, read

GOV, CHINA, EU = "us-gov-west-1", "cn-north-1", "eusc-de-east-1"


@pytest.mark.parametrize(
    ("region", "outside", "inside"),
    [
        (GOV, "arn:aws-us-gov:iam::222222222222:role/r", "arn:aws:iam::222222222222:role/r"),
        (CHINA, "arn%3Aaws-cn%3Alambda%3Acn-north-1", "arn%3Aaws%3Alambda%3Acn-north-1"),
        (
            CHINA,
            "localhost:1/111111111111.dkr.ecr.cn-north-1.amazonaws.com.cn/r:t",
            "localhost:1/111111111111.dkr.ecr.cn-north-1.amazonaws.com/r:t",
        ),
        (EU, "a1.execute-api.eusc-de-east-1.amazonaws.eu/Prod", "a1.execute-api.eusc-de-east-1.amazonaws.com/Prod"),
        (GOV, "arn:aws-us-gov:apigateway:r:lambda:path/2015-03-31/functions/arn:aws-us-gov:lambda:x/invocations",
         "arn:aws:apigateway:r:lambda:path/2015-03-31/functions/arn:aws:lambda:x/invocations"),
    ],
)  # fmt: skip
def test_names_of_a_partition_are_translated_there_and_back(region: str, outside: str, inside: str) -> None:
    words = partition.of(region)
    assert words.text(outside) == inside
    assert words.text(inside) == outside


def test_what_is_the_same_in_every_partition_is_left_alone() -> None:
    policy = '{"Principal": {"Service": "lambda.amazonaws.com"}, "Resource": "*", "x": "warn:aws:"}'
    assert partition.of(CHINA).text(policy) == policy
    arn = "arn:aws:iam::222222222222:role/r"
    assert partition.of("us-east-1").text(arn) == arn


def test_the_arn_of_another_partition_names_nothing() -> None:
    assert partition.of(GOV).text("arn:aws:iam::222222222222:root") == "arn:aws-us-gov:iam::222222222222:root"
    assert partition.of(GOV).text("arn:aws-cn:iam::222222222222:root") == "arn:aws-cn:iam::222222222222:root"


def test_every_region_of_the_sdk_is_in_its_partition() -> None:
    session = boto3.Session()
    for name in session.get_available_partitions():
        for region in session.get_available_regions("lambda", name):
            assert partition.of(region).name == name


def sent(region: str, path: str, body: bytes, answer: bytes, caller: object = "somebody") -> tuple[Scope, bytes, bytes]:
    """Send a call: what MiniStack gets of it, its body, and what the caller gets back."""
    got: list[Any] = []
    given: list[bytes] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        got.extend((scope, await read(receive)))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    async def send(message: MutableMapping[str, Any]) -> None:
        given.append(message.get("body", b""))

    async def never() -> MutableMapping[str, Any]:
        raise AssertionError

    headers = [(b"content-length", str(len(body)).encode())]
    scope = {"path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers, "caller": caller}
    with request_scope("222222222222", region):
        asyncio.run(partition.translate(inner, scope, giving(body, never), send))
    return got[0], got[1], b"".join(given)


def test_a_call_reaches_ministack_in_its_own_words_and_is_answered_in_the_callers() -> None:
    body = json.dumps({"Role": "arn:aws-us-gov:iam::222222222222:role/r"}).encode()
    scope, got, given = sent(GOV, "/2017-03-31/tags/arn:aws-us-gov:lambda:x", body, b'"arn:aws:lambda:x"')
    assert json.loads(got) == {"Role": "arn:aws:iam::222222222222:role/r"}
    assert dict(scope["headers"])[b"content-length"] == str(len(got)).encode()
    assert scope["path"] == "/2017-03-31/tags/arn:aws:lambda:x"
    assert given == b'"arn:aws-us-gov:lambda:x"'


def test_events_and_answers_of_a_function_are_its_own() -> None:
    path = "/2015-03-31/functions/arn:aws-cn:lambda:cn-north-1:222222222222:function:f/invocations"
    scope, got, given = sent(CHINA, path, b'"arn:aws-cn:s3:::b"', b'"arn:aws-cn:s3:::b"')
    assert scope["path"] == path.replace("aws-cn", "aws")
    assert (got, given) == (b'"arn:aws-cn:s3:::b"', b'"arn:aws-cn:s3:::b"')


def test_a_call_without_a_signature_is_of_the_partition_of_its_role() -> None:
    body = b"Action=AssumeRoleWithWebIdentity&RoleArn=arn%3Aaws-eusc%3Aiam%3A%3A222222222222%3Arole%2Fr"
    _, got, given = sent("us-east-1", "/", body, b"<Arn>arn:aws:sts::222222222222:assumed-role/r/s</Arn>", None)
    assert b"arn%3Aaws%3Aiam" in got
    assert given == b"<Arn>arn:aws-eusc:sts::222222222222:assumed-role/r/s</Arn>"
