"""Arguments of the components, for other languages. Written by `make reference` from `components/`."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi


class Consumer(TypedDict):
    """An account whose Lambda functions may use a repository's images."""

    account: str
    """Account ID, 12 digits."""
    regions: NotRequired[Sequence[str]]
    """Regions of its functions; default every Region that the repository is in."""
    functions: NotRequired[str]
    """Name pattern of its functions, `*` (default) and `?` standing for any characters and any one."""
    roles: NotRequired[Sequence[str]]
    """ARNs of the only roles that may create and update such functions; default any principal of the account that the
    account's own policies allow. ECR refuses a policy that names a role which does not exist.
    """


class LifecycleRule(TypedDict):
    """A rule that deletes images: those beyond a number, or those older than some days, whether they run or not."""

    description: NotRequired[str]
    """What it is for."""
    keep: NotRequired[int]
    """How many of the newest images stay. Exactly one of `keep` and `days` is given."""
    days: NotRequired[int]
    """The age in days at which an image goes."""
    tag_prefixes: NotRequired[Sequence[str]]
    """Beginnings of tags."""
    tag_patterns: NotRequired[Sequence[str]]
    """Tags with up to four `*`."""
    untagged: NotRequired[bool]
    """Images without a tag. A function may run one: rather leave it out."""


class CrossAccountRepositoryArgs(TypedDict):
    """Arguments of `CrossAccountRepository`."""

    name: str
    """The repository's name, 2 to 256 characters, lower case, digits and `._-/`.
    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
    """
    region: str
    """The repository's Region. Only functions in the same Region can use it."""
    consumers: NotRequired[Sequence[Consumer]]
    """The accounts whose Lambda functions may use the images, each once."""
    owner: NotRequired[str]
    """ID of the account that owns the repository, which is refused as a consumer. Default: not checked."""
    organization: NotRequired[str]
    """ID of an AWS organization that callers and functions must belong to. Only on request: AWS advises to enumerate
    accounts. Without consumers every account of it is granted.
    """
    publishers: NotRequired[Sequence[str]]
    """ARNs of principals that may push. They must exist. Default none: the owner's account pushes."""
    extra_statements: NotRequired[Sequence[Mapping[str, Any]]]
    """Further statements of the repository's policy, each with a `Sid` of its own."""
    mutable_tags: NotRequired[Sequence[str]]
    """Up to 5 patterns of tags that may move, such as `dev-*`. Default none: scanners look for the word `IMMUTABLE`,
    which a repository with exceptions does not have.
    """
    scan_on_push: NotRequired[bool]
    """Look for known vulnerabilities in every image pushed. Default on."""
    kms_key: NotRequired[str]
    """ARN of the KMS key that encrypts the images. Default AES-256 with a key of ECR's. It cannot be changed later:
    another key means another repository, and the images of this one are gone.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html
    """
    lifecycle: NotRequired[Sequence[LifecycleRule]]
    """Rules that delete images. Default none: no rule can tell which images functions run."""
    keep: NotRequired[bool]
    """Protect the repository, and leave it in place when it leaves the program. Default on."""
    force_delete: NotRequired[bool]
    """Let `pulumi destroy` delete a repository that still holds images; needs `keep=False`. Default off. It has to be
    applied (`pulumi up`) before it counts.
    """
    replica_regions: NotRequired[Sequence[str]]
    """Further Regions to have the images in. Each gets the repository with its policy, which ECR does not replicate.
    ECR selects by the beginning of the name: repositories whose names begin with this one's are copied as well. The
    replication rules are one set for the whole registry: this component must be the only one of the account that sets
    them. https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html
    """


