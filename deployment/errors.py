"""What can go wrong with a deployment, and what to do about it.

DeploymentError
├── ConfigurationError   the program refused what it was given; nothing was made
├── CredentialsError     a provider refused the credentials, or they are another account's
├── ConflictError        another update holds the stack
├── BuildError           the image was not built or not pushed
├── ProviderError        AWS refused an operation; what was made before stays
├── CheckFailed          the endpoint did not answer as it should; says what was rolled back
├── PendingOperations    a killed run left operations of which nobody knows the end
├── TimedOut             it took longer than it may
└── Cancelled            it was cancelled
"""

import re
from collections.abc import Sequence

from pulumi.automation import CommandError, ConcurrentUpdateError

from deployment.events import Diagnostic

IMAGE = "docker:index/image:Image"
LOCK = re.compile(r"created by (?P<who>\S+) \(pid (?P<pid>\d+)\) at (?P<when>\S+)")
# Credentials fail wherever they are first used, so here only the words tell.
CREDENTIALS = re.compile(
    r"credential|AWS account ID not allowed|security token|UnrecognizedClient|InvalidClientTokenId", re.I
)
PENDING = "pending operations"


class DeploymentError(Exception):
    """Base of all failures of a deployment.

    Attributes:
        stack: the stack it happened in.
        urn: the resource, if it was one.
        cure: what to do.
        exit_code: what the command line ends with.
    """

    exit_code = 1

    def __init__(self, text: str, *, stack: str, urn: str = "", cure: str = "") -> None:
        super().__init__(text)
        self.stack = stack
        self.urn = urn
        self.cure = cure


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


class ProviderError(DeploymentError):
    """An operation failed at AWS. What was made before it stays, and the next run goes on from there."""


class CheckFailed(DeploymentError):
    """The endpoint did not answer as it should in time.

    Attributes:
        rolled_back_to: the digest that runs again; empty if there was none before.
    """

    exit_code = 6

    def __init__(self, text: str, *, stack: str, rolled_back_to: str) -> None:
        super().__init__(text, stack=stack, cure="Mend the image and deploy again.")
        self.rolled_back_to = rolled_back_to


class PendingOperations(DeploymentError):
    """A run was killed in the middle of operations; whether they were carried out is not known."""


class TimedOut(DeploymentError):
    """The operation took longer than its limit and was interrupted."""


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
    first = next((line for line in errors if line.type != "pulumi:pulumi:Stack"), errors[0] if errors else None)
    if first is None:
        return DeploymentError(_last_line(output), stack=stack)
    about = {"stack": stack, "urn": first.urn}
    if PENDING in first.text:
        cure = f"python -m deployment repair {stack}"
        return PendingOperations(first.text, **about, cure=cure)
    if CREDENTIALS.search(first.text):
        cure = "Log in to the account that the stack's file names, or name another profile there."
        return CredentialsError(first.text, **about, cure=cure)
    if first.type == IMAGE:
        return BuildError(first.text, **about, cure="Mend what the build or the push says, and deploy again.")
    if first.type == "pulumi:pulumi:Stack":
        return ConfigurationError(first.text, **about, cure="Correct it and deploy again; nothing was made.")
    return ProviderError(first.text, **about, cure="Deploy again once it is mended; what was made is kept.")


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1].removeprefix("stderr: ").removeprefix("error: ") if lines else "the command failed"
