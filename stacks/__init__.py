"""One module for each stack, with its providers, components and outputs."""

import asyncio
from typing import Any

import pulumi
import pulumi_aws as aws

from settings import Credentials

# Waits between attempts to read a state that the engine is writing.
WAIT_SECONDS = (0.1, 0.3, 1, 3)


def account_provider(name: str, *, account: str, region: str, credentials: Credentials) -> aws.Provider:
    """The provider of one account. It refuses the credentials of any other account.

    Args:
        name: name of the provider.
        account: account ID, 12 digits.
        region: Region of its resources.
        credentials: the credentials for the account.
    """
    roles = [aws.ProviderAssumeRoleArgs(**role.options()) for role in credentials.assume_roles]
    web_identity = credentials.assume_role_with_web_identity
    return aws.Provider(
        name,
        region=region,
        profile=credentials.profile or None,
        assume_roles=roles or None,
        assume_role_with_web_identity=(
            aws.ProviderAssumeRoleWithWebIdentityArgs(**web_identity.options()) if web_identity else None
        ),
        allowed_account_ids=[account],
    )


async def stack_outputs(stack: str = "") -> dict[str, Any]:
    """The outputs of a stack's last update, by default of this stack. Adds no stack reference to the state."""
    return await _read("readStackOutputs", name=qualified(stack or pulumi.get_stack()))


async def own_resources() -> dict[str, Any]:
    """The resources in this stack's state, by URN."""
    return await _read("readStackResourceOutputs", stackName=qualified(pulumi.get_stack()))


async def _read(function: str, **arguments: str) -> dict[str, Any]:
    waits = iter(WAIT_SECONDS)
    while True:
        try:
            return dict((await pulumi.runtime.invoke_async(f"pulumi:pulumi:{function}", arguments))["outputs"])
        except Exception as error:
            # The file backend overwrites a state in place, also this stack's state during the update.
            seconds = next(waits, None)
            if seconds is None or "failed to load checkpoint" not in str(error):
                raise
        await asyncio.sleep(seconds)


def qualified(stack: str) -> str:
    """The full name of a stack. A bare stack name means the same organization and project.

    https://www.pulumi.com/docs/iac/concepts/stacks/#stackreferences
    """
    return stack if "/" in stack else f"{pulumi.get_organization()}/{pulumi.get_project()}/{stack}"


def reason(error: Exception) -> str:
    """The engine's message for a failed call, without the names of the functions that it passed through."""
    return str(error).rpartition("error: ")[2]
