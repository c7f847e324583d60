"""Lambda: what it checks of a container image when it takes it, and again when an idle function is called.

A caller's permissions count when a function is created or updated. Lambda then has a copy of the image. When the
function was idle for weeks, Lambda drops the copy and pulls the image again, this time as itself: then the
repository's policy has to allow the service.
https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-xaccount-permissions
"""

import asyncio
import json
import logging
import re
from dataclasses import dataclass
from typing import Any

import docker
from ministack.app import app as ministack
from ministack.core.responses import get_region
from ministack.services import apigateway_v1, lambda_svc

from local.cloud import access
from local.cloud.access import Caller, Service, Tokens
from local.cloud.asgi import Receive, Scope, Send, answer, giving, header, read, rewriting, with_headers
from local.cloud.registry import HOST, Repository

log = logging.getLogger("local.cloud.functions")

PULL = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
FUNCTIONS = re.compile(r"/2015-03-31/functions(?:/(?P<name>[^/]+)(?:/(?P<call>[^/]+))?)?/?")
FUNCTION_URL = re.compile(r"(?:(?P<host>\w+)\.lambda-url\.|/_aws/lambda-url/(?P<path>\w+)(?:/|$))")
IMAGE = re.compile(rf"(?P<host>{HOST})/(?P<name>[a-z0-9._/-]+)(?::(?P<tag>[\w.-]+)|@(?P<digest>sha256:[0-9a-f]{{64}}))")

# One image for one platform; no index, which attestations make of an image.
# https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#images-reqs
MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
CONFIGURATIONS = (
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.config.v1+json",
)
LAYERS = (
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
)
ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64"}

NO_ACCESS = "Lambda does not have permission to access the ECR image. Check the ECR permissions."
# Why a function fails that Lambda cannot pull again: `StateReasonCode` and `StateReason`.
REVOKED = ("ImageAccessDenied", "The function does not have permission to access the specified image.")
DELETED = ("ImageDeleted", "The function is trying to use a deleted image.")
IDLE = ("Idle", "The function is inactive because it was not called for a long time.")


class Refused(Exception):
    """Lambda does not do what is asked: status, error code and text."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Image:
    """An image by its digest."""

    repository: Repository
    digest: str

    @property
    def name(self) -> str:
        """Its name behind a registry's address."""
        return f"{self.repository.host}/{self.repository.name}@{self.digest}"

    @classmethod
    def named(cls, uri: str) -> "Image":
        """The image that a name with a digest names, whatever address is in front."""
        match = IMAGE.search(uri)
        assert match is not None, uri  # noqa: S101
        return cls(Repository(match[2], match[3], match["name"]), match["digest"])


