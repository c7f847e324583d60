"""ECR: registry tokens, the registry for Docker, and the API, with the same rules for all accounts.

Docker can push to and pull from each registry under a loopback name:
`localhost:PORT/ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY`. ECR returns it as `repositoryUri`.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ministack.app import app as ministack
from ministack.core.responses import get_region
from ministack.services import ecr

from local.cloud import access, lifecycle, partition, replication
from local.cloud.access import Caller, Key, Tokens
from local.cloud.asgi import (
    Headers,
    Receive,
    Scope,
    Send,
    answer,
    document,
    giving,
    header,
    read,
    rewriting,
    with_headers,
)
from local.cloud.lifecycle import Expired

HOST = r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com"
REGISTRY_HOST = re.compile(HOST)
REGISTRY_PATH = re.compile(rf"/v2/(?P<host>(\d{{12}})\.dkr\.ecr\.([a-z0-9-]+)\.(?:{partition.SUFFIXES}))/(?P<rest>.+)")
MANIFEST_PATH = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)")

# The actions that each call of the registry protocol needs. ECR does not support other calls.
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
ACTIONS = {
    ("manifest", "GET"): ("ecr:BatchGetImage",),
    ("manifest", "HEAD"): ("ecr:BatchGetImage",),
    ("manifest", "PUT"): ("ecr:PutImage",),
    ("manifest", "DELETE"): ("ecr:BatchDeleteImage",),
    ("blob", "GET"): ("ecr:GetDownloadUrlForLayer",),
    ("blob", "HEAD"): ("ecr:BatchCheckLayerAvailability",),
    ("blob_uploads", "POST"): ("ecr:InitiateLayerUpload",),
    ("blob_upload_session", "GET"): ("ecr:UploadLayerPart",),
    ("blob_upload_session", "PATCH"): ("ecr:UploadLayerPart",),
    ("blob_upload_session", "PUT"): ("ecr:UploadLayerPart", "ecr:CompleteLayerUpload"),
    ("blob_upload_session", "DELETE"): ("ecr:UploadLayerPart",),
    ("tags_list", "GET"): ("ecr:ListImages",),
}
# An upload in a single call.
UPLOAD = ("ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload")
# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY_NAME = re.compile(rf"(?=.{{2,256}}$){PART}(?:/{PART})*")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
REFERENCE = re.compile(rf"[a-zA-Z0-9_][a-zA-Z0-9._-]{{0,127}}|{DIGEST.pattern}")
MANIFEST_BYTES = 4 * 1024**2

# The API's error codes for errors of the registry protocol.
MANIFEST_ERRORS = {
    "MANIFEST_INVALID": "InvalidParameterException",
    "DIGEST_INVALID": "ImageDigestDoesNotMatchException",
    "MANIFEST_BLOB_UNKNOWN": "LayersNotFoundException",
    "MANIFEST_UNKNOWN": "ReferencedImagesNotFoundException",
}
# Calls with the ARN of a repository.
TAGGING = ("ListTagsForResource", "TagResource", "UntagResource")
VERSION = [(b"docker-distribution-api-version", b"registry/2.0")]


@dataclass(frozen=True)
class Repository:
    """A repository, by its name in a registry. It may not exist."""

    account: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:aws:ecr:{self.region}:{self.account}:repository/{self.name}"

    @property
    def host(self) -> str:
        """The registry's name, as in the partition that MiniStack knows."""
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com"

    @property
    def record(self) -> dict[str, Any] | None:
        """MiniStack's record, or None if the repository does not exist."""
        found: dict[str, Any] | None = ecr._repositories.get_scoped(self.account, self.region, self.name)
        return found

    @property
    def policy(self) -> str:
        """The text of its policy; empty if it has none."""
        return ecr._repo_policies.get_scoped(self.account, self.region, self.name) or ""

    @property
    def images(self) -> list[dict[str, Any]]:
        """MiniStack's records of its images, the oldest first."""
        return ecr._images.get_scoped(self.account, self.region, self.name) or []

    @property
    def missing(self) -> str:
        """ECR's message if the repository does not exist."""
        return f"The repository with name '{self.name}' does not exist in the registry with id '{self.account}'"

    def image(self, reference: str) -> dict[str, Any] | None:
        """An image by its tag or digest."""
        for image in self.images:
            if reference == image["imageDigest"] or reference in image.get("imageTags", []):
                return image
        return None

    def blob(self, digest: str) -> bytes | None:
        """The content of a layer or of an image's configuration."""
        return (ecr._layer_blobs.get_scoped(self.account, self.region, self.name) or {}).get(digest)

    def denial(self, caller: Caller, *actions: str) -> str | None:
        """Why a caller may not use these actions, or None if it may."""
        # A missing repository has no policy. The caller's policies decide whether the caller may know that it is
        # missing.
        record, policy, keys = self.record, None, dict[str, str]()
        if record is not None:
            policy = self.policy
            for tag in record.get("tags", []):
                keys |= {f"{prefix}:resourcetag/{tag['Key'].lower()}": tag["Value"] for prefix in ("aws", "ecr")}
        reasons = (access.denial(caller, action, self.arn, policy, keys=keys) for action in actions)
        return next(filter(None, reasons), None)

    def taken(self, tag: str | None) -> str | None:
        """ECR's error for a push to an existing tag, or None.

        A push to an immutable tag is refused even with the same content.
        https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
        """
        immutable = self.record is not None and self.record["imageTagMutability"] == "IMMUTABLE"
        if not immutable or all(tag not in image.get("imageTags", []) for image in self.images):
            return None
        return (
            f"The image tag '{tag}' already exists in the '{self.name}' repository "
            "and cannot be overwritten because the tag is immutable."
        )


