"""Where MiniStack judges or answers otherwise than AWS, put right inside of it.

* CloudWatch Logs: rights are judged on the ARN that AWS judges them on, with an empty name where all groups are asked
  for. https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html
* ECR: `ListImages` gives an image once for each of its tags.
  https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListImages.html
"""

import json
from typing import Any

from ministack.core import iam_actions
from ministack.core.responses import json_response
from ministack.services import ecr

# Of these the ARN has no `:*` behind the group's name:
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html
LOG_TAG_ACTIONS = {"TagResource", "UntagResource", "ListTagsForResource"}


def apply() -> None:
    """Replace what MiniStack looks up anew with each request."""
    iam_actions.extract_resource_arn = _judging_log_groups(iam_actions.extract_resource_arn)
    ecr._list_images = _listing_tags(ecr._list_images)


def _judging_log_groups(otherwise: Any) -> Any:
    def resource_arn(
        service: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query: Any,
        region: str,
        account: str,
    ) -> str:
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        if service == "logs" and action not in LOG_TAG_ACTIONS:
            return f"arn:aws:logs:{region}:{account}:log-group:{_group(body)}:log-stream:"
        return str(otherwise(service, method, path, headers, body, query, region, account))

    return resource_arn


def _group(body: bytes) -> str:
    try:
        return str(json.loads(body or b"{}").get("logGroupName", ""))
    except (ValueError, AttributeError):
        return ""


def _listing_tags(otherwise: Any) -> Any:
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
