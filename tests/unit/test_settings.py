"""Configuration is checked as a whole before anything is made; a refusal says key, value, rule and example."""

import json
from collections.abc import Set
from typing import Any

import pytest
import yaml

from components.errors import InvalidConfiguration
from components.rest_api import RestApi
from settings import KEYS, ConsumerSettings, RegistrySettings, parse

PROJECT = "cross-account-ecr"
REGISTRY: dict[str, Any] = {
    "stackType": "registry",
    "account": "111111111111",
    "region": "us-east-1",
    "repository": {"name": "cross-account-function"},
    "consumers": [{"account": "222222222222"}],
}
CONSUMER: dict[str, Any] = {
    "stackType": "consumer",
    "account": "222222222222",
    "region": "us-east-1",
    "registry": {"stack": "registry"},
    "image": {"context": "app"},
}


ROLE = "arn:aws:iam::222222222222:role/deployer"


def read(values: dict[str, Any], secret: Set[str] = frozenset()) -> RegistrySettings | ConsumerSettings:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    return parse(texts, PROJECT, secret)


def refusal(values: dict[str, Any], secret: Set[str] = frozenset()) -> str:
    with pytest.raises(InvalidConfiguration) as refused:
        read(values, secret=secret)
    return str(refused.value)


@pytest.mark.parametrize("stack", ["registry", "consumer"])
def test_the_committed_stack_files_are_valid(stack: str) -> None:
    with open(f"Pulumi.{stack}.yaml") as file:  # noqa: PTH123  # the working directory is the program's folder
        config = yaml.safe_load(file)["config"]
    settings = read({key.removeprefix(f"{PROJECT}:"): value for key, value in config.items()})
    assert settings.stack_type == stack


def test_project_file_declares_every_key() -> None:
    with open("Pulumi.yaml") as file:  # noqa: PTH123  # the working directory is the program's folder
        declared = yaml.safe_load(file)["config"]
    assert [key for key in declared if not key.startswith("pulumi:")] == list(KEYS)
    assert all(declared[key]["description"] for key in KEYS)


def test_a_consumer_that_says_little_gets_the_walk_throughs_values() -> None:
    settings = read(CONSUMER)
    assert isinstance(settings, ConsumerSettings)
    assert (settings.function.memory, settings.function.timeout, settings.function.architecture) == (128, 3, "x86_64")
    assert isinstance(settings.api, RestApi)
    assert (settings.api.path, settings.api.stage) == ("hello", "Prod")


def test_an_endpoint_is_public_only_when_it_is_said() -> None:
    settings = read(CONSUMER)
    assert isinstance(settings, ConsumerSettings)
    assert isinstance(settings.api, RestApi)
    assert settings.api.public is False


