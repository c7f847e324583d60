"""A stack file as the CLI hands it to the program: what is read, what is refused, and in which words."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.errors import DeploymentError, InvalidConfiguration
from tests.unit.conftest import Deploy
from tests.unit.recorder import DIGEST, PROJECT
from tests.unit.registered import read, stack_file

HIDDEN = "hunter2"


def refusal(values: dict[str, Any], secret: set[str] | None = None) -> list[str]:
    """The lines of a refusal, one an error; the first says how many there are."""
    with pytest.raises(InvalidConfiguration) as refused:
        read(values, secret=secret or set())
    return str(refused.value).split("\n  ")


@pytest.mark.parametrize("stack", ["registry", "consumer"])
def test_the_committed_files_are_read(stack: str) -> None:
    settings = read(stack_file(stack))
    assert (settings.stack_type, settings.region, settings.profile) == (stack, "us-east-1", stack)
    assert settings.account == {"registry": "111111111111", "consumer": "222222222222"}[stack]


# ---- keys


@pytest.mark.parametrize(
    ("stack", "key"),
    [("consumer", "functon"), ("consumer", "Function"), ("registry", "consumer"), ("consumer", "repositry")],
)
@pytest.mark.parametrize("value", ["{}", "[]", "", '{"memory": 128}'])
def test_a_misspelt_key_is_refused_whatever_its_value_is(stack: str, key: str, value: str) -> None:
    head, line = refusal(stack_file(stack, **{key: value}))
    assert head == f"The configuration of this {stack} stack has 1 error:"
    assert line.startswith(f"{PROJECT}:{key}: ")
    # The keys that there are.
    assert {"stackType", "account", "region", "profile"} <= set(re.findall(r"[a-zA-Z]+", line))


@pytest.mark.parametrize(("stack", "key"), [("registry", "image"), ("consumer", "repository")])
def test_a_key_of_the_other_stack_is_refused(stack: str, key: str) -> None:
    _, line = refusal(stack_file(stack, **{key: {"name": "it"}}))
    assert line.startswith(f"{PROJECT}:{key}: is not an option of a {stack} stack")


@pytest.mark.parametrize("empty", [{}, []])
def test_an_empty_key_of_the_other_stack_is_no_error(empty: Any) -> None:
    # Pulumi.yaml gives each structured key that a stack leaves out an empty default.
    assert read(stack_file("registry", image=empty, function=empty, api=empty, registry=empty)).stack_type == "registry"


def test_configuration_of_other_namespaces_is_left_alone() -> None:
    others = {"pulumi:disable-default-providers": ["*"], "aws:region": "eu-west-1", f"{PROJECT}-other:key": "x"}
    assert read(stack_file("registry"), others=others).region == "us-east-1"


@pytest.mark.parametrize(("role", "shown"), [("owner", "'owner'"), (None, "''")])
def test_a_stack_type_that_does_not_exist_is_refused_with_both(role: str | None, shown: str) -> None:
    (line,) = refusal(stack_file("registry", stackType=role))
    assert line == (
        f"{PROJECT}:stackType: {shown} is not allowed; it must be registry or consumer. "
        f"Example: {PROJECT}:stackType: consumer"
    )


# ---- values

WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    # stack, change, key, value as shown
    ("registry", {"account": "1234"}, "account", '"1234"'),
    ("registry", {"region": "Virginia"}, "region", '"Virginia"'),
    ("registry", {"repository": {"name": "Upper"}}, "repository.name", '"Upper"'),
    ("registry", {"consumers": [{"account": "22"}]}, "consumers[0].account", '"22"'),
    ("registry", {"consumers": [{"account": "2" * 12, "functions": ["a b"]}]}, "consumers[0].functions[0]", '"a b"'),
    ("consumer", {"registry": {"stack": ""}}, "registry.stack", '""'),
    ("consumer", {"image": {"context": ""}}, "image.context", '""'),
    ("consumer", {"image": {"digest": "latest"}}, "image.digest", '"latest"'),
    ("consumer", {"function": {"name": "a b"}}, "function.name", '"a b"'),
    ("consumer", {"function": {"memory": 127}}, "function.memory", "127"),
    ("consumer", {"function": {"memory": 10241}}, "function.memory", "10241"),
    ("consumer", {"function": {"timeout": 0}}, "function.timeout", "0"),
    ("consumer", {"function": {"timeout": 901}}, "function.timeout", "901"),
    ("consumer", {"function": {"storage": 511}}, "function.storage", "511"),
    ("consumer", {"function": {"architecture": "arm"}}, "function.architecture", '"arm"'),
    ("consumer", {"function": {"description": "x" * 257}}, "function.description", f'"{"x" * 257}"'),
    ("consumer", {"api": {"path": "/hello"}}, "api.path", '"/hello"'),
    ("consumer", {"api": {"method": "FETCH"}}, "api.method", '"FETCH"'),
    ("consumer", {"api": {"public": "perhaps"}}, "api.public", '"perhaps"'),
    ("consumer", {"api": {"stage": "a/b"}}, "api.stage", '"a/b"'),
    ("consumer", {"api": {"corsOrigin": "example.com"}}, "api.corsOrigin", '"example.com"'),
    ("consumer", {"api": {"throttle": {"rate": 0, "burst": 1}}}, "api.throttle.rate", "0"),
    ("consumer", {"function": {"alarms": {"duration": 1.5}}}, "function.alarms.duration", "1.5"),
    ("consumer", {"function": {"release": {"previousShare": 1}}}, "function.release.previousShare", "1"),
]


@pytest.mark.parametrize(
    ("stack", "change", "key", "shown"), WRONG, ids=[f"{key}={shown[:12]}" for *_, key, shown in WRONG]
)
def test_a_wrong_value_is_refused_with_key_value_rule_and_example(
    stack: str, change: dict[str, Any], key: str, shown: str
) -> None:
    head, line = refusal(stack_file(stack, **change))
    assert head == f"The configuration of this {stack} stack has 1 error:"
    rule = re.fullmatch(
        rf"{PROJECT}:{re.escape(key)}: {re.escape(shown)} is not allowed; it must be (.+)\. Example: "
        rf"{PROJECT}:{re.escape(key)}: (.+)",
        line,
    )
    assert rule, line
    assert read(put(stack_file(stack, **change), key, yaml.safe_load(rule[2]))), "the example is not allowed either"


def put(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The values with another one at a key such as `consumers[0].account`."""
    if key == "account":
        # The example of an account is a consumer's of the committed file.
        values = {**values, "consumers": [{"account": "3" * 12}]}
    *above, last = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", key)]
    inside: Any = copy.deepcopy(values)
    changed = inside
    for part in above:
        inside = inside[part]
    inside[last] = value
    return dict(changed)


