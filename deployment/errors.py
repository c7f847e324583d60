"""Errors of a deployment, each with a hint.

DeploymentError
├── ConfigurationError   the program refused its configuration, the registry or the image
├── CredentialsError     a provider refused the credentials, or they are another account's
├── ConflictError        another update holds the stack
├── BuildError           the image was not built or not pushed
├── PolicyViolated       a resource violates a policy pack
├── ProviderError        an AWS operation failed; earlier changes stay
├── CheckFailed          the endpoint did not return the expected answer; names what was rolled back
├── TimedOut             the operation exceeded its time limit
└── Cancelled            the operation was cancelled
"""

import os
import re
import socket
from collections.abc import Mapping, Sequence

from pulumi.automation import CommandError, ConcurrentUpdateError

from deployment.events import STACK, Diagnostic, Event, Progress, Violation
from deployment.results import StackResult

# The URNs that the program's own errors have: that of the stack, or none.
PROGRAM = frozenset({STACK, ""})
CRASH = re.compile("unhandled (error|exception)|inline source runtime error")
STACK_FILE = re.compile("getting stack configuration|invalid YAML file|validating stack config")
IMAGE, DOCKER = "docker:index/image:Image", "pulumi:providers:docker"
# ECR refuses a second push to a tag: https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
TAKEN_TAG = re.compile(r"\btag\b.*\bimmutable\b", re.S)
LOCK = re.compile(r"created by (?P<who>\S+) \(pid (?P<pid>\d+)\) at (?P<when>\S+)")
NO_TOKEN = "PULUMI_ACCESS_TOKEN"  # noqa: S105  # a variable's name
BACKEND = re.compile(r"unable to open (bucket|state directory)|\.pulumi/meta\.yaml")
# The message in components/image/manifest.py.
NO_PULL = re.compile("may not pull from")
PLUGIN = re.compile(r"could not load plugin|failed to load plugin|no \w+ plugin '[\w-]+' found|language plugin", re.I)
MISSING_PLUGIN = re.compile(
    r"no (?P<kind>\w+) plugin '(?:pulumi-\w+-)?(?P<name>[\w-]+)'(?:.*at version (?P<version>\S+))?"
)
OUTPUT_LINES = 20
# https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
NO_LOGGING_ROLE = re.compile("CloudWatch Logs role ARN must be set in account settings")
# After a resource failed, earlier changes stay, and the state may have values that AWS did not accept.
AGAIN = "Then run: python -m deployment up, or pulumi up --refresh. A plain pulumi up may do nothing."
# A destroy of a repository that the configuration keeps.
PROTECTED = re.compile("because it is protected|consider using force_delete")
KEPT = (
    "To delete the repository with its images, set repository: {name: …, protect: false, retainOnDelete: false, "
    "forceDelete: true} in the registry's stack file. Run: python -m deployment up --no-consumers, then destroy again."
)
# The docker provider's form of BuildKit's messages about a step.
# https://github.com/pulumi/pulumi-docker/blob/master/provider/image.go
PUSH = re.compile(r"Pushing (the )?image\b", re.I)
STEP, FAILED_STEP = "digest: ", re.compile(r"^digest: \S+\n(?P<step>.+)\nerror: ", re.MULTILINE)

# Credentials fail where they are first used, so only the message identifies the cause.
PROFILE = re.compile(r"(?:shared config profile|AWS profile)[\s,\"']+(?P<name>[^\s\"',:]+)", re.I)
EXPIRED = re.compile(r"(login|SSO) session .*(expired|invalid)|ExpiredToken|token .*expired", re.I)
REFUSED = re.compile(
    r"security token|UnrecognizedClient|InvalidClientTokenId|SignatureDoesNotMatch|failed to refresh cached", re.I
)
NONE = re.compile(r"credential|no EC2 IMDS role|cannot assume (IAM )?role|:AssumeRole", re.I)
OTHER_ACCOUNT = re.compile(r"AWS account ID not allowed: (?P<account>\d{12})")
OWN_CALL = "aws:index/getCallerIdentity:"
# https://github.com/hashicorp/aws-sdk-go-base/blob/main/errors.go
NOT_ASSUMED = re.compile(r"IAM Role \((?P<role>\S+)\) cannot be assumed")
WHO = re.compile(r"User: (?P<who>\S+) is not authorized to perform: sts:")
TOKEN_FILE, WEB_IDENTITY = "failed to retrieve jwt", "AssumeRoleWithWebIdentity"


class DeploymentError(Exception):
    """Base of all failures of a deployment.

    Attributes:
        stack: the stack that failed; empty for the whole deployment.
        urn: the resource that failed, if any.
        hint: how to fix it.
        outcomes: the result or error of each stack, this error included.
        exit_code: the exit code of the command line.
    """

    exit_code = 1

    def __init__(self, text: str, *, stack: str, urn: str = "", hint: str = "") -> None:
        super().__init__(text)
        self.stack = stack
        self.urn = urn
        self.hint = hint
        self.outcomes: dict[str, StackResult | DeploymentError] = {}


class ConfigurationError(DeploymentError):
    """The program refused its configuration, the registry or the image. Nothing was created."""

    exit_code = 2


