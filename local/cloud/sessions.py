"""STS: checks before credentials of a role are issued, which AWS makes and MiniStack does not.

MiniStack checks trust policies with their conditions on external IDs and web identities, and the signatures of
sessions. https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from ministack.app import app as ministack
from ministack.core import iam_evaluator
from ministack.services import iam, sts

from local import credentials
from local.cloud import access
from local.cloud.access import Key
from local.cloud.asgi import Receive, Scope, Send, giving, read

WEB_IDENTITY = "AssumeRoleWithWebIdentity"
SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
DEFAULT_SECONDS = CHAINED_SECONDS = 3600
Refusal = tuple[str, str]


async def api(scope: Scope, receive: Receive, send: Send) -> None:
    """Handle a call of STS. A call without a caller is `AssumeRoleWithWebIdentity`."""
    body = await read(receive)
    fields, caller, refusal = form(body), scope["caller"], None
    if caller is None:
        refusal = _web_identity_refusal(fields)
    elif fields.get("Action") == "AssumeRole":
        refusal = _refusal(caller, fields)
    if refusal:
        await _fail(send, *refusal)
    else:
        await ministack(scope, giving(body, receive), send)


def form(body: bytes) -> dict[str, str]:
    """The form fields of a request body."""
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def expire(key: str) -> bool:
    """Expire a session now. Returns whether the session exists."""
    session = sts._sessions.get(key)
    if session is not None:
        session["Expiration"] = time.time() - 1
    return session is not None


def _refusal(caller: Key, fields: Mapping[str, str]) -> Refusal | None:
    arn, name = fields.get("RoleArn", ""), fields.get("RoleSessionName", "")
    principal = caller.principal()
    if isinstance(principal, iam_evaluator.AuthError):
        return principal.code, principal.message
    if principal.type == "Root":
        return "AccessDenied", "Roles may not be assumed by root accounts."
    role = _role(arn)
    # The response does not show whether the role exists.
    if role is None or access.denial(caller, "sts:AssumeRole", arn):
        return "AccessDenied", f"User: {principal.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
    return _session_refusal(role, name, fields, is_chained=principal.type == "AssumedRole")


def _session_refusal(
    role: Mapping[str, Any], name: str, fields: Mapping[str, str], *, is_chained: bool = False
) -> Refusal | None:
    seconds = int(fields.get("DurationSeconds", DEFAULT_SECONDS))
    if not SESSION_NAME.fullmatch(name):
        return "ValidationError", (
            f"1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: Member "
            "must satisfy regular expression pattern: [\\w+=,.@-]*"
        )
    if seconds > role["MaxSessionDuration"]:
        return "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    if is_chained and seconds > CHAINED_SECONDS:
        return "ValidationError", (
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
        )
    return None


def _web_identity_refusal(fields: Mapping[str, str]) -> Refusal | None:
    """Why a token is refused. An OIDC provider of the role's account must have issued it for one of its audiences.

    The local cloud does not fetch keys from providers. It accepts the tokens of `credentials.web_identity_token`.
    """
    arn, token = fields.get("RoleArn", ""), fields.get("WebIdentityToken", "")
    claims = credentials.claims(token, credentials.secret())
    if claims is None:
        return "InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider"
    if claims["exp"] <= time.time():
        return "ExpiredTokenException", "Token expired: current date/time must be before the expiration date/time"
    role, issuer = _role(arn), str(claims["iss"])
    account = arn.split(":")[4] if role else ""
    name = f"arn:aws:iam::{account}:oidc-provider/{issuer.removeprefix('https://')}"
    provider = iam._oidc_providers.get_scoped(account, None, name) if account else None
    if role is None:
        return "AccessDenied", f"Not authorized to perform sts:{WEB_IDENTITY}"
    if provider is None:
        return "InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {issuer}"
    if claims["aud"] not in provider["ClientIDList"]:
        return "InvalidIdentityToken", "Incorrect token audience"
    return _session_refusal(role, fields.get("RoleSessionName", ""), fields)


def _role(arn: str) -> dict[str, Any] | None:
    """MiniStack's record of a role, found by its full ARN."""
    parts = arn.split(":")
    if len(parts) != 6:
        return None
    role = iam._roles.get_scoped(parts[4], None, parts[5].rpartition("/")[2])
    return role if role and role["Arn"] == arn else None


async def _fail(send: Send, code: str, message: str) -> None:
    status, headers, body = iam._error(403 if code == "AccessDenied" else 400, code, escape(message), ns="sts")
    raw = [(name.lower().encode(), str(value).encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
