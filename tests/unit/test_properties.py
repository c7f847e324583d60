"""What holds for all inputs, tried on thousands: see each test's name."""

import contextlib
import fnmatch
import json
import os
import posixpath
import random
import re
import shutil
import string
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial, reduce
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import docker.utils.build
import grpc
import pytest
from google.protobuf import struct_pb2
from hypothesis import assume, example, given
from hypothesis import strategies as st
from ministack.core.iam_evaluator import EvalContext, evaluate_resource_policy
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from components.errors import DeploymentError, InvalidConfiguration
from components.function import RESERVED_VARIABLES, ImageFunctionArgs
from components.iam import (
    POLICY_CHARACTERS,
    PULL_ACTIONS,
    PUSH_ACTIONS,
    Document,
    compact,
    function_arn,
    partition,
)
from components.image.build import ImageBuild
from components.image.ignore import Patterns, pattern_of
from components.image.source import ExistingImage
from components.image.staging import stage
from components.lifecycle import LifecycleRule, lifecycle_policy
from components.limits import CONTEXT_MB, MEMORY_MB, RETENTION_DAYS, STORAGE_MB, TIMEOUT_SECONDS
from components.model import Model
from components.repository import Consumer, CrossAccountRepositoryArgs, Repository, repository_policy
from components.rest_api import RestApi, RestRoute
from settings import KEYS, STACKS, STRUCTURED, ConsumerSettings, RegistrySettings, parse
from stacks.consumer import function_args
from tests.unit.reach import examples, reached, reaches

PROJECT = "cross-account-ecr"
CANARY = "do-not-repeat-me"
IMAGE = ExistingImage(uri="repository@sha256:" + "0" * 64)


LOWER, LETTERS, DIGITS = string.ascii_lowercase, string.ascii_letters, string.digits
WORD = f"{LETTERS}{DIGITS}_"


def text(characters: str, least: int, most: int, before: str = "", after: str = "") -> st.SearchStrategy[str]:
    """So many characters. Drawn as one value: a regular expression takes five times as long."""
    return st.text(characters, min_size=least, max_size=most).map(lambda drawn: f"{before}{drawn}{after}")


def named(characters: str, least: int, most: int, first: str = LETTERS) -> st.SearchStrategy[str]:
    """One of the first characters, and so many others."""
    return st.tuples(st.sampled_from(first), text(characters, least, most)).map("".join)


def section(required: dict[str, Any], /, **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    """A section with its required options and a third of the others.

    Which of them decides a generator of its own: hypothesis prefers few, and would leave most options out of most runs.
    """

    def with_options(seed: int) -> st.SearchStrategy[dict[str, Any]]:
        chance = random.Random(f"{seed} {sorted(optional)}")  # noqa: S311  # no secret
        chosen = {name: value for name, value in optional.items() if chance.random() < 1 / 3}
        return st.fixed_dictionaries({**required, **chosen})

    return st.sampled_from(range(1000)).flatmap(with_options)


OWN_ACCOUNTS = st.integers(10**11, 2 * 10**11 - 1).map(str)
ACCOUNTS = st.integers(2 * 10**11, 10**12 - 1).map(str)
REGIONS = st.sampled_from(["us-east-1", "eu-west-1", "ap-southeast-2", "cn-north-1", "us-gov-west-1"])
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
SWITCHES = st.booleans()
VARIABLES = named(WORD, 1, 12)
PATHS = st.just("/") | st.builds(
    lambda first, others: "/".join([first, *others]),
    text(f"{WORD}-", 1, 8),
    st.lists(text(f"{WORD}.-", 1, 8, after="x") | st.just("{id}"), max_size=2),
)
METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "ANY"])
WHOLE = st.integers(1, 10_000)


def within(bounds: range) -> st.SearchStrategy[int]:
    return st.integers(bounds[0], bounds[-1])


# Rules that go together: each for other images, one for all images at the end.
RULES = st.tuples(
    st.lists(
        section({"keep": WHOLE, "tagPrefixes": st.lists(text(LOWER, 1, 5), min_size=1, max_size=3)}, description=WORDS),
        max_size=2,
        unique_by=lambda rule: frozenset(rule["tagPrefixes"]),
    ),
    st.lists(section({"days": WHOLE, "tagPatterns": st.just(["rc-*"])}), max_size=1),
    st.lists(section({"keep": WHOLE, "untagged": st.just(True)}), max_size=1),
    st.lists(section({"days": WHOLE}), max_size=1),
).map(lambda parts: [rule for part in parts for rule in part])
REPOSITORIES = section(
    {"name": st.tuples(text(LOWER, 2, 10), st.sampled_from("._/-"), text(LOWER + DIGITS, 1, 5)).map("".join)},
    scanOnPush=SWITCHES,
    kmsKey=st.just("arn:aws:kms:us-east-1:111111111111:key/1234abcd"),
    mutableTags=st.lists(text(LOWER, 1, 5, after="*"), max_size=5),
    organization=text(LOWER + DIGITS, 10, 32, before="o-"),
    publishers=st.lists(ACCOUNTS.map(lambda account: f"arn:aws:iam::{account}:role/publisher"), max_size=3),
    statements=st.lists(
        st.fixed_dictionaries({"Sid": text(LETTERS + DIGITS, 1, 8), "Effect": st.just("Deny")}), max_size=2
    ),
    lifecycle=RULES,
    replicas=st.lists(REGIONS, max_size=2, unique=True),
    protect=SWITCHES,
    retainOnDelete=SWITCHES,
    forceDelete=SWITCHES,
)


@st.composite
def consumers(draw: st.DrawFn) -> list[dict[str, Any]]:
    listed = []
    for account in draw(st.lists(ACCOUNTS, min_size=1, max_size=3, unique=True)):
        roles = text(LOWER, 1, 8, before=f"arn:aws:iam::{account}:role/")
        options = section(
            {"account": st.just(account)},
            regions=st.lists(REGIONS, max_size=2),
            functions=(name := text(f"{WORD}*?-", 1, 20)) | st.lists(name, min_size=1, max_size=2),
            readers=st.lists(roles, max_size=1),
            roles=st.lists(roles, max_size=2),
        )
        listed.append(draw(options))
    return listed


