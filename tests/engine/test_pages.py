"""The commands on the pages, run as written, from an empty cloud to an empty cloud."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.clone import ROOT, Clone, interrupt_at
from tests.pages import block, commands, documented

HELLO = '{"message": "hello world!"}'
# A person confirms each update; a test cannot.
CONFIRM = "export PULUMI_SKIP_CONFIRMATIONS=true"
SKIP_PREVIEW = "export PULUMI_OPTION_SKIP_PREVIEW=true"


class Reader(Clone):
    """A user who types the commands on the pages."""

    def type(self, *lines: str) -> str:
        """Run command lines in the environment of the local run. Returns their output."""
        # `deployment` passes the CLI `--preview-only`, which excludes this option.
        options = [SKIP_PREVIEW] if lines[0].startswith("pulumi") else []
        ran = self.shell(" && ".join([CONFIRM, *options, *lines]))
        assert ran.returncode == 0, f"{lines}\n{ran.stdout}"
        return ran.stdout

    def type_outside(self, *lines: str) -> str:
        """Type command lines into a shell outside of the local run. Returns their output."""
        # `make shell` reads the lines after it, as from a keyboard.
        ran = subprocess.run(
            ["bash"], cwd=self.root, env={**self.env, "SHELL": "/bin/bash"}, input="\n".join([*lines, ""]), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert ran.returncode == 0, f"{lines}\n{ran.stdout}"
        return ran.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A clone in which the commands of the README deployed both stacks, and a line is changed."""
    reader = Reader.make_in(tmp_path_factory.mktemp("reader"))
    try:
        reader.type_outside(documented("make setup"))
        _, *deploy = block("README.md", "pulumi install")
        assert deploy == block("docs/credentials.md", "pulumi install")[1:]
        assert HELLO in reader.type(*deploy)
        printed = reader.type_outside(documented("make demo"))
        assert re.search(rf"GET https://\S+/Prod/hello\n200 {re.escape(HELLO)}", printed)
        # The demo updates both stacks again, and edits no file.
        assert reader.last_update("registry") == reader.last_update("consumer") == {}
        assert reader.git_status() == ""
        reader.edit("app/app.py", "hello world!", "hello reader!")
        enter, *inside, down = block("README.md", "make shell")
        assert '{"message": "hello reader!"}' in reader.type_outside(enter, CONFIRM, *inside)
        assert down == "make down"
        yield reader
    finally:
        reader.end()


def test_the_policy_pack_is_used_as_its_page_says(reader: Reader) -> None:
    _, *commands = block("docs/policy-pack.md", "(cd policy_pack && pulumi install)")
    assert len(commands) == 3
    assert "function-timeout" not in reader.type(*commands)


def test_the_commands_of_the_deployment_do_what_their_page_says(reader: Reader) -> None:
    # The script of the page runs on both stacks.
    assert "/Prod/hello" in reader.type(documented("python examples/embed.py"))
    preview = reader.type(documented("python -m deployment preview") + " --no-registry")
    assert re.search(r"^consumer  preview +\d+ unchanged  ", preview, re.MULTILINE), preview
    assert "200 in" in reader.type(documented("python -m deployment up --check") + " --no-registry")
    reader.type(documented("python -m deployment up --refresh") + " --no-consumers")
    reader.type(documented("python -m deployment refresh") + " --no-registry")
    assert "endpointUrl" in reader.type(documented("python -m deployment status --json"))
    reader.type(documented("python -m deployment status"))
    reader.type(documented("python -m deployment drift") + " --no-registry")
    assert '{\\"message\\": \\"hello reader!\\"}' in reader.type(documented("python -m deployment invoke consumer"))
    follow = documented("python -m deployment logs --follow")
    interrupt_at(reader.begin(f"timeout --foreground --signal=INT 60 {follow}"), "took ")

    running = reader.output("consumer", "imageDigest")
    reader.type(documented("python -m deployment rollback consumer"))
    assert reader.get() == (200, json.loads(HELLO))
    assert running[:19] in reader.type(documented("python -m deployment history consumer"))
    digest = "sha256:2f6d1b0c9a4e"
    back = documented("python -m deployment rollback consumer --to sha256:2f6d1b0c9a4e")
    reader.type(back.replace(digest, running))
    assert reader.get() == (200, {"message": "hello reader!"})
    reader.type(documented("python -m deployment repair consumer"))


def test_an_idle_function_of_the_local_cloud_is_pulled_again(reader: Reader) -> None:
    _, age = block(
        "docs/local-cloud.md",
        "aws ecr get-login-password --profile registry | docker login -u AWS --password-stdin localhost:4566",
    )
    reader.type(age.replace("4566", str(reader.port)))
    function = reader.client("consumer", "lambda").get_function(FunctionName="cross-account-function")
    assert function["Configuration"]["State"] == "Inactive"


def test_the_record_of_a_set_up_is_copied(reader: Reader) -> None:
    reader.type(documented("cp .local/logs/steps.jsonl bench/fresh-steps.jsonl"))
    reader.restore()


def test_every_pulumi_and_docker_command_that_a_sentence_names_exists(reader: Reader) -> None:
    named = {command.text for command in commands() if not command.run}
    named = {text.replace(" …", "") for text in named if text.startswith(("pulumi ", "docker "))}
    assert len(named) > 10
    # For an unknown command or option the command prints an error instead of its help.
    assert reader.type(*(f"{text} --help" for text in sorted(named))).count("Usage:") >= len(named)


def test_a_destroy_as_the_readme_says_leaves_nothing(reader: Reader) -> None:
    assert set(reader.owned()) == {"functions", "roles", "log groups", "apis", "repositories"}
    reader.type(documented("pulumi destroy -s consumer"))
    assert set(reader.owned()) == {"repositories"}
    reader.type(documented("python -m deployment destroy --no-registry --yes"))
    (line,) = re.findall(r"`(cross-account-ecr:repository: \{.*?\})`", (ROOT / "README.md").read_text())
    reader.edit("Pulumi.registry.yaml", "cross-account-ecr:repository: {name: cross-account-function}", line)
    reader.type(documented("pulumi up -s registry"), documented("pulumi destroy -s registry"))
    assert reader.owned() == {}
    reader.type_outside(documented("make down"))
    assert reader.processes() == []
    assert not Path(reader.root, ".local", "state").exists()
