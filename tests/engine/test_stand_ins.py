"""The engine treats the stand-ins like the official plugins."""

import json

from tests.engine.clone import Clone

FUNCTION = "cross-account-function"
UP = "pulumi up --yes --skip-preview -s consumer"
UPDATE_CONFIGURATION = {"method": "PUT", "path": "/2015-03-31/functions/[^/]+/configuration$"}


def memory(clone: Clone) -> int:
    return int(clone.client("consumer", "lambda").get_function(FunctionName=FUNCTION)["Configuration"]["MemorySize"])


def test_a_failed_update_leaves_new_values_that_only_a_refresh_finds_out(deployed: Clone) -> None:
    """https://github.com/pulumi/pulumi/issues/21458, https://github.com/pulumi/pulumi-aws/issues/6062."""
    before = memory(deployed)
    deployed.edit("Pulumi.consumer.yaml", f"memory: {before}", f"memory: {before + 1}")
    refused = {**UPDATE_CONFIGURATION, "status": 400, "body": {"message": "not now"}}
    with deployed.faults(refused):
        assert deployed.shell(UP).returncode != 0
    exported = json.loads(deployed.shell("pulumi stack export -s consumer").stdout)
    (function,) = (
        found for found in exported["deployment"]["resources"] if found["type"] == "aws:lambda/function:Function"
    )
    assert function["initErrors"]
    assert function["outputs"]["memorySize"] == before + 1
    assert deployed.shell(UP).returncode == 0
    assert memory(deployed) == before
    assert deployed.planned("consumer") == {}
    assert deployed.shell(f"{UP} --refresh").returncode == 0
    assert memory(deployed) == before + 1


def test_that_they_are_used_is_said_once(demo: tuple[Clone, str]) -> None:
    _, printed = demo
    assert "using pulumi-" not in printed
    assert printed.count("offline/plugins") <= 1
