"""The function behind `GET /hello`."""

import json
from typing import Any


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer an API Gateway proxy request.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    return {
        "statusCode": 200,
        "body": json.dumps({"message": "hello world!"}),
    }