class Functions:
    """Lambda of all accounts.

    Args:
        registry: the address in front of registry names that users see.
        lambda_registry: the one that Lambda pulls by: another name of the same registry, so that an image is not in
            the engine's cache just because it was built here.
        tokens: of the registry. A pull gets its own token, which ends with it.
    """

    def __init__(self, registry: str, lambda_registry: str, tokens: Tokens) -> None:
        self._registry = registry
        self._lambda_registry = lambda_registry
        self._tokens = tokens
        self._put_pull_in_front_of_start()
        self._put_permission_in_front_of_integration()

    async def api(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Calls of the Lambda API."""
        match = FUNCTIONS.fullmatch(scope["path"])
        call = (scope["method"], match["call"] or ("" if match["name"] else "new")) if match else ("", "")
        body, rewrite = await read(receive), self._as_users_see_it
        try:
            if call in (("POST", "new"), ("PUT", "code")):
                body = await self._deploy(scope, body, match["name"])
            elif call == ("PUT", "configuration"):
                self._require_pass_role(scope, body)
            elif call[0] == "POST" and call[1] in ("invocations", "response-streaming-invocations"):
                await self._wake_called(scope, body, match["name"])
        except Refused as refused:
            await _fail(send, refused)
            return
        inner = with_headers(scope, content_length=str(len(body)).encode())
        await ministack(inner, giving(body, receive), rewriting(send, rewrite))

    async def url(self, url: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Calls of a function URL, which wake an idle function as well."""
        if found := lambda_svc.resolve_function_url(url):
            account, region, name, qualifier, _ = found
            reference = f"{name}:{qualifier}" if qualifier else name
            try:
                await self._wake(_configuration(reference, account, region))
            except Refused:
                await answer(send, 502, {"Message": "Internal Server Error"})
                return
        await ministack(scope, receive, send)

    async def age(self, account: str, name: str) -> list[str]:
        """Make a function idle, as it becomes on AWS when nobody calls it for weeks: Lambda drops its copy.

        Returns: ARNs of the functions, one for each Region that has one of this name.
        """
        aged = []
        for (owner, _, function), record in lambda_svc._functions.all_items():
            if (owner, function) == (account, name):
                for version in (record, *record["versions"].values()):
                    _set_state(version["config"], "Inactive", *IDLE)
                aged.append(record["config"]["FunctionArn"])
        await asyncio.to_thread(lambda_svc._pool_kill_function, account, name)
        return aged

    # ---- deployment ----

    async def _deploy(self, scope: Scope, body: bytes, name: str | None) -> bytes:
        """Check the image of a new function or of new code, and pull it.

        Returns: the body with the image by digest, under the name that Lambda pulls by.
        """
        self._require_pass_role(scope, body)
        data, caller = json.loads(body or b"{}"), access.signer(scope, body)
        code = data if name else data.get("Code", {})
        if "ImageUri" not in code or caller is None:
            return body
        known = _configuration(name, caller.account, get_region()) if name else None
        (architecture,) = data.get("Architectures") or (known or {}).get("Architectures") or ["x86_64"]
        image = self._accepted(code["ImageUri"], architecture, caller)
        try:
            await asyncio.to_thread(self._pull, image, caller)
        except (docker.errors.DockerException, RuntimeError) as error:
            log.warning("%s: not pulled yet, the first call tries again: %s", image.name, error)
        code["ImageUri"] = f"{self._lambda_registry}/{image.name}"
        return json.dumps(data).encode()

    def _accepted(self, uri: str, architecture: str, caller: Caller) -> Image:
        """The image that Lambda takes for a name.

        Args:
            uri: the image's name, with a tag or a digest.
            architecture: the function's, `x86_64` or `arm64`.
            caller: who creates or updates the function.

        Raises:
            Refused: there is no such image in the function's Region, the caller may not pull it, or a function cannot
                run it.
        """
        match = IMAGE.fullmatch(uri.removeprefix(f"{self._registry}/"))
        if match is None or match[3] != get_region():
            raise _invalid(f"Source image {uri} is not valid. Provide a valid source image.")
        repository = Repository(match[2], match[3], match["name"])
        if repository.denial(caller, *PULL):
            raise Refused(403, "AccessDeniedException", NO_ACCESS)
        image = repository.image(match["tag"] or match["digest"])
        if image is None:
            raise _invalid(f"Source image {uri} does not exist. Provide a valid source image.")
        manifest = json.loads(image["imageManifest"])
        kinds = (
            (manifest.get("mediaType", image["imageManifestMediaType"]), MANIFESTS),
            (manifest.get("config", {}).get("mediaType"), CONFIGURATIONS),
            *((layer["mediaType"], LAYERS) for layer in manifest.get("layers", [])),
        )
        if any(kind not in allowed for kind, allowed in kinds):
            raise _invalid(
                f"The image manifest, config or layer media type for the source image {uri} is not supported."
            )
        platform = json.loads(repository.blob(manifest["config"]["digest"]) or b"{}")
        found = ARCHITECTURES.get(platform.get("architecture", ""), platform.get("architecture"))
        if (platform.get("os"), found) != ("linux", architecture):
            # AWS takes such an image; every call then fails with "exec format error".
            raise _invalid(
                f"The source image {uri} is for {platform.get('os')} on {found}, the function for linux on {architecture}."
            )
        return Image(repository, image["imageDigest"])

    def _require_pass_role(self, scope: Scope, body: bytes) -> None:
        """Giving a function a role needs the permission to pass it.

        https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
        """
        role = json.loads(body or b"{}").get("Role")
        if role and (caller := access.signer(scope, body)):
            keys = {"iam:passedtoservice": "lambda.amazonaws.com"}
            if denial := access.denial(caller, "iam:PassRole", role, keys=keys):
                raise Refused(403, "AccessDeniedException", denial)

    def _pull(self, image: Image, caller: Caller) -> None:
        """Let the engine pull an image with a token of the caller.

        Raises:
            DockerException: the engine does not answer.
            RuntimeError: the pull failed.
        """
        client = lambda_svc._get_docker_client()
        if client is None:
            raise RuntimeError("no Docker engine")
        secret, _ = self._tokens.issue(caller)
        repository, _, digest = f"{self._lambda_registry}/{image.name}".partition("@")
        login = {"username": "AWS", "password": secret}
        try:
            for event in client.api.pull(repository, tag=digest, auth_config=login, stream=True, decode=True):
                if "error" in event:
                    raise RuntimeError(event["error"])
        finally:
            self._tokens.revoke(secret)

    # ---- calls ----

    async def _wake_called(self, scope: Scope, body: bytes, name: str) -> None:
        if caller := access.signer(scope, body):
            query = dict(part.partition("=")[::2] for part in scope["query_string"].decode().split("&"))
            qualifier = query.get("Qualifier") or header(scope, "x-amz-qualifier")
            reference = f"{name}:{qualifier}" if qualifier else name
            await self._wake(_configuration(reference, caller.account, get_region()))

    async def _wake(self, configuration: dict[str, Any] | None) -> None:
        """Pull the image of an idle function again.

        Raises:
            Refused: it cannot be pulled any more, and the function is Failed.
        """
        if configuration is None or configuration.get("PackageType") != "Image":
            return
        if configuration["State"] == "Inactive":
            image = Image.named(configuration["ImageUri"])
            service = Service("lambda.amazonaws.com", _unqualified(configuration["FunctionArn"]))
            if image.repository.record is None or image.repository.image(image.digest) is None:
                _set_state(configuration, "Failed", *DELETED)
            elif image.repository.denial(service, *PULL):
                _set_state(configuration, "Failed", *REVOKED)
            else:
                await asyncio.to_thread(self._pull, image, service)
                _set_state(configuration, "Active", "", "")
        if configuration["State"] == "Failed":
            raise Refused(409, "CodeArtifactUserFailedException", configuration["StateReason"])

    def _put_pull_in_front_of_start(self) -> None:
        """Let Lambda, and not MiniStack with no credential, pull an image that the engine has lost."""
        start = lambda_svc._spawn_lambda_container

        def start_pulled(configuration: dict[str, Any], *rest: Any) -> Any:
            client = lambda_svc._get_docker_client()
            if configuration.get("PackageType") == "Image" and client is not None:
                try:
                    client.images.get(configuration["ImageUri"])
                except docker.errors.ImageNotFound:
                    service = Service("lambda.amazonaws.com", _unqualified(configuration["FunctionArn"]))
                    self._pull(Image.named(configuration["ImageUri"]), service)
            return start(configuration, *rest)

        lambda_svc._spawn_lambda_container = start_pulled

    def _put_permission_in_front_of_integration(self) -> None:
        """Let API Gateway call a function only if the function's policy allows it.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-control-access-using-iam-policies-to-invoke-api.html
        """

        def guarded(invoke: Any) -> Any:
            async def invoke_allowed(
                integration: dict[str, Any], api: str, stage: str, stage_record: Any, resource: dict[str, Any],
                path: str, method: str, *rest: Any, **scope: Any,
            ) -> Any:  # fmt: skip
                account, region = scope["owner_account_id"], scope["owner_region"]
                reference = apigateway_v1._extract_lambda_ref_from_integration_uri(integration.get("uri", ""))
                source = f"arn:aws:execute-api:{region}:{account}:{api}/{stage}/{method}{resource['path']}"
                configuration = _configuration(reference, account, region)
                if configuration is not None and _permits(configuration, reference, source):
                    try:
                        await self._wake(configuration)
                    except Refused:
                        return _internal_server_error()
                elif configuration is not None:
                    return _internal_server_error()
                return await invoke(integration, api, stage, stage_record, resource, path, method, *rest, **scope)

            return invoke_allowed

        for name in ("_invoke_lambda_proxy_v1", "_invoke_lambda_custom_v1"):
            setattr(apigateway_v1, name, guarded(getattr(apigateway_v1, name)))

    def _as_users_see_it(self, body: bytes) -> bytes:
        return body.replace(f'"{self._lambda_registry}/'.encode(), f'"{self._registry}/'.encode())


def _configuration(reference: str, account: str, region: str) -> dict[str, Any] | None:
    """MiniStack's own record of a function's or version's configuration."""
    return lambda_svc._get_func_record_for_ref_in_scope(reference, account_id=account, region=region)[1]


def _permits(configuration: dict[str, Any], reference: str, source: str) -> bool:
    """Whether a function's policy lets API Gateway call it for a method."""
    function = _unqualified(configuration["FunctionArn"])
    _, _, _, region, account, _, name = function.split(":")
    policy = lambda_svc._functions.get_scoped(account, region, name)["policy"]
    called = reference if reference.startswith("arn:") else function
    service = Service("apigateway.amazonaws.com", source)
    return access.denial(service, "lambda:InvokeFunction", called, policy) is None


def _unqualified(arn: str) -> str:
    return ":".join(arn.split(":")[:7])


def _set_state(configuration: dict[str, Any], state: str, code: str, reason: str) -> None:
    configuration |= {"State": state, "StateReasonCode": code, "StateReason": reason, "LastUpdateStatus": "Successful"}


def _internal_server_error() -> Any:
    return apigateway_v1._gw_error("API_CONFIGURATION_ERROR", "Internal server error")


def _invalid(message: str) -> Refused:
    return Refused(400, "InvalidParameterValueException", message)


async def _fail(send: Send, refused: Refused) -> None:
    body = {"Type": "User", "Message": str(refused), "message": str(refused)}
    await answer(send, refused.status, body, [(b"x-amzn-errortype", refused.code.encode())])
