"""A function that reports how it runs. `do` in the query or in the event selects what it does."""

import base64
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

calls: list[str] = []


def handler(event: dict[str, Any], context: Any) -> Any:
    """Run the action that `do` selects."""
    calls.append(context.aws_request_id)
    query = event.get("queryStringParameters") or event
    return DO[query.get("do", "hello")](event, context)


def answer(body: object, **besides: Any) -> dict[str, Any]:
    return {"statusCode": 200, "body": json.dumps(body), **besides}


def fail(event: Any, context: Any) -> None:
    raise KeyError("a secret of the function")


def write(event: Any, context: Any) -> None:
    Path("/var/task/new").write_text("")


def where(event: Any, context: Any) -> Any:
    return answer(
        {
            "arn": context.invoked_function_arn, "remaining": context.get_remaining_time_in_millis(),
            "environment": dict(os.environ), "user": [os.getuid(), os.getgid()], "id": context.aws_request_id,
        }
    )  # fmt: skip


def kept(event: Any, context: Any) -> Any:
    file = Path("/tmp/calls")  # noqa: S108
    file.write_text(f"{file.read_text() if file.exists() else ''}x")
    return answer({"file": len(file.read_text()), "calls": len(calls)})


def sleep(event: Any, context: Any) -> Any:
    time.sleep(float((event.get("queryStringParameters") or event).get("seconds", 60)))
    return answer(context.log_stream_name)


def say(event: Any, context: Any) -> Any:
    logging.getLogger().warning("by the logger")
    print("to the other stream", file=sys.stderr)
    print(event.get("text", "from the function"))
    return answer("said")


DO = {
    "hello": lambda event, context: answer({"message": "hello world!"}),
    "text": lambda event, context: "hello",
    "nothing": lambda event, context: None,
    "object": lambda event, context: {"statusCode": 200, "body": {"a": 1}},
    "raise": fail,
    "write": write,
    "where": where,
    "kept": kept,
    "sleep": sleep,
    "say": say,
    "memory": lambda event, context: answer(len(b"x" * 512 * 1024**2)),
    "exit": lambda event, context: os._exit(3),
    "large": lambda event, context: "x" * 7 * 1024**2,
    "event": lambda event, context: answer(event),
    "binary": lambda event, context: {
        "statusCode": 200,
        "isBase64Encoded": True,
        "body": base64.b64encode(b"\x00\xff").decode(),
    },
    "headers": lambda event, context: answer(
        "", multiValueHeaders={"Set-Cookie": ["a=1", "b=2"]}, headers={"X-One": "1"}
    ),
}