BUILDS = section(
    {"context": st.just("app")},
    dockerfile=st.just("app/Dockerfile"),
    args=st.dictionaries(VARIABLES, st.none() | WORDS, max_size=3),
    cacheFrom=st.lists(WORDS, max_size=2),
    network=st.sampled_from(["host", "none", "default"]),
    target=WORDS,
    allowSecrets=st.lists(WORDS, max_size=2),
    contextLimit=within(CONTEXT_MB),
)
IMAGES = st.one_of(
    BUILDS,
    section({"digest": text("0123456789abcdef", 64, 64, before="sha256:")}),
    section({"tag": named(f"{WORD}.-", 0, 20, first=WORD)}),
    section({"promote": text(LOWER, 1, 8)}),
)
TRIGGER: dict[str, Any] = {"name": named(f"{LETTERS}{DIGITS}-", 0, 29)}
QUEUES = text(LOWER, 1, 8, before="arn:aws:sqs:us-east-1:222222222222:")
RETRIES: dict[str, Any] = {
    "retries": st.integers(0, 185),
    "maximumAge": st.integers(60, 86_400),
    "deadLetter": QUEUES,
}
TRIGGERS = st.one_of(
    section(
        {
            **TRIGGER,
            "type": st.just("schedule"),
            "expression": st.sampled_from(["rate(5 minutes)", "cron(0 3 * * ? *)"]),
        },
        **RETRIES,
        timeZone=st.sampled_from(["UTC", "Europe/Berlin"]),
        input=st.just({"task": "tidy"}),
    ),
    section(
        {**TRIGGER, "type": st.just("queue"), "queue": QUEUES},
        batchSize=st.integers(1, 10),
        window=st.integers(0, 300),
        partialFailures=SWITCHES,
        maximumConcurrency=st.integers(2, 1_000),
        kmsKey=st.just("arn:aws:kms:us-east-1:222222222222:key/1"),
    ),
    section(
        {**TRIGGER, "type": st.just("topic"), "topic": text(LOWER, 1, 8, before="arn:aws:sns:us-east-1:222222222222:")},
        filterScope=st.sampled_from(["MessageAttributes", "MessageBody"]),
        filter=st.just({"kind": ["order"]}),
        deadLetter=QUEUES,
    ),
    section(
        {**TRIGGER, "type": st.just("events"), "pattern": st.just({"source": ["orders"]})},
        **RETRIES,
        bus=st.sampled_from(["default", "shop"]),
    ),
)
FUNCTIONS = section(
    {},
    name=text(f"{WORD}-", 1, 64),
    description=WORDS,
    memory=within(MEMORY_MB),
    timeout=within(TIMEOUT_SECONDS),
    architecture=st.sampled_from(["x86_64", "arm64"]),
    storage=within(STORAGE_MB),
    environment=st.dictionaries(VARIABLES, WORDS, max_size=3),
    secrets=st.dictionaries(
        VARIABLES,
        st.builds("arn:aws:secretsmanager:us-east-1:{}:secret:{}".format, ACCOUNTS, text(LOWER, 1, 9)),
        max_size=2,
    ),
    entryPoint=st.lists(WORDS, max_size=2),
    command=st.lists(WORDS, max_size=2),
    workingDirectory=text(f"{LOWER}/", 0, 8, before="/"),
    reservedConcurrency=st.none() | st.integers(0, 100),
    vpc=section({"subnets": st.just(["subnet-1"]), "securityGroups": st.just(["sg-1"])}),
    tracing=SWITCHES,
    logRetention=st.sampled_from(RETENTION_DAYS),
    jsonLogs=SWITCHES,
    logKmsKey=st.just("arn:aws:kms:us-east-1:222222222222:key/1"),
    deadLetter=st.just("arn:aws:sqs:us-east-1:222222222222:failed"),
    asynchronous=section({}, retries=st.integers(0, 2), maximumAge=st.integers(60, 21_600)),
    triggers=st.lists(TRIGGERS, max_size=3, unique_by=lambda trigger: trigger["name"]),
    permissionsBoundary=st.just("arn:aws:iam::222222222222:policy/boundary"),
    statements=st.lists(st.just({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}), max_size=2),
    tags=st.dictionaries(text(f"{WORD} .:/=+@-", 1, 20), text(f"{WORD} .:/=+@-", 0, 20), max_size=3),
    release=section({}, provisionedConcurrency=WHOLE) | section({}, previousShare=st.floats(0, 0.99)),
    alarms=section(
        {},
        errors=WHOLE,
        throttles=WHOLE,
        duration=st.floats(0.01, 1),
        queueAge=WHOLE,
        topic=st.just("arn:aws:sns:us-east-1:222222222222:alarms"),
    ),
)
ROUTE: dict[str, Any] = {
    "path": PATHS,
    "method": METHODS,
    "public": SWITCHES,
    "apiKey": SWITCHES,
    "requestParameters": st.lists(
        st.builds("{}.{}".format, st.sampled_from(["querystring", "header"]), text(f"{WORD}.$-", 1, 8)), max_size=2
    ),
}
CERTIFICATES = st.just("arn:aws:acm:us-east-1:222222222222:certificate/1234")
APIS = st.one_of(
    section(
        {},
        **ROUTE,
        type=st.just("rest"),
        stage=text(f"{WORD}-", 1, 20),
        routes=st.lists(section({}, **ROUTE), max_size=3, unique_by=lambda route: route.get("path")),
        throttle=section({"rate": WHOLE, "burst": WHOLE}),
        accessLogRetention=st.sampled_from([0, *RETENTION_DAYS]),
        executionLogs=SWITCHES,
        tracing=SWITCHES,
        corsOrigin=st.sampled_from(["*", "https://example.com"]),
        loggingRole=SWITCHES,
        authorizer=section(
            {"function": st.just("arn:aws:lambda:us-east-1:222222222222:function:a")}, ttl=within(range(3601))
        )
        | section({"userPools": st.just(["arn:aws:cognito-idp:us-east-1:222222222222:userpool/us-east-1_a"])}),
        domain=section(
            {"name": st.just("*.example.com"), "certificate": CERTIFICATES},
            securityPolicy=st.sampled_from(["TLS_1_2", "TLS_1_0"]),
            hostedZone=text(string.ascii_uppercase + DIGITS, 1, 20, before="Z"),
        ),
        binaryMediaTypes=st.lists(st.sampled_from(["*/*", "image/png", "application/*"]), max_size=2),
        minimumCompressionSize=st.integers(0, 10 * 1024**2),
    ),
    section(
        {"type": st.just("http")},
        path=st.just("$default") | PATHS,
        method=METHODS,
        public=SWITCHES,
        stage=st.just("$default") | text(f"{WORD}-", 1, 20),
        throttle=section({"rate": WHOLE, "burst": WHOLE}),
        accessLogRetention=st.sampled_from([0, *RETENTION_DAYS]),
        corsOrigin=st.just("*"),
        authorizer=section({"issuer": st.just("https://a.b/"), "audience": st.just(["a"])}, header=st.just("X-Token")),
        domain=section({"name": st.just("a.example.com"), "certificate": CERTIFICATES}, basePath=text(LOWER, 1, 8)),
    ),
    section({"type": st.just("url")}, public=SWITCHES, corsOrigin=st.just("*")),
    section({"type": st.just("none")}),
)
ROLES = st.lists(
    section(
        {"roleArn": st.just("arn:aws:iam::111111111111:role/pusher")},
        externalId=text(f"{WORD}+=,.@:/-", 2, 20),
        sessionName=text(f"{WORD}+=,.@-", 2, 20),
        duration=st.sampled_from(["15m", "1h", "0h59m"]),
    ),
    max_size=2,
)
COMMON: dict[str, Any] = {"account": OWN_ACCOUNTS, "region": REGIONS}
STACK_FILES = st.one_of(
    section(
        {"stackType": st.just("registry"), **COMMON, "repository": REPOSITORIES, "consumers": consumers()},
        profile=WORDS,
    ),
    section(
        {
            "stackType": st.just("consumer"),
            **COMMON,
            "registry": section({"stack": text(LOWER, 1, 8)}, profile=WORDS, assumeRoles=ROLES),
            "image": IMAGES,
            "function": FUNCTIONS,
            "api": APIS,
        },
        profile=WORDS,
    ),
)
PUBLISHED: dict[str, Any] = {
    "stackType": "registry",
    "account": "1" * 12,
    "region": "us-east-1",
    "repository": {
        "name": "it",
        "publishers": ["arn:aws:iam::333333333333:role/publisher"],
        "lifecycle": [{"keep": 5, "untagged": True}, {"days": 30}],
    },
    "consumers": [{"account": "4" * 12}],
}
ROUTED: dict[str, Any] = {
    "stackType": "consumer",
    "account": "1" * 12,
    "region": "us-east-1",
    "registry": {"stack": "registry"},
    "image": {"context": "app"},
    "api": {"path": "/", "routes": [{"path": "users/{id}"}]},
}
# Those that are allowed: few rules look at more than one option.
CONFIGURATIONS = STACK_FILES.filter(lambda values: accepted(lambda: read(values)) is not None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def read(values: dict[str, Any], **options: Any) -> RegistrySettings | ConsumerSettings:
    """What the program reads of a stack file: a text for each key, of structured values the JSON."""
    texts = {key: json.dumps(value) if key in STRUCTURED else str(value) for key, value in values.items()}
    return parse(texts, PROJECT, **options)


def refusal(values: dict[str, Any], **options: Any) -> str:
    with pytest.raises(InvalidConfiguration) as refused:
        read(values, **options)
    message = str(refused.value)
    message.encode()  # what is no text in a value is text in an error
    return message


def accepted(make: Callable[[], Any]) -> Any:
    """What is made, or None if it is refused by an error of this program."""
    try:
        return make()
    except DeploymentError as refused:
        str(refused).encode()
        return None


def arguments(loaded: RegistrySettings | ConsumerSettings) -> CrossAccountRepositoryArgs | ImageFunctionArgs:
    """What a stack makes its component of."""
    if isinstance(loaded, RegistrySettings):
        return loaded.args
    return function_args(loaded, IMAGE, "1")


def problems(message: str) -> list[str]:
    """The lines of a refusal, one a problem."""
    return message.split("\n  ")[1:]


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all keys and entries."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def shown(path: tuple[str | int, ...]) -> str:
    """A path as an error names it."""
    first, *rest = path
    return f"{PROJECT}:{first}" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)


