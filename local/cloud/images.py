"""Lambda's requirements for container images, and its error messages.

https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#images-reqs
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.cloud.access import Caller
from local.cloud.asgi import document
from local.cloud.registry import HOST, Repository

PULL = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
NAME = re.compile(rf"(?P<host>{HOST})/(?P<name>[a-z0-9._/-]+)(?::(?P<tag>[\w.-]+)|@(?P<digest>sha256:[0-9a-f]{{64}}))")

# A single image for one platform, not an index, which a build with attestations creates.
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


class Refused(Exception):
    """Raised when Lambda refuses a request, with HTTP status, error code and text."""

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
        """The image's name without the address of the registry."""
        return f"{self.repository.host}/{self.repository.name}@{self.digest}"

    @property
    def exists(self) -> bool:
        """Whether the repository has the image."""
        return self.repository.image(self.digest) is not None

    @classmethod
    def named(cls, uri: str) -> "Image":
        """The image for a name with a digest. The address is ignored."""
        match = NAME.search(uri)
        if match is None:
            raise ValueError(f"{uri!r} is no image by digest")
        return cls(Repository(match[2], match[3], match["name"]), match["digest"])


def accepted(uri: str, name: str, region: str, architecture: str, caller: Caller) -> Image:
    """Check an image name as Lambda does. Returns the image by digest.

    Args:
        uri: the name in the request, for messages.
        name: the name without the address, with a tag or a digest.
        region: Region of the function.
        architecture: architecture of the function, `x86_64` or `arm64`.
        caller: the caller that creates or updates the function.

    Raises:
        Refused: the image does not exist in the function's Region, the caller may not pull it, or Lambda cannot run it.
    """
    match = NAME.fullmatch(name)
    if match is None or match[3] != region:
        raise _invalid(f"Source image {uri} is not valid. Provide a valid source image.")
    repository = Repository(match[2], match[3], match["name"])
    if repository.denial(caller, *PULL):
        raise Refused(403, "AccessDeniedException", NO_ACCESS)
    image = repository.image(match["tag"] or match["digest"])
    if image is None:
        raise _invalid(f"Source image {uri} does not exist. Provide a valid source image.")
    manifest = json.loads(image["imageManifest"])
    if not is_supported({"mediaType": image["imageManifestMediaType"], **manifest}):
        problem = "The image manifest, config or layer media type for the source image"
        raise _invalid(f"{problem} {uri} is not supported.")
    platform = document(repository.blob(manifest["config"]["digest"]) or b"")
    built_for = str(platform.get("architecture"))
    found = f"{platform.get('os')}/{ARCHITECTURES.get(built_for, built_for)}"
    if found != f"linux/{architecture}":
        # AWS accepts such an image, and every call fails with "exec format error".
        raise _invalid(f"Source image {uri} is for {found}, the function for linux/{architecture}.")
    return Image(repository, image["imageDigest"])


def is_supported(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest describes a single image with media types that Lambda supports."""
    return (
        manifest.get("mediaType") in MANIFESTS
        and manifest.get("config", {}).get("mediaType") in CONFIGURATIONS
        and all(layer.get("mediaType") in LAYERS for layer in manifest.get("layers", []))
    )


def _invalid(message: str) -> Refused:
    return Refused(400, "InvalidParameterValueException", message)
