"""The source of a function's image: built and pushed by this update, or already in the repository."""

import re
from typing import TYPE_CHECKING, Annotated

import pulumi
from pydantic import field_validator

from components.errors import ImageUnusable
from components.image.build import TAG_PREFIX, ImageBuild, Platform
from components.image.staging import stage
from components.model import Late, Model, Whole, allowed

if TYPE_CHECKING:
    import pulumi_docker

NAME_DIGITS = 8
IMAGE_URI = re.compile(r"[^@]+@sha256:[0-9a-f]{64}")

# https://docs.aws.amazon.com/lambda/latest/dg/foundation-arch.html
PLATFORMS: dict[str, Platform] = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}


class RegistryLogin(Model):
    """Credentials of a push."""

    server: Annotated[Late, allowed("a host", "111111111111.dkr.ecr.us-east-1.amazonaws.com")]
    """Host of the registry: the part of the repository URL before the first slash."""
    username: Annotated[Late, allowed("a user name", "AWS")]
    """User; `AWS` for ECR."""
    password: Annotated[Late, allowed("an authorization token of ECR", repr=False)]
    """Password of an ECR authorization token. It is valid for 12 hours and stored as a secret."""


class BuiltImage(Model):
    """An image that is built by this update and pushed under its content tag."""

    build: ImageBuild
    """The build."""
    repository_url: Annotated[Late, allowed("a repository", "REGISTRY/cross-account-function")]
    """Repository to push to, without a tag."""
    login: RegistryLogin
    """Credentials of the push."""
    push: Annotated[Whole, allowed("a whole number, 0 or more", 1, ge=0)] = 0
    """Number of the push. A new number builds and pushes the same content again after the image was deleted."""


class ExistingImage(Model):
    """An image that exists in the repository. It needs no build, no push and no Docker engine.

    Raises:
        ImageUnusable: the URI has another form. If it is an output, this is raised before the function is created.
    """

    uri: Annotated[Late, allowed("REPOSITORY@sha256:DIGEST", "REPOSITORY@sha256:" + "0" * 64)]
    """Image, `REPOSITORY@sha256:…`."""

    @field_validator("uri")
    @classmethod
    def _by_digest(cls, uri: Late) -> Late:
        return require_digest(uri) if isinstance(uri, str) else uri


def push(name: str, image: BuiltImage, opts: pulumi.ResourceOptions) -> "pulumi_docker.Image":
    """The resource that builds an image and pushes it under its content tag.

    Its name and all its inputs except network and cache depend on the tag. New content is therefore a new resource, not
    an update of this one. If the update fails after the push and the change is reverted, the previous resource is
    unchanged; an update of it would push to an existing tag.

    Raises:
        ImageUnusable: the build context cannot be staged.
    """
    # Only a build needs it.
    import pulumi_docker as docker

    build, staged = image.build, stage(image.build)
    if build.warning:
        pulumi.log.warn(build.warning)
    hooks = pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook(f"{name}-taken-tag", _explain_taken_tag)])
    return docker.Image(
        f"{name}-{build.tag.removeprefix(TAG_PREFIX)[:NAME_DIGITS]}-{image.push}",
        image_name=pulumi.Output.concat(image.repository_url, ":", build.tag),
        build=docker.DockerBuildArgs(
            context=staged.context,
            dockerfile=staged.dockerfile,
            args=build.known_args({}),
            target=build.target or None,
            cache_from=docker.CacheFromArgs(images=list(build.cache_from)) if build.cache_from else None,
            network=build.network or None,
            platform=build.platform,
        ),
        # Credentials on the provider would show a diff with every new token; on the image they do not.
        registry=docker.RegistryArgs(
            server=image.login.server, username=image.login.username, password=image.login.password
        ),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(hooks=hooks)),
    )


def _explain_taken_tag(failed: pulumi.ErrorHookArgs) -> bool:
    """Show what to do if another run pushed the tag during this build. A retry would fail again."""
    if any("immutable" in error for error in failed.errors):
        pulumi.log.warn(
            "Another run pushed the same content to this tag during the build. Run `pulumi up` again: it uses that "
            "image without a build."
        )
    return False


def require_digest(uri: str) -> str:
    """Return `REPOSITORY@sha256:…` and refuse anything else: the local ID of an image that was not pushed, or a tag.

    Raises:
        ImageUnusable: it has another form.
    """
    if not IMAGE_URI.fullmatch(uri):
        raise ImageUnusable(
            f"{uri!r} does not name a pushed image by digest; it must be REPOSITORY@sha256:<64 hex digits>. Push the "
            "image and run `pulumi up` again."
        )
    return uri
