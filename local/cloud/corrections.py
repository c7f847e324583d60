"""Corrections inside MiniStack where it differs from AWS.

* Lambda: who creates a function is judged on its ARN, not on `*`; calls about events by their names.
  https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
* EventBridge: who changes a rule's targets is judged on the rule.
  https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
* CloudWatch Logs: in policies, the ARN of a log group ends in `:*`, and has an empty name for calls on all groups.
  https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html
* CloudWatch: an answer in XML has everything of an alarm.
  https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricAlarm.html
* Credentials: root users and functions' roles have random secrets, and signatures are checked.
* ECR: `ListImages` returns an image once for each of its tags. `BatchDeleteImage` removes a tag; it removes the image
with its last tag, or by digest.
  https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListImages.html
  https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html
* SNS, EventBridge and Scheduler call functions asynchronously: failed calls are repeated, and sent to a destination.
  https://docs.aws.amazon.com/lambda/latest/dg/invocation-async.html
* API Gateway: an API is called by AWS's host names, in every partition, and answers as it was deployed.
  https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-call-api.html
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from ministack import app
from ministack.core import iam_actions, lambda_runtime
from ministack.core import iam_evaluator as iam
from ministack.core.responses import get_account_id, json_response
from ministack.services import cloudwatch, ecr, eventbridge, lambda_svc, sns, sts

from local import credentials
from local.cloud import access, deployments, patch_operations
from local.cloud.guard import SERVICES

ACCOUNT = re.compile(r"\d{12}")
NEVER = re.compile(r"(?!)")
# `failureCode` and `failureReason` of an image that is not deleted.
MISSING = ("ImageNotFound", "Requested image not found")
UNTAGGED = ("ImageTagDoesNotMatchDigest", "Provided tag does not match the provided digest")
# Composite alarms have no metric.
ALARM = re.compile(rb"<member><AlarmName>([^<]*)</AlarmName>(?:(?!</member>).)*<MetricName>.*?</member>", re.DOTALL)
# For these actions, the ARN does not end in `:*`.
LOG_TAG_ACTIONS = {"TagResource", "UntagResource", "ListTagsForResource"}


def apply() -> None:
    """Patch MiniStack. It looks these names up for each request."""
    iam_actions.extract_resource_arn = _judging_by_name(iam_actions.extract_resource_arn)
    iam_actions._lambda_action = _naming_event_calls(iam_actions._lambda_action)
    cloudwatch._describe_alarms = _describing_alarms(cloudwatch._describe_alarms)
    ecr._list_images = _listing_tags(ecr._list_images)
    ecr._batch_delete_image = _deleting_tags(ecr._batch_delete_image)
    eventbridge._dispatch_to_lambda = lambda arn, payload: _call_asynchronously(arn, json.loads(payload))
    sns._deliver_to_lambda = _deliver_to_lambda
    patch_operations.apply()
    deployments.apply()
    for unused in app.SERVICE_HANDLERS.keys() - SERVICES:
        del app.SERVICE_HANDLERS[unused]
    # MiniStack responds to preflight requests of every web page.
    app._handle_options_request = lambda *_: None
    # The guard converts the host of an endpoint to a path, so that this host gives no access to other paths of
    # MiniStack.
    app._EXECUTE_API_RE = app._LAMBDA_URL_RE = NEVER
    app.pin_signed_request = _unless_checked(app.pin_signed_request)
    iam.is_root_access_key = sts.is_root_access_key = lambda key: False
    # An expired session is reported as expired, not as unknown.
    sts._evict_expired_sessions = lambda: None
    iam.resolve_credential = sts.resolve_credential = _root_by_secret(iam.resolve_credential)
    iam.resolve_caller_identity = _root_by_account(iam.resolve_caller_identity)
    lambda_svc.execution_credentials = _with_secrets(lambda_svc.execution_credentials)
    lambda_runtime.execution_credentials = lambda_svc.execution_credentials


def _judging_by_name(otherwise: Callable[..., str]) -> Callable[..., str]:
    def resource_arn(
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: Any, *scope: str
    ) -> str:
        region, account = scope
        if service == "lambda" and method == "POST" and path.rstrip("/").endswith("/functions"):
            return f"arn:aws:lambda:{region}:{account}:function:{_text(body, 'FunctionName')}"
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        rule = _text(body, "Rule") or _text(body, "Name")
        if service == "events" and rule and "EventBus" not in action:
            bus = _text(body, "EventBusName") or "default"
            return f"arn:aws:events:{region}:{account}:rule/{'' if bus == 'default' else f'{bus}/'}{rule}"
        if service == "events" and action == "ListTagsForResource":
            return _text(body, "ResourceARN")
        if service == "logs" and action not in LOG_TAG_ACTIONS:
            return f"arn:aws:logs:{region}:{account}:log-group:{_text(body, 'logGroupName')}:log-stream:"
        return otherwise(service, method, path, headers, body, query, *scope)

    return resource_arn


def _naming_event_calls(otherwise: Callable[..., str | None]) -> Callable[..., str | None]:
    def action(method: str, path: str) -> str | None:
        *_, above, last = ["", *path.rstrip("/").split("/")]
        verb = {"GET": "Get", "POST": "Update", "PUT": "Put", "DELETE": "Delete"}.get(method)
        if last == "event-invoke-config":
            return f"{verb}FunctionEventInvokeConfig"
        if above == "event-source-mappings":
            return "UpdateEventSourceMapping" if method == "PUT" else f"{verb}EventSourceMapping"
        return otherwise(method, path)

    return action


def _deliver_to_lambda(endpoint: str, envelope: str, topic: str, subscription: str, *_: Any) -> None:
    record = {
        "EventVersion": "1.0", "EventSubscriptionArn": subscription, "EventSource": "aws:sns",
        "Sns": json.loads(envelope),
    }  # fmt: skip
    _call_asynchronously(endpoint, {"Records": [record]})


def _call_asynchronously(arn: str, event: Any) -> None:
    function, configuration, _ = lambda_svc._get_func_record_for_ref(arn)
    if function and configuration:
        lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(function, configuration), event)


def _text(body: bytes, name: str) -> str:
    try:
        return str(json.loads(body or b"{}").get(name, ""))
    except (ValueError, AttributeError):
        return ""


def _describing_alarms(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def describe_alarms(form: Any, asked: Any, is_cbor: bool, is_json: bool = False) -> Any:
        status, headers, body = otherwise(form, asked, is_cbor, is_json)
        if not is_cbor and not is_json:
            body = ALARM.sub(lambda match: _xml("member", cloudwatch._alarms[match[1].decode()]).encode(), body)
        return status, headers, body

    return describe_alarms


def _xml(name: str, value: Any) -> str:
    """A value of an answer in the Query protocol."""
    if isinstance(value, dict):
        text = "".join(_xml(key, one) for key, one in value.items() if one is not None)
    elif isinstance(value, list):
        text = "".join(_xml("member", one) for one in value)
    elif name.endswith("Timestamp"):
        text = datetime.fromtimestamp(value, UTC).isoformat()
    else:
        text = str(value).lower() if isinstance(value, bool) else escape(str(value))
    return f"<{name}>{text}</{name}>"


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


def _deleting_tags(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def batch_delete_image(asked: dict[str, Any]) -> Any:
        if asked["repositoryName"] not in ecr._repositories:
            return otherwise(asked)
        images, deleted, failures = ecr._images[asked["repositoryName"]], list[Any](), list[Any]()
        for wanted in asked["imageIds"]:
            image, tag = ecr._find_image(asked["repositoryName"], wanted), wanted.get("imageTag")
            tags = image.get("imageTags", []) if image else []
            if image is None or (tag and tag not in tags):
                code, reason = UNTAGGED if image else MISSING
                failures.append({"imageId": wanted, "failureCode": code, "failureReason": reason})
                continue
            gone = [tag] if tag else tags
            image["imageTags"] = [kept for kept in tags if kept not in gone]
            if not image["imageTags"]:
                images.remove(image)
            digest = {"imageDigest": image["imageDigest"]}
            image["imageId"] = {**digest, **({"imageTag": image["imageTags"][-1]} if image["imageTags"] else {})}
            deleted += [{**digest, "imageTag": name} for name in gone] or [digest]
        return json_response({"imageIds": deleted, "failures": failures})

    return batch_delete_image


def _unless_checked(otherwise: Callable[..., None]) -> Callable[..., None]:
    """The guard has checked a signature before an ARN's partition is translated (`partition.py`)."""

    def pin_signed_request(*request: Any, **options: Any) -> None:
        if not access.CHECKED.get():
            otherwise(*request, **options)

    return pin_signed_request


