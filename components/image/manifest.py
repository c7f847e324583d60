"""What a registry says of an image, asked before Lambda is: whether it may be pulled, and whether Lambda can run it.

Registries answer by the distribution API: https://distribution.github.io/distribution/spec/api/
"""

import asyncio
import base64
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components.errors import ImageUnusable, RegistryUnusable
from components.image.source import PLATFORMS

# Lambda takes one image, no index of several: https://docs.aws.amazon.com/lambda/latest/dg/images-create.html
SINGLE = ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json")
INDEX = ("application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.index.v1+json")
# Unpacked, all layers together; what a manifest says is their packed size.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
IMAGE_BYTES = 10 * 1024**3
UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 401, 403, 404
REFUSED = (UNAUTHORIZED, FORBIDDEN)
# A policy takes seconds until every part of AWS knows it.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html
WAIT_SECONDS = (1, 2, 4, 8)
ANSWER_SECONDS = 30


class UnreadableAnswer(Exception):
    """Raised when an answer is not the registry's, such as a proxy's page, or is cut off."""


class PullRefused(Exception):
    """Raised when a preview may not pull. The text is the registry's reason."""


@dataclass(frozen=True, kw_only=True)
class RepositoryReader:
    """A repository, seen by one principal.

    Attributes:
        url: registry and repository, without a tag.
        username: `AWS` for ECR.
        password: an ECR authorization token's.
    """

    url: str
    username: str
    password: str = field(repr=False)

    def get(self, path: str) -> tuple[int, bytes]:
        """GET a path of the repository. Returns status and body.

        Raises:
            OSError: the registry cannot be reached, or returns an unexpected status.
            http.client.HTTPException: the answer is cut off, or is no HTTP.
        """
        host, _, name = self.url.partition("/")
        # The one plain registry that Docker takes as well.
        scheme = "http" if host.partition(":")[0] == "localhost" else "https"
        request = urllib.request.Request(f"{scheme}://{host}/v2/{name}/{path}")  # noqa: S310  # no other scheme
        request.add_header("Accept", ", ".join((*SINGLE, *INDEX)))
        login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        # ECR sends on to S3, which refuses a request with two signatures.
        request.add_unredirected_header("Authorization", f"Basic {login}")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            if error.code not in (*REFUSED, NOT_FOUND):
                raise
            return error.code, error.read()


async def require_runnable(repository: RepositoryReader, reference: str, architecture: str, *, missing: bool) -> None:
    """Check that an image may be pulled by the one who deploys, and that Lambda can run it.

    A refused pull is tried again for some seconds: a policy may have been set just now. In a preview it is a warning,
    since a role that only reads need not be one that may pull.

    Args:
        repository: what is asked, and as whom.
        reference: the image's tag or digest.
        architecture: the function's, `x86_64` or `arm64`.
        missing: whether it is fine that there is no such image yet.

    Raises:
        RegistryUnusable: the pull is refused.
        ImageUnusable: there is no such image, or Lambda cannot run it.
    """
    try:
        status, body = await _pull(repository, f"manifests/{reference}")
        if status == NOT_FOUND and missing:
            return
        if status == NOT_FOUND:
            raise ImageUnusable(
                f"There is no image {reference} in {repository.url}. Name another one, or push it first."
            )
        configuration = require_single(body, repository.url, reference)
        _, config = await _pull(repository, f"blobs/{configuration}")
        require_architecture(config, architecture, reference)
    except PullRefused as refused:
        pulumi.log.warn(
            f"{repository.url} may not be pulled from here ({refused}); whether Lambda takes {reference} is checked by "
            "the update."
        )
    except (OSError, http.client.HTTPException, UnreadableAnswer) as error:
        reason = str(error) or type(error).__name__
        pulumi.log.warn(f"{repository.url} cannot be asked ({reason}). Lambda will tell whether it takes {reference}.")


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
                f"Whoever deploys here may not pull from {repository.url}: {_reason(body) or status}. Two policies "
                "have to allow it: the repository's, which names this account, and the deployer's own, as in the "
                "registry stack's output deployerPolicies."
            )
        pulumi.log.info(f"{repository.url} may not be pulled from yet; asking again in {seconds} s.")
        await asyncio.sleep(seconds)


def require_single(body: bytes, url: str, reference: str) -> str:
    """Check that a manifest is of one image, and not too large. Returns the digest of the image's configuration.

    Raises:
        ImageUnusable: it is an index, as of several platforms or with attestations, or larger than Lambda takes.
        UnreadableAnswer: it is no manifest.
    """
    manifest = _object(body)
    if manifest.get("schemaVersion") is None:
        raise UnreadableAnswer("the answer is no image manifest")
    if "layers" not in manifest or "config" not in manifest:
        raise ImageUnusable(
            f"{reference} in {url} is no single image ({manifest.get('mediaType', 'of no known type')}), and Lambda "
            "takes nothing else. Push one platform without attestations: docker buildx build --platform linux/amd64 "
            "--provenance=false --sbom=false --push …"
        )
    try:
        size, digest = sum(layer["size"] for layer in manifest["layers"]), str(manifest["config"]["digest"])
    except (LookupError, TypeError) as error:
        raise UnreadableAnswer("the answer is no image manifest") from error
    if size > IMAGE_BYTES:
        raise ImageUnusable(
            f"{reference} in {url} has {size / 1024**3:.1f} GB even packed; Lambda takes 10 GB unpacked. Leave out "
            "what the function does not need."
        )
    return digest


def require_architecture(body: bytes, architecture: str, reference: str) -> None:
    """Check that an image, by its configuration, is for Linux and the function's processor.

    Raises:
        ImageUnusable: it is for another one; such a function would fail when it is called.
        UnreadableAnswer: it is no image configuration.
    """
    config = _object(body)
    if not {"os", "architecture"} <= set(config):
        raise UnreadableAnswer("the answer is no image configuration")
    built_for = f"{config.get('os')}/{config.get('architecture')}"
    if built_for != PLATFORMS[architecture]:
        raise ImageUnusable(
            f"{reference} is built for {built_for}; the function's architecture {architecture} takes "
            f"{PLATFORMS[architecture]}. Build the image for it, or give the function the other architecture."
        )


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UnreadableAnswer("the answer is no JSON object, as from a proxy")
    return value


def _reason(body: bytes) -> str:
    """The registry's own words."""
    try:
        return str(json.loads(body)["errors"][0]["message"])
    except (ValueError, LookupError, TypeError):
        return ""
