"""Where MiniStack judges or answers otherwise than AWS, put right inside of it.

* Rights are judged on the ARN that AWS judges them on, not on `*`:
  https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
* Who gives a function a role needs `iam:PassRole`, who gives it an image of another account the right to pull it.
* `ListImages` lists an image once for each of its tags.
"""

import json
import re
from typing import Any

from ministack.core import iam_actions
from ministack.core.iam_evaluator import (
    AuthError,
    EvalContext,
    evaluate,
    find_iam_access_key_account,
    resolve_principal,
)
from ministack.core.responses import json_response, request_scope
from ministack.core.router import extract_access_key_id, extract_region
from ministack.services import ecr

LOG_TAG_ACTIONS = ("TagResource", "UntagResource", "ListTagsForResource")
PULL_ACTIONS = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
IMAGE = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<repository>[^:@]+)[:@]")
IMAGE_ACCESS_DENIED = "Lambda does not have permission to access the ECR image. Check the ECR permissions."

_ministack_resource_arn = iam_actions.extract_resource_arn
_ministack_list_images = ecr._list_images


def apply() -> None:
    """Replace what MiniStack looks up anew with each request."""
    iam_actions.extract_resource_arn = _resource_arn
    ecr._list_images = _list_images


def _resource_arn(
    service: str, method: str, path: str, headers: dict[str, str], body: bytes, params: Any, region: str, account: str
) -> str:
    """The ARN that a request is judged on."""
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    if service == "logs" and action not in LOG_TAG_ACTIONS:
        # Without a name, as in DescribeLogGroups, the part between the colons is empty.
        return f"arn:aws:logs:{region}:{account}:log-group:{_json(body).get('logGroupName', '')}:log-stream:"
    if service == "ecr":
        asked = _json(body)
        if "resourceArn" in asked:
            return str(asked["resourceArn"])
        if len(names := asked.get("repositoryNames") or []) == 1:
            return f"arn:aws:ecr:{region}:{asked.get('registryId', account)}:repository/{names[0]}"
    return str(_ministack_resource_arn(service, method, path, headers, body, params, region, account))


def refused_function(headers: dict[str, str], method: str, path: str, body: bytes) -> str | None:
    """Why the caller may not give a function this role or this image, or None.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
    """
    access_key = extract_access_key_id(headers)
    account, region = find_iam_access_key_account(access_key) or "", extract_region(headers)
    with request_scope(account, region):
        principal = resolve_principal(access_key, account)
    # Credentials that are wrong are refused by MiniStack itself; the root of an account may do everything.
    if isinstance(principal, AuthError) or principal.policies is None:
        return None

    def may(action: str, resource: str, keys: dict[str, str]) -> bool:
        caller = (principal.arn, principal.type, principal.account)
        asked = EvalContext(*caller, action, resource, region, service_context=keys)
        return bool(evaluate(asked, principal.policies, *principal.limits).decision == "Allow")

    given, last = _json(body), path.rstrip("/").rpartition("/")[2]
    role = given.get("Role") if last in ("functions", "configuration") else None
    if role and not may("iam:PassRole", role, {"iam:passedtoservice": "lambda.amazonaws.com"}):
        return iam_actions.identity_denial_message("iam:PassRole", principal.arn, role, explicit_deny=False)
    image = given.get("Code", {}).get("ImageUri") if last == "functions" else given.get("ImageUri")
    if method in ("POST", "PUT") and image and (named := IMAGE.search(image)):
        repository = f"arn:aws:ecr:{named['region']}:{named['account']}:repository/{named['repository']}"
        # In its own account Lambda adds what it needs to the repository's policy.
        if named["account"] != principal.account and not all(may(action, repository, {}) for action in PULL_ACTIONS):
            return IMAGE_ACCESS_DENIED
    return None


def _list_images(asked: dict[str, Any]) -> Any:
    """`ListImages`, with an image once for each of its tags; MiniStack gives it once, with the last tag."""
    answer = _ministack_list_images(asked)
    if answer[0] != 200:
        return answer
    status = asked.get("filter", {}).get("tagStatus", "ANY")
    listed = []
    for image in ecr._images.get(asked["repositoryName"], []):
        digest, tags = image["imageId"]["imageDigest"], image.get("imageTags", [])
        if status != "UNTAGGED":
            listed += [{"imageDigest": digest, "imageTag": tag} for tag in tags]
        if status != "TAGGED" and not tags:
            listed.append({"imageDigest": digest})
    return json_response({"imageIds": listed})


def _json(body: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(body or b"{}"))
    except (ValueError, TypeError):
        return {}