@pytest.mark.parametrize(
    ("option", "low", "high"),
    [("memory", 128, 10240), ("timeout", 1, 900), ("storage", 512, 10240), ("reservedConcurrency", 0, 10**6)],
)
def test_bounds_themselves_are_allowed(deploy: Deploy, option: str, low: int, high: int) -> None:
    for value in (low, high):
        done = deploy("consumer", image={"digest": DIGEST}, function={option: value})
        assert value in leaves(done.one("aws:lambda/function:Function").inputs)


def leaves(value: Any) -> list[Any]:
    """All plain values of a structure."""
    return [leaf for one in value.values() for leaf in leaves(one)] if isinstance(value, dict) else [value]


@pytest.mark.parametrize(
    ("stack", "change", "key"),
    [
        ("registry", {"repository": None}, "repository"),
        ("registry", {"repository": {"scanOnPush": False}}, "repository.name"),
        ("consumer", {"registry": None}, "registry"),
        ("consumer", {"registry": {"profile": "it"}}, "registry.stack"),
        ("consumer", {"image": None}, "image"),
        ("consumer", {"api": {"throttle": {"rate": 1}}}, "api.throttle.burst"),
    ],
)
def test_what_is_missing_is_named(stack: str, change: dict[str, Any], key: str) -> None:
    _, line = refusal(stack_file(stack, **change))
    assert line.startswith(f"{PROJECT}:{key}: is missing")


def test_all_errors_are_shown_at_once_one_a_line() -> None:
    change = {"account": "x", "region": "y", "function": {"memory": 1, "timeout": 0}, "functon": "{}"}
    head, *lines = refusal(stack_file("consumer", **change))
    assert head == "The configuration of this consumer stack has 5 errors:"
    keys = {line.removeprefix(f"{PROJECT}:").partition(": ")[0] for line in lines}
    assert keys == {"account", "region", "function.memory", "function.timeout", "functon"}


@pytest.mark.parametrize(
    ("stack", "change", "expected"),
    [
        ("registry", {"consumers": None}, "consumers: must be a list of one account or more"),
        (
            "registry",
            {"consumers": [{"account": "1" * 12, "functions": "a"}]},
            "consumers[0]: is the registry's own account: it must have no `functions`, `roles` or `readers`",
        ),
        ("registry", {"consumers": [{"account": "2" * 12}] * 2}, "more than once: 222222222222"),
        ("consumer", {"image": {"target": "it"}}, "exactly one of context, digest, tag and promote; given: none"),
        ("consumer", {"image": {"context": "app", "digest": DIGEST}}, "given: context, digest"),
        ("consumer", {"image": {"digest": DIGEST, "args": {}}}, "cannot have `args` without a context"),
        ("consumer", {"api": {"type": "url", "apiKey": True}}, "api.apiKey: is not an option"),
        ("consumer", {"api": {"type": "none", "public": True}}, "api.public: is not an option; the options are type."),
        ("consumer", {"api": {"path": "a", "routes": [{"path": "a"}]}}, "more than once: GET a"),
    ],
)
def test_a_rule_for_the_whole_names_what_breaks_it(stack: str, change: dict[str, Any], expected: str) -> None:
    _, line = refusal(stack_file(stack, **change))
    assert line.startswith(f"{PROJECT}")
    assert expected in line