@pytest.mark.parametrize(
    ("base", "change", "expected"),
    [
        (REGISTRY, {"stackType": "owner"}, "stackType: 'owner' is not allowed; it must be registry or consumer"),
        (REGISTRY, {"account": "1234"}, 'account: "1234" is not allowed; it must be an AWS account ID, 12 digits'),
        (REGISTRY, {"region": "Virginia"}, 'region: "Virginia" is not allowed; it must be an AWS Region'),
        (REGISTRY, {"repository": {"name": "Upper"}}, 'repository.name: "Upper" is not allowed; it must be 2 to 256'),
        (REGISTRY, {"repository": {"name": "a"}}, 'repository.name: "a" is not allowed'),
        (REGISTRY, {"repository": {}}, "repository: is missing"),
        (REGISTRY, {"consumers": []}, "consumers: must be a list of one account or more"),
        (REGISTRY, {"consumers": [{"account": "22"}]}, 'consumers[0].account: "22" is not allowed'),
        (
            REGISTRY,
            {"consumers": [{"account": "1" * 12, "roles": [f"arn:aws:iam::{'1' * 12}:role/it"]}]},
            "consumers[0]: is the registry's own account: it must have no `functions`, `roles` or `readers`",
        ),
        (
            REGISTRY,
            {"consumers": [{"account": "2" * 12, "readers": [f"arn:aws:iam::{'3' * 12}:role/it"]}]},
            "consumers[0].readers[0]: arn:aws:iam::333333333333:role/it must be a role of account 222222222222",
        ),
        (
            REGISTRY,
            {"consumers": [{"account": "2" * 12}] * 2},
            "more than once: 2222222",
        ),
        (
            REGISTRY,
            {"consumers": [{"acount": "2" * 12}]},
            "consumers[0].acount: is not an option; the options are acc",
        ),
        (REGISTRY, {"image": {"context": "app"}}, "image: is not an option of a registry stack"),
        (CONSUMER, {"registry": {}}, "registry: is missing"),
        (CONSUMER, {"image": {}}, "image: is missing"),
        (
            CONSUMER,
            {"image": {"context": "app", "tag": "v1"}},
            "image: must be exactly one of context, digest, tag and promote; given: context",
        ),
        (CONSUMER, {"image": {"digest": "latest"}}, 'image.digest: "latest" is not allowed; it must be sha256: and 64'),
        (CONSUMER, {"function": {"memory": 64}}, "function.memory: 64 is not allowed; it must be a whole number of MB"),
        (CONSUMER, {"function": {"timeout": 901}}, "function.timeout: 901 is not allowed"),
        (CONSUMER, {"function": {"architecture": "arm"}}, 'architecture: "arm" is not allowed; it must be x86_64 or'),
        (
            CONSUMER,
            {"function": {"logRetention": 31}},
            "function.logRetention: 31 is not allowed; it must be one of 1,",
        ),
        (CONSUMER, {"api": {"path": "/hello"}}, 'api.path: "/hello" is not allowed; it must be / or letters, digits'),
        (CONSUMER, {"api": {"public": "perhaps"}}, 'api.public: "perhaps" is not allowed; it must be true or false'),
        (CONSUMER, {"image": {"tag": "v1", "target": "a"}}, "image: cannot have `target` without a context"),
        (CONSUMER, {"image": {"context": ""}}, 'image.context: "" is not allowed; it must be a folder'),
        (
            CONSUMER,
            {"api": {"type": "url", "apiKey": True}},
            "api.apiKey: is not an option; the options are",
        ),
        (CONSUMER, {"api": {"routes": [{}]}}, "must have each method and path once; more than once: GET hello"),
        (CONSUMER, {"api": [1]}, "api: [1] is not allowed; it must be a section with path, method, public"),
        (CONSUMER, {"api": "{path"}, "api: '{path' is not a structured value"),
        (CONSUMER, {"api": "[" * 100_000}, "is not a structured value"),
        (CONSUMER, {"function": '{"description": "\\ud800"}'}, "function: the value given is not a structured value"),
        (CONSUMER, {"account": "\u0662" * 12}, "account: "),
        (
            CONSUMER,
            {"function": {"reservedConcurrency": True}},
            "reservedConcurrency: true is not allowed; it must be a whole",
        ),
        (
            CONSUMER,
            {"function": {"logRetention": True}},
            "function.logRetention: true is not allowed; it must be",
        ),
        (
            CONSUMER,
            {"function": {"tags": {"team": []}}},
            "function.tags.team: [] is not allowed; it must be a text",
        ),
        (CONSUMER, {"api": {"path": "~me"}}, 'api.path: "~me" is not allowed'),
        (REGISTRY, {"assumeRoles": [{"arn": "x"}]}, "assumeRoles[0].arn: is not an option; the options are roleArn"),
        (CONSUMER, {"assumeRoles": [{"roleArn": ROLE, "duration": "13h"}]}, "duration: must be from 15m to 12h"),
        (CONSUMER, {"assumeRoles": [{"roleArn": ROLE}, {"roleArn": ROLE, "duration": "61m"}]}, "must be at most 1h"),
        (REGISTRY, {"assumeRoles": [{"roleArn": ROLE}]}, "the last role must be a role in account 111111111111"),
        (
            REGISTRY,
            {"assumeRoleWithWebIdentity": {"roleArn": ROLE, "webIdentityTokenFile": "token"}},
            "assumeRoleWithWebIdentity: ends with arn:aws:iam::222222222222:role/deployer; the last role must be",
        ),
        (
            CONSUMER,
            {"profile": "p", "assumeRoleWithWebIdentity": {"roleArn": ROLE, "webIdentityTokenFile": "token"}},
            "assumeRoleWithWebIdentity: cannot be combined with `profile`",
        ),
        (
            CONSUMER,
            {"registry": {"stack": "registry", "assumeRoles": [{"roleArn": ROLE, "externalId": "x"}]}},
            'registry.assumeRoles[0].externalId: "x" is not allowed; it must be 2 to 1224 letters',
        ),
        (REGISTRY, {"repository": {"name": "it", "mutableTags": ["dev *"]}}, 'mutableTags[0]: "dev *" is not allowed'),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(base: dict[str, Any], change: dict[str, Any], expected: str) -> None:
    message = refusal({**base, **change})
    assert expected in message
    assert f"{PROJECT}:" in message


def test_a_wrong_role_is_no_error_of_the_token_that_assumes_it() -> None:
    wrong = {"assumeRoles": [{"roleArn": ROLE.replace("222222222222", "111111111111"), "duration": "9"}]}
    token = {"roleArn": ROLE, "webIdentityTokenFile": "token"}
    message = refusal({**REGISTRY, **wrong, "assumeRoleWithWebIdentity": token})
    assert "has 1 error" in message
    assert "assumeRoles[0].duration" in message


def test_a_chain_may_begin_in_another_account() -> None:
    other = "arn:aws:iam::111111111111:role/login"
    web = {"roleArn": other, "webIdentityTokenFile": "token"}
    settings = read(
        {**CONSUMER, "assumeRoleWithWebIdentity": web, "assumeRoles": [{"roleArn": other}, {"roleArn": ROLE}]}
    )
    assert [role.role_arn for role in settings.assume_roles] == [other, ROLE]


def test_a_refusal_shows_an_example_to_paste() -> None:
    message = refusal({**CONSUMER, "function": {"memory": 64}})
    assert "Example: cross-account-ecr:function.memory: 128" in message


@pytest.mark.parametrize("key", ["entryPoint", "command"])
def test_an_example_of_a_list_is_under_the_lists_own_key(key: str) -> None:
    assert f"Example: cross-account-ecr:function.{key}: [" in refusal({**CONSUMER, "function": {key: ["a", 1]}})


def test_all_errors_are_shown_at_once() -> None:
    message = refusal({**CONSUMER, "account": "x", "region": "y", "function": {"memory": 1, "timeout": 0}})
    assert "4 errors" in message
    for key in ("account", "region", "function.memory", "function.timeout"):
        assert f"{PROJECT}:{key}: " in message


def test_errors_of_one_section_do_not_hide_those_of_the_whole() -> None:
    twice = {**REGISTRY, "repository": {"name": "Upper"}, "consumers": [{"account": "2" * 12}] * 2}
    message = refusal(twice)
    assert "repository.name" in message
    assert "more than once" in message


def test_a_misspelt_key_is_refused() -> None:
    assert "functon: is not an option of a consumer stack; its options are account" in refusal(
        {**CONSUMER, "functon": "{}"}
    )


def test_an_option_in_the_spelling_of_a_program_is_refused() -> None:
    message = refusal({**REGISTRY, "repository": {"name": "images", "scan_on_push": True}})
    assert "repository.scan_on_push: is not an option; the options are" in message


def test_an_account_without_quotes_is_taken_for_what_it_says() -> None:
    settings = read({**REGISTRY, "consumers": [{"account": 222222222222}]})
    assert isinstance(settings, RegistrySettings)
    assert settings.consumers[0].account == "222222222222"
    assert "consumers[0].account: null is not allowed" in refusal({**REGISTRY, "consumers": [{"account": None}]})


def test_a_build_argument_without_a_value_comes_from_the_environment() -> None:
    values = {**CONSUMER, "image": {"context": "app", "args": {"SET": None, "UNSET": None, "FIXED": "1"}}}
    settings = read(values)
    assert isinstance(settings, ConsumerSettings)
    assert settings.image.known_args({"SET": "here"}) == {"SET": "here", "FIXED": "1"}


HIDDEN = "hunter2"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"function": {"environment": {"PASSWORD": [HIDDEN]}}}, "function.environment.PASSWORD"),
        ({"function": {"environment": [f"PASSWORD={HIDDEN}"]}}, "function.environment"),
        ({"function": {"secrets": {"PASSWORD": {"value": HIDDEN}}}}, "function.secrets.PASSWORD"),
        ({"function": [{"environment": {"PASSWORD": HIDDEN}}]}, "function"),
        ({"function": f"environment: PASSWORD={HIDDEN}"}, "function"),
        ({"image": {"context": "app", "args": {"PASSWORD": [HIDDEN]}}}, "image.args.PASSWORD"),
    ],
)
def test_a_value_that_may_be_a_secret_is_not_repeated(change: dict[str, Any], named: str) -> None:
    message = refusal({**CONSUMER, **change})
    assert f"{PROJECT}:{named}: the value given is not" in message
    assert HIDDEN not in message


