"""Lambda: images are checked and pulled when a function is deployed, and again when an idle function is called.

The caller's permissions count when a function is created or updated; Lambda then has a copy of the image. It drops
the copy of a function that was idle for weeks, and pulls the image again with the next call, this time as itself: then
the repository's policy has to allow the service.
https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-xaccount-permissions
"""

import asyncio
import json
import logging
import re
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

# MiniStack takes any version of the API for any call.
CALL = re.compile(r"/[^/]+/functions/(?P<name>[^/]+)/(?P<call>[^/]+)/?")
NEW = re.compile(r"/[^/]+/functions/?")
ONE = re.compile(r"/[^/]+/functions/(?P<name>[^/]+)/?")

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
EVENT_BYTES = 1024**2

FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)

# Code that MiniStack would run in a process of its own.
ZIP = {"ZipFile", "S3Bucket", "S3Key", "S3ObjectVersion"}

# `StateReasonCode` and `StateReason` of a function that Lambda cannot pull again, and of one that it has dropped.
# https://docs.aws.amazon.com/lambda/latest/api/API_GetFunctionConfiguration.html
REVOKED = ("ImageAccessDenied", "The function does not have permission to access the specified image.")
DELETED = ("ImageDeleted", "The function is trying to use a deleted image.")
IDLE = ("Idle", "The function has not been called for a long time.")


class Functions:
    """Lambda of all accounts.

    Args:
        registry: the address in front of registry names that users see.
        lambda_registry: the one that Lambda pulls by: another name of the same registry, so that an image is not in
            the engine's cache just because it was built here.
        tokens: of the registry. A pull gets a token of its own, which ends with it.
        gate_image: an image with Python, for what carries calls into and out of the functions' containers.
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
        """Calls of the Lambda API."""
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
        """Calls of a function URL, which wake an idle function as well."""
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
        await ministack(scope, receive, send)

    async def age(self, account: str, name: str) -> list[str]:
        """Make a function idle, as it becomes on AWS when nobody calls it for weeks.

        Returns: the ARN of the function in each Region that has one of this name.
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
        """Let Lambda pull the image of an idle function again.

        On AWS the call that wakes a function is refused while the pull lasts; here it waits.
        https://docs.aws.amazon.com/lambda/latest/dg/invocation-images.html

        Raises:
            Refused: it may not be pulled any more, now or before, and the function is Failed; or the pull failed, and
                the next call tries again.
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
        """Check the image of a new function, or of new code, and pull it.

        Args:
            data: the request.
            code: the part of it that names the image.
            name: the function's.
            caller: who asks.
            send: answers the request.

        Returns: a `send` that first lets the function run the image by digest, under the name that Lambda pulls by.
            The request itself stays as it was signed.
        """
        _require_pass_role(data, caller)
        if "ImageUri" not in code or not ZIP.isdisjoint(code) or data.get("PackageType", "Image") != "Image":
            raise Refused(400, "InvalidParameterValueException", "Only container images run here: give ImageUri.")
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
        """Let the engine pull an image with a token of the caller.

        Raises:
            DockerException: the engine does not answer, or not as asked.
            RuntimeError: there is none, or the pull failed.
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
        """Let Lambda pull an image that the engine has lost; MiniStack would, without a token."""
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
        """The answer of GetFunction, with the image as it was named besides the digest that it was resolved to."""
        answered = json.loads(body)
        record, _, _ = lambda_svc._get_func_record_for_ref_in_scope(name, account_id=account, region=get_region())
        if "Code" in answered and "given_image_uri" in (record or {}):
            answered["Code"]["ImageUri"] = record["given_image_uri"]
        return json.dumps(answered).encode()


def _shaping_urls() -> None:
    """A function URL tells nothing of an error but that there was one.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-monitoring.html
    """
    otherwise = lambda_svc.lambda_execute_result_to_api_proxy_response

    def shaped(result: Document) -> tuple[Document | None, str | None]:
        if result.get("error") and not result.get("throttle"):
            return None, "error"
        found: tuple[Document | None, str | None] = otherwise(result)
        return found

    lambda_svc.lambda_execute_result_to_api_proxy_response = shaped


def _is_public(account: str, region: str, name: str, called: str) -> bool:
    """Whether a function's policy lets anyone call it by a URL that asks for no signature.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
    """
    policy = (lambda_svc._functions.get_scoped(account, region, name) or {}).get("policy")
    arn = f"arn:aws:lambda:{region}:{account}:function:{called}"
    return access.lets_anyone(
        policy, "lambda:InvokeFunctionUrl", arn, {"lambda:functionurlauthtype": "NONE"}
    ) and access.lets_anyone(policy, "lambda:InvokeFunction", arn, {"lambda:invokedviafunctionurl": "true"})


def configuration_of(reference: str, account: str, region: str) -> Document | None:
    """MiniStack's own record of a function's configuration, or of its version's or alias'."""
    configuration: Document | None
    _, configuration, _ = lambda_svc._get_func_record_for_ref_in_scope(reference, account_id=account, region=region)
    return configuration


def _qualified(name: str, scope: Scope) -> str:
    """A function's name in a path, with the version or alias that the call names besides."""
    query = dict(parse_qsl(scope["query_string"].decode()))
    qualifier = query.get("Qualifier") or header(scope, "x-amz-qualifier")
    return f"{name}:{qualifier}" if qualifier else name


def _service_for(configuration: Document) -> Service:
    """Lambda, when it acts for a function or one of its versions."""
    return Service(LAMBDA, ":".join(configuration["FunctionArn"].split(":")[:7]))


def _set_state(configuration: Document, state: str, code: str, reason: str) -> None:
    configuration |= {"State": state, "StateReasonCode": code, "StateReason": reason, "LastUpdateStatus": "Successful"}


def _require_pass_role(data: Document, caller: Key) -> None:
    """Who gives a function a role needs the permission to pass it.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
    """
    if "Role" in data:
        keys = {"iam:passedtoservice": LAMBDA}
        if denial := access.denial(caller, "iam:PassRole", data["Role"], keys=keys):
            raise Refused(403, "AccessDeniedException", denial)


def _let_lambda_pull(repository: Repository, caller: Key) -> None:
    """Within one account Lambda adds its own statement to the repository's policy, if the caller may do that.

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