@pytest.mark.parametrize(
    ("given", "allowed"), [({"organization": "o-abcdef1234"}, True), ({"organization": ""}, False)]
)
def test_a_registry_serves_accounts_or_an_organization(given: dict[str, Any], allowed: bool) -> None:
    values = stack_file("registry", consumers=None, repository={"name": "it", **given})
    assert read(values) if allowed else refusal(values)


@pytest.mark.parametrize("text", ["{path", "path: hello", "[1", "\ud800"])
def test_a_text_that_is_no_structure_is_refused_with_where_to_write_it(text: str) -> None:
    _, line = refusal(stack_file("consumer", api=text))
    assert line.startswith(f"{PROJECT}:api: ")
    assert "Write it in the stack file, as YAML" in line


# ---- secrets


@pytest.mark.parametrize("key", ["account", "region", "registry", "image", "api"])
def test_a_secret_where_it_would_be_shown_is_refused_without_its_value(key: str) -> None:
    change = {} if key in ("registry", "image", "api") else {key: HIDDEN}
    lines = refusal(stack_file("consumer", **change), secret={key})[1:]
    assert f"{PROJECT}:{key}: is set with --secret" in lines[0]
    assert HIDDEN not in "\n".join(lines)


def test_a_secret_of_the_function_is_read_and_never_repeated() -> None:
    function = {"environment": {"TOKEN": HIDDEN}, "memory": HIDDEN}
    _, line = refusal(stack_file("consumer", function=function), secret={"function"})
    assert line.startswith(f"{PROJECT}:function.memory: the value given is not allowed")
    assert HIDDEN not in line
    settings = read(stack_file("consumer", function={"environment": {"TOKEN": HIDDEN}}), secret={"function"})
    assert HIDDEN not in repr(settings)


def test_a_misspelt_key_that_is_a_secret_is_not_repeated() -> None:
    lines = refusal(stack_file("consumer", functon=HIDDEN), secret={"functon"})
    assert any(line.startswith(f"{PROJECT}:functon: ") for line in lines)
    assert HIDDEN not in "\n".join(lines)


@pytest.mark.parametrize(
    "change",
    [
        {"function": {"environment": {"PASSWORD": [HIDDEN]}}},
        {"function": {"environment": [f"PASSWORD={HIDDEN}"]}},
        {"function": {"secrets": {"PASSWORD": {"value": HIDDEN}}}},
        {"function": f"environment: PASSWORD={HIDDEN}"},
        {"image": {"context": "app", "args": {"PASSWORD": [HIDDEN]}}},
    ],
    ids=str,
)
def test_what_may_hold_a_secret_is_not_repeated_either(change: dict[str, Any]) -> None:
    assert HIDDEN not in "\n".join(refusal(stack_file("consumer", **change)))


@pytest.mark.parametrize(
    "function",
    [
        {"secrets": {"DATABASE": HIDDEN}},
        {"environment": {"AWS_REGION": HIDDEN}},
        {"environment": {"A": HIDDEN}},
        {"environment": {"AA": HIDDEN}, "secrets": {"AA": "arn:aws:ssm:us-east-1:222222222222:parameter/x"}},
        {"environment": {"AA": HIDDEN * 600}},
    ],
    ids=",".join,
)
def test_a_variable_that_lambda_refuses_is_refused_before_without_its_value(
    deploy: Deploy, function: dict[str, Any]
) -> None:
    with pytest.raises(DeploymentError) as refused:
        deploy("consumer", image={"digest": DIGEST}, function=function)
    assert HIDDEN not in str(refused.value)
    assert any(name in str(refused.value) for variables in function.values() for name in (*variables, "bytes"))


# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
@pytest.mark.parametrize(
    "name",
    [
        *("AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_REGION"),
        *("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION"),
        *("AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"),
        *("AWS_LAMBDA_RUNTIME_API", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "_HANDLER", "_X_AMZN_TRACE_ID"),
    ],
)
def test_a_variable_of_lambda_itself_is_refused(name: str) -> None:
    assert name in "\n".join(refusal(stack_file("consumer", function={"environment": {name: "x"}})))


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "ANY"])
def test_every_method_of_api_gateway_is_read(method: str) -> None:
    assert read(stack_file("consumer", api={"path": "hello", "method": method}))


# ---- the project file


def test_the_project_file_describes_every_key_and_gives_empty_defaults() -> None:
    declared = yaml.safe_load((Path(__file__).parents[2] / "Pulumi.yaml").read_text())["config"]
    keys = [key for key in declared if ":" not in key]
    used = {key for stack in ("registry", "consumer") for key in stack_file(stack)}
    assert used <= set(keys)
    assert all(declared[key]["description"] for key in keys)
    # With the defaults of Pulumi.yaml beneath them both stack files are valid.
    defaults = {key: declared[key]["default"] for key in keys if "default" in declared[key]}
    for stack in ("registry", "consumer"):
        assert read({**defaults, **stack_file(stack)}).stack_type == stack
    assert declared["pulumi:disable-default-providers"]["value"] == ["*"]
