"""Where MiniStack judges or answers otherwise than AWS, put right inside of it.

* Lambda: who creates a function is judged on its ARN, not on `*`.
  https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
* CloudWatch Logs: a group's ARN ends in `:*` in policies, and has an empty name where all groups are asked for.
  https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html
* ECR: `ListImages` gives an image once for each of its tags.
  https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListImages.html
* API Gateway: an API is called by AWS's host names, in every partition.
  https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-call-api.html
"""

import json
import re
from collections.abc import Callable
from typing import Any

from ministack import app as ministack
from ministack.core import iam_actions
from ministack.core.responses import json_response
from ministack.services import ecr

from local.cloud import patch_operations

# Of these the ARN has no `:*` behind the group's name.
LOG_TAG_ACTIONS = {"TagResource", "UntagResource", "ListTagsForResource"}


def apply() -> None:
    """Replace what MiniStack looks up anew with each request."""
    iam_actions.extract_resource_arn = _judging_by_name(iam_actions.extract_resource_arn)
    ecr._list_images = _listing_tags(ecr._list_images)
    patch_operations.apply()
    ministack._EXECUTE_API_RE = re.compile(r"(\w+)\.execute-api\.")


def _judging_by_name(otherwise: Callable[..., str]) -> Callable[..., str]:
    def resource_arn(
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: Any, *scope: str
    ) -> str:
        region, account = scope
        if service == "lambda" and method == "POST" and path.rstrip("/").endswith("/functions"):
            return f"arn:aws:lambda:{region}:{account}:function:{_text(body, 'FunctionName')}"
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        if service == "logs" and action not in LOG_TAG_ACTIONS:
            return f"arn:aws:logs:{region}:{account}:log-group:{_text(body, 'logGroupName')}:log-stream:"
        return otherwise(service, method, path, headers, body, query, *scope)

    return resource_arn


def _text(body: bytes, name: str) -> str:
    try:
        return str(json.loads(body or b"{}").get(name, ""))
    except (ValueError, AttributeError):
        return ""


def _listing_tags(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def list_images(asked: dict[str, Any]) -> Any:
        answer = otherwise(asked)
        if answer[0] != 200:
            return answer
        status, listed = asked.get("filter", {}).get("tagStatus", "ANY"), []
        for image in ecr._images.get(asked["repositoryName"], []):
            digest, tags = image["imageDigest"], image.get("imageTags", [])
            if status != "UNTAGGED":
                listed += [{"imageDigest": digest, "imageTag": tag} for tag in tags]
            if status != "TAGGED" and not tags:
                listed.append({"imageDigest": digest})
        return json_response({"imageIds": listed})

    return list_images