def test_of_a_key_that_is_set_as_a_secret_no_value_is_repeated() -> None:
    message = refusal({**CONSUMER, "function": {"memory": HIDDEN}}, secret={"function"})
    assert "function.memory: the value given is not allowed; it must be a whole number" in message
    assert HIDDEN not in message


@pytest.mark.parametrize("key", ["account", "image", "api", "registry"])
def test_a_secret_where_it_would_be_shown_is_refused(key: str) -> None:
    assert f"{PROJECT}:{key}: is set with --secret" in refusal({**CONSUMER, "api": {"path": "it"}}, secret={key})


def test_a_secret_of_the_function_besides_its_environment_is_refused() -> None:
    assert f"{PROJECT}:function: is set with --secret" in refusal(
        {**CONSUMER, "function": {"memory": 256}}, {"function"}
    )


def test_a_secret_is_not_repeated_by_a_rule_for_the_whole() -> None:
    routes = [{"path": HIDDEN}, {"path": HIDDEN}]
    assert HIDDEN not in refusal({**CONSUMER, "api": {"routes": routes}}, secret={"api"})


def test_a_secret_of_the_function_makes_its_environment_secret() -> None:
    values = {**CONSUMER, "function": {"environment": {"TOKEN": HIDDEN}}}
    for secret in (set(), {"function"}):
        settings = read(values, secret=secret)
        assert isinstance(settings, ConsumerSettings)
        assert settings.has_secret_environment == bool(secret)
        assert HIDDEN not in repr(settings)
