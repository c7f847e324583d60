"""The errors of the program and its components. Each is raised before a resource is created.

DeploymentError
├── InvalidConfiguration   a value in a stack file is not allowed
├── InvalidArgument        an argument of a component is not allowed
├── RegistryUnusable       the registry stack is missing, lacks an output, or does not serve this consumer
├── ImageUnusable          the image cannot be built, found, or run by Lambda
├── LoggingRoleMissing     API Gateway may not write logs in this account
└── NameTaken              another stack has a function of this name

Pulumi shows a `RunError` without a traceback.
https://www.pulumi.com/docs/reference/pkg/python/pulumi/#pulumi.RunError
"""

import pulumi


class DeploymentError(pulumi.RunError):
    """Base of all errors. The text says what is wrong, where, what is allowed, and what to do."""


class InvalidConfiguration(DeploymentError):
    """Raised when settings are loaded; names each invalid key, its value, the rule and an example."""


class InvalidArgument(DeploymentError):
    """Raised when a component's arguments are created."""


class RegistryUnusable(DeploymentError):
    """Raised when the consumer reads the registry stack; names the command that fixes it."""


class ImageUnusable(DeploymentError):
    """Raised when the build context is read, or when the image is found in the registry."""


class LoggingRoleMissing(DeploymentError):
    """Raised before a resource is created, if logs of a REST API are on and the account has no role for them."""


class NameTaken(DeploymentError):
    """Raised before a resource is created; suggests another function name."""
