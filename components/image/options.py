"""Options of an image: how it is built, or which one of the repository runs."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, field_validator, model_validator

from components.limits import CONTEXT_LIMIT_MB, CONTEXT_MB, within
from components.model import Model, Whole, allowed, rule

ARGUMENT = re.compile(r"[^\s=\0]+")
SECRET_NAME = re.compile(r"PASS(WORD|PHRASE|WD)|TOKEN|SECRET|KEY|CREDENTIAL|^(AWS|PULUMI)_", re.IGNORECASE)

Context = Annotated[str, allowed("a folder, relative to Pulumi.yaml", "app", pattern="^[^/]")]


def _argument(name: str) -> str:
    if not ARGUMENT.fullmatch(name):
        raise rule("is not a name of a build argument. Example: VERSION")
    return name


ArgumentName = Annotated[str, AfterValidator(_argument)]


class BuildOptions(Model):
    """How an image is built."""

    dockerfile: Annotated[str, allowed("a file, relative to Pulumi.yaml", "app/Dockerfile", pattern="^([^/]|$)")] = ""
    """Dockerfile. Default: the one of the context."""
    args: Annotated[
        Mapping[ArgumentName, str | None],
        allowed(
            "build arguments with a text each; null takes the value from the environment", {"VERSION": "1"}, repr=False
        ),
    ] = {}
    """Build arguments. They can be read in the image and in the state: use them for no secrets."""
    cache_from: Annotated[
        Sequence[str], allowed("a list of image names with their registry", ["registry/app:cache"])
    ] = ()
    """Images whose layers the builder may reuse, such as a recent one of this repository. They are pulled with the
    login of the push, so they have to be in its registry, and they need inline cache data, which the build argument
    `BUILDKIT_INLINE_CACHE: "1"` adds. A missing image is no error.
    https://docs.docker.com/build/cache/backends/inline/"""
    network: Annotated[Literal["", "host", "none", "default"], allowed("host, none or default", "host")] = ""
    """Network of the build's steps. Default: the builder's."""
    target: Annotated[str, allowed("a stage of the Dockerfile", "release")] = ""
    """Stage to build. Default: the last."""
    allow_secrets: Annotated[
        Sequence[str], allowed("a list of patterns as in a .dockerignore", ["certificates/*.pem"])
    ] = ()
    """Files that look like secrets but may be sent to the builder; any other such file is refused."""
    context_limit: Annotated[Whole, within(CONTEXT_MB, "MB")] = CONTEXT_LIMIT_MB
    """MB that the files of the context may have together. An image has at most 10,240 MB.
    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

    @field_validator("args")
    @classmethod
    def _arguments(cls, args: Mapping[str, str | None]) -> Mapping[str, str | None]:
        for name, value in args.items():
            if value is None and SECRET_NAME.search(name):
                raise rule(
                    "looks like a secret, and null would put its value from the environment into the image and the "
                    "state, in clear. Write a text that is not secret, or read the secret when the function runs",
                    name,
                )
        return args

    def known_args(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The build arguments with their values. null takes the environment's, if there is one.

        https://docs.docker.com/reference/cli/docker/buildx/build/#build-arg
        """
        given = {name: environment.get(name) if value is None else value for name, value in self.args.items()}
        return {name: value for name, value in given.items() if value is not None}


SOURCES = ("context", "digest", "tag", "promote")


class Image(BuildOptions):
    """Image that a stack runs: exactly one of `context`, `digest`, `tag` and `promote`."""

    context: Context | None = None
    """Folder to build, without what its `.dockerignore` excludes."""
    digest: Annotated[
        str | None,
        allowed("sha256: and 64 hex digits, in quotes", "sha256:" + "0" * 64, pattern=r"^sha256:[0-9a-f]{64}$"),
    ] = None
    """Run this image of the repository: nothing is built, no Docker is needed."""
    tag: Annotated[
        str | None,
        allowed(
            "1 to 128 letters, digits and . _ -, none of . and - first",
            "v1",
            pattern=r"^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$",
        ),
    ] = None
    """The same by tag. Lambda gets the digest that the tag names now."""
    promote: Annotated[str | None, allowed("the name of a consumer stack", "consumer-test", min_length=1)] = None
    """Run the image that another consumer stack runs, without building."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "Image":
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise rule(f"must be exactly one of context, digest, tag and promote; given: {', '.join(given) or 'none'}")
        if self.context is None and (unused := sorted(self.model_fields_set - set(SOURCES))):
            names = ", ".join(f"`{name}`" for name in unused)
            raise rule(f"must not have {names} without a context: nothing is built")
        return self
