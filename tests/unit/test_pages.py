"""Every command on every page is run by a test, or its parts are checked here, or it is listed with the reason."""

import argparse
import ast
import re
import shlex
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from tests.pages import ROOT, Command, block, commands

COMMANDS = sorted({(command.text, command.run): command for command in commands()}.values())
NOT_RUN = {
    "make test": "runs this test",
    "make test-unit": "runs this test",
    "make lint": "`make test` runs it before this test",
    "make mutants": "takes 15 minutes",
    "make lock": "needs the newest packages of PyPI",
    "make bench": "takes 15 minutes",
    'make bench ARGS="--only imports"': "measures; its arguments are checked here",
    'make bench ARGS="--check"': "measures; its arguments are checked here",
    "python3 -m local test tests/engine/test_journey.py -k hello": "runs tests",
    "python3 -m local pin": "downloads the archives of the Pulumi CLI",
    "LOCAL_CLOUD_PORT=4567 make demo": "every engine test runs `make demo` with a port of its own",
    "pulumi install": "changes the environment that runs this test; test_package.py runs it for the plugin",
    "(cd policy_pack && pulumi install)": "needs PyPI; test_package.py runs it for the plugin",
    "pulumi package add ./plugin": "needs the official language hosts; test_package.py uses the plugin from a program",
    "pip download --dest app/wheels --python-version 3.13 --platform manylinux2014_x86_64 --only-binary :all: "
    "--requirement app/requirements.txt": "needs PyPI",
    "pip install .": "test_wheel.py installs the same wheel without its dependencies",
    "pip install boto3": "needs PyPI",
    "pip install watchfiles": "needs PyPI",
    'eval "$(python -m deployment completion bash)"': "test_deployment_command_line.py runs it",
    "hypercorn examples.web.app:app": "test_web_example.py runs it with a port of its own",
    "aws configure sso": "needs a browser",
    "aws configure sso --profile registry": "needs a browser",
    "aws configure sso --profile consumer": "needs a browser",
    "aws configure list-profiles": "a command of the AWS CLI alone, which the tests do not have",
    "aws sso login --profile registry": "needs a browser",
    "aws sso login --profile PROFILE": "needs a browser",
    "aws login": "needs a browser",
    "aws ecr get-login-password --profile registry | docker login -u AWS --password-stdin localhost:4566":
        "needs the AWS CLI; test_access.py logs in with the same token",
}  # fmt: skip


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 80


def run_by_engine_tests() -> set[str]:
    """The commands that engine tests take from the pages."""
    found = set[str]()
    for path in (ROOT / "tests" / "engine").glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                values = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
                if node.func.id == "documented":
                    found.add(str(values[0]))
                elif node.func.id == "block":
                    found |= set(block(*map(str, values)))
    return found


ENGINE = run_by_engine_tests()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.text)
def test_a_command_is_run_or_checked_or_listed_with_the_reason(command: Command) -> None:
    if command.text in ENGINE or command.text in NOT_RUN:
        return
    program, *arguments = shlex.split(command.text)
    checked = {
        # test_deployment_command_line.py parses each.
        "python": arguments[:2] == ["-m", "deployment"],
        "aws": program == "aws" and is_call_of_aws(*arguments),
        # test_pages.py of the engine tests parses those that a sentence names.
        "pulumi": not command.run,
        "docker": not command.run,
        "make": not command.run and len(arguments) == 1,
    }
    assert checked.get(program), f"{command.page}: no test runs `{command.text}`, and NOT_RUN has no reason"


def test_no_exception_is_listed_for_a_command_that_is_on_no_page() -> None:
    assert set(NOT_RUN) - {command.text for command in COMMANDS} == set()


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", Path("Makefile").read_text(), re.MULTILINE))
    named = {shlex.split(command.text)[1] for command in COMMANDS if command.text.startswith("make ")}
    assert {"demo", "test", "shell", "down"} <= named <= targets


def test_the_arguments_of_the_measurements_are_allowed() -> None:
    from bench.__main__ import _parser

    given = [text for text in NOT_RUN if "ARGS=" in text]
    assert given
    for text in given:
        assert isinstance(_parser().parse_args(shlex.split(shlex.split(text)[2].partition("=")[2])), argparse.Namespace)


def is_call_of_aws(service: str, operation: str, *options: str) -> bool:
    """Whether AWS has this operation with these parameters."""
    model = botocore.session.get_session().get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(names[operation]).input_shape
    members = {xform_name(name, "-") for name in (shape.members if shape else ())}
    return {option.removeprefix("--") for option in options if option.startswith("--")} <= members | {"profile"}


def test_every_error_on_the_page_of_failures_is_one_of_the_program_or_seen_by_a_test() -> None:
    table = (ROOT / "docs" / "failures.md").read_text().partition("## Find an error by its text")[2].partition("## ")[0]
    texts = [
        text for row in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE) for text in re.findall(r"`(.*?)`", row)
    ]
    assert len(texts) > 15
    folders = (ROOT / name for name in ("components", "stacks", "deployment", "local", "tests"))
    known = "\n".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    known += (ROOT / "settings.py").read_text()
    assert [text for text in texts if text not in re.sub(r'" *\n\s*f?"', "", known)] == []
