"""Options of an image: how it is built, or which existing image runs."""

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
    """Dockerfile. Default: `Dockerfile` in the context."""
    args: Annotated[
        Mapping[ArgumentName, str | None],
        allowed(
            "build arguments with a text each; null takes the value from the environment", {"VERSION": "1"}, repr=False
        ),
    ] = {}
    """Build arguments. They can be read in the image and in the state, so do not use them for secrets."""
    cache_from: Annotated[
        Sequence[str], allowed("a list of image names with their registry", ["registry/app:cache"])
    ] = ()
    """Images whose layers the builder may reuse, such as a recent image of this repository. They are pulled with the
    credentials of the push, so they must be in the same registry. They need inline cache data, which the build argument
    `BUILDKIT_INLINE_CACHE: "1"` adds. A missing image is ignored.
    https://docs.docker.com/build/cache/backends/inline/"""
    network: Annotated[Literal["", "host", "none", "default"], allowed("host, none or default", "host")] = ""
    """Network of the build steps. Default: the builder's default."""
    target: Annotated[str, allowed("a stage of the Dockerfile", "release")] = ""
    """Stage to build. Default: the last."""
    allow_secrets: Annotated[
        Sequence[str], allowed("a list of patterns as in a .dockerignore", ["certificates/*.pem"])
    ] = ()
    """Files that look like secrets but may be sent to the builder. Other such files are refused."""
    context_limit: Annotated[Whole, within(CONTEXT_MB, "MB")] = CONTEXT_LIMIT_MB
    """Maximum size of all files of the context in MB. An image has at most 10,240 MB.
    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

    @field_validator("args")
    @classmethod
    def _arguments(cls, args: Mapping[str, str | None]) -> Mapping[str, str | None]:
        for name, value in args.items():
            if value is None and SECRET_NAME.search(name):
                raise rule(
                    "looks like a secret; null would write its value from the environment to the image and the state "
                    "in clear text. Use a value that is not secret, or read the secret when the function runs",
                    name,
                )
        return args

    def known_args(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The build arguments with their values. null uses the value of the environment, if it is set there.

        https://docs.docker.com/reference/cli/docker/buildx/build/#build-arg
        """
        given = {name: environment.get(name) if value is None else value for name, value in self.args.items()}
        return {name: value for name, value in given.items() if value is not None}


SOURCES = ("context", "digest", "tag", "promote")


class Image(BuildOptions):
    """The image that a stack runs: exactly one of `context`, `digest`, `tag` and `promote`."""

    context: Context | None = None
    """Folder to build from, without the files that its `.dockerignore` excludes."""
    digest: Annotated[
        str | None,
        allowed("sha256: and 64 hex digits, in quotes", "sha256:" + "0" * 64, pattern=r"^sha256:[0-9a-f]{64}$"),
    ] = None
    """Digest of an existing image to run. Nothing is built, and Docker is not needed."""
    tag: Annotated[
        str | None,
        allowed(
            "1 to 128 letters, digits and . _ -, none of . and - first",
            "v1",
            pattern=r"^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$",
        ),
    ] = None
    """Tag of an existing image to run. The function uses the digest of the tag at the time of the update."""
    promote: Annotated[str | None, allowed("the name of a consumer stack", "consumer-test", min_length=1)] = None
    """Another consumer stack. The function runs the same image, without a build."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "Image":
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise rule(f"must be exactly one of context, digest, tag and promote; given: {', '.join(given) or 'none'}")
        if self.context is None and (unused := sorted(self.model_fields_set - set(SOURCES))):
            names = ", ".join(f"`{name}`" for name in unused)
            raise rule(f"cannot have {names} without a context, because nothing is built")
        return self