class ImageBuild(TypedDict):
    """What an image is built from. All paths are relative to the program's folder."""

    context: str
    """Folder that is sent to the builder, without what its ignore file names."""
    dockerfile: NotRequired[str]
    """The Dockerfile; default `Dockerfile` in the context."""
    args: NotRequired[Mapping[str, str]]
    """Build arguments. They can be read in the image and in the state, so never pass secrets."""
    target: NotRequired[str]
    """Stage of the Dockerfile to build; default the last."""
    cache_from: NotRequired[Sequence[str]]
    """Images whose layers the builder may reuse, pulled with the login of the push, so they have to be in its registry.
    They need inline cache data, which the build argument `BUILDKIT_INLINE_CACHE: "1"` adds. A missing one is no error.
    https://docs.docker.com/build/cache/backends/inline/
    """
    network: NotRequired[str]
    """Network of the build's steps: `host`, `none`, or the builder's default."""
    platform: NotRequired[str]
    """`linux/amd64` or `linux/arm64`."""
    context_limit: NotRequired[int]
    """Largest total size of the files in MB, up to 10,240. Default 2,048."""
    allow_secrets: NotRequired[Sequence[str]]
    """Patterns, as in a `.dockerignore`, of files that look like secrets but may be sent."""


class RegistryLogin(TypedDict):
    """What the push is done with."""

    server: pulumi.Input[str]
    """The registry's host, the part of the repository URL before the first slash."""
    username: pulumi.Input[str]
    """`AWS` for ECR."""
    password: pulumi.Input[str]
    """An ECR authorization token's; valid for 12 hours, kept as a secret."""


class ImageFunctionImage(TypedDict):
    """An image that is built by this update and pushed under its content tag.

    Or: An image that is in the repository already: no build, no push, no Docker engine.
    """

    build: NotRequired[ImageBuild]
    """What it is built from."""
    repository_url: NotRequired[pulumi.Input[str]]
    """Where it is pushed to, without a tag."""
    login: NotRequired[RegistryLogin]
    """What it is pushed with."""
    push: NotRequired[int]
    """Number of the push. Another number builds and pushes the same content again, after the image is gone."""
    uri: NotRequired[pulumi.Input[str]]
    """`REPOSITORY@sha256:…`."""


class Route(TypedDict):
    """A path and a method of a REST API."""

    path: str
    """Path without a leading slash, such as `hello` or `v1/hello`."""
    method: NotRequired[str]
    """HTTP method, or `ANY`. Default `GET`."""
    public: NotRequired[bool]
    """Whether anyone may call it. Default no: callers sign with AWS credentials (`AWS_IAM`)."""
    api_key: NotRequired[bool]
    """Whether a call needs the API's key. Default no."""
    required: NotRequired[Sequence[str]]
    """Query parameters and headers without which a call is answered with 400 and does not reach the function:
    `querystring.NAME` or `header.NAME`. Default none.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-method-request-validation.html
    """


class Throttle(TypedDict):
    """How many calls a stage takes; what is more is answered with 429."""

    rate: int
    """Calls a second, in the long run."""
    burst: int
    """Calls at once."""


class ImageFunctionEndpoint(TypedDict):
    """A regional REST API to call a function through.

    Or: A URL of the function's own, without API Gateway.
    """

    routes: NotRequired[Sequence[Route]]
    """One or more; the first is the endpoint's URL."""
    stage: NotRequired[str]
    """Name of the stage, the first part of every path. Default `Prod`."""
    throttle: NotRequired[Throttle]
    """Bounds of all routes together. Default those of the account."""
    access_log_retention: NotRequired[int]
    """Days that the access log is kept, a JSON object a call; 0 (default): there is none. API Gateway writes it with a
    role that is set once for the account and Region.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
    """
    execution_logs: NotRequired[bool]
    """Log errors of API Gateway itself, with the role that the access log needs. Default off."""
    tracing: NotRequired[bool]
    """Trace calls with X-Ray. Default off."""
    cors_origin: NotRequired[str]
    """The origin whose pages may call it, or `*`. API Gateway answers the browser's preflight for every path; the
    function has to send `Access-Control-Allow-Origin` with its own answers. Default none.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-cors.html
    """
    public: NotRequired[bool]
    """Whether anyone may call it. Default no: callers sign with AWS credentials."""
    cors_origins: NotRequired[Sequence[str]]
    """Origins whose pages may call it. Default none."""


class Vpc(TypedDict):
    """A network that the function is attached to."""

    subnets: Sequence[str]
    """IDs of its subnets, one or more."""
    security_groups: Sequence[str]
    """IDs of its security groups, one or more."""


