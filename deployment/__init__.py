"""Deploy both stacks in order through Pulumi's Automation API, with typed results, events and errors.

from deployment import Check, Deployment

with Deployment(consumers=["consumer", "production"]) as deployment:
    deployment.up(check=Check())
"""

from deployment.check import Check
from deployment.deployment import Deployment, Options
from deployment.errors import (
    BuildError,
    Cancelled,
    CheckFailed,
    ConfigurationError,
    ConflictError,
    CredentialsError,
    DeploymentError,
    PolicyViolated,
    ProviderError,
    TimedOut,
)
from deployment.events import BLINDED, UNKNOWN, Checking, Diagnostic, Ended, Event, Progress, Step, Violation
from deployment.results import StackResult, StackStatus, Update
from deployment.workspace import Backend

__all__ = [
    "BLINDED",
    "UNKNOWN",
    "Backend",
    "BuildError",
    "Cancelled",
    "Check",
    "CheckFailed",
    "Checking",
    "ConfigurationError",
    "ConflictError",
    "CredentialsError",
    "Deployment",
    "DeploymentError",
    "Diagnostic",
    "Ended",
    "Event",
    "Options",
    "PolicyViolated",
    "Progress",
    "ProviderError",
    "StackResult",
    "StackStatus",
    "Step",
    "TimedOut",
    "Update",
    "Violation",
]
