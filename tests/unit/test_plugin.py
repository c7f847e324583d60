"""The plugin offers both components to other languages: their schema, and what it creates and refuses."""

import inspect
import json
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.errors import InputPropertyError

from components.image.source import BuiltImage, ExistingImage
from plugin.__main__ import NAME, VERSION, Package
from tests.unit.recorder import DIGEST, Recorder
from tests.unit.registered import Deployed, run_program

REPOSITORY, FUNCTION = f"{NAME}:index:CrossAccountRepository", f"{NAME}:index:ImageFunction"
INPUTS: dict[str, Any] = {"name": "other", "region": "us-east-1", "consumers": [{"account": "222222222222"}]}


package = cache(Package)


def construct(recorder: Recorder, kind: str, **inputs: Any) -> Deployed:
    """What the plugin creates for a program in another language, and the outputs that it gives it."""

    async def program() -> pulumi.Inputs:
        return package().construct("other", kind, inputs).state

    return run_program(recorder, program)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return dict(json.loads(str(package().schema)))


def test_required_inputs_are_those_without_a_default(schema: dict[str, Any]) -> None:
    required = {token: resource["requiredInputs"] for token, resource in schema["resources"].items()}
    assert required == {REPOSITORY: ["name", "region"], FUNCTION: ["image"]}


def test_an_input_has_type_meaning_rule_and_default(schema: dict[str, Any]) -> None:
    inputs = schema["resources"][FUNCTION]["inputProperties"]
    meaning, rule = "Memory in MB. The processor time increases with it.", "a whole number of MB from 128 to 10240"
    described = f"{meaning} Allowed: {rule}. Default: 128."
    assert inputs["memory"] == {"type": "integer", "plain": True, "description": described}
    assert inputs["tags"]["additionalProperties"] == {"type": "string", "plain": True}
    assert inputs["vpc"]["$ref"] == f"#/types/{NAME}:index:Vpc"
    assert schema["types"][f"{NAME}:index:Vpc"]["required"] == ["securityGroups", "subnets"]


PLAIN_TEXT, REFERENCE = {"type": "string", "plain": True}, f"#/types/{NAME}:index:"
ANYTHING = {"type": "object", "additionalProperties": {"$ref": "pulumi.json#/Any", "plain": True}, "plain": True}


@pytest.mark.parametrize(
    ("kind", "option", "expected"),
    [
        ("ImageFunction", "tracing", {"type": "boolean", "plain": True}),
        ("ImageFunction", "architecture", PLAIN_TEXT),
        ("ImageFunction", "logKmsKey", PLAIN_TEXT),
        ("ImageFunction", "vpc", {"$ref": f"{REFERENCE}Vpc", "plain": True}),
        ("ImageFunction", "command", {"type": "array", "items": PLAIN_TEXT, "plain": True}),
        ("ImageFunction", "statements", {"type": "array", "items": ANYTHING, "plain": True}),
        # Only here may an output of another resource be given.
        ("ImageFunction", "environment", {"type": "object", "additionalProperties": {"type": "string"}, "plain": True}),
        ("RegistryLogin", "password", {"type": "string"}),
        ("Alarms", "duration", {"type": "number", "plain": True}),
        ("Release", "testEvent", ANYTHING),
        ("ImageFunction", "image", {"$ref": f"{REFERENCE}ImageFunctionImage", "plain": True}),
        (
            "ImageFunctionEndpoint",
            "routes",
            {
                "type": "array",
                "items": {"$ref": f"{REFERENCE}ImageFunctionEndpointRoutes", "plain": True},
                "plain": True,
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_input_has_the_type_of_the_option(
    schema: dict[str, Any], kind: str, option: str, expected: dict[str, Any]
) -> None:
    token = f"{NAME}:index:{kind}"
    owner = schema["resources"].get(token, {}).get("inputProperties") or schema["types"][token]["properties"]
    assert {key: value for key, value in owner[option].items() if key != "description"} == expected


def test_alternatives_are_one_type_with_the_options_and_texts_of_each(schema: dict[str, Any]) -> None:
    image = schema["types"][f"{NAME}:index:ImageFunctionImage"]
    assert image["type"] == "object"
    assert set(image["properties"]) == {*BuiltImage.model_fields, "repositoryUrl", "uri"} - {"repository_url"}
    assert image["required"] == []
    assert image["description"] == f"{inspect.getdoc(BuiltImage)}\n\nOr: {inspect.getdoc(ExistingImage)}"


def test_every_resource_and_type_says_what_it_is(schema: dict[str, Any]) -> None:
    for declared in (*schema["resources"].values(), *schema["types"].values()):
        assert declared["type"] == "object"
        assert declared["description"]
        for option in (declared.get("inputProperties") or declared["properties"]).values():
            assert option["description"]
    for token in (REPOSITORY, FUNCTION):
        assert schema["resources"][token]["isComponent"] is True


def test_a_default_is_told_where_there_is_one(schema: dict[str, Any]) -> None:
    inputs = schema["resources"][FUNCTION]["inputProperties"]
    assert inputs["architecture"]["description"].endswith(" Default: x86_64.")
    assert inputs["tracing"]["description"].endswith(" Default: false.")
    assert inputs["logKmsKey"]["description"].endswith(" Allowed: the ARN of a KMS key.")
    assert inputs["image"]["description"].count("Default") == 0


def test_programs_of_every_language_get_the_version_that_they_ask_for(schema: dict[str, Any]) -> None:
    assert (schema["name"], schema["displayName"], schema["version"]) == (NAME, NAME, VERSION)
    languages = ("csharp", "go", "java", "nodejs", "python")
    assert schema["language"] == {key: {"respectSchemaVersion": True} for key in languages}


def test_every_type_that_is_referred_to_is_there(schema: dict[str, Any]) -> None:
    named = {part.split('"')[0] for part in json.dumps(schema).split('"#/types/')[1:]}
    assert named == set(schema["types"])


def test_outputs_may_be_missing_where_the_component_says_so(schema: dict[str, Any]) -> None:
    function = schema["resources"][FUNCTION]
    missing = {"aliasArn", "alarmTopicArn", "apiKey", "domainTarget", "endpointUrl", "triggerPolicies"}
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


def test_without_a_number_of_the_push_an_image_keeps_its_resource(recorder: Recorder, app: Path) -> None:
    # One of another name would push to a tag that exists.
    login = {"server": "registry", "username": "AWS", "password": "token"}
    image = {"build": {"context": "app"}, "repositoryUrl": "registry/other", "login": login}
    created = [construct(recorder, FUNCTION, image={**image, **push}) for push in ({}, {"push": 0.0}, {"push": 1.0})]
    names = [one.one("docker:index/image:Image").name for one in created]
    assert names[0] == names[1] != names[2]


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
