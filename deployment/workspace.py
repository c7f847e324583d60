"""Temporary Pulumi projects, one for each stack, so that a run does not edit files in the program's folder."""

import json
import math
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pulumi.automation import LocalWorkspace, OutputMap, PulumiCommand, Stack, StackNotFoundError, UpdateSummary
from pulumi.automation._stack import StackInitMode  # `create_or_select` cannot create a subclass

from deployment.errors import ConfigurationError

Program = Callable[[], Any]

# https://www.pulumi.com/docs/iac/concepts/state-and-backends/
SCHEMES = ("file", "s3", "gs", "azblob", "postgres", "https", "http")

FOLDER = "Run this in the program's folder, or name it: --folder FOLDER"


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Where the state is stored, and how its secrets are encrypted. A team that shares stacks shares both.

    Attributes:
        url: `file://…`, `s3://BUCKET?region=…` or the URL of Pulumi Cloud. Default: `PULUMI_BACKEND_URL`, or the URL of
            `pulumi login`. https://www.pulumi.com/docs/iac/concepts/state-and-backends/
        secrets_provider: for new stacks: `passphrase`, or a key such as `awskms://alias/NAME?region=…`. Default: the
            backend's default. https://www.pulumi.com/docs/iac/concepts/secrets/#available-encryption-providers
        passphrase: for the provider `passphrase`. Default: the value of `PULUMI_CONFIG_PASSPHRASE`.
    """

    url: str = ""
    secrets_provider: str = ""
    passphrase: str = field(default="", repr=False)

    def environment(self) -> dict[str, str]:
        """The environment variables that select this backend."""
        known = {"PULUMI_BACKEND_URL": self.url, "PULUMI_CONFIG_PASSPHRASE": self.passphrase}
        # The state names the secrets provider, so a stack file without it does not change it.
        keep = {"PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true"}
        return {**keep, **{name: value for name, value in known.items() if value}}


class UnselectedWorkspace(LocalWorkspace):
    """Finds and creates stacks without selecting them. A selection would leave a file in `~/.pulumi` for each project.

    Every command names its stack. https://github.com/pulumi/pulumi/issues/8186

    Attributes:
        exported: the output of `pulumi stack export` from when the stack was found.
    """

    exported = ""

    def create_stack(self, stack_name: str) -> None:
        """Create a stack."""
        provider = ["--secrets-provider", self.secrets_provider] if self.secrets_provider else []
        self._run(["stack", "init", "--no-select", *provider, stack_name])

    def select_stack(self, stack_name: str) -> None:
        """Check that the stack exists."""
        self.exported = self._run(["stack", "export", "--stack", stack_name])

    def _run(self, arguments: list[str]) -> str:
        return self.pulumi_command.run(arguments, self.work_dir, self.env_vars).stdout


class QuietStack(Stack):
    """Runs an operation without the three commands that the SDK runs after it.

    They read the outputs, with and without secrets, and the history. The events of the operation contain all of this.

    Attributes:
        client: address of a language host that runs the program; empty for the installed one.
    """

    client = ""

    def _remote_args(self) -> list[str]:
        return [f"--client={self.client}"] if self.client else []

    def outputs(self) -> OutputMap:
        """Returns no outputs."""
        return {}

    def info(self, show_secrets: bool = True) -> UpdateSummary:
        """Returns no update."""
        return UpdateSummary("", datetime.now(UTC), "", {}, {}, "")


class Workspace:
    """The projects of one deployment, a folder for each stack.

    Args:
        folder: the program's folder, with `Pulumi.yaml`.
        backend: where the state is stored.
        environment: additional environment variables for the program and the CLI.
        program: an inline program that replaces the folder's.

    Raises:
        ConfigurationError: the project does not exist, or its backend is not supported.
    """

    def __init__(
        self, folder: Path, backend: Backend, environment: Mapping[str, str], program: Program | None = None
    ) -> None:
        self.folder = folder.resolve()
        self._backend = backend
        self.variables = {**environment, **backend.environment()}
        self._program = program
        scheme = urlsplit(backend.url).scheme
        if backend.url and scheme not in SCHEMES:
            text = f"backend {backend.url!r} is given; allowed are URLs that begin with {', '.join(SCHEMES)}"
            raise ConfigurationError(text, stack="", hint="Example: --backend s3://BUCKET?region=us-east-1")
        project = self.folder / "Pulumi.yaml"
        if not project.is_file():
            raise ConfigurationError(f"there is no {project}", stack="", hint=FOLDER)
        tree = _parsed(project, "")
        fields = _fields(tree)
        if not isinstance(tree, yaml.MappingNode) or not {"name", "runtime"} <= set(fields):
            raise ConfigurationError(f"{project} has no name or no runtime", stack="", hint="Add the missing key.")
        self.project: str = fields["name"].value
        options = _fields(_fields(fields["runtime"]).get("options"))
        # The Python with the program's packages; None if there is none, or another language or an inline program.
        python = Path(sys.executable)
        if virtualenv := options.get("virtualenv"):
            virtualenv.value = str(self.folder / virtualenv.value)
            python = Path(virtualenv.value, "bin", "python")
        is_python = _fields(fields["runtime"]).get("name", fields["runtime"]).value == "python"
        self.python = python if is_python and python.exists() and not program else None
        others = [(key, node) for key, node in tree.value if key.value != "main"]
        tree.value = [*others, (_text("main"), _text(str(self.folder)))]
        self._project = _written(tree)
        self._scratch = tempfile.TemporaryDirectory(prefix="deployment-")

    def close(self) -> None:
        """Delete the projects. State and resources stay."""
        self._scratch.cleanup()

    def has_file(self, name: str) -> bool:
        """Whether the stack has a file in the program's folder."""
        return (self.folder / f"Pulumi.{name}.yaml").is_file()

    def file(self, name: str) -> Path:
        """The stack file in the program's folder.

        Raises:
            ConfigurationError: there is no such file.
        """
        file = self.folder / f"Pulumi.{name}.yaml"
        if not self.has_file(name):
            names = sorted(path.name.split(".")[1] for path in self.folder.glob("Pulumi.?*.yaml"))
            hint = f"Stacks in this folder: {', '.join(names)}." if names else FOLDER
            raise ConfigurationError(f"there is no {file.name}", stack=name, hint=hint)
        return file

    def value(self, name: str, key: str) -> str:
        """A plain value in the stack file, as written; empty if there is none."""
        file = self.folder / f"Pulumi.{name}.yaml"
        config = _fields(_fields(_parsed(file, name)).get("config")) if file.is_file() else {}
        node = config.get(f"{self.project}:{key}")
        return str(node.value) if isinstance(node, yaml.ScalarNode) else ""

    def stack(
        self,
        name: str,
        command: PulumiCommand,
        config: Mapping[str, Any] | None,
        changes: Mapping[str, Any],
        must_exist: bool = False,
    ) -> QuietStack:
        """Find a stack, or create it.

        Args:
            name: name of the stack, without organization and project.
            command: the CLI.
            config: its configuration, keys without the project. None uses the folder's `Pulumi.STACK.yaml`.
            changes: values that replace those of the configuration, by path in the project's configuration, such as
                `function.release.previousShare`, or by a key of another namespace.
            must_exist: do not create it.

        Raises:
            ConfigurationError: there is no such file, or no such stack.
        """
        project = Path(self._scratch.name, name)
        project.mkdir(exist_ok=True)
        (project / "Pulumi.yaml").write_text(self._project)
        text = self.file(name).read_bytes() if config is None else self._configured(name, config, changes).encode()
        (project / f"Pulumi.{name}.yaml").write_bytes(text)
        workspace = UnselectedWorkspace(
            work_dir=str(project),
            program=self._program,
            env_vars=self.variables,
            secrets_provider=self._backend.secrets_provider or None,
            pulumi_command=command,
        )
        try:
            stack = QuietStack(name, workspace, StackInitMode.SELECT if must_exist else StackInitMode.CREATE_OR_SELECT)
        except StackNotFoundError:
            self.file(name)
            raise
        for path, value in changes.items() if config is None else ():
            command.run(["config", *self._setting(path, value), "--stack", name], str(project), workspace.env_vars)
        return stack

    def _setting(self, path: str, value: Any) -> list[str]:
        """The arguments of `pulumi config` that set a value of any type and keep all other values."""
        key = path if ":" in path else f"{self.project}:{path}"
        if isinstance(value, float):
            return ["set", "--plaintext", "--type", "float", "--path", key, str(value)]
        text = {"value": value} if isinstance(value, str) else {"value": json.dumps(value), "objectValue": value}
        return ["set-all", "--json", json.dumps({key: text})]

    def _configured(self, name: str, config: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
        """A stack file with this configuration. Other keys of the folder's file, such as a salt, stay."""
        file = self.folder / f"Pulumi.{name}.yaml"
        others = yaml.MappingNode(MAP, [])
        if file.is_file() and isinstance(tree := _parsed(file, name), yaml.MappingNode):
            others.value = [(key, node) for key, node in tree.value if key.value != "config"]
        for path, value in changes.items():
            config = _changed(config, path.split("."), value)
        full = {key if ":" in key else f"{self.project}:{key}": value for key, value in config.items()}
        return f"{_written(others) if others.value else ''}config: {_json(full)}\n"


def _changed(config: Mapping[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    name, *rest = path
    return {**config, name: _changed(config.get(name) or {}, rest, value) if rest else value}


# The CLI reads YAML 1.2 and PyYAML reads YAML 1.1, in which `012345678989`, `12e9` and `yes` have other values. So
# files are parsed into nodes, which keep the text of each scalar, and not into values.

MAP = "tag:yaml.org,2002:map"


def _parsed(file: Path, stack: str) -> yaml.Node | None:
    try:
        return yaml.compose(file.read_text(), Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file} is not valid YAML: {error}", stack=stack, hint="Correct it.") from None


def _fields(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}


def _text(value: str) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", value)


def _written(node: yaml.Node) -> str:
    return str(yaml.serialize(node, Dumper=yaml.SafeDumper, allow_unicode=True, width=math.inf))


def _json(value: Any) -> str:
    """JSON that is also valid YAML, which has no escapes for surrogate pairs."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"[^ -~]", lambda match: f"\\U{ord(match[0]):08x}", text)
