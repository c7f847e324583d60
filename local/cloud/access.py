"""Authentication and authorization, across accounts, with MiniStack's policy evaluation.

MiniStack evaluates calls within one account. Here, the resource may belong to another account; then its resource policy
must also allow the call. The caller may also be an AWS service.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html
"""

import secrets
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from ministack.core import iam_evaluator as iam
from ministack.core import responses
from ministack.core.router import extract_access_key_id, extract_region

from local import credentials
from local.cloud.asgi import Scope, header


@dataclass(frozen=True)
class Key:
    """An access key and the account that it belongs to."""

    id: str
    account: str

    def principal(self) -> iam.PrincipalInfo | iam.AuthError:
        """The user, role or root user of the key, with its current policies."""
        with responses.request_scope(self.account, responses.get_region()):
            return iam.resolve_principal(self.id, self.account)


@dataclass(frozen=True)
class Service:
    """An AWS service that acts for a resource.

    Attributes:
        name: its principal, such as `lambda.amazonaws.com`.
        source: ARN of the resource: `aws:SourceArn`, with its account as `aws:SourceAccount` and that account's
            organization as `aws:SourceOrgID`.
    """

    name: str
    source: str

    def keys(self) -> dict[str, str | None]:
        """The condition keys of its calls."""
        account = self.source.split(":")[4]
        organization = iam._principal_org_id(account)
        return {"aws:sourcearn": self.source, "aws:sourceaccount": account, "aws:sourceorgid": organization}


Caller = Key | Service
# Whether the signature of this request has been checked. It signs the request as it was sent, before any change here.
CHECKED: ContextVar[bool] = ContextVar("CHECKED", default=False)
UNKNOWN = iam.AuthError("UnrecognizedClientException", "The security token included in the request is invalid.")


def signer(scope: Scope, body: bytes) -> Key | iam.AuthError:
    """The key that signed a request, or why AWS refuses the signature."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    key = extract_access_key_id(headers, query)
    try:
        responses.set_request_account_id(iam.find_iam_access_key_account(key) or key)
    except iam.AmbiguousAccessKeyError:
        return UNKNOWN
    responses.set_request_region(extract_region(headers, query))
    path = scope.get("raw_path") or scope["path"].encode()
    iam.pin_signed_request(scope["method"], path.decode("latin-1"), query, scope["headers"])
    iam.pin_signed_body(body)
    account = responses.get_account_id()
    checked = iam.authenticate(key, account)
    if checked is None or isinstance(checked, iam.AuthError):
        return checked or UNKNOWN
    CHECKED.set(True)
    known = Key(key, account)
    principal = known.principal()
    return principal if isinstance(principal, iam.AuthError) else known


def signed_by_root(scope: Scope, body: bytes, account: str, region: str) -> Scope:
    """The request, signed by the root user of an account in a Region. Only for allowed calls."""
    CHECKED.set(False)
    kept = {name: header(scope, name) for name in ("content-type", "host", "x-amz-target")}
    request = AWSRequest(scope["method"], f"http://{kept['host']}{scope['path']}", data=body, headers=kept)
    service = scope["service"]
    SigV4Auth(Credentials(account, credentials.secret_access_key(account)), service, region).add_auth(request)
    headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    return {**scope, "headers": headers, "query_string": b""}


def denial(
    caller: Caller,
    action: str,
    arn: str,
    policy: str | Mapping[str, Any] | None = None,
    *,
    keys: Mapping[str, Any] | None = None,
) -> str | None:
    """Why a call is denied.

    Args:
        caller: who calls.
        action: such as `ecr:BatchGetImage`.
        arn: the ARN of the resource, which contains its Region and account.
        policy: the resource policy; None if the resource type has none. Then only the caller's own policies decide.
        keys: further condition keys, in lower case.

    Returns: the reason, worded as by AWS, or None if the call is allowed.
    """
    _, _, _, region, owner, _ = arn.split(":", 5)
    if isinstance(caller, Service):
        context = iam.EvalContext(
            principal_arn=caller.name, principal_type="Service", principal_account="", action=action,
            resource_arn=arn, region=region, service_context={**caller.keys(), **(keys or {})},
        )  # fmt: skip
        allowed = iam.evaluate_resource_policy(policy, context, service=caller.name).decision == "Allow"
        return None if allowed else _message(caller.name, action, arn, "no resource-based policy allows")
    principal = caller.principal()
    if isinstance(principal, iam.AuthError):
        return str(principal.message)
    context = iam.EvalContext(
        principal_arn=principal.arn, principal_type=principal.type, principal_account=principal.account,
        action=action, resource_arn=arn, region=region, service_context=dict(keys or {}),
        principal_keys=principal.keys,
    )  # fmt: skip
    identity = iam.EvalResult("Allow")
    if principal.policies is not None:  # None is an account's root
        identity = iam.evaluate(context, principal.policies, *principal.limits)
    account = principal.account if policy is None else owner
    result = iam.combine_resource_policy(identity, context, policy, account, limits=principal.limits)
    if result.decision == "Allow":
        return None
    if result.decision == "Deny":
        kind = "a resource-based" if result.resource_policy_arn else "an identity-based"
        return f"{_refused(principal.arn, action, arn)} with an explicit deny in {kind} policy"
    kind = "resource-based" if identity.decision == "Allow" else "identity-based"
    return _message(principal.arn, action, arn, f"no {kind} policy allows")


def lets_anyone(policy: str | Mapping[str, Any] | None, action: str, arn: str, keys: Mapping[str, Any]) -> bool:
    """Whether a resource policy allows unsigned calls."""
    context = iam.EvalContext(
        principal_arn="anonymous", principal_type="Anonymous", principal_account="", action=action, resource_arn=arn,
        region=arn.split(":")[3], service_context=dict(keys),
    )  # fmt: skip
    return bool(iam.evaluate_resource_policy(policy, context).decision == "Allow")


def _refused(who: str, action: str, arn: str) -> str:
    return f"User: {who} is not authorized to perform: {action} on resource: {arn}"


def _message(who: str, action: str, arn: str, reason: str) -> str:
    return f"{_refused(who, action, arn)} because {reason} the {action} action"


@dataclass(frozen=True)
class Token:
    """The session of a registry token.

    Attributes:
        caller: the caller that requested the token.
        expires: seconds since the epoch.
    """

    caller: Caller
    expires: float

    @property
    def expired(self) -> bool:
        """Whether the token has expired."""
        return time.time() >= self.expires


class Tokens:
    """The issued registry tokens. They are lost when this process ends.

    Args:
        seconds: lifetime of a token.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._issued: dict[str, Token] = {}

    def issue(self, caller: Caller) -> tuple[str, Token]:
        """A new random token and its session."""
        secret, token = secrets.token_urlsafe(32), Token(caller, time.time() + self._seconds)
        self._issued[secret] = token
        return secret, token

    def find(self, secret: str) -> Token | None:
        """The session of a token, or None if it was never issued."""
        return self._issued.get(secret)

    def revoke(self, secret: str) -> None:
        """Revoke a token."""
        self._issued.pop(secret, None)