class Refused(Exception):
    """Raised to refuse a call of the registry protocol, with HTTP status, error code, text and headers."""

    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers


class Registry:
    """ECR of all accounts.

    Args:
        address: host and port, the prefix of every registry name.
        tokens: the tokens that GetAuthorizationToken issues and the registry accepts.
    """

    def __init__(self, address: str, tokens: Tokens) -> None:
        self._address = address
        self._tokens = tokens

    async def v2(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a call of the registry protocol: `docker login`, push and pull."""
        try:
            caller = self._caller(header(scope, "authorization"))
            if scope["path"] in ("/v2", "/v2/"):
                await answer(send, 200, {}, VERSION)
                return
            host, call = self._admit(scope, caller)
            if (match := MANIFEST_PATH.fullmatch(call["path"])) and scope["method"] == "PUT":
                body = await read(receive)
                receive = giving(body, receive)
                _check_manifest(Repository(*_owner(host), match["name"]), match["reference"], body)
        except Refused as refused:
            while (await receive()).get("more_body"):
                pass  # Docker does not read a response while it sends a layer
            fault = {"errors": [{"code": refused.code, "message": str(refused)}]}
            await answer(send, refused.status, fault, [*VERSION, *refused.headers])
            return
        await ministack(call, receive, _rewriting_location(send, host))
        if match and scope["method"] == "PUT":
            replication.copy(*_owner(host), match["name"])

    async def api(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a call of the ECR API, for the caller's own registry or the registry in `registryId`."""
        body, action = await read(receive), header(scope, "x-amz-target").rpartition(".")[2]
        caller, data = scope["caller"], document(body)
        receive = giving(body, receive)
        if action == "GetAuthorizationToken":
            await ministack(scope, receive, rewriting(send, lambda answer: self._with_tokens(answer, caller, data)))
            return
        if action in replication.ACTIONS:
            await self._replicate(action, data, caller, send)
            return
        owner, repositories = _named(action, data, caller.account)
        if owner != caller.account and (not repositories or action == "CreateRepository"):
            # Other accounts have access only through the policy of a repository.
            arn = Repository(owner, get_region(), "*").arn
            await _fail(send, "AccessDeniedException", access.denial(caller, f"ecr:{action}", arn, "") or "")
            return
        for repository in repositories:
            if denial := repository.denial(caller, f"ecr:{action}"):
                await _fail(send, "AccessDeniedException", denial)
                return
            if action == "PutImage" and repository.record is not None:
                if taken := repository.taken(data.get("imageTag")):
                    await _fail(send, "ImageTagAlreadyExistsException", taken)
                    return
                try:
                    _check_manifest(repository, data.get("imageDigest", ""), data["imageManifest"].encode())
                except Refused as refused:
                    await _fail(send, MANIFEST_ERRORS[refused.code], str(refused))
                    return
        if repositories:  # the caller is allowed to make the call; MiniStack supports only the owner as a caller
            scope = access.signed_by_root(scope, body, owner, repositories[0].region)
        await ministack(scope, receive, rewriting(send, self._localise))

    async def _replicate(self, action: str, data: Mapping[str, Any], caller: Key, send: Send) -> None:
        """Handle the two calls of replication, which MiniStack does not support."""
        account, region = caller.account, get_region()
        if denial := access.denial(caller, f"ecr:{action}", Repository(account, region, "*").arn):
            await _fail(send, "AccessDeniedException", denial)
            return
        if action == "PutReplicationConfiguration":
            rules = data["replicationConfiguration"]["rules"]
            if refusal := replication.put(account, region, rules):
                await _fail(send, "ValidationException", refusal)
                return
        configuration = {"rules": replication.rules_of(account, region)}
        await answer(send, 200, {"registryId": account, "replicationConfiguration": configuration})

    def expire(self, repository: Repository, now: float) -> list[Expired] | None:
        """Apply a repository's lifecycle policy now. ECR applies it within a day.

        Returns: the deleted images, or None if the repository has no lifecycle policy.
        """
        scope = repository.account, repository.region, repository.name
        policy = ecr._lifecycle_policies.get_scoped(*scope)
        if repository.record is None or policy is None:
            return None
        deleted = lifecycle.expired(json.loads(policy), repository.images, now)
        digests = {image.digest for image in deleted}
        kept = [image for image in repository.images if image["imageDigest"] not in digests]
        ecr._images.set_scoped(*scope, kept)
        return deleted

    def _caller(self, authorization: str) -> Caller:
        """The caller that requested the token of a request."""
        kind, _, encoded = authorization.partition(" ")
        if kind.lower() != "basic":
            realm = f'Basic realm="http://{self._address}/",service="ecr.amazonaws.com"'
            raise Refused(401, "UNAUTHORIZED", "Not Authorized", [(b"www-authenticate", realm.encode())])
        try:
            user, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            user = secret = ""
        token = self._tokens.find(secret) if user == "AWS" else None
        if token is None:
            raise Refused(400, "DENIED", "Your authorization token is invalid. Reauthenticate and try again.")
        if token.expired:
            raise Refused(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
        return token.caller

    def _admit(self, scope: Scope, caller: Caller) -> tuple[str, Scope]:
        """The call for MiniStack, with the registry's host name in the Host header instead of the path.

        Returns: the host name, and the call.
        """
        method, match = scope["method"], REGISTRY_PATH.fullmatch(scope["path"])
        call = ecr._parse_v2_path(f"/v2/{match['rest']}") if match else None
        if match is None or call is None:
            name = f"{self._address}/ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY"
            raise Refused(
                404,
                "NAME_UNKNOWN",
                f"{scope['path']} is not the path of a repository. In the local cloud, its name is {name}",
            )
        verb, name, reference = call
        repository = Repository(match[2], match[3], name)
        if not REPOSITORY_NAME.fullmatch(name):
            raise Refused(400, "NAME_INVALID", f"Invalid repository name {name!r}")
        if verb in ("manifest", "blob") and not (REFERENCE if verb == "manifest" else DIGEST).fullmatch(reference):
            raise Refused(
                404, "MANIFEST_UNKNOWN" if verb == "manifest" else "BLOB_UNKNOWN", "Requested image not found"
            )
        query = self._query(scope, repository, match["host"], caller)
        actions = UPLOAD if verb == "blob_uploads" and "digest" in query else ACTIONS.get((verb, method))
        if actions is None:
            raise Refused(405, "UNSUPPORTED", "The operation is unsupported.")
        if denial := repository.denial(caller, *actions):
            raise Refused(403, "DENIED", partition.of(repository.region).text(denial))
        if repository.record is None:
            raise Refused(404, "NAME_UNKNOWN", repository.missing)
        if (verb, method) in (("manifest", "GET"), ("manifest", "HEAD")) and repository.image(reference) is None:
            # MiniStack still serves manifests of images that were deleted through the API.
            raise Refused(404, "MANIFEST_UNKNOWN", "Requested image not found")
        if (verb, method) == ("manifest", "PUT") and (taken := repository.taken(reference)):
            raise Refused(400, "TAG_INVALID", taken)
        path = f"/v2/{match['rest']}"
        inner = with_headers(scope, host=repository.host.encode(), authorization=None)
        changed = {"path": path, "raw_path": path.encode(), "query_string": urlencode(query).encode()}
        return match["host"], {**inner, **changed}

    def _query(self, scope: Scope, repository: Repository, host: str, caller: Caller) -> dict[str, str]:
        """The query of a call. A layer can be mounted only from a repository that the caller may pull from.

        Otherwise the client must upload it, as on ECR.
        https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
        """
        query = dict(parse_qsl(scope["query_string"].decode()))
        if not all(DIGEST.fullmatch(query[name]) for name in ("digest", "mount") if name in query):
            raise Refused(400, "DIGEST_INVALID", "A digest is sha256: and 64 hexadecimal digits.")
        if "mount" in query:
            source = query.pop("from", "")
            name = source.removeprefix(f"{host}/")
            origin = Repository(repository.account, repository.region, name)
            if name == source or origin.denial(caller, "ecr:GetDownloadUrlForLayer"):
                del query["mount"]
            else:
                query["from"] = name
        return query

    def _with_tokens(self, body: bytes, caller: Key, data: Mapping[str, Any]) -> bytes:
        """The response of GetAuthorizationToken, with one token for each requested registry."""
        answered = json.loads(body)
        if "authorizationData" in answered:  # not an error
            answered["authorizationData"] = [
                self._authorization(caller, registry) for registry in data.get("registryIds") or [caller.account]
            ]
        return json.dumps(answered).encode()

    def _authorization(self, caller: Key, account: str) -> dict[str, Any]:
        secret, token = self._tokens.issue(caller)
        return {
            "authorizationToken": base64.b64encode(f"AWS:{secret}".encode()).decode(),
            "expiresAt": token.expires,
            "proxyEndpoint": f"http://{self._address}/{account}.dkr.ecr.{get_region()}.amazonaws.com",
        }

    def _localise(self, body: bytes) -> bytes:
        """Add the loopback address to registry names in a response of ECR."""
        text = REGISTRY_HOST.sub(lambda match: f"{self._address}/{match[0]}", body.decode())
        return text.replace(f"https://{self._address}/", f"http://{self._address}/").encode()


def _named(action: str, data: Mapping[str, Any], account: str) -> tuple[str, list[Repository]]:
    """The registry and the repositories of an API call.

    Other members are removed, because AWS ignores them and MiniStack might not.
    """
    if action in TAGGING:
        _, _, _, region, owner, resource = f"{data['resourceArn']}:::::".split(":")[:6]
        return owner, [Repository(owner, region, resource.removeprefix("repository/"))]
    owner = str(data.get("registryId") or account)
    names = [*data.get("repositoryNames", []), *([data["repositoryName"]] if "repositoryName" in data else [])]
    return owner, [Repository(owner, get_region(), name) for name in names]


def _owner(host: str) -> tuple[str, str]:
    """Account and Region of a registry's host name."""
    account, _, _, region, *_ = host.split(".")
    return account, region


def _check_manifest(repository: Repository, reference: str, body: bytes) -> None:
    """ECR's checks of a pushed manifest.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html#API_PutImage_Errors
    """
    manifest = document(body)
    images, config, layers = (manifest.get(name) for name in ("manifests", "config", "layers"))
    parts = images if images is not None else [config, *layers] if isinstance(layers, list) else None
    well_formed = isinstance(parts, list) and all(
        isinstance(part, dict) and DIGEST.fullmatch(str(part.get("digest"))) for part in parts
    )
    if manifest.get("schemaVersion") != 2 or not well_formed or len(body) > MANIFEST_BYTES:
        raise Refused(400, "MANIFEST_INVALID", "The image manifest is not valid.")
    if reference.startswith("sha256:") and reference != f"sha256:{hashlib.sha256(body).hexdigest()}":
        raise Refused(400, "DIGEST_INVALID", f"The digest of the manifest is not {reference}.")
    known = repository.image if images is not None else repository.blob
    for part in parts or ():
        if known(part["digest"]) is None and not part.get("urls"):
            code = "MANIFEST_UNKNOWN" if images is not None else "MANIFEST_BLOB_UNKNOWN"
            raise Refused(400, code, f"{part['digest']} of the manifest is not in the repository.")


async def _fail(send: Send, code: str, message: str) -> None:
    """Send an error of the ECR API."""
    await answer(send, 400, {"__type": code, "message": message})


def _rewriting_location(send: Send, host: str) -> Send:
    """A `send` that adds the registry's host to the paths in `Location` headers."""

    async def inner(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                (name, value.replace(b"/v2/", f"/v2/{host}/".encode(), 1) if name.lower() == b"location" else value)
                for name, value in message["headers"]
            ]
        await send(message)

    return inner
