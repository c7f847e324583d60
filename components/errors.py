"""What this program refuses, all of it before a resource is made.

DeploymentError
├── InvalidConfiguration   a stack file says something that is not allowed
├── InvalidArgument        a component is given something that is not allowed
├── RegistryUnusable       the registry stack is missing, lacks an output, or does not serve this consumer
├── ImageUnusable          the image cannot be built from, found, or run by Lambda
└── NameTaken              another stack has a function of this name

Pulumi shows the text of a `RunError` alone, without a traceback.
https://www.pulumi.com/docs/reference/pkg/python/pulumi/#pulumi.RunError
"""

import pulumi


class DeploymentError(pulumi.RunError):
    """Base of all refusals. The text says what is wrong, where, what is allowed, and what to do."""


class InvalidConfiguration(DeploymentError):
    """Raised when settings are read; names every wrong key, its value, the rule and an example."""


class InvalidArgument(DeploymentError):
    """Raised by a component's arguments when they are made."""


class RegistryUnusable(DeploymentError):
    """Raised when the consumer reads the registry stack; names the command that mends it."""


class ImageUnusable(DeploymentError):
    """Raised when the image's sources are read or its digest is known."""


class NameTaken(DeploymentError):
    """Raised before anything is created; names another function name."""
