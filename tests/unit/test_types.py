"""Names of resource types are those of the provider."""

import inspect
import re
from types import ModuleType

import pulumi_aws
import pytest

import deployment.comment
import policy_pack.rules
import stacks.names


@pytest.mark.parametrize("module", [deployment.comment, policy_pack.rules, stacks.names], ids=lambda it: it.__name__)
def test_every_resource_type_exists(module: ModuleType) -> None:
    named = set(re.findall(r'"(\w+:(\w+)/\w+:(\w+))"', inspect.getsource(module)))
    assert named
    for kind, service, name in named:
        package = getattr(pulumi_aws, "lambda_" if service == "lambda" else service)
        assert kind == getattr(package, name).pulumi_type
