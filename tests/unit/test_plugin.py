"""The plugin offers both components to other languages: their schema, and what it creates and refuses."""

import json
from typing import Any

import pulumi
import pytest
from pulumi.errors import InputPropertyError

from plugin.__main__ import NAME, Package
from tests.unit.recorder import DIGEST, Recorder
from tests.unit.registered import Deployed, run_program

REPOSITORY, FUNCTION = f"{NAME}:index:CrossAccountRepository", f"{NAME}:index:ImageFunction"
INPUTS: dict[str, Any] = {"name": "other", "region": "us-east-1", "consumers": [{"account": "222222222222"}]}


def construct(recorder: Recorder, kind: str, **inputs: Any) -> Deployed:
    """What the plugin creates for a program in another language, and the outputs that it gives it."""

    async def program() -> pulumi.Inputs:
        return Package().construct("other", kind, inputs).state

    return run_program(recorder, program)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return dict(json.loads(str(Package().schema)))


def test_required_inputs_are_those_without_a_default(schema: dict[str, Any]) -> None:
    required = {token: resource["requiredInputs"] for token, resource in schema["resources"].items()}
    assert required == {REPOSITORY: ["name", "region"], FUNCTION: ["image"]}


def test_an_input_has_type_meaning_rule_and_default(schema: dict[str, Any]) -> None:
    inputs = schema["resources"][FUNCTION]["inputProperties"]
    meaning, rule = "MB of memory; processor time grows with it.", "a whole number of MB from 128 to 10240"
    described = f"{meaning} Allowed: {rule}. Default: 128."
    assert inputs["memory"] == {"type": "integer", "plain": True, "description": described}
    assert inputs["tags"]["additionalProperties"] == {"type": "string", "plain": True}
    assert inputs["vpc"]["$ref"] == f"#/types/{NAME}:index:Vpc"
    assert schema["types"][f"{NAME}:index:Vpc"]["required"] == ["securityGroups", "subnets"]


def test_every_type_that_is_referred_to_is_there(schema: dict[str, Any]) -> None:
    named = {part.split('"')[0] for part in json.dumps(schema).split('"#/types/')[1:]}
    assert named == set(schema["types"])


def test_outputs_may_be_missing_where_the_component_says_so(schema: dict[str, Any]) -> None:
    function = schema["resources"][FUNCTION]
    missing = {"aliasArn", "alarmTopicArn", "apiKey", "endpointUrl"}
    assert set(function["properties"]) - set(function["required"]) == missing
    described = "The image it runs, `REPOSITORY@sha256:…`."
    assert function["properties"]["imageUri"] == {"type": "string", "description": described}


def test_a_component_is_created_with_whole_numbers(recorder: Recorder) -> None:
    """The engine sends every number as a float, and a policy document would show the difference."""
    created = construct(recorder, REPOSITORY, **INPUTS, lifecycle=[{"keep": 20.0, "tagPrefixes": ["pr-"]}])
    [rule] = json.loads(created.one("aws:ecr/lifecyclePolicy:LifecyclePolicy").inputs["policy"])["rules"]
    assert json.dumps(rule["selection"]["countNumber"]) == "20"
    assert {"url", "deployerPolicies"} <= set(created.outputs)


def test_each_component_is_created_by_its_token(recorder: Recorder) -> None:
    created = construct(recorder, FUNCTION, name="other", memory=256.0, image={"uri": f"registry/other@{DIGEST}"})
    assert created.one("aws:lambda/function:Function").inputs["memorySize"] == 256
    assert created.outputs["imageDigest"] == DIGEST


def test_all_wrong_inputs_are_refused_at_once_in_the_callers_spelling(recorder: Recorder) -> None:
    with pytest.raises(InputPropertyError) as refused:
        construct(recorder, REPOSITORY, **{**INPUTS, "name": "UPPER", "scanOnPush": "maybe", "scan_on_push": True})
    named = [line.partition(": ")[0] for line in refused.value.reason.splitlines()]
    assert named == [f"CrossAccountRepository.{key}" for key in ("name", "scanOnPush", "scan_on_push")]


def test_what_the_component_itself_refuses_has_no_traceback(recorder: Recorder) -> None:
    login = {"server": "registry", "username": "AWS", "password": "token"}
    image = {"build": {"context": "nowhere"}, "repositoryUrl": "registry/other", "login": login}
    with pytest.raises(InputPropertyError) as refused:
        construct(recorder, FUNCTION, image=image)
    assert "image context 'nowhere' is not a folder" in refused.value.reason