class Logs(TypedDict):
    """How the function's log is kept."""

    retention: NotRequired[int]
    """Days after which lines are deleted, one of the numbers CloudWatch Logs knows. Default 30.
    https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
    """
    json: NotRequired[bool]
    """Write every line, Lambda's own included, as a JSON object. Default plain text."""
    kms_key: NotRequired[str]
    """ARN of the KMS key that encrypts the log. Default the key of CloudWatch Logs."""


class Release(TypedDict):
    """Published versions, and the alias `live` that callers use."""

    previous_version: NotRequired[str]
    """The version that keeps a share of the calls. Default none: the new one takes them all."""
    previous_share: NotRequired[float]
    """Its share, more than 0 and less than 1."""
    provisioned_concurrency: NotRequired[int]
    """Instances of the new version that are kept warm. Default none."""
    test_event: NotRequired[Mapping[str, Any]]
    """Event that a new version is called with before the alias moves to it. If the function fails, so does the update,
    and callers keep the version they have. The answer is kept in the state. Default none.
    """


class Alarms(TypedDict):
    """When to be told, and where."""

    errors: NotRequired[int]
    """Failed calls a minute from which on an alarm is raised. Default 1."""
    throttles: NotRequired[int]
    """Refused calls a minute from which on an alarm is raised. Default 1."""
    duration: NotRequired[float]
    """Part of the timeout that a call may take before an alarm is raised, more than 0, up to 1. Default 0.9."""
    topic: NotRequired[str]
    """ARN of the SNS topic that is told. Default: one is made."""


class ImageFunctionArgs(TypedDict):
    """Arguments of `ImageFunction`."""

    name: str
    """The function's name, 1 to 64 letters, digits, `-` and `_`."""
    image: ImageFunctionImage
    """Where the image comes from."""
    endpoint: NotRequired[ImageFunctionEndpoint]
    """What it is called through: a `RestApi`, a `FunctionUrl`, or None."""
    description: NotRequired[str]
    """What it is for, up to 256 characters."""
    memory: NotRequired[int]
    """MB, 128 to 10,240; the share of processor time grows with it. Default 128."""
    timeout: NotRequired[int]
    """Seconds that one call may take, 1 to 900. Default 3."""
    architecture: NotRequired[str]
    """`x86_64` (default) or `arm64`; the image has to be of the same."""
    storage: NotRequired[int]
    """MB of `/tmp`, 512 (default) to 10,240."""
    environment: NotRequired[Mapping[str, str]]
    """Variables, 4 KB in all. They can be read by whoever can read the function."""
    secret_environment: NotRequired[bool]
    """Encrypt the values of `environment` in the state and hide them in previews. Default off."""
    secrets: NotRequired[Mapping[str, str]]
    """Variables whose value is the ARN of a Secrets Manager secret or an SSM parameter, which the function may read and
    fetches itself. The secret is in no state and no log.
    """
    entry_point: NotRequired[Sequence[str]]
    """Replaces the image's `ENTRYPOINT`."""
    command: NotRequired[Sequence[str]]
    """Replaces the image's `CMD`, the handler."""
    working_directory: NotRequired[str]
    """Replaces the image's `WORKDIR`."""
    reserved_concurrency: NotRequired[int]
    """How many calls may run at a time, taken from the account's pool. Default no limit of its own; 0 stops the
    function.
    """
    vpc: NotRequired[Vpc]
    """Network to attach it to. Default none."""
    tracing: NotRequired[bool]
    """Trace calls with X-Ray. Default off."""
    logs: NotRequired[Logs]
    """How its log is kept."""
    dead_letter: NotRequired[str]
    """ARN of the SQS queue or SNS topic that gets events of failed asynchronous calls. Default none."""
    permissions_boundary: NotRequired[str]
    """ARN of the policy that bounds the execution role. Default none."""
    statements: NotRequired[Sequence[Mapping[str, Any]]]
    """Further statements of the execution role's policy."""
    release: NotRequired[Release]
    """Publish a version with each change and call the alias `live`. Default: callers get the newest."""
    alarms: NotRequired[Alarms]
    """CloudWatch alarms. Default none."""
    tags: NotRequired[Mapping[str, str]]
    """Tags of the function, its role and its log group."""