class CredentialsError(DeploymentError):
    """Credentials are missing, refused, or those of another account than the stack's."""

    exit_code = 3


class ConflictError(DeploymentError):
    """Another update holds the stack's lock.

    Attributes:
        holder: user and machine, process and time, as far as the state backend reports them.
        ended: whether the process ran on this machine and has ended.
    """

    exit_code = 4

    def __init__(self, text: str, *, stack: str, holder: str, ended: bool = False) -> None:
        repair = f"python -m deployment repair {stack}"
        hint = f"That process has ended. Run: {repair}" if ended else f"Wait for it. If its process has ended: {repair}"
        super().__init__(text, stack=stack, hint=hint)
        self.holder = holder
        self.ended = ended


class BuildError(DeploymentError):
    """The image was not built or not pushed. The function runs its previous image."""

    exit_code = 5


class PolicyViolated(DeploymentError):
    """A resource violates a policy pack and was not created or updated."""

    exit_code = 7


class ProviderError(DeploymentError):
    """An AWS operation failed. Earlier changes stay, and the next run continues from there."""


class CheckFailed(DeploymentError):
    """The endpoint did not return the expected answer in time.

    Attributes:
        image: the digest that failed; empty if the update failed before it was known.
        rolled_back_to: the digest that runs again; empty if there was none before, or it is the one that failed.
    """

    exit_code = 6

    def __init__(self, text: str, *, stack: str, urn: str = "", image: str = "", rolled_back_to: str) -> None:
        super().__init__(
            text,
            stack=stack,
            urn=urn,
            hint=f"Fix the image and deploy again. Its log: python -m deployment logs --consumer {stack}",
        )
        self.image = image
        self.rolled_back_to = rolled_back_to


class TimedOut(DeploymentError):
    """The operation exceeded its time limit and was interrupted."""

    exit_code = 9


class Cancelled(DeploymentError):
    """The operation was cancelled."""

    exit_code = 130


def translated(stack: str, error: CommandError, seen: Sequence[Event]) -> DeploymentError:
    """The typed error for a failed command.

    The type depends first on the URN of the first error that the engine reported, then on its message: the engine
    reports errors of the program at the stack, those of a build at the image, and others at their resource.

    Args:
        stack: the stack's name.
        error: what the Automation API raised. Its own text repeats the whole output.
        seen: the events that the engine reported.
    """
    output = str(error)
    if isinstance(error, ConcurrentUpdateError):
        lock = LOCK.search(output)
        holder = f"{lock['who']}, process {lock['pid']}, since {lock['when']}" if lock else "unknown"
        ended = lock is not None and _has_ended(lock["who"].rpartition("@")[2], int(lock["pid"]))
        text = f"another update holds the stack {stack}: {holder}"
        return ConflictError(text, stack=stack, holder=holder, ended=ended)
    errors = [line for line in seen if isinstance(line, Diagnostic) and line.severity == "error"]
    first = next((line for line in errors if line.type not in PROGRAM), errors[0] if errors else None)
    if first is None:
        first = Diagnostic(stack=stack, severity="error", text=_said(output) or "pulumi ended without an error message")
    about = {"stack": stack, "urn": first.urn}
    said = first.text.removeprefix("Preview failed: ")
    if isinstance(first, Violation):
        text = "\n".join(line.text for line in errors if isinstance(line, Violation))
        return PolicyViolated(text, **about, hint="Change the resource, or configure the rule: docs/policy-pack.md")
    if PLUGIN.search(said):
        return DeploymentError(said, **about, hint=_plugin_fix(said))
    if first.type == DOCKER:
        hint = "Start Docker. A preview without a build needs none: python -m deployment preview --no-build"
        return BuildError(said, **about, hint=hint)
    if first.type == IMAGE:
        hint = "Fix the error of the build or the push, and deploy again."
        return BuildError(build_failure(said, first.urn, seen), **about, hint=hint)
    if first not in errors and (BACKEND.search(said) or NO_TOKEN in said):
        return _backend_error(said, about)
    at_start = first.type in PROGRAM or first.type.startswith("pulumi:providers:")
    if fix := _login_fix(said, everywhere=at_start, urn=first.urn):
        return CredentialsError(said, **about, hint=fix if at_start else f"{fix} {AGAIN}")
    if first not in errors and STACK_FILE.search(said):
        return ConfigurationError(
            said, **about, hint=f"Correct Pulumi.{stack}.yaml and deploy again; nothing was created."
        )
    if first not in errors:
        hint = "Check the stack: python -m deployment status"
        return DeploymentError(said, **about, hint=hint)
    if first.type in PROGRAM and CRASH.search(said):
        return DeploymentError(
            said, **about, hint=f"The program ended with an exception. See it: pulumi preview -s {stack}"
        )
    if first.type in PROGRAM and NO_PULL.search(said):
        hint = (
            "If `consumers` of the registry names the account, the policy was changed outside Pulumi. Compare: "
            "python -m deployment drift. Restore it: python -m deployment up --refresh"
        )
        return ConfigurationError(said, **about, hint=hint)
    if first.type in PROGRAM:
        return ConfigurationError(said, **about, hint="Correct it and deploy again; nothing was created.")
    if NO_LOGGING_ROLE.search(said):
        hint = f"Set api.loggingRole: true in one stack of the account and Region, which creates this role. {AGAIN}"
        return ProviderError(said, **about, hint=hint)
    return ProviderError(said, **about, hint=KEPT if PROTECTED.search(said) else f"Fix the cause. {AGAIN}")


