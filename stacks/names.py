"""Whether the names of a consumer's function are free, asked before anything is created."""

import pulumi
import pulumi_aws as aws

from components.errors import NameTaken
from settings import ConsumerSettings
from stacks import own_resources

LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"


async def require_free_name(settings: ConsumerSettings, known_log_group: str, account: aws.Provider) -> None:
    """Check that no other stack has a function of this name, by its log group, which is created first.

    Args:
        settings: of the stack.
        known_log_group: the stack's log group by its last update.
        account: the function's account.

    Raises:
        NameTaken: the log group exists and is not this stack's.
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
            f"The log group {group} exists in account {settings.account} and is not part of this stack: another stack "
            f"has a function named {name}, or an interrupted update left it. Write in this stack's file: "
            f"{project}:function: {{name: {name}-{stack}}}, or import what is there: docs/failures.md"
        )


async def _own_log_groups() -> set[str]:
    """The log groups in this stack's state, which an update that failed and an import leave there without outputs."""
    return {item["outputs"].get("name") for item in (await own_resources()).values() if item["type"] == LOG_GROUP}
