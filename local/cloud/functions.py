"""Lambda: checks and pulls an image when a function is deployed, and again when an idle function is called.

Creating or updating a function needs the caller's permission to pull; Lambda then keeps a copy of the image. After a
function was idle for weeks, Lambda deletes the copy. The next call pulls the image again as the Lambda service, so the
repository policy must allow the service.
https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-xaccount-permissions
"""

import asyncio
import json
import logging
import re
from contextvars import ContextVar
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import docker
from ministack.app import app as ministack
from ministack.core.responses import get_region
from ministack.services import ecr, lambda_svc

from local.cloud import access, instances, partition
from local.cloud.access import Caller, Key, Service, Tokens
from local.cloud.asgi import Receive, Scope, Send, answer, document, giving, header, read, rewriting
from local.cloud.gate import Gates
from local.cloud.images import NO_ACCESS, PULL, Image, Refused, accepted
from local.cloud.registry import Repository
from local.cloud.runtime import PAYLOAD_BYTES

log = logging.getLogger("local.cloud.functions")

LAMBDA = "lambda.amazonaws.com"
Document = dict[str, Any]

# MiniStack accepts any API version for any call.
CALL = re.compile(r"/[^/]+/functions/(?P<name>[^/]+)/(?P<call>[^/]+)/?")
NEW = re.compile(r"/[^/]+/functions/?")
ONE = re.compile(r"/[^/]+/functions/(?P<name>[^/]+)/?")

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
EVENT_BYTES = 1024**2

# Status that callers get if a function fails.
URL_STATUS = 502
FAILED_STATUS: ContextVar[int] = ContextVar("FAILED_STATUS", default=URL_STATUS)
# In the result of a call that Lambda refuses because its event is too large.
TOO_LARGE = "too_large"

FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)

# Code that MiniStack would run in its own process.
ZIP = {"ZipFile", "S3Bucket", "S3Key", "S3ObjectVersion"}

# `StateReasonCode` and `StateReason` of functions whose image cannot be pulled again, and of idle functions.
# https://docs.aws.amazon.com/lambda/latest/api/API_GetFunctionConfiguration.html
REVOKED = ("ImageAccessDenied", "The function does not have permission to access the specified image.")
DELETED = ("ImageDeleted", "The function is trying to use a deleted image.")
IDLE = ("Idle", "The function has not been called for a long time.")


