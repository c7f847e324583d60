"""One module for each stack: its providers, its components, its outputs."""

from typing import Any

import pulumi
import pulumi_aws as aws


def account_provider(name: str, *, account: str, region: str, profile: str) -> aws.Provider:
    """The provider of one account, which refuses the credentials of any other.

    Args:
        name: name of the provider.
        account: account ID, 12 digits.
        region: Region of what is made with it.
        profile: AWS profile; empty means the default credential chain.
    """
    return aws.Provider(name, region=region, profile=profile or None, allowed_account_ids=[account])


async def stack_outputs(stack: str = "") -> dict[str, Any]:
    """The outputs of a stack's last update, without a reference to it in this stack's state. Default: of this stack."""
    read = await pulumi.runtime.invoke_async(
        "pulumi:pulumi:readStackOutputs", {"name": qualified(stack or pulumi.get_stack())}
    )
    return dict(read["outputs"])


def qualified(stack: str) -> str:
    """A bare stack name means the same organization and project.

    https://www.pulumi.com/docs/iac/concepts/stacks/#stackreferences
    """
    return stack if "/" in stack else f"{pulumi.get_organization()}/{pulumi.get_project()}/{stack}"


def reason(error: Exception) -> str:
    """What the engine says of a failed call, without the names of the functions it went through."""
    return str(error).rpartition("error: ")[2]