def put(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """A copy with another value at a path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(copy[path[0]] if len(path) > 1 else None, path[1:], new)
    return copy


def is_section(path: tuple[str | int, ...], role: str) -> bool:
    """Whether what stands at a path has options."""
    return any(map(is_model, within_type(declared_type(path, role))))


def declared_type(path: tuple[str | int, ...], role: str) -> Any:
    """The type of what stands at a path, with its rules; Any within what takes every value."""
    kind: Any = STACKS[role]
    for part in path:
        inside = list(within_type(kind))
        fields = [found[str(part)] for it in inside if part in (found := fields_of(it))]
        if fields:  # of several kinds of triggers or endpoints
            kind = Union[*(field.rebuild_annotation() for field in fields)]
        else:
            kind = next((get_args(it)[-1] for it in inside if get_origin(it) in (Mapping, Sequence)), Any)
    return kind


def within_type(kind: Any) -> Iterator[Any]:
    """A type and all that it is made of."""
    yield kind
    for inner in get_args(kind):
        yield from within_type(inner)


def fields_of(kind: Any) -> dict[str, Any]:
    """The fields of a model under their keys."""
    return {to_camel(name): field for name, field in kind.model_fields.items()} if is_model(kind) else {}


# ---- settings

# What may stand by mistake where something else belongs.
WRONG: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**9, float("nan"), float("inf"), "", " ", "text", "2" * 11, "\u0665" * 12,
    "a" * 300, "a\nb", "é", "\0", "*", "..", [], [None], ["a", "a"], [[1]], {}, {"a": 1}, {"": None}, {"é\n": {}},
]  # fmt: skip


@cache
def adapter(stack_type: str, path: tuple[str | int, ...]) -> TypeAdapter[Any]:
    """The type of what stands at a path."""
    kind = declared_type(path, stack_type)
    return TypeAdapter(kind, config=None if is_model(kind) else Model.model_config)


@cache
def fits(stack_type: str, path: tuple[str | int, ...], index: int) -> bool:
    """Whether the type of what stands at a path takes one of WRONG."""
    try:
        # Entries of a list have one type.
        adapter(stack_type, tuple(0 if isinstance(part, int) else part for part in path)).validate_python(WRONG[index])
    except ValidationError:
        return False
    return True


def is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


@reaches("registry", "consumer", "refused", "publishers", "two_rules", "release", "routes", "secret", least=2)
@examples(5)
@given(STACK_FILES)
@example(PUBLISHED)
@example({**PUBLISHED, "account": "2" * 12})
@example(ROUTED)
@example({**ROUTED, "account": "2" * 12})
def test_what_settings_accept_components_accept(values: dict[str, Any]) -> None:
    loaded = accepted(lambda: read(values))
    environment = values.get("function", {}).get("environment")
    secret = accepted(lambda: read(values, secret={"function"})) if environment else None
    args = arguments(loaded) if loaded else None
    rules = values.get("repository", {}).get("lifecycle", [])
    reached(
        registry=isinstance(loaded, RegistrySettings),
        consumer=isinstance(loaded, ConsumerSettings),
        refused=loaded is None,
        publishers=loaded and values.get("repository", {}).get("publishers"),
        two_rules=loaded and len(rules) > 1,
        release=loaded and "release" in values.get("function", {}),
        routes=loaded and values.get("api", {}).get("routes"),
        secret=secret,
    )
    if environment:
        assert (secret is None) == (loaded is None)
    if secret and loaded:
        assert secret.model_dump() == loaded.model_dump()
        assert isinstance(secret_args := arguments(secret), ImageFunctionArgs)
        assert secret_args.secret_environment
    if isinstance(args, CrossAccountRepositoryArgs):
        for region in (args.region, *args.replicas):
            assert len(args.policies[region]) <= POLICY_CHARACTERS


@reaches("of_a_section", "of_an_option", "of_an_entry", "further_in")
@examples(0.2)
@given(CONFIGURATIONS)
def test_a_wrong_value_anywhere_is_refused_by_its_path_and_nothing_else_is(values: dict[str, Any]) -> None:
    for path in places(values):
        if path[0] not in STRUCTURED:
            continue
        for index, wrong in enumerate(WRONG):
            if (len(path) == 1 and wrong in ({}, [])) or fits(values["stackType"], path, index):
                continue
            reached(
                of_a_section=len(path) == 1,
                of_an_option=len(path) == 2,
                of_an_entry=isinstance(path[-1], int),
                further_in=len(path) > 2,
            )
            listed = problems(refusal(put(values, path, wrong)))
            assert listed
            for line in listed:
                assert re.match(rf"{re.escape(shown(path))}[:.\[]", line), (path, wrong, line)


@reaches("top", "section", "inner")
@given(CONFIGURATIONS)
def test_an_unknown_key_anywhere_is_refused_by_its_path(values: dict[str, Any]) -> None:
    for path in [(), *places(values)]:
        inside = reduce(lambda value, part: value[part], path, values)
        if isinstance(inside, dict) and (not path or is_section(path, values["stackType"])):
            reached(top=not path, section=len(path) == 1, inner=len(path) > 1)
            message = refusal(put(values, (*path, "unknown"), "{}"))
            assert f"{shown((*path, 'unknown'))}: " in message
            assert len(problems(message)) == 1


# What leaves a key out.
NOTHING = st.sampled_from(["", "{}", "[]"])


@reaches("read", "refused", least=1)
@given(CONFIGURATIONS, st.sampled_from(KEYS), NOTHING | st.text() | JSON.map(json.dumps) | st.just("[" * 100_000))
def test_no_text_at_any_key_ends_in_a_traceback(values: dict[str, Any], key: str, text: str) -> None:
    texts = {name: json.dumps(value) if name in STRUCTURED else str(value) for name, value in values.items()}
    made = accepted(lambda: arguments(parse({**texts, key: text}, PROJECT)))
    reached(read=made, refused=not made)


@reaches("read", "refused")
@given(CONFIGURATIONS, JSON)
def test_no_value_anywhere_ends_in_a_traceback(values: dict[str, Any], value: Any) -> None:
    for path in places(values):
        changed = put(values, path, value)
        made = accepted(lambda changed=changed: arguments(read(changed)))
        reached(read=made, refused=not made)


# What AWS takes, written down a second time. Digits and letters are those of ASCII.
BASES: dict[str, dict[str, Any]] = {
    "registry": {
        "stackType": "registry",
        "account": "111111111111",
        "region": "us-east-1",
        "repository": {"name": "it"},
        "consumers": [{"account": "222222222222", "functions": ["it"]}],
    },
    "consumer": {
        "stackType": "consumer",
        "account": "222222222222",
        "region": "us-east-1",
        "registry": {"stack": "it"},
        "image": {"tag": "it"},
        "function": {},
        "api": {},
    },
}
FORMATS: dict[tuple[str, tuple[str | int, ...]], str] = {
    ("registry", ("account",)): r"\d{12}",
    ("registry", ("region",)): r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}",
    ("registry", ("repository", "name")): r"(?=.{2,256}$)([a-z\d]+([._-][a-z\d]+)*/)*[a-z\d]+([._-][a-z\d]+)*",
    ("registry", ("consumers", 0, "account")): r"(?!1{12})\d{12}",
    ("registry", ("consumers", 0, "functions", 0)): r"[\w*?-]{1,64}",
    ("consumer", ("image", "tag")): r"\w[\w.-]{0,127}",
    ("consumer", ("function", "name")): r"[\w-]{1,64}",
    ("consumer", ("api", "path")): r"/|(?!\.{1,2}(/|$))[\w.-]+(/(?!\.{1,2}(/|$))[\w.-]+)*",
    ("consumer", ("api", "stage")): r"[\w-]{1,128}",
}


@cache
def names_like(pattern: str) -> st.SearchStrategy[str]:
    """Names that match a pattern, or nearly."""
    bounded = re.sub(r"\{\d+,\d{2,}\}", "{1,14}", pattern.replace("(?=.{2,256}$)", r"[a-z\d]"))
    plain = st.from_regex(re.compile(bounded, re.ASCII), fullmatch=True)
    # What a careless pattern lets slip: digits and letters of other scripts, and a line break at the end.
    careless = st.from_regex(bounded, fullmatch=True) | plain.map(lambda name: f"{name}\n")
    return plain | careless | st.text("aA1\u0665é_-./*", max_size=14)


@reaches("allowed", "refused", least=2)
@pytest.mark.parametrize(("place", "pattern"), FORMATS.items(), ids=[shown(path) for _, path in FORMATS])
@given(data=st.data())
def test_a_name_is_read_exactly_if_aws_takes_it(
    place: tuple[str, tuple[str | int, ...]], pattern: str, data: st.DataObject
) -> None:
    role, path = place
    name = data.draw(names_like(pattern))
    assume(name)
    allowed = re.fullmatch(pattern, name, re.ASCII) is not None
    reached(allowed=allowed, refused=not allowed)
    assert (accepted(lambda: read(put(BASES[role], path, name))) is not None) == allowed


# ---- secrets

CANARIES = st.sampled_from([CANARY, [CANARY], {"TOKEN": CANARY}, {"TOKEN": [CANARY]}, [{"value": CANARY}]])


@reaches("environment", "secrets", "args", "function", "image", least=1)
@given(CONFIGURATIONS, CANARIES)
def test_no_refusal_repeats_the_value_of_a_variable_a_reference_or_a_build_argument(
    values: dict[str, Any], canary: Any
) -> None:
    for path in places(values):
        named = {("function",), ("image",)} & {path} or {"environment", "secrets", "args"} & set(path[1:2])
        if named:
            try:
                arguments(read(put(values, path, canary)))
            except DeploymentError as refused:
                reached(**{str(part): True for part in path[:2]})
                assert CANARY not in str(refused)  # noqa: PT017  # some are accepted


@reaches("repository", "consumers", "registry", "image", "function", "api", "account", "region")
@given(CONFIGURATIONS, CANARIES)
def test_no_refusal_repeats_a_value_of_a_key_that_is_secret(values: dict[str, Any], canary: Any) -> None:
    for path in places(values):
        changed = put(values, path, canary if path[0] in STRUCTURED else CANARY)
        reached(**{str(path[0]): True})
        message = refusal({**changed, "unknown": "{}"}, secret={path[0]})
        assert CANARY not in message
        assert path[0] in ("function", "stackType") or f"{shown(path[:1])}: is set with --secret" in message


# ---- the repository policy, asked of an evaluator

NAMES = st.sampled_from(["ab", "a-b", "b"]) | st.text("ab-_", min_size=1, max_size=6)
PATTERNS = st.sampled_from(["*b", "a*", "?*", "*"]) | st.text("ab-*?", min_size=1, max_size=6)
FEW_ACCOUNTS = st.sampled_from(["222222222222", "222222222222", "333333333333", "444444444444"])
FEW_REGIONS = st.sampled_from(["us-east-1", "us-east-1", "eu-west-1", "cn-north-1"])
FEW_ROLES = st.sampled_from(["deployer", "deploy", "other"])
ORGANIZATIONS = st.sampled_from(["", "o-aaaaaaaaaa", "o-bbbbbbbbbb"])


@st.composite
def policy_consumers(draw: st.DrawFn) -> list[Consumer]:
    accounts = draw(st.lists(FEW_ACCOUNTS, unique=True, max_size=3))
    return [
        Consumer(
            account=account,
            regions=draw(st.lists(FEW_REGIONS, max_size=2)),
            functions=draw(st.lists(PATTERNS, min_size=1, max_size=2)),
            roles=[f"arn:aws:iam::{account}:role/{role}" for role in draw(st.lists(FEW_ROLES, max_size=2))],
        )
        for account in accounts
    ]


def allows(policy: Document, action: str, caller: str, keys: dict[str, str], service: str | None = None) -> bool:
    context = EvalContext(
        principal_arn=caller,
        principal_type="AssumedRole",
        principal_account=caller.split(":")[4] if service is None else "",
        action=action,
        resource_arn="arn:aws:ecr:us-east-1:111111111111:repository/it",
        region="us-east-1",
        service_context=keys,
        principal_keys=keys,
    )
    return evaluate_resource_policy(policy, context, service=service).decision == "Allow"


ACTIONS = st.sampled_from([*PULL_ACTIONS * 4, *PUSH_ACTIONS, "ecr:DeleteRepository", "ecr:BatchDeleteImage"])


@reaches("allowed", "by_role", "by_organization", "of_a_stranger", "of_another_role", "push", least=2)
@examples(6)
@given(policy_consumers(), FEW_REGIONS, ORGANIZATIONS, ACTIONS, FEW_ACCOUNTS, FEW_ROLES, ORGANIZATIONS)
def test_exactly_the_granted_callers_may_pull(
    consumers: list[Consumer], region: str, organization: str, action: str, account: str, role: str, member: str
) -> None:
    policy = repository_policy(consumers, region, organization=organization)
    kind = partition(region)
    keys = {"aws:principalorgid": member} if member else {}
    mine = [consumer for consumer in consumers if consumer.account == account and consumer.is_in(region)]
    # Named roles are ARNs of the partition they are in.
    caller = f"arn:{'aws' if any(one.roles for one in mine) else kind}:iam::{account}:role/{role}"
    granted = any(not one.roles or caller in one.roles for one in mine) or (bool(organization) and not consumers)
    expected = granted and action in PULL_ACTIONS and organization in ("", member)
    named = any(one.roles for one in mine)
    reached(
        allowed=expected,
        by_role=expected and named,
        by_organization=expected and organization,
        of_a_stranger=not mine,
        of_another_role=named and not granted,
        push=granted and action in PUSH_ACTIONS,
    )
    assert allows(policy, action, caller, keys) == expected


@reaches("allowed", "by_pattern", "by_organization", "another_region", "another_name")
@examples(6)
@given(policy_consumers(), FEW_REGIONS, ORGANIZATIONS, ACTIONS, FEW_ACCOUNTS, FEW_REGIONS, NAMES, ORGANIZATIONS)
def test_exactly_the_granted_functions_are_pulled_for_by_lambda(
    consumers: list[Consumer],
    region: str,
    organization: str,
    action: str,
    account: str,
    function_region: str,
    name: str,
    member: str,
) -> None:
    policy = repository_policy(consumers, region, organization=organization)
    keys = {"aws:sourcearn": function_arn(account, function_region, name), "aws:sourceaccount": account}
    keys |= {"aws:sourceorgid": member} if member else {}
    granted = any(
        one.account == account
        and one.is_in(region)
        and any(fnmatch.fnmatchcase(name, pattern) for pattern in one.functions)
        for one in consumers
    ) or (bool(organization) and not consumers)
    expected = granted and region == function_region and action in PULL_ACTIONS and organization in ("", member)
    mine = [one for one in consumers if one.account == account and one.is_in(region)]
    reached(
        allowed=expected,
        by_pattern=expected and any("*" not in one.functions for one in mine),
        by_organization=expected and organization,
        another_region=granted and region != function_region,
        another_name=mine and not granted,
    )
    assert allows(policy, action, "lambda", keys, service="lambda.amazonaws.com") == expected
    assert not allows(policy, action, "ec2", keys, service="ec2.amazonaws.com")


@reaches("two_consumers", "two_roles")
@examples(3)
@given(policy_consumers(), FEW_REGIONS, ORGANIZATIONS, st.randoms(use_true_random=False))
def test_no_order_of_anything_changes_the_policy(
    consumers: list[Consumer], region: str, organization: str, chance: random.Random
) -> None:
    mixed = [
        one.model_copy(
            update={name: chance.sample(getattr(one, name), len(getattr(one, name))) for name in ("roles", "regions")}
        )
        for one in chance.sample(consumers, len(consumers))
    ]
    reached(two_consumers=mixed != consumers, two_roles=any(len(one.roles) > 1 for one in consumers))
    before = repository_policy(consumers, region, organization=organization)
    assert compact(repository_policy(mixed, region, organization=organization)) == compact(before)


@reaches("accepted", "refused")
@examples(2)
@given(st.integers(1, 400), PATTERNS, st.integers(0, 3), FEW_REGIONS)
def test_a_policy_that_is_accepted_is_never_too_long(count: int, functions: str, roles: int, region: str) -> None:
    listed = [
        Consumer(
            account=f"{number:012}",
            functions=functions,
            roles=[f"arn:aws:iam::{number:012}:role/{role}" for role in range(roles)],
        )
        for number in range(count)
    ]
    args = accepted(lambda: CrossAccountRepositoryArgs(name="it", region=region, consumers=listed))
    reached(accepted=args, refused=not args)
    assert args is None or len(args.policies[region]) <= POLICY_CHARACTERS
    assert args is not None or count > 20


ANYTHING = st.one_of(
    st.just("222222222222"),
    st.just("*"),
    st.text(max_size=20),
    st.builds("arn:aws:iam::{}:role/{}".format, ACCOUNTS, st.text(max_size=8)),
)
ROLES = st.sampled_from(["arn:aws:iam::222222222222:role/it", "arn:aws:iam::222222222222:role/team/it"])
ARNS = st.lists(ROLES, min_size=1, max_size=2, unique=True) | st.lists(ANYTHING, max_size=2)


@reaches("account", "role", "publisher", "refused")
@examples(3)
@given(ANYTHING, ARNS, ARNS, ANYTHING)
def test_what_is_written_as_a_principal_names_one(
    account: str, roles: list[str], publishers: list[str], functions: str
) -> None:
    makers: list[Callable[[], Consumer]] = [
        partial(Consumer, account=account, functions=functions),
        partial(Consumer, account="222222222222", roles=roles),
    ]
    consumers = list(filter(None, map(accepted, makers)))
    repository = accepted(lambda: Repository(name="it", publishers=publishers))
    reached(
        account=any(not one.roles for one in consumers),
        role=any(one.roles for one in consumers),
        publisher=repository and publishers,
        refused=repository is None or len(consumers) < len(makers),
    )
    for one in filter(None, [repository]):
        policy = repository_policy(consumers, "us-east-1", publishers=one.publishers)
        for arn in (arn for statement in policy["Statement"] for arn in statement["Principal"].get("AWS", ())):
            assert re.fullmatch(r"arn:aws(-cn|-us-gov)?:(iam|sts)::[0-9]{12}:[!-~]+", arn)
            assert not set("*?") & set(arn)


STATEMENTS = section(
    {"Effect": st.just("Allow"), "Action": st.just("ecr:ListImages"), "Principal": st.just("*")},
    Sid=st.sampled_from(["Auditors", "Others", "", "CrossAccountPermission"]) | JSON,
)


@reaches("accepted", "refused")
@examples(3)
@given(st.lists(STATEMENTS, max_size=3))
def test_further_statements_are_refused_without_a_sid_each(statements: list[dict[str, Any]]) -> None:
    repository = accepted(lambda: Repository(name="it", statements=statements))
    sids = [statement.get("Sid") for statement in statements]
    distinct = all(isinstance(sid, str) and sid for sid in sids) and len(set(map(str, sids))) == len(sids)
    reached(accepted=repository and statements, refused=repository is None)
    assert repository is None or distinct


# ---- lifecycle rules, variables, names and routes of the components

NUMBERS = st.none() | st.integers(-2, 5)
TAGS = st.lists(st.text("ab*", max_size=6), max_size=2)
NEVER: st.SearchStrategy[Any] = st.just([])
GIVEN_RULES = st.one_of(
    st.tuples(NUMBERS, NUMBERS, TAGS, TAGS, st.booleans()),
    # Those that ECR takes.
    st.tuples(st.integers(1, 5), st.none(), st.lists(st.text("ab", min_size=1), min_size=1), NEVER, st.just(False)),
    st.tuples(st.none(), st.integers(1, 5), NEVER, st.lists(st.text("ab*", min_size=1), min_size=1), st.just(False)),
    st.tuples(st.integers(1, 5), st.none(), NEVER, NEVER, st.just(True)),
    st.tuples(st.integers(1, 5), st.none(), NEVER, NEVER, st.just(False)),
)


@reaches("two_rules", "prefixes", "patterns", "untagged", "all_images", "refused", least=2)
@examples(3)
@given(st.lists(GIVEN_RULES, max_size=4))
def test_lifecycle_rules_are_such_as_ecr_takes_or_refused(given_rules: list[tuple[Any, ...]]) -> None:
    names = ("keep", "days", "tag_prefixes", "tag_patterns", "untagged")
    rules = [
        accepted(lambda values=values: LifecycleRule(**dict(zip(names, values, strict=True)))) for values in given_rules
    ]
    kept = [rule for rule in rules if rule]
    policy = lifecycle_policy(kept) if accepted(lambda: Repository(name="it", lifecycle=kept)) else None
    statuses = [rule["selection"]["tagStatus"] for rule in policy["rules"]] if policy else []
    reached(
        two_rules=len(statuses) > 1,
        prefixes=policy and any(rule.tag_prefixes for rule in kept),
        patterns=policy and any(rule.tag_patterns for rule in kept),
        untagged="untagged" in statuses,
        all_images="any" in statuses,
        refused=policy is None,
    )
    for number, rule in enumerate(policy["rules"] if policy else (), start=1):
        selection = rule["selection"]
        assert rule["rulePriority"] == number
        assert selection["countNumber"] >= 1
        assert (selection["tagStatus"] == "any") <= (number == len(kept))
        assert all(selection.get("tagPrefixList", ["x"]))
        assert all(len(one) > 0 and one.count("*") <= 4 for one in selection.get("tagPatternList", ["x"]))
    assert sum(rule["selection"]["tagStatus"] == "untagged" for rule in (policy or {"rules": []})["rules"]) <= 1


REFERENCES = st.sampled_from(
    [
        "arn:aws:secretsmanager:us-east-1:222222222222:secret:it",
        "arn:aws:ssm:us-east-1:222222222222:parameter/it",
        "arn:aws:ssm:us-east-1:222222222222:parameter/a/b",
        "arn:aws:ssm:us-east-1:222222222222:parameter/*",
    ]
)


@reaches("environment", "secrets", "tags", "refused")
@examples(3)
@given(
    st.dictionaries(VARIABLES, st.text(max_size=2_000), max_size=3) | st.dictionaries(st.text(max_size=6), WORDS),
    st.dictionaries(VARIABLES, REFERENCES, min_size=1, max_size=2)
    | st.dictionaries(st.text(max_size=6), st.text(max_size=20), max_size=2),
    st.dictionaries(st.sampled_from("ab"), st.sampled_from("ab"))
    | st.dictionaries(st.text(max_size=6), WORDS, max_size=1),
)
def test_variables_and_tags_are_such_as_lambda_takes_or_refused(
    environment: dict[str, str], secrets: dict[str, str], tags: dict[str, str]
) -> None:
    args = accepted(
        lambda: ImageFunctionArgs(name="it", image=IMAGE, environment=environment, secrets=secrets, tags=tags)
    )
    reached(environment=args and environment, secrets=args and secrets, tags=args and tags, refused=not args)
    if args:
        assert all(re.fullmatch("[a-zA-Z][a-zA-Z0-9_]+", name) for name in args.variables())
        assert not set(args.variables()) & RESERVED_VARIABLES
        assert len(json.dumps(args.variables(), separators=(",", ":"), ensure_ascii=False).encode()) <= 4096
        assert all(value.startswith("arn:aws") and "*" not in value for value in secrets.values())
        assert not [name for name in tags if not name or name.startswith("aws:")]


@reaches("one_route", "more_routes", "origin", "refused")
@examples(3)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "a/b", "a.b", "/", "{a}", "a/{a}", "a/{b}", "a/{a+}"])
            | st.text("a.~/-é{}+", max_size=6),
            METHODS,
        ),
        max_size=4,
    ),
    st.none() | st.sampled_from(["*", "https://a.a"]) | st.text("a-*:/. ", max_size=8),
)
def test_routes_are_such_as_api_gateway_takes_or_refused(
    given_routes: list[tuple[str, str]], origin: str | None
) -> None:
    routes = [
        accepted(lambda path=path, method=method: RestRoute(path=path, method=method)) for path, method in given_routes
    ]
    kept = [route for route in routes if route]
    api = accepted(lambda: RestApi(routes=kept, cors_origin=origin))
    reached(one_route=api and len(kept) == 1, more_routes=api and len(kept) > 1, origin=api and origin, refused=not api)
    siblings: dict[tuple[str, ...], set[str]] = {}
    for route in api.all_routes if api else ():
        for depth, part in enumerate(route.parts):
            last = r"\+?" if depth == len(route.parts) - 1 else ""
            assert re.fullmatch(rf"[a-zA-Z0-9._:-]+|\{{[a-zA-Z0-9._-]+{last}\}}", part)
            assert part not in (".", "..")
            if part.startswith("{"):
                siblings.setdefault(tuple(route.parts[:depth]), set()).add(part)
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
    assert all(len(parameters) == 1 for parameters in siblings.values())


# ---- the content tag

FILES = st.dictionaries(
    st.lists(st.sampled_from(["a", "b", "ab", "é", "a b", "A"]), min_size=1, max_size=3).map("/".join),
    st.tuples(st.binary(max_size=6), st.booleans()),
    max_size=5,
).filter(lambda files: not any(one.startswith(f"{other}/") for one in files for other in files))
ARGUMENTS = st.dictionaries(st.sampled_from(["A", "B", "AB"]), st.text("A=B1", max_size=4), max_size=2)
Content = tuple[dict[str, tuple[bytes, bool]], dict[str, str], str]
CONTENTS = st.tuples(FILES, ARGUMENTS, st.sampled_from(["", "a", "A=1"]))


def tag_of(content: Content, chance: random.Random) -> str:
    """The tag of a folder that is written in any order, with any umask, at any time and place."""
    files, args, target = content
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        (Path("app")).mkdir()
        Path("app/Dockerfile").write_text("FROM scratch\n")
        for name in chance.sample(sorted(files), len(files)):
            data, executable = files[name]
            path = Path("app", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            others = chance.choice([0o000, 0o011, 0o044, 0o055])
            path.chmod((0o700 if executable else 0o600) | others)
            os.utime(path, (chance.randrange(10**9), chance.randrange(10**9)))
        shuffled = {name: args[name] for name in chance.sample(sorted(args), len(args))}
        return ImageBuild(context="app", args=shuffled, target=target).tag


@reaches("same", "other")
@examples(1.5)
@given(st.tuples(CONTENTS, CONTENTS) | CONTENTS.map(lambda one: (one, one)), st.randoms(use_true_random=False))
def test_two_contents_have_the_same_tag_exactly_if_they_are_the_same(
    pair: tuple[Content, Content], chance: random.Random
) -> None:
    one, other = pair
    reached(same=one == other, other=one != other)
    assert (tag_of(one, chance) == tag_of(other, chance)) == (one == other)
    assert tag_of(one, chance) == tag_of(one, chance)


@reaches("files", "arguments")
@examples(0.4)
@given(CONTENTS, st.data(), st.randoms(use_true_random=False))
def test_any_single_change_is_another_tag(content: Content, data: st.DataObject, chance: random.Random) -> None:
    files, args, target = content
    reached(files=files, arguments=args)
    changes: list[Content] = [(files, args, f"{target}x"), (files, {**args, "C": ""}, target)]
    changes += [(files, {**args, name: f"{value}x"}, target) for name, value in args.items()]
    for name, (content_, executable) in files.items():
        place = data.draw(st.integers(0, len(content_)))
        others = {other: file for other, file in files.items() if other != name}
        changes += [
            (others, args, target),
            ({**others, name: (content_, not executable)}, args, target),
            ({**others, f"{name}x": (content_, executable)}, args, target),
            ({**others, name: (content_[:place] + b"x" + content_[place:], executable)}, args, target),
        ]
    tags = [tag_of(changed, chance) for changed in [content, *changes]]
    assert len(set(tags)) == len(tags)


# ---- the staged context, and what the docker provider hashes of it

# The official provider if it is installed, else the stand-in.
ROOT = Path(__file__).parents[2]
INSTALLED = sorted(ROOT.glob(".local/pulumi-home/plugins/resource-docker-*/pulumi-resource-docker"))
PROVIDER = [str(INSTALLED[-1])] if INSTALLED else [sys.executable, "-m", "offline.plugins", "docker"]
Tree = tuple[dict[str, tuple[bytes, bool]], dict[str, str]]


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Files, and links to some of them. After a link to nothing the provider looks no further."""
    files = draw(FILES)
    names = st.sampled_from([*sorted(files), "Dockerfile"])
    return files, draw(st.dictionaries(st.sampled_from(["link", "Link"]), names, max_size=2))


class DockerProvider:
    """A docker provider, in a folder of its own, asked for the hash of a staged context."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [*PROVIDER, "127.0.0.1:1"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.channel = grpc.insecure_channel(f"127.0.0.1:{int(self.process.stdout.readline())}")
        self.stub = provider_pb2_grpc.ResourceProviderStub(self.channel)

    def close(self) -> None:
        self.channel.close()
        self.process.terminate()
        self.process.communicate()

    def look(self, tree: Tree, chance: random.Random) -> tuple[str, str]:
        """The tag of a tree, and the provider's hash of what is staged of it."""
        files, links = tree
        with contextlib.chdir(self.folder):
            shutil.rmtree("app", ignore_errors=True)
            Path("app").mkdir()
            Path("app/Dockerfile").write_text("FROM scratch\n")
            for name, text in links.items():
                Path("app", name).symlink_to(text)
            for name, (data, executable) in files.items():
                path = Path("app", name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                path.chmod((0o700 if executable else 0o600) | chance.choice([0o000, 0o044, 0o055, 0o4000]))
            build = ImageBuild(context="app")
            staged = stage(build)
        inputs = struct_pb2.Struct()
        options = {"context": staged.context, "dockerfile": staged.dockerfile, "platform": "linux/amd64"}
        inputs.update({"imageName": "localhost:1/it:it", "build": options})
        request = provider_pb2.CheckRequest(urn="urn:pulumi:s::p::docker:index/image:Image::it", news=inputs)
        checked = self.stub.Check(request, timeout=30, wait_for_ready=True)
        return build.tag, checked.inputs["build"]["contextDigest"]


@pytest.fixture(scope="module")
def docker_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerProvider]:
    provider = DockerProvider(tmp_path_factory.mktemp("provider"))
    yield provider
    provider.close()


@reaches("same", "other", "files", "links")
@given(st.tuples(trees(), trees()) | trees().map(lambda one: (one, one)), st.randoms(use_true_random=False))
def test_the_docker_provider_sees_a_change_exactly_if_the_tag_changes(
    docker_provider: DockerProvider, pair: tuple[Tree, Tree], chance: random.Random
) -> None:
    one, other = pair
    reached(same=one == other, other=one != other, files=one[0], links=one[1])
    (tag, seen), (other_tag, other_seen) = docker_provider.look(one, chance), docker_provider.look(other, chance)
    assert (tag == other_tag) == (seen == other_seen) == (one == other)
    assert docker_provider.look(one, chance) == (tag, seen)


# ---- .dockerignore

PARTS = st.sampled_from(["a", "b", "ab", "a.b", "lib", "x.py", ".env"])
IGNORED = st.lists(PARTS | st.sampled_from(["*", "?", "a*", "*.py", "[ab]", "**"]), min_size=1, max_size=3)


@reaches("matches", "differs", "below")
@examples(3)
@given(st.lists(st.lists(PARTS, min_size=1, max_size=4).map("/".join), max_size=12), IGNORED.map("/".join))
def test_a_line_of_dockerignore_matches_what_the_docker_library_matches(names: list[str], line: str) -> None:
    # The library looks at one folder above a path only, so each folder is asked for, and lines stand alone.
    theirs = docker.utils.build.PatternMatcher([line])
    ours = Patterns([line])
    for name in names:
        above = ["/".join(name.split("/")[:depth]) for depth in range(1, name.count("/") + 2)]
        reached(matches=ours.match(name), differs=not ours.match(name), below=ours.match(name) and line != name)
        assert ours.match(name) == any(map(theirs.matches, above)), name


@reaches("read", "refused")
@examples(3)
@given(st.lists(st.text("ab/*?[]^!-.\\# ", max_size=8), max_size=4), st.lists(st.text("ab/.", min_size=1), max_size=4))
def test_no_line_of_dockerignore_ends_in_a_traceback(lines: list[str], names: list[str]) -> None:
    patterns = accepted(lambda: Patterns(lines))
    reached(read=patterns and lines, refused=not patterns)
    for name in names:
        assert patterns is None or patterns.match(name.strip("/")) in (True, False)


@reaches("plain", "special", "below")
@given(st.text("ab/*?[]^!-.\\#", min_size=1, max_size=8))
def test_the_line_that_excludes_a_path_matches_it(name: str) -> None:
    path = posixpath.normpath(name).strip("/")
    assume(path and not path.startswith(".."))
    assume(path != ".")
    reached(plain=not set("*?[]\\") & set(path), special=set("*?[]\\") & set(path), below="/" in path)
    assert Patterns([pattern_of(path)]).match(path)
    assert not Patterns([pattern_of(path)]).match(f"{path}x")