class Functions:
    """Lambda of all accounts.

    Args:
        registry: the prefix of registry names for users.
        lambda_registry: the prefix that Lambda uses: another name of the same registry, so that the engine does not use
            a local build instead of a pull.
        tokens: tokens of the registry. Each pull uses its own token.
        gate_image: an image with Python, for the gates of functions.
    """

    def __init__(self, registry: str, lambda_registry: str, tokens: Tokens, gate_image: str = "") -> None:
        self._registry = registry
        self._lambda_registry = lambda_registry
        self._tokens = tokens
        self._pull_before_start()
        _, _, port = registry.rpartition(":")
        self._gates = Gates(gate_image, int(port))
        _shaping_urls()
        instances.install(self._gates, f"http://127.0.0.1:{port}")

    async def api(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a call of the Lambda API."""
        method, path, body = scope["method"], scope["path"], await read(receive)
        caller, call, one = scope["caller"], CALL.fullmatch(path), ONE.fullmatch(path)
        send = rewriting(send, self._as_users_see_it)
        try:
            if method == "POST" and NEW.fullmatch(path):
                data = document(body)
                send = await self._deploy(data, data.get("Code", {}), data.get("FunctionName", ""), caller, send)
            elif method == "PUT" and call and call["call"] == "code":
                data = document(body)
                send = await self._deploy(data, data, call["name"], caller, send)
            elif method == "PUT" and call and call["call"] == "configuration":
                _require_pass_role(document(body), caller)
            elif method == "GET" and one:
                send = rewriting(
                    send, partial(self._as_given, name=_qualified(one["name"], scope), account=caller.account)
                )
            elif method == "POST" and call and call["call"].endswith("invocations"):
                is_event = header(scope, "x-amz-invocation-type") == "Event"
                if len(body) > (limit := EVENT_BYTES if is_event else PAYLOAD_BYTES):
                    raise Refused(
                        413, "RequestEntityTooLargeException",
                        f"Request must be smaller than {limit} bytes for the InvokeFunction operation",
                    )  # fmt: skip
                await self.wake(configuration_of(_qualified(call["name"], scope), caller.account, get_region()))
        except Refused as refused:
            fault = {"Type": "User", "Message": str(refused), "message": str(refused)}
            await answer(send, refused.status, fault, [(b"x-amzn-errortype", refused.code.encode())])
            return
        await ministack(scope, giving(body, receive), send)

    async def url(self, url: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a call of a function URL."""
        if found := lambda_svc.resolve_function_url(url):
            account, region, name, qualifier, settings = found
            called = f"{name}:{qualifier}" if qualifier else name
            preflight = scope["method"] == "OPTIONS" and settings.get("Cors")
            if settings["AuthType"] == "NONE" and not preflight and not _is_public(account, region, name, called):
                await answer(send, 403, {"Message": FORBIDDEN}, [(b"x-amzn-errortype", b"AccessDeniedException")])
                return
            try:
                await self.wake(configuration_of(called, account, region))
            except Refused:
                await answer(send, 502, {"Message": "Internal Server Error"})
                return
            instances.CALLED_ARN.set(f"arn:aws:lambda:{region}:{account}:function:{called}")
        await ministack(scope, receive, send)

    async def age(self, account: str, name: str) -> list[str]:
        """Make a function idle, as on AWS after weeks without a call.

        Returns: the ARNs of the functions with this name in all Regions.
        """
        aged = []
        for (owner, region, function), record in lambda_svc._functions.all_items():
            if (owner, function) == (account, name):
                for version in (record, *record["versions"].values()):
                    _set_state(version["config"], "Inactive", *IDLE)
                aged.append(partition.of(region).text(record["config"]["FunctionArn"]))
        await asyncio.to_thread(lambda_svc._pool_kill_function, account, name)
        return aged

    async def wake(self, configuration: Document | None) -> None:
        """Pull the image of an idle function again.

        On AWS, the first call fails while Lambda pulls the image; here it waits.
        https://docs.aws.amazon.com/lambda/latest/dg/invocation-images.html

        Raises:
            Refused: Lambda may not pull the image, and the function is Failed; or the pull failed, and the next call
                repeats it.
        """
        if configuration is None or configuration.get("PackageType") != "Image":
            return
        if configuration["State"] == "Inactive":
            image, service = Image.named(configuration["ImageUri"]), _service_for(configuration)
            if not image.exists:
                _set_state(configuration, "Failed", *DELETED)
            elif image.repository.denial(service, *PULL):
                _set_state(configuration, "Failed", *REVOKED)
            else:
                try:
                    await asyncio.to_thread(self._pull, image, service)
                except (docker.errors.DockerException, RuntimeError) as error:
                    raise Refused(500, "ServiceException", f"{image.name} was not pulled: {error}") from error
                _set_state(configuration, "Active", "", "")
        if configuration["State"] == "Failed":
            raise Refused(409, "CodeArtifactUserFailedException", configuration["StateReason"])

    async def _deploy(self, data: Document, code: Document, name: str, caller: Key, send: Send) -> Send:
        """Check and pull the image of a new function, or of new code.

        Args:
            data: the request.
            code: the part of the request that names the image.
            name: name of the function.
            caller: the caller.
            send: sends the response.

        Returns: a `send` that first changes the function's image to the digest and the name that Lambda pulls. The
            signed request is not changed.
        """
        _require_pass_role(data, caller)
        if "ImageUri" not in code or not ZIP.isdisjoint(code) or data.get("PackageType", "Image") != "Image":
            raise Refused(400, "InvalidParameterValueException", "Only container images run here. Set ImageUri.")
        account, region, uri = caller.account, get_region(), code["ImageUri"]
        known = configuration_of(name, account, region) or {}
        architecture, *_ = data.get("Architectures") or known.get("Architectures") or ["x86_64"]
        image = accepted(uri, uri.removeprefix(f"{self._registry}/"), region, architecture, caller)
        if image.repository.account == account:
            _let_lambda_pull(image.repository, caller)
        try:
            await asyncio.to_thread(self._pull, image, caller)
        except (docker.errors.DockerException, RuntimeError) as error:
            log.warning("%s is not pulled; the first call tries again: %s", image.name, error)

        def adopt(body: bytes) -> bytes:
            record = lambda_svc._functions.get_scoped(account, region, lambda_svc._resolve_name(name)) or {}
            for version in (record, *record.get("versions", {}).values()):
                if version.get("config", {}).get("ImageUri") == uri:
                    version["config"]["ImageUri"] = f"{self._lambda_registry}/{image.name}"
                    version["config"]["CodeSha256"] = image.digest.removeprefix("sha256:")
                    version["given_image_uri"] = uri
            return body

        return rewriting(send, adopt)

    def _pull(self, image: Image, caller: Caller) -> None:
        """Pull an image to the engine, with a token for the caller.

        Raises:
            DockerException: the engine does not respond, or returns an error.
            RuntimeError: there is no engine, or the pull failed.
        """
        client = lambda_svc._get_docker_client()
        if client is None:
            raise RuntimeError("no Docker engine")
        self._gates.prepare(client)
        secret, _ = self._tokens.issue(caller)
        repository, _, digest = f"{self._lambda_registry}/{image.name}".partition("@")
        login = {"username": "AWS", "password": secret}
        try:
            for event in client.api.pull(repository, tag=digest, auth_config=login, stream=True, decode=True):
                if "error" in event:
                    raise RuntimeError(event["error"])
        finally:
            self._tokens.revoke(secret)

    def _pull_before_start(self) -> None:
        """Pull an image that the engine no longer has. MiniStack would pull it without a token."""
        start = lambda_svc._spawn_lambda_container

        def start_pulled(configuration: Document, *rest: Any, **options: Any) -> Any:
            client = lambda_svc._get_docker_client()
            if configuration.get("PackageType") == "Image" and client is not None:
                try:
                    client.images.get(configuration["ImageUri"])
                except docker.errors.ImageNotFound:
                    self._pull(Image.named(configuration["ImageUri"]), _service_for(configuration))
            return start(configuration, *rest, **options)

        lambda_svc._spawn_lambda_container = start_pulled

    def _as_users_see_it(self, body: bytes) -> bytes:
        return body.replace(f'"{self._lambda_registry}/'.encode(), f'"{self._registry}/'.encode())

    def _as_given(self, body: bytes, name: str, account: str) -> bytes:
        """The response of GetFunction, with the image name of the request and the resolved digest."""
        answered = json.loads(body)
        record, _, _ = lambda_svc._get_func_record_for_ref_in_scope(name, account_id=account, region=get_region())
        if "Code" in answered and "given_image_uri" in (record or {}):
            answered["Code"]["ImageUri"] = record["given_image_uri"]
        return json.dumps(answered).encode()


def _shaping_urls() -> None:
    """A function URL and an HTTP API report only that the function failed.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-monitoring.html
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-troubleshooting-lambda.html
    """
    otherwise = lambda_svc.lambda_execute_result_to_api_proxy_response

    def shaped(result: Document) -> tuple[Document, str | None]:
        if result.get(TOO_LARGE) and FAILED_STATUS.get() == URL_STATUS:
            return {"statusCode": 413, "body": json.dumps({"message": "Request Too Long"})}, None
        if result.get("error") and not result.get("throttle"):
            return {"statusCode": FAILED_STATUS.get(), "body": json.dumps({"message": "Internal Server Error"})}, None
        found: tuple[Document, str | None] = otherwise(result)
        return found

    lambda_svc.lambda_execute_result_to_api_proxy_response = shaped


def _is_public(account: str, region: str, name: str, called: str) -> bool:
    """Whether a function's policy allows everyone to call its URL without a signature.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
    """
    policy = (lambda_svc._functions.get_scoped(account, region, name) or {}).get("policy")
    arn = f"arn:aws:lambda:{region}:{account}:function:{called}"
    return access.lets_anyone(
        policy, "lambda:InvokeFunctionUrl", arn, {"lambda:functionurlauthtype": "NONE"}
    ) and access.lets_anyone(policy, "lambda:InvokeFunction", arn, {"lambda:invokedviafunctionurl": "true"})


def configuration_of(reference: str, account: str, region: str) -> Document | None:
    """MiniStack's record of the configuration of a function, version or alias."""
    configuration: Document | None
    _, configuration, _ = lambda_svc._get_func_record_for_ref_in_scope(reference, account_id=account, region=region)
    return configuration


def _qualified(name: str, scope: Scope) -> str:
    """A function's name in a path, with the version or alias of the call."""
    query = dict(parse_qsl(scope["query_string"].decode()))
    qualifier = query.get("Qualifier") or header(scope, "x-amz-qualifier")
    return f"{name}:{qualifier}" if qualifier else name


def _service_for(configuration: Document) -> Service:
    """The Lambda service, acting for a function or one of its versions."""
    return Service(LAMBDA, ":".join(configuration["FunctionArn"].split(":")[:7]))


def _set_state(configuration: Document, state: str, code: str, reason: str) -> None:
    configuration |= {"State": state, "StateReasonCode": code, "StateReason": reason, "LastUpdateStatus": "Successful"}


def _require_pass_role(data: Document, caller: Key) -> None:
    """Check that the caller may pass the role to a function.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
    """
    if "Role" in data:
        keys = {"iam:passedtoservice": LAMBDA}
        if denial := access.denial(caller, "iam:PassRole", data["Role"], keys=keys):
            raise Refused(403, "AccessDeniedException", denial)


def _let_lambda_pull(repository: Repository, caller: Key) -> None:
    """Within one account, add Lambda's statement to the repository policy, if the caller may set the policy.

    https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-permissions
    """
    functions = f"arn:aws:lambda:{repository.region}:{repository.account}:function:"
    if not repository.denial(Service(LAMBDA, f"{functions}any"), *PULL):
        return
    if repository.denial(caller, "ecr:GetRepositoryPolicy", "ecr:SetRepositoryPolicy"):
        raise Refused(403, "AccessDeniedException", NO_ACCESS)
    policy = json.loads(repository.policy or '{"Version": "2008-10-17", "Statement": []}')
    policy["Statement"].append(
        {
            "Sid": "LambdaECRImageRetrievalPolicy",
            "Effect": "Allow",
            "Principal": {"Service": LAMBDA},
            "Action": list(PULL),
            "Condition": {"StringLike": {"aws:sourceArn": f"{functions}*"}},
        }
    )
    ecr._repo_policies.set_scoped(repository.account, repository.region, repository.name, json.dumps(policy))
