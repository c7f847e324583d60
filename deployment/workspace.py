"""A throw-away Pulumi project for one stack of a program, so that a run edits no file of the program's folder."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pulumi.automation import LocalWorkspace, PulumiCommand, Stack

from deployment.errors import ConfigurationError

Program = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Where the state is kept, and how its secrets are encrypted. A team shares its stacks by sharing both.

    Attributes:
        url: `file://…`, `s3://BUCKET?region=…` or the URL of Pulumi Cloud. Default: that of `PULUMI_BACKEND_URL` or of
            `pulumi login`. https://www.pulumi.com/docs/iac/concepts/state-and-backends/
        secrets_provider: of a new stack: `passphrase`, or a key such as `awskms://alias/NAME?region=…`. Default: the
            backend's own. https://www.pulumi.com/docs/iac/concepts/secrets/#available-encryption-providers
        passphrase: of the provider `passphrase`. Default: that of `PULUMI_CONFIG_PASSPHRASE`.
    """

    url: str = ""
    secrets_provider: str = ""
    passphrase: str = field(default="", repr=False)

    def environment(self) -> dict[str, str]:
        """The variables by which the CLI knows it."""
        known = {"PULUMI_BACKEND_URL": self.url, "PULUMI_CONFIG_PASSPHRASE": self.passphrase}
        # What encrypts a stack is in its state; a stack file that does not repeat it changes nothing.
        keep = {"PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true"}
        return {**keep, **{name: value for name, value in known.items() if value}}


class UnselectedWorkspace(LocalWorkspace):
    """Finds and makes stacks without selecting them, which would leave a file in `~/.pulumi` for each scratch folder.

    Every command names its stack. https://github.com/pulumi/pulumi/issues/8186
    """

    def create_stack(self, stack_name: str) -> None:
        """Make a stack."""
        provider = ["--secrets-provider", self.secrets_provider] if self.secrets_provider else []
        self._run(["stack", "init", "--no-select", *provider, stack_name])

    def select_stack(self, stack_name: str) -> None:
        """Fail if there is no such stack."""
        self._run(["stack", "--stack", stack_name])

    def _run(self, arguments: list[str]) -> None:
        self.pulumi_command.run(arguments, self.work_dir, self.env_vars)


class Workspace:
    """The projects of one deployment, a folder for each stack: `pulumi stack select` is a file of the project's.

    Args:
        folder: the program's folder, with `Pulumi.yaml`.
        backend: where the state is kept.
        environment: variables of the program and the CLI, besides those of this process.
        program: a program of this process in place of the folder's.

    Raises:
        ConfigurationError: there is no such project.
    """

    def __init__(
        self, folder: Path, backend: Backend, environment: Mapping[str, str], program: Program | None = None
    ) -> None:
        self._folder = folder.resolve()
        self._backend = backend
        self._environment = environment
        self._program = program
        project = self._folder / "Pulumi.yaml"
        if not project.is_file():
            raise ConfigurationError(f"there is no {project}", stack="", cure="Name the program's folder.")
        self._settings = _read(project, "")
        if not {"name", "runtime"} <= set(self._settings):
            raise ConfigurationError(f"{project} has no name or no runtime", stack="", cure="Correct it.")
        self.project: str = self._settings["name"]
        self._scratch = tempfile.TemporaryDirectory(prefix="deployment-")

    def close(self) -> None:
        """Delete the projects. State and resources are not touched."""
        self._scratch.cleanup()

    def stack(self, name: str, config: Mapping[str, Any] | None, command: PulumiCommand) -> Stack:
        """A stack, made if there is none.

        Args:
            name: bare name of the stack.
            config: its configuration, keys without the project; None takes `Pulumi.STACK.yaml` of the folder.
            command: the CLI.
        """
        project = Path(self._scratch.name, name)
        project.mkdir(exist_ok=True)
        (project / "Pulumi.yaml").write_text(yaml.safe_dump(self._project_settings()))
        (project / f"Pulumi.{name}.yaml").write_text(yaml.safe_dump(self._stack_settings(name, config)))
        workspace = UnselectedWorkspace(
            work_dir=str(project),
            program=self._program,
            env_vars={**self._environment, **self._backend.environment()},
            secrets_provider=self._backend.secrets_provider or None,
            pulumi_command=command,
        )
        return Stack.create_or_select(name, workspace)

    def config(self, name: str) -> dict[str, Any]:
        """The configuration in the folder's file of a stack, keys without the project.

        Raises:
            ConfigurationError: there is no such file.
        """
        file = self._folder / f"Pulumi.{name}.yaml"
        if not file.is_file():
            raise ConfigurationError(f"there is no {file.name}", stack=name, cure="Write it, or name another stack.")
        prefix = f"{self.project}:"
        return {key.removeprefix(prefix): value for key, value in (_read(file, name).get("config") or {}).items()}

    def _project_settings(self) -> dict[str, Any]:
        settings = {**self._settings, "main": str(self._folder)}
        runtime = settings["runtime"]
        options = runtime.get("options", {}) if isinstance(runtime, dict) else {}
        if environment := options.get("virtualenv"):
            settings["runtime"] = {**runtime, "options": {**options, "virtualenv": str(self._folder / environment)}}
        return settings

    def _stack_settings(self, name: str, config: Mapping[str, Any] | None) -> dict[str, Any]:
        file = self._folder / f"Pulumi.{name}.yaml"
        settings = _read(file, name) if file.is_file() else {}
        if config is not None:
            full = {key if ":" in key else f"{self.project}:{key}": value for key, value in config.items()}
            settings["config"] = full
        return settings


def _read(file: Path, stack: str) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(file.read_text()) or {})
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file} is no YAML: {error}", stack=stack, cure="Correct it.") from None
