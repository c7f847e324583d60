"""The two components, usable in any Pulumi program: they know nothing of this one's configuration and stacks."""

from components.content import ImageBuild
from components.function import ApiRoute, ImageFunction, ImageFunctionArgs
from components.image import BuiltImage, ExistingImage, RegistryLogin
from components.lifecycle import LifecycleRule
from components.policies import Consumer
from components.repository import CrossAccountRepository, CrossAccountRepositoryArgs

__all__ = [
    "ApiRoute",
    "BuiltImage",
    "Consumer",
    "CrossAccountRepository",
    "CrossAccountRepositoryArgs",
    "ExistingImage",
    "ImageBuild",
    "ImageFunction",
    "ImageFunctionArgs",
    "LifecycleRule",
    "RegistryLogin",
]
