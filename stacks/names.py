"""Checks that the name of a consumer's function is free, before a resource is created."""

import pulumi
import pulumi_aws as aws

from components.errors import NameTaken
from settings import ConsumerSettings
from stacks import own_resources

LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"


async def require_free_name(settings: ConsumerSettings, known_log_group: str, account: aws.Provider) -> None:
    """Check that no other stack has a function of this name, by its log group, which is created first.

    Args:
        settings: settings of the stack.
        known_log_group: the stack's log group after its last update.
        account: the function's account.

    Raises:
        NameTaken: the log group exists and does not belong to this stack.
    """
    name = settings.function.name
    group = f"/aws/lambda/{name}"
    if known_log_group == group:
        return
    found = await aws.cloudwatch.get_log_groups(
        log_group_name_prefix=group, opts=pulumi.InvokeOptions(provider=account)
    )
    if group in found.log_group_names and group not in await _own_log_groups():
        project, stack = pulumi.get_project(), pulumi.get_stack()
        raise NameTaken(
            f"The log group {group} exists in account {settings.account} and is not part of this stack. If another "
            f"stack has a function named {name}, set another name in this stack's file: {project}:function: "
            f"{{name: {name}-{stack}}}. If an interrupted update created it, import it: docs/failures.md"
        )


async def _own_log_groups() -> set[str]:
    """The log groups in this stack's state, also those without an output after a failed update or an import."""
    return {item["outputs"].get("name") for item in (await own_resources()).values() if item["type"] == LOG_GROUP}