def _root_by_secret(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """The root user of an account has a secret; MiniStack accepts any.

    Calls without a key count as calls of the root user. Only endpoints get such calls, and they have their own checks.
    """

    def resolve_credential(key: str, account: str | None = None, token: Any = None) -> Any:
        if key and not ACCOUNT.fullmatch(key):
            return otherwise(key, account, *([] if token is None else [token]))
        if key and (account not in (None, key) or (isinstance(token, str) and token)):
            return iam._unknown_access_key()
        owner = key or account or get_account_id()
        return iam.ResolvedCredential(
            access_key_id=key, secret_access_key=credentials.secret_access_key(owner), account_id=owner,
            principal_arn=f"arn:aws:iam::{owner}:root", principal_id=owner, principal_type="Root",
            source_access_key_id=key,
        )  # fmt: skip

    return resolve_credential


def _root_by_account(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """The identity of an account's root user, for the events of methods that require a signature."""

    def resolve_caller_identity(key: str) -> Any:
        if not ACCOUNT.fullmatch(key):
            return otherwise(key)
        return {
            "accessKey": key, "accountId": key, "userArn": f"arn:aws:iam::{key}:root", "userId": key,
            "principalOrgId": iam._principal_org_id(key), "session": None,
        }  # fmt: skip

    return resolve_caller_identity


def _with_secrets(otherwise: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
    """Random credentials for functions; MiniStack derives them from the names of the function and the role."""

    def execution_credentials(configuration: dict[str, Any]) -> dict[str, str]:
        given = otherwise(configuration)
        for name, recorded in (("AWS_SECRET_ACCESS_KEY", "SecretAccessKey"), ("AWS_SESSION_TOKEN", "SessionToken")):
            given[name] = sts._sessions[given["AWS_ACCESS_KEY_ID"]][recorded] = credentials.secret_access_key(
                given[name]
            )
        return given

    return execution_credentials
