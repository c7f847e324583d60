"""Checks of an image in the registry: whether it may be pulled, and whether Lambda can run it.

Registries follow the distribution API: https://distribution.github.io/distribution/spec/api/
"""

import asyncio
import base64
import hashlib
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components.errors import ImageUnusable, RegistryUnusable
from components.image.source import PLATFORMS

# Lambda takes a single image, not an index: https://docs.aws.amazon.com/lambda/latest/dg/images-create.html
SINGLE = ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json")
INDEX = ("application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.index.v1+json")
# The limit applies to the unpacked layers; a manifest contains the packed sizes.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
IMAGE_BYTES = 10 * 1024**3
UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 401, 403, 404
REFUSED = (UNAUTHORIZED, FORBIDDEN)
# A new policy takes seconds to reach all of AWS.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html
WAIT_SECONDS = (1, 2, 4, 8)
ANSWER_SECONDS = 30


class UnreadableAnswer(Exception):
    """Raised when a response is not from a registry, for example the page of a proxy."""


class PullRefused(Exception):
    """Raised when a preview may not pull. The text is the reason from the registry."""


@dataclass(frozen=True, kw_only=True)
class RepositoryReader:
    """A repository, read with the permissions of one principal.

    Attributes:
        url: registry and repository, without a tag.
        username: `AWS` for ECR.
        password: password of an ECR authorization token.
    """

    url: str
    username: str
    password: str = field(repr=False)

    def get(self, path: str) -> tuple[int, bytes]:
        """GET a path of the repository. Returns status and body.

        Raises:
            OSError: the registry cannot be reached, or returns an unexpected status.
            http.client.HTTPException: the response is incomplete, or not HTTP.
        """
        host, _, name = self.url.partition("/")
        # Docker also uses HTTP only for this host.
        scheme = "http" if host.partition(":")[0] == "localhost" else "https"
        request = urllib.request.Request(f"{scheme}://{host}/v2/{name}/{path}")  # noqa: S310  # no other scheme
        request.add_header("Accept", ", ".join((*SINGLE, *INDEX)))
        login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        # ECR redirects to S3, which refuses a request with a second signature.
        request.add_unredirected_header("Authorization", f"Basic {login}")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310  # see above
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            if error.code not in (*REFUSED, NOT_FOUND):
                raise
            return error.code, error.read()


async def require_runnable(repository: RepositoryReader, reference: str, architecture: str, *, missing: bool) -> None:
    """Check that the principal that deploys may pull an image, and that Lambda can run it.

    A denied pull is repeated for some seconds, because the policy may be new. In a preview it is a warning, because the
    role of a preview may have fewer permissions. A registry that cannot be reached is a warning as well.

    Args:
        repository: the repository, read by that principal.
        reference: the image's tag or digest.
        architecture: architecture of the function, `x86_64` or `arm64`.
        missing: whether a missing image is allowed.

    Raises:
        RegistryUnusable: the pull is denied.
        ImageUnusable: the image does not exist, or Lambda cannot run it.
    """
    try:
        status, body = await _pull(repository, f"manifests/{reference}")
        if status == NOT_FOUND and missing:
            return
        if status == NOT_FOUND:
            raise ImageUnusable(
                f"There is no image {reference} in {repository.url}. Name another one, or push it first."
            )
        digest = _require_single(body, repository.url, reference)
        _, configuration = await _pull(repository, f"blobs/{digest}")
        _require_architecture(configuration, architecture, reference)
    except PullRefused as refused:
        pulumi.log.warn(
            f"These credentials may not pull from {repository.url} ({refused}). The update checks whether Lambda can "
            f"run {reference}."
        )
    except (OSError, http.client.HTTPException, UnreadableAnswer) as error:
        reason = str(error) or type(error).__name__
        pulumi.log.warn(
            f"{repository.url} cannot be reached ({reason}). The update checks whether Lambda can run {reference}."
        )


async def find_tag(repository: RepositoryReader, tag: str) -> dict[str, str] | None:
    """The tag with its digest, found with only the permission to pull. Empty if the tag does not exist.

    None if a preview may not pull.

    Raises:
        RegistryUnusable: the pull is denied, or the registry cannot be reached.
    """
    try:
        status, body = await _pull(repository, f"manifests/{tag}")
    except PullRefused:
        return None
    except (OSError, http.client.HTTPException) as error:
        raise RegistryUnusable(f"{repository.url} cannot be reached: {str(error) or type(error).__name__}") from None
    return {} if status == NOT_FOUND else {tag: f"sha256:{hashlib.sha256(body).hexdigest()}"}


async def _pull(repository: RepositoryReader, path: str) -> tuple[int, bytes]:
    waits = iter(WAIT_SECONDS)
    while True:
        status, body = await asyncio.to_thread(repository.get, path)
        if status not in REFUSED:
            return status, body
        if pulumi.runtime.is_dry_run():
            raise PullRefused(_reason(body) or status)
        seconds = next(waits, None)
        if seconds is None:
            raise RegistryUnusable(
                f"The principal that deploys may not pull from {repository.url}: {_reason(body) or status}. Two "
                "policies must allow it: the repository's policy, and the principal's own (see the output "
                "deployerPolicies of the registry stack)."
            )
        pulumi.log.info(f"{repository.url} does not allow the pull yet. Trying again in {seconds} s.")
        await asyncio.sleep(seconds)


def _require_single(body: bytes, url: str, reference: str) -> str:
    """Check that a manifest describes a single image that is not too large. Returns the digest of its configuration."""
    manifest = _object(body, "schemaVersion")
    if not {"layers", "config"} <= manifest.keys():
        raise ImageUnusable(
            f"{reference} in {url} is not a single image ({manifest.get('mediaType', 'unknown media type')}), which "
            "Lambda requires. Push one platform without attestations: docker buildx build --platform linux/amd64 "
            "--provenance=false --sbom=false --push …"
        )
    try:
        size, digest = sum(layer["size"] for layer in manifest["layers"]), str(manifest["config"]["digest"])
    except (LookupError, TypeError) as error:
        raise UnreadableAnswer("the answer is not an image manifest") from error
    if size > IMAGE_BYTES:
        raise ImageUnusable(
            f"{reference} in {url} has {size / 1024**3:.1f} GB packed; Lambda allows 10 GB unpacked. Remove files "
            "that the function does not need."
        )
    return digest


def _require_architecture(body: bytes, architecture: str, reference: str) -> None:
    """Check that an image is for the function's architecture. Lambda does not check this."""
    config = _object(body, "os", "architecture")
    built_for = f"{config['os']}/{config['architecture']}"
    if built_for != PLATFORMS[architecture]:
        raise ImageUnusable(
            f"{reference} is built for {built_for}; the function's architecture {architecture} needs "
            f"{PLATFORMS[architecture]}. Build the image for it, or change the function's architecture."
        )


def _object(body: bytes, *keys: str) -> dict[str, Any]:
    """Parse a JSON object with these keys."""
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict) or not set(keys) <= value.keys():
        raise UnreadableAnswer(f"the answer is not a JSON object with {' and '.join(keys)}; a proxy may have sent it")
    return value


def _reason(body: bytes) -> str:
    """The reason in a registry's error."""
    try:
        return str(json.loads(body)["errors"][0]["message"])
    except (ValueError, LookupError, TypeError):
        return ""
