"""The policy pack: `pulumi preview --policy-pack policy_pack`. The rules are in `rules.py`."""

from typing import Any

import grpc
from google.protobuf import json_format
from pulumi_policy import PolicyPack, policy
from rules import RULES, unread


class Analyzer(policy._PolicyAnalyzerServicer):
    """Refuses unknown rules and parameters. The engine and the SDK ignore them, so a typing error would disable a rule.

    The SDK has no hook for this, so its private servicer is extended. `test_wrong_configuration_is_refused` checks it.
    """

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: N802  # of the gRPC protocol
        """Check the configuration of all rules, in which the engine has filled in the defaults."""
        given = {name: json_format.MessageToDict(config.properties) for name, config in request.policyConfig.items()}
        if wrong := unread(given):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "\n".join(wrong))
        return super().Configure(request, context)  # type: ignore[no-untyped-call]  # of the gRPC protocol


policy._PolicyAnalyzerServicer = Analyzer  # type: ignore[misc]  # the SDK serves what has this name

PolicyPack(
    "cross-account-ecr",
    RULES,
    description="What the registry and consumer stacks may create",
    display_name="Cross-account ECR for Lambda",
    provider="aws",
)