def _backend_error(said: str, about: Mapping[str, str]) -> DeploymentError:
    """The state's backend does not exist or refuses access."""
    if NO_TOKEN in said:
        hint = "Log in: pulumi login. Or name another backend: --backend file://FOLDER or s3://BUCKET?region=REGION"
        return CredentialsError(said, **about, hint=hint)
    if _login_fix(said, everywhere=True):
        hint = "Name a profile in the backend's URL, such as &profile=registry. List them: aws configure list-profiles"
        return CredentialsError(said, **about, hint=hint)
    hint = "Name an existing backend: --backend file://FOLDER or s3://BUCKET?region=REGION"
    return ConfigurationError(said, **about, hint=hint)


def _has_ended(host: str, process: int) -> bool:
    """Whether a process ran on this machine and has ended. False for processes of other machines."""
    if host != socket.gethostname():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def build_failure(said: str, urn: str, seen: Sequence[Event]) -> str:
    """The error of a build, with the failed step and its last lines of progress."""
    lines = [line.text for line in seen if isinstance(line, Progress) and line.urn == urn]
    if any(PUSH.match(line) for line in lines):
        return said
    failed = next((match["step"] for line in reversed(lines) if (match := FAILED_STEP.search(line))), "")
    began = next((place for place, line in enumerate(lines) if line.startswith(STEP) and failed in line), 0)
    output = "\n".join(line for line in lines[began:] if not line.startswith(STEP)).splitlines()
    heading = [f"The failed step: {failed}"] if failed else ["The last lines:"] if output else []
    return "\n".join([said, *heading, *(f"  {line}" for line in output[-OUTPUT_LINES:])])


def _login_fix(said: str, *, everywhere: bool, urn: str = "") -> str:
    """The fix for an error of credentials; empty for other errors.

    Args:
        said: the error message.
        everywhere: whether the error can only concern this login. Resources may have their own roles and credentials.
        urn: the resource that reported the error.
    """
    if profile := PROFILE.search(said):
        return (
            "List the profiles: aws configure list-profiles. Name one of them in the stack's file, or create this one: "
            f"aws configure sso --profile {profile['name']}"
        )
    if EXPIRED.search(said):
        return (
            "Log in again: aws sso login --profile PROFILE, or aws login --profile PROFILE. If AWS_SESSION_TOKEN is "
            "set, replace it and its two keys, or unset all three."
        )
    if role := NOT_ASSUMED.search(said):
        return _role_fix(said, role["role"])
    if other := OTHER_ACCOUNT.search(said):
        # A consumer has two providers: one for its own account, which looks up the caller, and one for the registry's.
        is_own = OWN_CALL in said or urn.endswith("::consumer")
        where = "" if is_own else " or, for the registry's account, in `registry`"
        publishers = "Or add the principal to repository.publishers of the registry. "
        return (
            f"These are credentials of account {other['account']}. In the stack's file, set a profile or roles of "
            f"the right account at the top{where}. {'' if is_own else publishers}"
            "To see whose they are: aws sts get-caller-identity --profile PROFILE"
        )
    if REFUSED.search(said) or (everywhere and NONE.search(said)):
        return (
            "Log in to the account that the stack's file names, or name another profile there. "
            "To see whose credentials they are: aws sts get-caller-identity --profile PROFILE"
        )
    return ""


def _role_fix(said: str, role: str) -> str:
    """The fix for a role that cannot be assumed."""
    if TOKEN_FILE in said:
        return "Write the token of the OIDC provider to the file that webIdentityTokenFile names, or name another file."
    if WEB_IDENTITY in said:
        return (
            f"The trust policy of {role} must allow sts:{WEB_IDENTITY} to the token's OIDC provider, with the "
            f"token's subject and audience. To see it: aws iam get-role --role-name {role.rpartition('/')[2]}"
        )
    found = WHO.search(said)
    who = found["who"] if found else "the credentials that assume it"
    return (
        f"Two policies must allow sts:AssumeRole on {role}: the policy of {who}, and the role's trust policy, which "
        "names that principal and, if it requires one, the externalId. Test it: "
        f"aws sts assume-role --role-arn {role} --role-session-name try"
    )


def _plugin_fix(said: str) -> str:
    missing = MISSING_PLUGIN.search(said)
    if missing is None:
        return "List the plugins: pulumi plugin ls. Reinstall them: pulumi install --reinstall"
    plugin = " ".join(filter(None, missing.group("kind", "name", "version")))
    return f"Install it: pulumi plugin install {plugin}, or all of them: pulumi install"


def _said(output: str) -> str:
    """The last error that the CLI printed."""
    return next((line.partition("error: ")[2] for line in reversed(output.splitlines()) if "error: " in line), "")
