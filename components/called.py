"""`Called`: a function as its endpoint and its triggers see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws


@dataclass(frozen=True, kw_only=True)
class Called:
    """The function that endpoints and triggers call, or its alias.

    Attributes:
        prefix: beginning of the resources' names.
        name: name of the function.
        function: the function.
        alias: what is called in its place, if there is a release.
        role: its execution role.
        rights: the role's policy, which Lambda checks when a queue is connected.
        boundary: permissions boundary of roles.
        tags: of roles.
        opts: of every resource.
    """

    prefix: str
    name: str
    function: "aws.lambda_.Function"
    alias: "aws.lambda_.Alias | None"
    role: "aws.iam.Role"
    rights: "aws.iam.RolePolicy"
    boundary: str | None
    tags: Mapping[str, str]
    opts: pulumi.ResourceOptions

    @property
    def arn(self) -> pulumi.Output[str]:
        """ARN of what is called."""
        return self.alias.arn if self.alias else self.function.arn

    @property
    def invoke_arn(self) -> pulumi.Output[str]:
        """ARN with which API Gateway calls it."""
        return self.alias.invoke_arn if self.alias else self.function.invoke_arn

    @property
    def qualifier(self) -> pulumi.Output[str] | None:
        """Name of the alias."""
        return self.alias.name if self.alias else None

    def after(self, *resources: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options of a resource that needs others to be there."""
        return pulumi.ResourceOptions.merge(self.opts, pulumi.ResourceOptions(depends_on=list(resources)))

    def permission(
        self, name: str, principal: str, opts: pulumi.ResourceOptions | None = None, **args: Any
    ) -> "aws.lambda_.Permission":
        """Allow a principal to call it; `args` limit this further."""
        return aws.lambda_.Permission(
            name,
            function=self.function.name,
            qualifier=self.qualifier,
            principal=principal,
            opts=opts or self.opts,
            **{"action": "lambda:InvokeFunction", **args},
        )
