"""What can go wrong with a deployment, and what to do about it.

DeploymentError
├── ConfigurationError   the program refused what it was given; nothing was made
├── CredentialsError     a provider refused the credentials, or they are another account's
├── ConflictError        another update holds the stack
├── BuildError           the image was not built or not pushed
├── PolicyViolated       a resource is not as a policy pack asks
├── ProviderError        AWS refused an operation; what was made before stays
├── CheckFailed          the endpoint did not answer as it should; says what was rolled back
├── TimedOut             it took longer than it may
└── Cancelled            it was cancelled
"""

import re
from collections.abc import Sequence

from pulumi.automation import CommandError, ConcurrentUpdateError

from deployment.events import STACK, Diagnostic, Violation
from deployment.results import StackResult

# Where the program itself reports: at the stack, or at none.
PROGRAM = frozenset({STACK, ""})
CRASH = re.compile("unhandled (error|exception)")
IMAGE, DOCKER = "docker:index/image:Image", "pulumi:providers:docker"
LOCK = re.compile(r"created by (?P<who>\S+) \(pid (?P<pid>\d+)\) at (?P<when>\S+)")
# Credentials fail wherever they are first used, so here only the words tell.
CREDENTIALS = re.compile(
    r"credential|AWS account ID not allowed|security token|UnrecognizedClient|InvalidClientTokenId", re.I
)


class DeploymentError(Exception):
    """Base of all failures of a deployment.

    Attributes:
        stack: the stack it happened in; empty for the whole.
        urn: the resource, if it was one.
        cure: what to do.
        outcomes: what came of each stack that was worked on, results and errors, this one included.
        exit_code: what the command line ends with.
    """

    exit_code = 1

    def __init__(self, text: str, *, stack: str, urn: str = "", cure: str = "") -> None:
        super().__init__(text)
        self.stack = stack
        self.urn = urn
        self.cure = cure
        self.outcomes: dict[str, StackResult | DeploymentError] = {}


class ConfigurationError(DeploymentError):
    """The program refused its configuration, the registry or the image, before anything was made."""

    exit_code = 2


class CredentialsError(DeploymentError):
    """There are no credentials, they are refused, or they are those of another account than the stack names."""

    exit_code = 3


class ConflictError(DeploymentError):
    """Another update holds the stack's lock.

    Attributes:
        holder: user and machine, process and time, as far as the state backend says.
    """

    exit_code = 4

    def __init__(self, text: str, *, stack: str, holder: str) -> None:
        cure = f"Wait for it. If it is dead: python -m deployment repair {stack}"
        super().__init__(text, stack=stack, cure=cure)
        self.holder = holder


class BuildError(DeploymentError):
    """The image was not built, or not pushed; the function runs what it ran before."""

    exit_code = 5


class PolicyViolated(DeploymentError):
    """A resource is not as a policy pack asks; nothing was made of it."""

    exit_code = 7


class ProviderError(DeploymentError):
    """An operation failed at AWS. What was made before it stays, and the next run goes on from there."""


class CheckFailed(DeploymentError):
    """The endpoint did not answer as it should in time.

    Attributes:
        image: the digest that failed; empty if the update failed before it was known.
        rolled_back_to: the digest that runs again; empty if there was none before, or it is the one that failed.
    """

    exit_code = 6

    def __init__(self, text: str, *, stack: str, urn: str = "", image: str = "", rolled_back_to: str) -> None:
        super().__init__(text, stack=stack, urn=urn, cure="Mend the image and deploy again.")
        self.image = image
        self.rolled_back_to = rolled_back_to


class TimedOut(DeploymentError):
    """The operation took longer than its limit and was interrupted."""

    exit_code = 9


class Cancelled(DeploymentError):
    """The operation was cancelled."""

    exit_code = 130


def translated(stack: str, error: CommandError, diagnostics: Sequence[Diagnostic]) -> DeploymentError:
    """The typed error of a failed command.

    The place of the first error that the engine reported decides, not its wording: errors of the program are reported
    at the stack, those of a build at the image, and others at their resource.

    Args:
        stack: the stack's name.
        error: what the Automation API raised. Its own text repeats the whole output.
        diagnostics: what the engine reported.
    """
    output = str(error)
    if isinstance(error, ConcurrentUpdateError):
        lock = LOCK.search(output)
        holder = f"{lock['who']}, process {lock['pid']}, since {lock['when']}" if lock else "unknown"
        return ConflictError(f"another update holds the stack {stack}: {holder}", stack=stack, holder=holder)
    errors = [line for line in diagnostics if line.severity == "error"]
    first = next((line for line in errors if line.type not in PROGRAM), errors[0] if errors else None)
    if first is None:
        cure = "Look for what it has left: python -m deployment status"
        return DeploymentError(_said(output) or "pulumi ended without saying why", stack=stack, cure=cure)
    about = {"stack": stack, "urn": first.urn}
    said = first.text.removeprefix("Preview failed: ")
    if CREDENTIALS.search(said):
        cure = "Log in to the account that the stack's file names, or name another profile there."
        return CredentialsError(said, **about, cure=cure)
    if isinstance(first, Violation):
        text = "\n".join(line.text for line in errors if isinstance(line, Violation))
        return PolicyViolated(text, **about, cure="Change it, or the rule in the policy pack's configuration.")
    if first.type == DOCKER:
        cure = "Start Docker. A preview without a build needs none: python -m deployment preview --no-build"
        return BuildError(said, **about, cure=cure)
    if first.type == IMAGE:
        return BuildError(said, **about, cure="Mend what the build or the push says, and deploy again.")
    if first.type in PROGRAM and CRASH.search(said):
        return DeploymentError(said, **about, cure="It is a fault of the program; its output is in the log.")
    if first.type in PROGRAM:
        return ConfigurationError(said, **about, cure="Correct it and deploy again; nothing was made.")
    return ProviderError(said, **about, cure="Deploy again once it is mended; what was made is kept.")


def _said(output: str) -> str:
    """The last error that the CLI has printed."""
    return next((line.partition("error: ")[2] for line in reversed(output.splitlines()) if "error: " in line), "")
